"""Batches of a dataset: gathered from arrays, or made of items, by threads if asked for."""

from __future__ import annotations

import math
import operator
import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any

import numpy as np

from fastnn import ops
from fastnn._runtime.memory import empty
from fastnn.data.collate import default_collate
from fastnn.data.dataset import TensorDataset, arrays_of, drawn_seed, shuffled
from fastnn.data.images import ImageData
from fastnn.data.tables import Table
from fastnn.ops.op import KERNEL_DTYPES
from fastnn.tensor import Tensor, from_numpy

GATHERED = 1 << 17  # bytes that are gathered at a time where batches are smaller
KERNELS = frozenset(map(np.dtype, KERNEL_DTYPES))
MANY = 1 << 14  # numbers of a batch from which a kernel gathers it


class DataLoader:
    """Batches of a dataset, in order or shuffled anew for each epoch.

    Every batch of arrays is a new tuple of new Tensors: a batch may be kept or changed, neither harms the dataset or
    later batches. The order of an epoch depends on ``seed``, the epoch's number and the number of samples alone, so it
    is the same on every machine and with every version of NumPy.

    Parameters
    ----------
    dataset : one array or Tensor, a tuple of them, or a `TensorDataset` (or a `Subset` of one): batches are gathered
        row by row, without Python for each sample. A split of an image dataset (its ``features()`` and labels). Any
        dataset with items and a length, such as a list: items are made into batches by `collate_fn`. Any other
        iterable: its items are taken as they come.
    batch_size : samples in a batch; the last batch of an epoch may be smaller. None gives the items as they are.
    shuffle : whether each epoch has an order of its own; otherwise batches follow the dataset.
    sampler : an iterable of indices, in place of the order.
    batch_sampler : an iterable of lists of indices, in place of the batches.
    num_workers : threads that make batches of items ahead of time; 0 makes them as they are asked for. Arrays need
        none.
    collate_fn : makes a batch of a list of items; by default `default_collate`.
    drop_last : leave out a last batch that is smaller than ``batch_size``.
    generator : draws the seed where none is given; by default the one that `fastnn.manual_seed` starts.
    prefetch_factor : batches that each thread is ahead.
    seed : a whole number from 0 to 2**64 - 1 that fixes the orders, and what random transforms do; None draws one when
        it is first needed.
    transform : changes each batch, or the first part of one that has several: one of `fastnn.data.transforms`, which
        change images, or a function of that part.
    pin_memory, timeout, worker_init_fn, persistent_workers : taken as torch's users give them; without meaning here.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Iterable[int] | None = None,
        batch_sampler: Iterable[Sequence[int]] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Any = None,
        *,
        generator: Any = None,
        prefetch_factor: int = 2,
        persistent_workers: bool = False,
        seed: int | None = None,
        transform: Callable[[Any], Any] | None = None,
    ) -> None:
        self.dataset = as_dataset(dataset)
        self.batch_size = None if batch_size is None else whole("batch_size", batch_size, 1)
        self.shuffle, self.drop_last = bool(shuffle), bool(drop_last)
        self.sampler, self.batch_sampler = sampler, batch_sampler
        self.num_workers = whole("num_workers", num_workers, 0)
        self.prefetch_factor = whole("prefetch_factor", prefetch_factor, 1)
        self.collate_fn = collate_fn
        self.generator = generator
        self.transform = transform
        self._seed = None if seed is None else whole("seed", seed, 0)
        if self._seed is not None and self._seed >= 2**64:
            raise ValueError(f"DataLoader: seed must be below 2**64, got {seed}")
        self._epoch = 0
        self._has_items = hasattr(self.dataset, "__getitem__") and not _only_iterable(self.dataset)
        if not self._has_items and not hasattr(self.dataset, "__iter__"):
            raise TypeError(f"DataLoader: dataset must have items or be iterable, got {type(dataset).__name__}")
        self._check_combination()
        self._arrays = arrays_of(self.dataset) if collate_fn is None and self.batch_size is not None else None

    def _check_combination(self) -> None:
        if self.sampler is not None and self.shuffle:
            raise ValueError("DataLoader: shuffle must be left out where a sampler gives the order")
        if self.batch_sampler is not None and (self.batch_size != 1 or self.shuffle or self.sampler or self.drop_last):
            raise ValueError(
                "DataLoader: batch_size, shuffle, sampler and drop_last must be left out where a batch_sampler gives "
                "the batches"
            )
        if self.batch_size is None and self.drop_last:
            raise ValueError("DataLoader: drop_last needs a batch_size")
        if self.transform is not None and not callable(self.transform):
            raise TypeError(f"DataLoader: transform must be a function, got {type(self.transform).__name__}")
        if self.transform is not None and self.batch_size is None:
            raise ValueError("DataLoader: transform needs a batch_size: it changes batches")
        if not self._has_items and (self.shuffle or self.sampler is not None or self.batch_sampler is not None):
            raise ValueError(
                f"DataLoader: a dataset that can only be iterated over, {type(self.dataset).__name__}, comes in its "
                "own order; shuffle and samplers must be left out"
            )

    @property
    def seed(self) -> int:
        """What fixes the orders; drawn when it is first needed, if none was given."""
        if self._seed is None:
            self._seed = drawn_seed(self.generator)
        return self._seed

    @seed.setter
    def seed(self, value: int) -> None:
        self._seed = whole("seed", value, 0)

    def set_epoch(self, epoch: int) -> None:
        """Make the next iteration that of the given epoch; by default each iteration is the next one, from 0 on."""
        self._epoch = whole("epoch", epoch, 0)

    def __len__(self) -> int:
        """Return the number of batches in an epoch; TypeError where the dataset does not know its own."""
        if self.batch_sampler is not None:
            return len(self.batch_sampler)  # type: ignore[arg-type]
        count = len(self.dataset if self.sampler is None else self.sampler)  # type: ignore[arg-type]
        if self.batch_size is None:
            return count
        batches, rest = divmod(count, self.batch_size)
        return batches + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[Any]:
        return self.batches_from(0)

    def batches_from(self, first: int) -> Iterator[Any]:
        """The batches of the next epoch from a number on, without making those before it."""
        epoch = self._epoch
        self._epoch += 1
        if self._transforms_at_random():
            self.seed = self.seed  # drawn here, where it is needed: threads that make batches would each draw one
        if not self._has_items:
            return islice(self._iterated(epoch), first, None)
        if self._arrays is not None and self.sampler is None and self.batch_sampler is None:
            order = shuffled(len(self.dataset), self.seed, epoch) if self.shuffle else None
            batches = self._gathered(first, order)
            return batches if self.transform is None else self._each_transformed(batches, first, epoch, order)
        return self._collated(islice(self._index_batches(epoch), first, None), epoch)

    def _each_transformed(
        self, batches: Iterator[Any], first: int, epoch: int, order: np.ndarray[Any, Any] | None
    ) -> Iterator[Any]:
        """Batches from a number on, as `transform` leaves them."""
        assert self.batch_size is not None
        start = first * self.batch_size
        for batch in batches:
            stop = start + len(batch[0])
            yield self._transformed(batch, range(start, stop) if order is None else order[start:stop], epoch)
            start = stop

    def _transforms_at_random(self) -> bool:
        """Whether the transform goes by the seed and the samples' numbers."""
        if self.transform is None:
            return False
        from fastnn.data.transforms import Transform

        return isinstance(self.transform, Transform)

    def _transformed(self, batch: Any, samples: Any, epoch: int) -> Any:
        """A batch of the samples of some numbers, as `transform` leaves it."""
        if self.transform is None:
            return batch
        several = isinstance(batch, (tuple, list))
        if several and not len(batch):
            return batch
        first = batch[0] if several else batch
        if self._transforms_at_random():
            changed = self.transform.at(first, samples, self.seed, epoch)  # type: ignore[attr-defined]
        else:
            changed = self.transform(first)
        if not several:
            return changed
        rest = (changed, *batch[1:])
        if hasattr(batch, "_fields"):
            return type(batch)(*rest)
        return rest if isinstance(batch, tuple) else list(rest)

    # -- arrays

    def _gathered(self, first: int, order: np.ndarray[Any, Any] | None) -> Iterator[tuple[Tensor, ...]]:
        assert self._arrays is not None
        assert self.batch_size is not None
        arrays, rows = self._arrays
        if rows is not None:
            order = rows if order is None else rows[order]
        last = min(len(self) * self.batch_size, len(self.dataset))
        begin = first * self.batch_size
        parts = [_rows_in_batches(array, order, begin, last, self.batch_size) for array in arrays]
        return zip(*parts, strict=True)

    # -- items

    def _index_batches(self, epoch: int) -> Iterator[Any]:
        """Lists of indices, or single ones without a batch size."""
        if self.batch_sampler is not None:
            yield from self.batch_sampler
            return
        if self.sampler is not None:
            order: Iterator[int] = iter(self.sampler)
        elif self.shuffle:
            order = iter(shuffled(len(self.dataset), self.seed, epoch).tolist())
        else:
            order = iter(range(len(self.dataset)))
        if self.batch_size is None:
            yield from order
            return
        while batch := list(islice(order, self.batch_size)):
            if len(batch) == self.batch_size or not self.drop_last:
                yield batch

    def _make(self, indices: Any, epoch: int) -> Any:
        """The batch of some indices."""
        return self._transformed(self._untransformed(indices), indices, epoch)

    def _untransformed(self, indices: Any) -> Any:
        if self.batch_size is None and self.batch_sampler is None:
            item = self.dataset[indices]
            return item if self.collate_fn is None else self.collate_fn(item)
        if self._arrays is not None:
            arrays, rows = self._arrays
            chosen = np.asarray(indices, dtype=np.intp)
            count = len(self.dataset)
            if len(chosen) and not (-count <= chosen.min() and chosen.max() < count):
                raise IndexError(f"DataLoader: indices must lie from {-count} to {count - 1}, got {indices}")
            chosen = np.where(chosen < 0, chosen + count, chosen)
            return tuple(from_numpy(taken(array, chosen if rows is None else rows[chosen])) for array in arrays)
        return (self.collate_fn or default_collate)([self.dataset[i] for i in indices])

    def _collated(self, indices: Iterator[Any], epoch: int) -> Iterator[Any]:
        if self.num_workers == 0:
            for some in indices:
                yield self._make(some, epoch)
            return
        pool = ThreadPoolExecutor(self.num_workers, thread_name_prefix="fastnn-data")
        ahead: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()
        try:
            for some in islice(indices, self.num_workers * self.prefetch_factor):
                ahead.put(pool.submit(self._make, some, epoch))
            while not ahead.empty():
                batch = ahead.get().result()
                for some in islice(indices, 1):
                    ahead.put(pool.submit(self._make, some, epoch))
                yield batch
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _iterated(self, epoch: int) -> Iterator[Any]:
        batches = self._in_batches(epoch)
        return batches if self.num_workers == 0 else in_background(batches, self.prefetch_factor)

    def _in_batches(self, epoch: int) -> Iterator[Any]:
        items = iter(self.dataset)
        if self.batch_size is None:
            yield from items if self.collate_fn is None else map(self.collate_fn, items)
            return
        start = 0
        while batch := list(islice(items, self.batch_size)):
            if len(batch) == self.batch_size or not self.drop_last:
                made = (self.collate_fn or default_collate)(batch)
                yield self._transformed(made, range(start, start + len(batch)), epoch)
            start += len(batch)


