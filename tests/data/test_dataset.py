"""Datasets of any kind, and batches of their items."""

import threading

import numpy as np
import pytest

import fastnn
from fastnn.data import (
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    Subset,
    TensorDataset,
    default_collate,
    random_split,
)


class Squares(Dataset):
    def __init__(self, count):
        self.count, self.threads = count, set()

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        if not 0 <= index < self.count:
            raise IndexError(index)
        self.threads.add(threading.current_thread().name)
        return {"number": index, "square": np.float32(index**2), "name": str(index)}


class Stream(IterableDataset):
    def __init__(self, count, broken=None):
        self.count, self.broken = count, broken

    def __iter__(self):
        for i in range(self.count):
            if i == self.broken:
                raise OSError("the stream broke")
            yield np.full(2, i), i


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_items_are_made_into_batches(workers):
    dataset = Squares(10)
    loader = DataLoader(dataset, 4, num_workers=workers)
    batches = list(loader)
    assert len(loader) == len(batches) == 3
    assert batches[0]["number"].tolist() == [0, 1, 2, 3]
    assert batches[2]["square"].tolist() == [64, 81]
    assert batches[2]["square"].dtype == np.float32
    assert batches[1]["name"] == ["4", "5", "6", "7"]
    assert any(name.startswith("fastnn-data") for name in dataset.threads) == bool(workers)


@pytest.mark.parametrize("workers", [0, 2])
def test_orders(workers):
    dataset = Squares(9)

    def numbers(**options):
        batches = DataLoader(dataset, num_workers=workers, **options)
        return [batch["number"].tolist() for batch in batches]

    plain = numbers(batch_size=4, shuffle=True, seed=1)
    order = [i for batch in plain for i in batch]
    assert sorted(order) == list(range(9))
    assert order == [i for batch in numbers(batch_size=2, shuffle=True, seed=1) for i in batch]
    assert numbers(batch_size=2, sampler=[5, 3, 8]) == [[5, 3], [8]]
    assert numbers(batch_size=2, sampler=[5, 3, 8], drop_last=True) == [[5, 3]]
    assert numbers(batch_sampler=[[1, 2, 3], [4]]) == [[1, 2, 3], [4]]
    items = DataLoader(dataset, batch_size=None, num_workers=workers)
    assert [item["number"] for item in items] == list(range(9))


def test_arrays_by_samplers_and_subsets():
    x = np.arange(12.0).reshape(6, 2)
    whole = TensorDataset(x, np.arange(6))
    some = Subset(Subset(whole, [5, 4, 3, 2]), [-1, 0, 1])
    (batch, labels), *_ = DataLoader(some, 3)
    assert labels.tolist() == [2, 5, 4]
    np.testing.assert_array_equal(batch, x[[2, 5, 4]])
    assert [y.tolist() for _, y in DataLoader(whole, 2, sampler=[0, -1, 3])] == [[0, 5], [3]]
    shuffled = [int(y) for _, labels in DataLoader(some, 1, shuffle=True, seed=3) for y in labels]
    assert sorted(shuffled) == [2, 4, 5]
    with pytest.raises(IndexError, match="from -6 to 5"):
        list(DataLoader(whole, sampler=[7]))
    with pytest.raises(IndexError, match="from -6 to 5"):
        DataLoader(Subset(whole, [6]))


@pytest.mark.parametrize("workers", [0, 1])
def test_streams(workers):
    batches = list(DataLoader(Stream(5), 2, num_workers=workers))
    assert [y.tolist() for _, y in batches] == [[0, 1], [2, 3], [4]]
    assert len(list(DataLoader(Stream(5), 2, drop_last=True, num_workers=workers))) == 2
    with pytest.raises(TypeError):
        len(DataLoader(Stream(5), 2))
    seen = []
    with pytest.raises(OSError, match="the stream broke"):
        seen.extend(y.tolist() for _, y in DataLoader(Stream(5, broken=3), 2, num_workers=workers))
    (first,) = [next(iter(DataLoader(Stream(10**6), 2, num_workers=workers)))]
    assert first[1].tolist() == [0, 1]
    assert not any(t.name == "fastnn-data" and t.is_alive() for t in threading.enumerate())


def test_manual_seed_fixes_the_order():
    def order():
        fastnn.manual_seed(5)
        return [int(x) for (batch,) in DataLoader(np.arange(20), 5, shuffle=True) for x in batch]

    assert order() == order()
    assert order() != list(range(20))


def test_batches_can_begin_anywhere():
    for dataset in (np.arange(10), Squares(10)):
        loader = DataLoader(dataset, 3, shuffle=True, seed=2)
        whole = list(loader)
        loader.set_epoch(0)
        rest = list(loader.batches_from(2))
        assert len(rest) == 2
        number = (lambda b: b["number"].tolist()) if isinstance(dataset, Squares) else (lambda b: b[0].tolist())
        assert [number(b) for b in rest] == [number(b) for b in whole[2:]]


def test_random_split():
    data = TensorDataset(np.arange(10))
    parts = random_split(data, [7, 3], seed=1)
    assert sorted(parts[0].indices + parts[1].indices) == list(range(10))
    assert [p.indices for p in random_split(data, [7, 3], seed=1)] == [p.indices for p in parts]
    assert [len(p) for p in random_split(data, [0.5, 0.25, 0.25])] == [6, 2, 2]
    for lengths in ([5, 4], [11, -1], [0.5, 0.6]):
        with pytest.raises(ValueError, match="random_split"):
            random_split(data, lengths)


def test_datasets_in_a_row():
    both = Squares(3) + TensorDataset(np.arange(2))
    assert isinstance(both, ConcatDataset)
    assert len(both) == 5
    assert both[2]["number"] == 2
    assert both[-1][0].item() == 1
    with pytest.raises(IndexError, match="from -5 to 4, got 5"):
        both[5]


def test_collate():
    from collections import namedtuple

    Point = namedtuple("Point", "x y")
    batch = default_collate([Point(1, np.zeros(2)), Point(2, np.ones(2))])
    assert isinstance(batch, Point)
    assert batch.x.tolist() == [1, 2]
    assert batch.y.shape == (2, 2)
    assert default_collate([[1.5, "a"], [2.5, "b"]])[0].dtype == np.float64
    assert default_collate([True, False]).dtype == np.bool_
    with pytest.raises(ValueError, match="one shape, got"):
        default_collate([np.zeros(2), np.zeros(3)])
    with pytest.raises(ValueError, match="as many parts"):
        default_collate([(1, 2), (1,)])
    with pytest.raises(TypeError, match="a batch is made of"):
        default_collate([object()])


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"shuffle": True, "sampler": [0]}, "shuffle must be left out"),
        ({"batch_sampler": [[0]], "batch_size": 2}, "must be left out where a batch_sampler"),
        ({"batch_size": None, "drop_last": True}, "drop_last needs a batch_size"),
        ({"num_workers": -1}, "num_workers must be at least 0, got -1"),
        ({"prefetch_factor": 0}, "prefetch_factor must be at least 1, got 0"),
    ],
)
def test_options_that_do_not_go_together(options, text):
    with pytest.raises(ValueError, match=text):
        DataLoader(Squares(3), **options)
    with pytest.raises(ValueError, match="comes in its own order"):
        DataLoader(Stream(3), shuffle=True)
    with pytest.raises(TypeError, match="must have items or be iterable, got int"):
        DataLoader(3)
