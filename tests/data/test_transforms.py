"""Transforms against NumPy, image by image; and that a sample's changes depend on nothing but itself."""

import pickle

import numpy as np
import pytest

import fastnn
from fastnn import ops
from fastnn.data import DataLoader, IterableDataset, Subset, TensorDataset
from fastnn.data import transforms as T
from fastnn.errors import DTypeError, ShapeError

rng = np.random.default_rng(11)


def images(*shape, dtype="f4"):
    return rng.random(shape or (6, 3, 8, 7)).astype(dtype)


def one_of(image, candidates):
    """Which of some images an image is."""
    found = [i for i, candidate in enumerate(candidates) if np.array_equal(image, candidate)]
    assert found, "the image is none of the candidates"
    return found[0]


# -- what each does


@pytest.mark.parametrize("dtype", ["f4", "f8", "u1"])
def test_shifts_are_by_whole_pixels_and_all_of_them_come(dtype):
    x = (images(300, 1, 5, 6) * 200 + 1).astype(dtype)
    fastnn.manual_seed(1)
    moved = T.RandomShift((1, 2), fill=7)(x)
    assert moved.dtype == x.dtype
    seen = set()
    for before, after in zip(x, moved, strict=True):
        padded = np.pad(before, ((0, 0), (1, 1), (2, 2)), constant_values=7)
        seen.add(one_of(after, [padded[:, i : i + 5, j : j + 6] for i in range(3) for j in range(5)]))
    assert seen == set(range(15))


@pytest.mark.parametrize(
    ("padding", "pairs"),
    [(None, (0, 0, 0, 0)), (1, (1, 1, 1, 1)), ((1, 2), (1, 2, 1, 2)), ((0, 1, 2, 3), (0, 1, 2, 3))],
)
@pytest.mark.parametrize("mode", ["constant", "edge", "reflect"])
def test_crops(padding, pairs, mode):
    x = images(80, 2, 6, 5)
    left, top, right, bottom = pairs
    padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), mode)
    cropped = T.RandomCrop((4, 3), padding, padding_mode=mode)(x)
    assert cropped.shape == (80, 2, 4, 3)
    places = [(i, j) for i in range(padded.shape[2] - 3) for j in range(padded.shape[3] - 2)]
    seen = {
        one_of(after, [before[:, i : i + 4, j : j + 3] for i, j in places])
        for before, after in zip(padded, cropped, strict=True)
    }
    assert len(seen) > len(places) / 2


def test_images_that_are_too_small_are_padded_if_that_is_asked_for():
    x = images(4, 1, 3, 5)
    cropped = T.RandomCrop(5, pad_if_needed=True)(x)
    padded = np.pad(x, ((0, 0), (0, 0), (2, 2), (0, 0)))
    for before, after in zip(padded, cropped, strict=True):
        one_of(after, [before[:, i : i + 5] for i in range(3)])
    with pytest.raises(ShapeError, match=r"the window \(5, 5\) must fit into the padded images, got \(4, 1, 3, 5\)"):
        T.RandomCrop(5)(x)


@pytest.mark.parametrize(("kind", "axis"), [(T.RandomHorizontalFlip, -1), (T.RandomVerticalFlip, -2)])
def test_flips(kind, axis):
    x = images(400, 2, 4, 3)
    flipped = kind(0.25)(x)
    chosen = [one_of(after, [before, np.flip(before, axis)]) for before, after in zip(x, flipped, strict=True)]
    assert 60 < sum(chosen) < 140
    np.testing.assert_array_equal(kind(1)(x), np.flip(x, axis))
    np.testing.assert_array_equal(kind(0)(x), x)


def test_a_quarter_turn_is_exact():
    x = images(2, 3, 6, 6)
    np.testing.assert_allclose(T.RandomRotation((90, 90))(x), np.rot90(x, axes=(2, 3)), atol=1e-5)
    np.testing.assert_array_equal(T.RandomRotation((90, 90), "nearest")(x), np.rot90(x, axes=(2, 3)))
    np.testing.assert_allclose(T.RandomAffine((90, 90))(x), np.rot90(x, -1, axes=(2, 3)), atol=1e-5)


