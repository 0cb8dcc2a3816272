"""Batches of arrays that lie in memory."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn.data.images import ImageData
from fastnn.random import default_generator
from fastnn.tensor import Tensor, as_tensor, from_numpy

Tensors = tuple[Tensor, ...]


class TensorDataset:
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


class DataLoader:
    """Batches of a dataset, in order or shuffled anew for each epoch.

    Every batch is a new tuple of new Tensors: a batch may be kept or changed, neither harms the dataset or later
    batches. The order of an epoch depends on ``seed``, the epoch's number and the number of samples alone, so it is
    the same on every machine and with every version of NumPy.

    Parameters
    ----------
    dataset : a `TensorDataset`, a split of an image dataset (its ``features()`` and labels), one array or Tensor, or a
        tuple or list of them.
    batch_size : samples in a batch; the last batch of an epoch may be smaller.
    shuffle : whether each epoch has an order of its own; otherwise batches follow the dataset.
    drop_last : leave out a last batch that is smaller than ``batch_size``.
    seed : a whole number from 0 to 2**64 - 1 that fixes the orders; None draws one from the
        default generator (see the attribute ``seed``).
    """

    def __init__(
        self,
        dataset: TensorDataset | ImageData | Tensor | NDArray[Any] | Sequence[Any],
        batch_size: int = 1,
        shuffle: bool = False,
        *,
        drop_last: bool = False,
        seed: int | None = None,
    ) -> None:
        self.dataset = _as_dataset(dataset)
        self.batch_size = _whole("batch_size", batch_size, 1)
        self.shuffle = shuffle
        self.drop_last = drop_last
        drawn = int(default_generator.numpy().bit_generator.random_raw()) if seed is None else seed
        self.seed = _whole("seed", drawn, 0)
        if self.seed >= 2**64:
            raise ValueError(f"DataLoader: seed must be below 2**64, got {seed}")
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Make the next iteration that of the given epoch; by default each iteration is the next one, from 0 on."""
        self._epoch = _whole("epoch", epoch, 0)

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        whole, rest = divmod(len(self.dataset), self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[Tensors]:
        order = self._order() if self.shuffle else None
        self._epoch += 1
        return self._batches(order)

    def _order(self) -> NDArray[np.intp]:
        """Sort the samples by random keys: the bits of a bit generator are frozen, a permutation's draw is not.

        The low bits of a key are its sample's number, so keys differ, and sorting them alone gives the order.
        """
        samples = np.arange(len(self.dataset), dtype=np.uint64)
        number = np.uint64((1 << len(self.dataset).bit_length()) - 1)
        keys = np.random.Philox(key=self.seed, counter=[0, 0, 0, self._epoch]).random_raw(len(samples))
        keys = (keys & ~number) | samples
        keys.sort()
        return (keys & number).astype(np.intp)

    def _batches(self, order: NDArray[np.intp] | None) -> Iterator[Tensors]:
        arrays = [tensor.numpy() for tensor in self.dataset.tensors]
        for start in range(0, len(self) * self.batch_size, self.batch_size):
            stop = min(start + self.batch_size, len(self.dataset))
            if order is None:
                yield tuple(from_numpy(array[start:stop].copy()) for array in arrays)
                continue
            batch = []
            for array in arrays:
                out = np.empty((stop - start, *array.shape[1:]), array.dtype)
                # The indices are right by construction; with mode="raise" NumPy would copy `out` to be able to undo.
                np.take(array, order[start:stop], axis=0, out=out, mode="clip")
                batch.append(from_numpy(out))
            yield tuple(batch)


def _as_dataset(dataset: TensorDataset | ImageData | Tensor | NDArray[Any] | Sequence[Any]) -> TensorDataset:
    if isinstance(dataset, TensorDataset):
        return dataset
    if isinstance(dataset, ImageData):
        return TensorDataset(dataset.features(), dataset.labels)
    if isinstance(dataset, (tuple, list)):
        return TensorDataset(*dataset)
    return TensorDataset(dataset)


def _whole(name: str, value: int, least: int) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"DataLoader: {name} must be a whole number, got {value!r}") from None
    if number < least:
        raise ValueError(f"DataLoader: {name} must be at least {least}, got {number}")
    return number
