import numpy as np
import pytest

import fastnn
from fastnn.data import DataLoader, ImageData, TensorDataset


@pytest.fixture
def arrays():
    return np.arange(30, dtype=np.float32).reshape(10, 3), np.arange(10)


def joined(tensors):
    return np.concatenate([np.asarray(tensor) for tensor in tensors])


def gathered(loader):
    return joined(labels for _, labels in loader).tolist()


def test_in_order(arrays):
    x, y = arrays
    batches = list(DataLoader(arrays, batch_size=4))
    assert [len(b[0]) for b in batches] == [4, 4, 2]
    np.testing.assert_array_equal(joined(b[0] for b in batches), x)
    np.testing.assert_array_equal(joined(b[1] for b in batches), y)
    assert batches[0][0].dtype == np.float32
    assert batches[0][1].dtype == np.int64


@pytest.mark.parametrize(
    ("count", "batch", "drop", "batches"), [(10, 4, 0, 3), (10, 4, 1, 2), (8, 4, 1, 2), (3, 4, 1, 0), (0, 4, 0, 0)]
)
def test_length(count, batch, drop, batches):
    loader = DataLoader(np.zeros(count), batch, drop_last=bool(drop))
    assert len(loader) == len(list(loader)) == batches


def test_shuffled_epochs_differ_and_repeat(arrays):
    first = DataLoader(arrays, 4, True, seed=7)
    again = DataLoader(arrays, 4, True, seed=7)
    epochs = [gathered(first) for _ in range(3)]
    assert epochs == [gathered(again) for _ in range(3)]
    assert all(sorted(order) == list(range(10)) for order in epochs)
    assert len({tuple(order) for order in epochs}) == 3
    first.set_epoch(1)
    assert gathered(first) == epochs[1]


def test_the_order_is_frozen(arrays):
    assert gathered(DataLoader(arrays, 10, True, seed=0)) == [0, 2, 9, 1, 8, 5, 4, 3, 6, 7]


def test_the_order_does_not_depend_on_the_batch_size(arrays):
    assert gathered(DataLoader(arrays, 3, True, seed=5)) == gathered(DataLoader(arrays, 4, True, seed=5))


def test_rows_stay_together(arrays):
    for x, y in DataLoader(arrays, 4, shuffle=True, seed=1):
        np.testing.assert_array_equal(np.asarray(x)[:, 0], 3 * np.asarray(y))


@pytest.mark.parametrize("shuffle", [False, True])
def test_batches_may_be_kept_and_changed(arrays, shuffle):
    y = arrays[1]
    kept = []
    for features, labels in DataLoader(arrays, 4, shuffle, seed=0):
        kept.append((features.numpy(), features.numpy().copy(), labels))
        labels[...] = -1
    assert all(np.array_equal(features, copy) for features, copy, _ in kept)
    np.testing.assert_array_equal(y, np.arange(10))


def test_a_drawn_seed_can_be_read(arrays):
    loader = DataLoader(arrays, 4, shuffle=True)
    assert gathered(loader) == gathered(DataLoader(arrays, 4, shuffle=True, seed=loader.seed))


def test_a_drawn_seed_comes_from_the_default_generator(arrays):
    drawn = []
    for seed in (1, 1, 2):
        fastnn.manual_seed(seed)
        drawn.append(DataLoader(arrays, 4, shuffle=True).seed)
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize(
    "view", [lambda a: a[::-1], lambda a: a[::2], lambda a: np.asfortranarray(a), lambda a: a[:, ::-1]]
)
def test_views(arrays, view):
    x = view(arrays[0])
    np.testing.assert_array_equal(joined(b[0] for b in DataLoader((x,), 3)), x)
    shuffled = joined(b[0] for b in DataLoader((x,), 3, True))
    np.testing.assert_array_equal(shuffled[np.argsort(shuffled[:, 0])], x[np.argsort(x[:, 0])])


def test_images():
    images = np.full((5, 28, 28), 51, np.uint8)
    data = ImageData(images, np.arange(5), tuple("01234"), "mnist", "test", "here")
    x, y = next(iter(DataLoader(data, 5)))
    assert x.shape == (5, 784)
    assert x[0, 0].item() == np.float32(0.2)
    assert y.tolist() == [0, 1, 2, 3, 4]


def test_tensors_that_require_grad(arrays):
    (batch,) = next(iter(DataLoader(fastnn.tensor(arrays[0], requires_grad=True), 4)))
    assert isinstance(batch, fastnn.Tensor)
    assert not batch.requires_grad


def test_dataset_items(arrays):
    dataset = TensorDataset(*arrays)
    assert len(dataset) == 10
    assert dataset[2][1].item() == 2
    assert dataset[2:4][0].shape == (2, 3)


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: DataLoader(np.zeros(3), 0), ValueError, "batch_size must be at least 1, got 0"),
        (lambda: DataLoader(np.zeros(3), 2.5), TypeError, "batch_size must be a whole number, got 2.5"),
        (lambda: DataLoader(np.zeros(3), seed=-1), ValueError, "seed must be at least 0, got -1"),
        (lambda: DataLoader(np.zeros(3), seed=2**64), ValueError, "seed must be below"),
        (lambda: TensorDataset(np.zeros(3), np.zeros(4)), ValueError, "array 1 must have length 3 .* got 4"),
        (lambda: TensorDataset(np.float32(3)), ValueError, "array 0 must have at least one axis"),
        (lambda: TensorDataset(), ValueError, "at least one array"),
    ],
)
def test_bad_arguments(make, error, text):
    with pytest.raises(error, match=text):
        make()


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8"])
def test_large_batches_are_those_of_small_ones(dtype):
    x = np.random.default_rng(0).integers(0, 200, (300, 30, 4)).astype(dtype)
    for array in (x, x[::-1], np.asfortranarray(x)):
        large = joined(b[0] for b in DataLoader((array,), 200, shuffle=True, seed=1))
        small = joined(b[0] for b in DataLoader((array,), 7, shuffle=True, seed=1))
        np.testing.assert_array_equal(large, small)
        assert large.dtype == dtype