def test_turned_pixels_are_sums_over_four_neighbours():
    x = images(1, 1, 7, 5, dtype="f8")
    got = T.RandomRotation((20, 20), fill=0.5)(x)
    angle = np.radians(20)
    for i in range(7):
        for j in range(5):
            # back by the same angle: rows grow downwards, so counter-clockwise turns (j, i) this way
            across, down = j - 2, i - 3
            column = np.cos(angle) * across - np.sin(angle) * down + 2
            row = np.sin(angle) * across + np.cos(angle) * down + 3
            total = 0.0
            for r in (np.floor(row), np.floor(row) + 1):
                for c in (np.floor(column), np.floor(column) + 1):
                    inside = 0 <= r < 7 and 0 <= c < 5
                    value = x[0, 0, int(r), int(c)] if inside else 0.5
                    total += value * (1 - abs(row - r)) * (1 - abs(column - c))
            np.testing.assert_allclose(got[0, 0, i, j], total, atol=1e-9)


def test_moves_scales_and_shears():
    x = images(1, 1, 9, 9)
    # the centre of an image of nine is the pixel 4: twice as large, pixel 4 + 2 d comes from 4 + d
    twice = T.RandomAffine(0, scale=(2, 2))(x)
    np.testing.assert_allclose(twice[0, 0, ::2, ::2], x[0, 0, 2:7, 2:7], atol=1e-6)
    # a shear by 45 degrees moves a row to the left by its distance from the centre below, to the right above
    sheared = T.RandomAffine(0, shear=(45, 45))(x)
    np.testing.assert_allclose(sheared[0, 0, 4], x[0, 0, 4], atol=1e-6)
    np.testing.assert_allclose(sheared[0, 0, 6, :7], x[0, 0, 6, 2:], atol=1e-5)
    np.testing.assert_allclose(sheared[0, 0, 3, 1:], x[0, 0, 3, :-1], atol=1e-5)
    moved = T.RandomAffine(0, translate=(0.25, 0))(images(200, 1, 4, 8))
    assert moved.shape == (200, 1, 4, 8)
    columns = T.RandomAffine(0, translate=(0.25, 0))(
        np.broadcast_to(np.arange(1, 9, dtype="f4"), (200, 1, 4, 8)).copy()
    )
    assert {tuple(np.rint(image[0, 0]).astype(int)) for image in columns} == {
        tuple(np.pad(np.arange(1, 9), 2)[2 - s : 10 - s]) for s in range(-2, 3)
    }


def test_the_centre_can_be_another_point():
    x = images(1, 1, 6, 6)
    about = T.RandomRotation((180, 180), "nearest", center=(2, 2))(x)
    np.testing.assert_array_equal(about[0, 0, :4, :4], x[0, 0, :4, :4][::-1, ::-1])
    assert not about[0, 0, 4:].any()


def test_integers_are_rounded():
    x = rng.integers(0, 256, (3, 1, 6, 6)).astype(np.uint8)
    turned = T.RandomRotation((30, 30))(x)
    assert turned.dtype == np.uint8
    np.testing.assert_array_equal(turned, np.rint(T.RandomRotation((30, 30))(x.astype("f4"))).astype(np.uint8))