_END = object()


def in_background(items: Iterator[Any], ahead: int) -> Iterator[Any]:
    """The items, made by a thread that is at most so many ahead; its exception comes where its item would."""
    ready: queue.Queue[tuple[Any, BaseException | None]] = queue.Queue(ahead)
    done = threading.Event()

    def put(entry: tuple[Any, BaseException | None]) -> None:
        while not done.is_set():
            try:
                ready.put(entry, timeout=0.1)
                return
            except queue.Full:
                continue

    def work() -> None:
        try:
            for item in items:
                put((item, None))
                if done.is_set():
                    return
            put((_END, None))
        except BaseException as error:
            put((_END, error))

    thread = threading.Thread(target=work, name="fastnn-data", daemon=True)
    thread.start()
    try:
        while True:
            item, error = ready.get()
            if error is not None:
                raise error
            if item is _END:
                return
            yield item
    finally:
        done.set()
        thread.join()


def _rows_in_batches(
    array: np.ndarray[Any, Any], order: np.ndarray[Any, Any] | None, begin: int, end: int, size: int
) -> Iterator[Tensor]:
    """Rows of an array in batches; small ones several at a time: they share a piece of memory, but no element."""
    row = array.nbytes // max(1, len(array))
    at_once = max(1, GATHERED // max(1, row * size)) * size
    for start in range(begin, end, at_once):
        stop = min(start + at_once, end)
        part = array[start:stop].copy() if order is None else taken(array, order[start:stop])
        if stop - start <= size:
            yield from_numpy(part)
        else:
            yield from (from_numpy(part[at : at + size]) for at in range(0, stop - start, size))


def taken(array: np.ndarray[Any, Any], rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Rows of an array, in pooled memory; the indices are known to be right."""
    if array.dtype in KERNELS and len(rows) * math.prod(array.shape[1:]) >= MANY:
        gathered: np.ndarray[Any, Any] = ops.take(array, rows, axis=0)  # by all threads
        return gathered
    out = empty((len(rows), *array.shape[1:]), array.dtype)
    # with mode="raise" NumPy would copy `out` to be able to undo
    np.take(array, rows, axis=0, out=out, mode="clip")
    return out


def as_dataset(dataset: Any) -> Any:
    """What a loader was given, as a dataset."""
    if isinstance(dataset, ImageData):
        return TensorDataset(dataset.features(), dataset.labels)
    if isinstance(dataset, Table):
        return TensorDataset(*dataset.arrays)
    if isinstance(dataset, tuple) and not hasattr(dataset, "_fields"):
        return TensorDataset(*dataset)
    if isinstance(dataset, (np.ndarray, Tensor)):
        return TensorDataset(dataset)
    return dataset


def _only_iterable(dataset: Any) -> bool:
    from fastnn.data.dataset import IterableDataset

    return isinstance(dataset, IterableDataset) or not hasattr(dataset, "__len__")


def whole(name: str, value: int, least: int) -> int:
    """A whole number; TypeError or ValueError, naming the argument, for anything else."""
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"DataLoader: {name} must be a whole number, got {value!r}") from None
    if number < least:
        raise ValueError(f"DataLoader: {name} must be at least {least}, got {number}")
    return number
