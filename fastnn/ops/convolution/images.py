"""Images and weights of one axis and of two, as the kernels for two take them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fastnn.ops.lowering import Array

ENOUGH_CHUNKS = 16  # for as many threads


def two(values: Sequence[int], missing: int) -> tuple[int, int]:
    """Rows and columns; an image of one axis is one row."""
    return (missing, values[0]) if len(values) == 1 else (values[0], values[1])


def with_rows(w: Array) -> Array:
    """A weight (O, C, rows, columns) of one of one or two axes."""
    if w.ndim == 4:
        return w
    return replace(w, shape=(*w.shape[:2], 1, w.shape[2]), strides=(*w.strides[:2], 0, w.strides[2]))


def distances(image: Array) -> tuple[int, int, int]:
    """From sample to sample, row to row, column to column of an image (N, ..., C), in bytes."""
    own = image.strides if image.ndim == 4 else (image.strides[0], 0, *image.strides[1:])
    return own[0] * image.itemsize, own[1] * image.itemsize, own[2] * image.itemsize