def test_preparations():
    x = rng.integers(0, 256, (3, 2, 6, 5)).astype(np.uint8)
    floats = T.ConvertImageDtype()(x)
    assert floats.dtype == np.float32
    np.testing.assert_array_equal(floats, x.astype("f4") / 255)
    normal = T.Normalize((0.5, 0.25), (2.0, 4.0))(floats)
    expected = (floats - np.array([0.5, 0.25], "f4")[:, None, None]) / np.array([2, 4], "f4")[:, None, None]
    np.testing.assert_allclose(normal, expected, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(T.Normalize(0.5, 2)(floats), (floats - 0.5) / 2, rtol=1e-6, atol=1e-7)
    np.testing.assert_array_equal(T.CenterCrop((2, 3))(floats), floats[:, :, 2:4, 1:4])
    np.testing.assert_array_equal(T.CenterCrop(8)(floats), np.pad(floats, ((0, 0), (0, 0), (1, 1), (1, 2))))
    np.testing.assert_array_equal(T.Resize((12, 10), "nearest")(x), x.repeat(2, 2).repeat(2, 3))
    resized = ops.interpolate(floats, (4, 3), "linear", antialias=True)
    np.testing.assert_array_equal(T.Resize((4, 3))(floats), resized)


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect"])
def test_padding(mode):
    x = images()
    filled = {"constant_values": 0.5} if mode == "constant" else {}
    padded = T.Pad((1, 2), 0.5, mode)(x)
    np.testing.assert_array_equal(padded, np.pad(x, ((0, 0), (0, 0), (2, 2), (1, 1)), mode, **filled))


def test_windows_of_any_size_at_one_size():
    """On images whose pixels are their own places, a window's pixels lie evenly between its edges."""
    rows, columns = np.mgrid[:20, :16].astype("f8")
    x = np.broadcast_to(np.stack([rows, columns]), (300, 2, 20, 16)).copy()
    crop = T.RandomResizedCrop((5, 4), scale=(0.2, 0.6), ratio=(0.5, 2.0))
    chosen = rng.random((300, crop.numbers))
    got = crop.apply(x, chosen)
    assert got.shape == (300, 2, 5, 4)
    top, left, high, wide = crop.boxes(20, 16, chosen)
    assert ((top >= 0) & (top + high <= 20) & (left >= 0) & (left + wide <= 16)).all()
    share = high * wide / 320
    assert 0.15 < share.min() < 0.3 < 0.5 < share.max() < 0.65
    assert (wide / high).min() < 0.7 < 1.4 < (wide / high).max()
    down = top[:, None] + (np.arange(5) + 0.5) * high[:, None] / 5 - 0.5
    across = left[:, None] + (np.arange(4) + 0.5) * wide[:, None] / 4 - 0.5
    np.testing.assert_allclose(got[:, 0], np.broadcast_to(np.clip(down, 0, 19)[:, :, None], (300, 5, 4)), atol=1e-9)
    np.testing.assert_allclose(got[:, 1], np.broadcast_to(np.clip(across, 0, 15)[:, None], (300, 5, 4)), atol=1e-9)


def test_a_window_that_never_fits_is_the_middle():
    crop = T.RandomResizedCrop(4, scale=(0.9, 1.0), ratio=(3.0, 4.0))
    box = [int(n[0]) for n in crop.boxes(12, 6, rng.random((1, crop.numbers)))]
    assert box == [5, 0, 2, 6]


def test_boxes_are_erased():
    x = images(300, 2, 12, 10) + 1
    erased = T.RandomErasing(0.5, (0.1, 0.3), (0.5, 2.0), value=-1.0)(x)
    shapes = []
    for before, after in zip(x, erased, strict=True):
        gone = after[0] == -1
        np.testing.assert_array_equal(after, np.where(gone, -1, before))
        if gone.any():
            rows, columns = np.flatnonzero(gone.any(1)), np.flatnonzero(gone.any(0))
            assert gone[np.ix_(rows, columns)].all()
            assert (np.diff(rows) == 1).all()
            assert (np.diff(columns) == 1).all()
            shapes.append((len(rows), len(columns)))
    assert 110 < len(shapes) < 190
    assert all(0.05 < high * wide / 120 < 0.38 for high, wide in shapes)
    assert len(set(shapes)) > 10
    np.testing.assert_array_equal(T.RandomErasing(0)(x), x)


def test_one_image_tensors_and_layouts():
    x = images()
    same = T.RandomHorizontalFlip(1)
    for given in (np.asfortranarray(x), np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1), x[::-1][::-1]):
        np.testing.assert_array_equal(same(given), x[..., ::-1])
    assert np.moveaxis(same(x), 1, -1).flags.c_contiguous
    np.testing.assert_array_equal(same(x[0]), x[0, :, :, ::-1])
    tensor = same(fastnn.from_numpy(x))
    assert isinstance(tensor, fastnn.Tensor)
    np.testing.assert_array_equal(tensor.array, x[..., ::-1])
    assert same(x[:0]).shape == (0, 3, 8, 7)


# -- random numbers


