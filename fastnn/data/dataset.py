"""Datasets: whatever has a length and items, arrays that belong together, and parts of them."""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from fastnn.tensor import Tensor, as_tensor

Tensors = tuple[Tensor, ...]


class Dataset:
    """Base of datasets with items: a subclass has ``__getitem__`` and, where the size is known, ``__len__``."""

    def __getitem__(self, index: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} must define __getitem__")

    def __add__(self, other: Any) -> ConcatDataset:
        return ConcatDataset([self, other])


class IterableDataset(Dataset):
    """Base of datasets that can only be walked: a subclass has ``__iter__``."""

    def __iter__(self) -> Iterator[Any]:
        raise NotImplementedError(f"{type(self).__name__} must define __iter__")


class TensorDataset(Dataset):
    """Tensors whose first axes belong together, such as features and labels.

    Parameters
    ----------
    tensors : Tensors or arrays of the same length along their first axis; they are not copied.
    """

    def __init__(self, *tensors: Any) -> None:
        self.tensors: Tensors = tuple(as_tensor(tensor).detach() for tensor in tensors)
        if not self.tensors:
            raise ValueError("TensorDataset: at least one array must be given")
        for place, tensor in enumerate(self.tensors):
            if tensor.ndim == 0:
                raise ValueError(f"TensorDataset: array {place} must have at least one axis, got a scalar")
            if len(tensor) != len(self.tensors[0]):
                raise ValueError(
                    f"TensorDataset: array {place} must have length {len(self.tensors[0])} to match array 0, "
                    f"got {len(tensor)}"
                )

    def __len__(self) -> int:
        return len(self.tensors[0])

    def __getitem__(self, index: Any) -> Tensors:
        return tuple(tensor[index] for tensor in self.tensors)


class Subset(Dataset):
    """Some items of a dataset.

    Parameters
    ----------
    dataset : any with items.
    indices : of the items, in the order that they shall have.
    """

    def __init__(self, dataset: Any, indices: Sequence[int]) -> None:
        self.dataset, self.indices = dataset, indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, (list, np.ndarray)):
            return self.dataset[[self.indices[i] for i in index]]
        return self.dataset[self.indices[index]]


class ConcatDataset(Dataset):
    """Datasets one after the other."""

    def __init__(self, datasets: Sequence[Any]) -> None:
        self.datasets = list(datasets)
        if not self.datasets:
            raise ValueError("ConcatDataset: at least one dataset must be given")
        self.cumulative_sizes = list(accumulate(len(dataset) for dataset in self.datasets))

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]

    def __getitem__(self, index: int) -> Any:
        place = index + len(self) if index < 0 else index
        if not 0 <= place < len(self):
            raise IndexError(f"ConcatDataset: index must lie from {-len(self)} to {len(self) - 1}, got {index}")
        which = bisect.bisect_right(self.cumulative_sizes, place)
        return self.datasets[which][place - (self.cumulative_sizes[which - 1] if which else 0)]


def random_split(
    dataset: Any, lengths: Sequence[float], generator: Any = None, *, seed: int | None = None
) -> list[Subset]:
    """Divide a dataset at random into parts that share no item.

    Parameters
    ----------
    lengths : sizes that add up to the dataset's, or shares that add up to 1 (what rounding leaves goes to the first
        parts, one each).
    generator : a `fastnn.random.Generator`; by default the one that `manual_seed` starts.
    seed : instead of a generator.

    Raises
    ------
    ValueError : the lengths do not add up.
    """
    count = len(dataset)
    if math.isclose(sum(lengths), 1) and sum(lengths) <= 1 + 1e-9 and not all(n == int(n) for n in lengths):
        if not all(0 <= share <= 1 for share in lengths):
            raise ValueError(f"random_split: shares must lie from 0 to 1, got {list(lengths)}")
        sizes = [math.floor(count * share) for share in lengths]
        for i in range(count - sum(sizes)):
            sizes[i % len(sizes)] += 1
    else:
        sizes = [int(n) for n in lengths]
        if sum(sizes) != count or min(sizes, default=0) < 0:
            raise ValueError(f"random_split: lengths must add up to {count}, got {list(lengths)}")
    order = shuffled(count, drawn_seed(generator) if seed is None else seed)
    stops = list(accumulate(sizes))
    return [Subset(dataset, order[stop - size : stop].tolist()) for size, stop in zip(sizes, stops, strict=True)]


def drawn_seed(generator: Any = None) -> int:
    """A seed from a generator (by default the one that `manual_seed` starts)."""
    from fastnn.random import default_generator

    source: Any = default_generator if generator is None else generator
    numbers = source.numpy() if hasattr(source, "numpy") else source
    return int(numbers.bit_generator.random_raw())


def shuffled(count: int, seed: int, epoch: int = 0) -> np.ndarray[Any, Any]:
    """The numbers from 0 to count - 1 in an order that depends on the seed, the epoch and the count alone.

    They are sorted by random keys: the bits of a bit generator are frozen, a permutation's draw is not. The low bits
    of a key are its number, so keys differ, and sorting them alone gives the order.
    """
    samples = np.arange(count, dtype=np.uint64)
    number = np.uint64((1 << count.bit_length()) - 1)
    keys = np.random.Philox(key=seed, counter=[0, 0, 0, epoch]).random_raw(count)
    keys = (keys & ~number) | samples
    keys.sort()
    return (keys & number).astype(np.intp)


def arrays_of(dataset: Any) -> tuple[tuple[np.ndarray[Any, Any], ...], np.ndarray[Any, Any] | None] | None:
    """The arrays behind a dataset and which of their rows are its items (None: all); None for any other dataset."""
    if type(dataset) is TensorDataset:
        return tuple(tensor.array for tensor in dataset.tensors), None
    if type(dataset) is Subset:
        below = arrays_of(dataset.dataset)
        if below is not None:
            arrays, rows = below
            own = np.asarray(dataset.indices, dtype=np.intp).reshape(-1)
            count = len(arrays[0]) if rows is None else len(rows)
            if len(own) and not (-count <= own.min() and own.max() < count):
                raise IndexError(f"Subset: indices must lie from {-count} to {count - 1}")
            own = np.where(own < 0, own + count, own)
            return arrays, own if rows is None else rows[own]
    return None