MANY = T.Compose(
    [
        T.RandomShift(2),
        T.RandomHorizontalFlip(),
        T.RandomAffine(15, (0.1, 0.1), (0.8, 1.2), (-5, 5)),
        T.Normalize(0.5, 0.3),
    ]
)


def test_calls_alone_follow_the_default_generator():
    x = images()
    fastnn.manual_seed(5)
    first, second = MANY(x), MANY(x)
    assert not np.array_equal(first, second)
    fastnn.manual_seed(5)
    np.testing.assert_array_equal(MANY(x), first)
    own = T.RandomShift(3, generator=fastnn.Generator().manual_seed(5))
    again = T.RandomShift(3, generator=fastnn.Generator().manual_seed(5))
    np.testing.assert_array_equal(own(x), again(x))


def test_a_sample_is_changed_in_the_same_way_wherever_it_is():
    x = images(20, 1, 8, 8)
    whole = MANY.at(x, np.arange(20), 3, 7)
    order = rng.permutation(20)
    np.testing.assert_array_equal(MANY.at(x[order], order, 3, 7), whole[order])
    np.testing.assert_array_equal(MANY.at(x[4:5], [4], 3, 7), whole[4:5])
    for count in (1, 2, 3):
        with fastnn.threads(count):
            np.testing.assert_array_equal(MANY.at(x, np.arange(20), 3, 7), whole)
    for seed, draw in ((4, 7), (3, 8)):
        assert not np.array_equal(MANY.at(x, np.arange(20), seed, draw), whole)


def test_every_transform_of_several_has_numbers_of_its_own():
    x = images(50, 1, 9, 9)
    both = T.Compose([T.RandomHorizontalFlip(), T.RandomVerticalFlip()]).at(x, np.arange(50), 1, 0)
    kinds = [
        one_of(after, [before, before[:, ::-1], before[..., ::-1], before[:, ::-1, ::-1]])
        for before, after in zip(x, both, strict=True)
    ]
    assert set(kinds) == {0, 1, 2, 3}


# -- in loaders


class Items:
    """A dataset of images and labels without arrays behind it."""

    def __init__(self, x):
        self.x = x

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.x[i], i


class Walked(IterableDataset):
    def __init__(self, x):
        self.x = x

    def __iter__(self):
        return iter([(image, i) for i, image in enumerate(self.x)])


def epoch_of(loader):
    """The images of an epoch, in the order of their labels."""
    batches = [(np.asarray(x), np.asarray(y)) for x, y in loader]
    labels = np.concatenate([y for _, y in batches])
    return np.concatenate([x for x, _ in batches])[np.argsort(labels)]


def test_loaders_change_a_sample_the_same_way_however_they_come_to_it():
    x, y = images(23, 1, 6, 6), np.arange(23)
    options = {"seed": 9, "transform": MANY}
    loader = DataLoader((x, y), 4, shuffle=True, **options)
    first, second = epoch_of(loader), epoch_of(loader)
    assert not np.array_equal(first, second)
    for other in (
        DataLoader((x, y), 7, **options),
        DataLoader(Items(x), 5, shuffle=True, **options),
        DataLoader(Items(x), 5, shuffle=True, num_workers=3, **options),
        DataLoader((x, y), batch_sampler=[[5, 4, 3], [0, 1, 2], list(range(6, 23))], **options),
        DataLoader(Walked(x), 6, **options),
        DataLoader(Walked(x), 6, num_workers=1, **options),
    ):
        np.testing.assert_array_equal(epoch_of(other), first)
        np.testing.assert_array_equal(epoch_of(other), second)
    np.testing.assert_array_equal(first, MANY.at(x, y, 9, 0))
    loader.set_epoch(1)
    rest = list(loader.batches_from(3))
    loader.set_epoch(1)
    for one, two in zip(rest, list(loader)[3:], strict=True):
        np.testing.assert_array_equal(one[0].array, two[0].array)


def test_labels_and_the_dataset_stay_as_they_are():
    x, y = images(10, 1, 4, 4), np.arange(10)
    before = x.copy()
    for batch, labels in DataLoader((x, y), 5, transform=lambda images: images * 0):
        assert not batch.array.any()
        assert labels.dtype == np.int64
    np.testing.assert_array_equal(x, before)
    (alone,) = DataLoader(x, 10, transform=T.RandomHorizontalFlip(1))
    np.testing.assert_array_equal(alone[0].array, x[..., ::-1])
    subset = Subset(TensorDataset(x, y), [7, 2])
    (part,) = DataLoader(subset, 2, transform=T.RandomHorizontalFlip(1))
    np.testing.assert_array_equal(part[0].array, x[[7, 2], :, :, ::-1])


def test_fit_trains_on_changed_batches_and_resumes_in_the_same_bits(tmp_path):
    x, y = images(64, 1, 8, 8), np.arange(64) % 3
    options = {"loss": "cross_entropy", "batch_size": 16, "seed": 4, "verbose": False, "transform": MANY}

    def trained(epochs, **more):
        fastnn.manual_seed(2)
        model = fastnn.nn.Sequential(
            fastnn.nn.Conv2d(1, 4, 3), fastnn.nn.ReLU(), fastnn.nn.Flatten(), fastnn.nn.Linear(144, 3)
        )
        fastnn.fit(model, (x, y), optimizer=fastnn.optim.Adam(model.parameters()), epochs=epochs, **options, **more)
        return [p.array.copy() for p in model.parameters()]

    whole = trained(3)
    trained(2, checkpoint=tmp_path)
    for one, two in zip(whole, trained(3, checkpoint=tmp_path, resume=True), strict=True):
        np.testing.assert_array_equal(one, two)
    options["transform"] = None
    assert not np.array_equal(trained(3)[0], whole[0])


# -- what is of no use


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: T.RandomShift(-1), ValueError, "shift must be at least 0, got -1"),
        (lambda: T.RandomShift((1, 2, 3)), ValueError, "shift must be one or two numbers"),
        (lambda: T.RandomCrop(0), ValueError, "size must be at least 1"),
        (lambda: T.RandomCrop(4, padding=(1, 2, 3)), ValueError, "padding must be 1, 2 or 4 numbers"),
        (lambda: T.RandomCrop(4, padding=-1), ValueError, "padding must not be negative"),
        (
            lambda: T.RandomCrop(4, padding_mode="wrap"),
            ValueError,
            "padding_mode must be one of constant, edge, reflect",
        ),
        (lambda: T.RandomHorizontalFlip(1.5), ValueError, "RandomHorizontalFlip: p must lie from 0 to 1, got 1.5"),
        (lambda: T.RandomRotation(-3), ValueError, "degrees must not be negative where it is one number, got -3"),
        (lambda: T.RandomRotation((3, 1)), ValueError, "degrees must hold the least and the most"),
        (lambda: T.RandomRotation(3, expand=True), ValueError, "expand must be False"),
        (lambda: T.RandomRotation(3, "cubic"), ValueError, "interpolation must be one of bilinear, nearest"),
        (lambda: T.RandomAffine(0, (2, 0)), ValueError, "translate must hold shares from 0 to 1"),
        (lambda: T.RandomAffine(0, scale=(0, 1)), ValueError, "scale must hold the least and the most of positive"),
        (lambda: T.RandomAffine(0, shear="much"), ValueError, "shear must be two numbers"),
        (
            lambda: T.RandomResizedCrop(4, scale=(0, 1)),
            ValueError,
            "scale must hold the least and the most of positive",
        ),
        (
            lambda: T.RandomResizedCrop(4, ratio=(2, 1)),
            ValueError,
            "ratio must hold the least and the most of positive",
        ),
        (lambda: T.RandomErasing(value="random"), TypeError, "value must be a number, got 'random'"),
        (lambda: T.RandomErasing(2), ValueError, "RandomErasing: p must lie from 0 to 1, got 2"),
        (lambda: T.Pad(1, padding_mode="wrap"), ValueError, "Pad: padding_mode must be one of constant, edge, reflect"),
        (lambda: T.Normalize(0, 0), ValueError, "std not 0"),
        (lambda: T.Resize(4, "lanczos"), ValueError, "interpolation must be one of bilinear, nearest, bicubic"),
        (lambda: T.ConvertImageDtype("i4"), DTypeError, "dtype must be a floating one, got int32"),
        (lambda: T.Compose([3]), TypeError, "must be transforms or functions, got int"),
        (lambda: T.RandomShift(1, generator=3), TypeError, "generator must be a fastnn.Generator, got int"),
        (lambda: T.RandomShift(1)(np.zeros((4, 784))), ShapeError, r"\(N, C, H, W\) or \(C, H, W\), got \(4, 784\)"),
        (lambda: T.RandomShift(1).at(images(), [1, 2], 0, 0), ShapeError, r"samples must have shape \(6,\)"),
        (lambda: T.Normalize((1, 2), 1)(images()), ShapeError, "mean must hold 1 or 3 numbers, got 2"),
        (lambda: T.Normalize(1, 1)(images().astype("u1")), DTypeError, "of a floating dtype, got uint8"),
        (lambda: T.RandomRotation(1)(images().astype(bool)), DTypeError, "must hold integers or floats, got bool"),
        (lambda: DataLoader(images(), 2, transform=3), TypeError, "transform must be a function, got int"),
        (lambda: DataLoader(Items(images()), None, transform=MANY), ValueError, "transform needs a batch_size"),
        (
            lambda: fastnn.fit(None, DataLoader(images(), 2), loss="mse", optimizer="sgd", transform=MANY),
            ValueError,
            "a loader comes with its own transform",
        ),
    ],
)
def test_what_is_of_no_use_is_refused(make, error, words):
    with pytest.raises(error, match=words):
        make()


def test_transforms_show_themselves_and_pickle():
    assert repr(T.RandomShift(2)) == "RandomShift(shift=(2, 2), fill=0, generator=None)"
    assert repr(T.Compose([T.Normalize(0.5, 2)])) == "Compose([Normalize(mean=0.5, std=2)])"
    again = pickle.loads(pickle.dumps(MANY))
    x = images(5, 1, 6, 6)
    np.testing.assert_array_equal(again.at(x, np.arange(5), 1, 1), MANY.at(x, np.arange(5), 1, 1))


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda x: ops.crop_images(x, np.zeros((6, 3), int), 2), ShapeError, r"corners must have shape \(6, 2\)"),
        (lambda x: ops.crop_images(x, np.zeros((6, 2)), 2), DTypeError, "corners must hold integers"),
        (
            lambda x: ops.crop_images(x, np.zeros((6, 2), int), 0),
            ValueError,
            "size must be one or two numbers from 1 on",
        ),
        (lambda x: ops.crop_images(x[0], np.zeros((6, 2), int), 2), ShapeError, r"x must be \(N, C, H, W\)"),
        (lambda x: ops.flip_images(x, np.zeros(5, bool)), ShapeError, r"chosen must have shape \(6,\)"),
        (lambda x: ops.flip_images(x, np.zeros(6, bool), 0), ValueError, "axis must be -2 or -1"),
        (lambda x: ops.warp_images(x, np.zeros((6, 3, 2), "f4")), ShapeError, r"maps must have shape \(6, 2, 3\)"),
        (lambda x: ops.warp_images(x, np.zeros((6, 2, 3), "f4"), size=(0, 1)), ValueError, "size must be one or two"),
        (lambda x: ops.erase_images(x, np.zeros((6, 2), int)), ShapeError, r"boxes must have shape \(6, 4\)"),
        (lambda x: ops.uniform_rows(np.zeros((2, 2000)), np.arange(2)), ShapeError, "at most 1024 columns"),
    ],
)
def test_ops_refuse_what_does_not_go_together(call, error, words):
    with pytest.raises(error, match=words):
        call(images())


def test_numbers_that_are_no_places_leave_the_fill():
    x = images(3, 1, 4, 4)
    maps = np.zeros((3, 2, 3), "f4")
    maps[0], maps[1], maps[2] = np.nan, np.inf, 1e30
    assert (ops.warp_images(x, maps, fill=2.0) == 2).all()
    corners = np.array([[2**40, 0], [0, -(2**40)], [-(2**62), 2**62]])
    assert (ops.crop_images(x, corners, 3, 2.0) == 2).all()
