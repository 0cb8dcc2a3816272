"""Changes of images, each sample in its own way, and the random numbers to choose by. None has a gradient.

Images are channels-last inside and results lie so, as for convolutions.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn._numpy_views import integer
from fastnn.errors import ShapeError
from fastnn.ops.convolution.layout import channels_last, ready
from fastnn.ops.elementwise import contiguous, groups
from fastnn.ops.lowering import Array, Lowering, reads, writes
from fastnn.ops.op import Op, Shape
from fastnn.ops.philox import ATTEMPT, CELLS, rounds

__all__ = ["crop_images", "erase_images", "flip_images", "uniform_rows", "warp_images"]

MOST_NUMBERS = 1024  # of a sample: four of each of 256 attempts
UNROLLED = 4  # channels up to which loops over them are
INTERPOLATIONS = ("bilinear", "nearest")


# -- numbers


def _uniform_rows(x: np.ndarray, samples: np.ndarray, *, seed_low: float, seed_high: float, draw: float) -> np.ndarray:
    """Numbers from [0, 1) for each sample: row ``i`` depends on ``samples[i]``, the seed and the draw alone.

    Only the shape and dtype of x count. seed_low and seed_high are the halves of a 64-bit seed; draw, a whole number
    below 2**53, tells draws from the same seed apart. (Philox 4x32-10, Salmon et al., SC 2011.)
    """
    rows, count = x.shape
    sample, number = samples.astype(np.int64).view(np.uint64)[:, None], int(draw)
    block = np.arange(-(-count // 4), dtype=np.uint64)[None, :]
    mask = np.uint64(0xFFFFFFFF)
    low, high = np.broadcast_arrays(sample & mask, (number >> 32) ^ (block * np.uint64(ATTEMPT)))
    up, middle = np.broadcast_arrays(sample >> np.uint64(32), np.full_like(block, number & 0xFFFFFFFF))
    words = rounds([low, up, middle, high], [int(seed_low), int(seed_high)])
    every = np.stack(words, axis=-1).reshape(rows, block.shape[1] * 4)[:, :count]
    if x.dtype == np.float64:
        return every * 2.0**-32
    return ((every >> np.uint64(8)).astype(np.float32) * np.float32(2.0**-24)).astype(x.dtype)


def _rows_shape(name: str, shapes: dict[str, Shape | None], attrs: dict[str, Any]) -> list[Shape]:
    x = shapes["x"]
    assert x is not None
    if x[1] > MOST_NUMBERS:
        raise ShapeError(f"{name}: x must have at most {MOST_NUMBERS} columns, got {x}")
    return [x]


def _lower_rows(low: Lowering, x: Array, samples: Array) -> Array:
    y = low.output(x.shape, x.dtype)
    rows, count = x.shape
    group, chunks, work = groups(rows if count else 0, 30.0 * -(-count // 4))
    low.phase(
        "augmentation.numbers",
        [
            writes(y), reads(samples), samples.strides[0], rows, count,
            low.cell("seed_low"), low.cell("seed_high"), low.cell("draw"), group,
        ],
        chunks=chunks, work=work, flops=y.size, dtype=x.dtype, index=samples.dtype,
    )  # fmt: skip
    return y


uniform_rows = Op(
    name="uniform_rows",
    shapes="x:(N,K) samples:(N) -> y:(N,K)",
    rule=_rows_shape,
    reference=(_uniform_rows, None),
    lower=(_lower_rows, None),
    cells=CELLS,
    integer=("samples",),
    bounds={"samples": "below"},
    cases=[
        {"N": n, "K": k, "below": below, "seed_low": 1234.0, "seed_high": 5.0, "draw": 77.0 + 2.0**40}
        for n, k, below in [(1, 1, 9), (7, 3, 1000), (5, 4, 1 << 40), (3, 10, 100), (0, 2, 5), (3, 0, 5)]
    ],
    bench=[{"N": 128, "K": 4, "below": 60_000}],
)


# -- windows


def _image(name: str, x: Shape | None) -> Shape:
    assert x is not None
    if len(x) != 4:
        raise ShapeError(f"{name}: x must be (N, C, H, W), got {x}")
    return x


def _beside(name: str, what: str, given: Shape | None, wanted: Shape) -> None:
    if given != wanted:
        raise ShapeError(f"{name}: {what} must have shape {wanted}, got {given}")


def _crop(x: np.ndarray, corners: np.ndarray, *, size: Shape, fill: float) -> np.ndarray:
    """The window of each image (N, C, H, W) that begins at a corner of its own.

    ``corners`` (N, 2) are the row and column of its first pixel; ``size`` its height and width. Where a window reaches
    beyond the image, its pixels are ``fill``.
    """
    rows = corners[:, :1] + np.arange(size[0])
    columns = corners[:, 1:] + np.arange(size[1])
    inside = ((rows >= 0) & (rows < x.shape[2]))[:, :, None] & ((columns >= 0) & (columns < x.shape[3]))[:, None, :]
    if 0 in x.shape[2:]:
        return np.full((*x.shape[:2], *size), fill, x.dtype)
    row, column = np.clip(rows, 0, x.shape[2] - 1), np.clip(columns, 0, x.shape[3] - 1)
    taken = x[np.arange(len(x))[:, None, None], :, row[:, :, None], column[:, None, :]]
    return np.where(inside[:, None], np.moveaxis(taken, -1, 1), x.dtype.type(fill))


def _pair(name: str, given: Any) -> Shape:
    """Height and width."""
    values = given if isinstance(given, (tuple, list)) else (given,) * 2
    size = tuple(integer(f"{name}: size", n) for n in values)
    if len(size) != 2 or min(size) < 1 or max(size) >= 1 << 31:
        raise ValueError(f"{name}: size must be one or two numbers from 1 on and below 2**31, got {given}")
    return size


def _crop_check(attributes: dict[str, Any]) -> dict[str, Any]:
    return {"size": _pair("crop_images", attributes["size"])}


def _crop_shape(name: str, shapes: dict[str, Shape | None], attrs: dict[str, Any]) -> list[Shape]:
    x = _image(name, shapes["x"])
    _beside(name, "corners", shapes["corners"], (x[0], 2))
    return [(*x[:2], *attrs["size"])]


def _changed(low: Lowering, x: Array, size: Shape) -> tuple[Array, Array, Array]:
    """The result, the result with its channels last, and the images so, without gaps."""
    image = ready(low, x, [(0, 0)] * 2, dense=True)
    y = low.output((*x.shape[:2], *size), x.dtype, [0, 2, 3, 1])
    return y, channels_last(y), image


def _lower_crop(low: Lowering, x: Array, corners: Array) -> Array:
    size = low.attrs["size"]
    y, own, image = _changed(low, x, size)
    count, rows, columns, channels = image.shape
    group, chunks, work = groups(count if channels else 0, size[0] * (size[1] * channels * 0.1 * x.itemsize + 5))
    low.phase(
        "augmentation.window",
        [
            writes(own), reads(image), reads(corners), *corners.strides, count, channels, rows, columns, *size,
            low.cell("fill"), group,
        ],
        chunks=chunks, work=work, flops=0, dtype=x.dtype, index=corners.dtype,
    )  # fmt: skip
    return y


crop_images = Op(
    name="crop_images",
    shapes="x:(...) corners:(...) -> y:(...)",
    rule=_crop_shape,
    check=_crop_check,
    reference=(_crop, None),
    lower=(_lower_crop, None),
    attributes={"size": 1},
    cells={"fill": 0.0},
    integer=("corners",),
    bounds={"corners": "below"},
    cases=[
        {"x": (5, 3, 7, 6), "corners": (5, 2), "size": (4, 3), "below": 4, "fill": 0.5},
        {"x": (4, 1, 6, 6), "corners": (4, 2), "size": (6, 6), "below": 9, "fill": -1.0},
        {"x": (3, 2, 2, 3), "corners": (3, 2), "size": (5, 4), "below": 2},
        {"x": (0, 2, 4, 4), "corners": (0, 2), "size": (2, 2), "below": 2},
    ],
    bench=[{"x": (128, 1, 28, 28), "corners": (128, 2), "size": (28, 28), "below": 4}],
)


# -- mirror images


def _flip(x: np.ndarray, chosen: np.ndarray, *, axis: int) -> np.ndarray:
    """Images (N, C, H, W), those that are chosen (N,) mirrored: along ``axis`` -1, left and right change places.

    With ``axis`` -2 top and bottom do.
    """
    return np.where(chosen[:, None, None, None], np.flip(x, axis), x)


def _flip_check(attributes: dict[str, Any]) -> dict[str, Any]:
    axis = integer("flip_images: axis", attributes["axis"])
    if axis not in (-2, -1, 2, 3):
        raise ValueError(f"flip_images: axis must be -2 or -1 (2 or 3), got {axis}")
    return {"axis": axis if axis < 0 else axis - 4}


def _flip_shape(name: str, shapes: dict[str, Shape | None], attrs: dict[str, Any]) -> list[Shape]:
    x = _image(name, shapes["x"])
    _beside(name, "chosen", shapes["chosen"], x[:1])
    return [x]


def _lower_flip(low: Lowering, x: Array, chosen: Array) -> Array:
    y, own, image = _changed(low, x, x.shape[2:])
    count, rows, columns, channels = image.shape
    size = rows * columns * channels
    group, chunks, work = groups(count if size else 0, size * 0.2 * x.itemsize)
    low.phase(
        "augmentation.mirror",
        [writes(own), reads(image), reads(chosen), chosen.strides[0], count, channels, rows, columns, group],
        chunks=chunks, work=work, flops=0, dtype=x.dtype, upright=low.attrs["axis"] == -2,
    )  # fmt: skip
    return y


flip_images = Op(
    name="flip_images",
    shapes="x:(...) chosen:(...) -> y:(...)",
    rule=_flip_shape,
    check=_flip_check,
    reference=(_flip, None),
    lower=(_lower_flip, None),
    attributes={"axis": -1},
    mask=("chosen",),
    cases=[
        {"x": (7, 3, 4, 5), "chosen": (7,)},
        {"x": (7, 2, 5, 3), "chosen": (7,), "axis": -2},
        {"x": (0, 2, 5, 3), "chosen": (0,)},
    ],
    bench=[{"x": (128, 1, 28, 28), "chosen": (128,)}],
)


# -- affine maps


def _warp(x: np.ndarray, maps: np.ndarray, *, interpolation: str, size: Shape | None, fill: float) -> np.ndarray:
    """Images (N, C, H, W), each seen through an affine map of its own (N, 2, 3), at a ``size`` (default: theirs).

    The pixel in row ``i``, column ``j`` comes from column ``maps[n, 0] @ (j, i, 1)`` and row ``maps[n, 1] @ (j, i, 1)``
    of the image: of its four neighbours there (``"bilinear"``) or of the nearest one. Pixels beyond it are ``fill``.
    """
    count, _, rows, columns = x.shape
    high, broad = (rows, columns) if size is None else size
    i, j = np.mgrid[:high, :broad].astype(np.float64)
    wide = maps.astype(np.float64)
    across, down = (
        m[:, 0, None, None] * j + m[:, 1, None, None] * i + m[:, 2, None, None] for m in (wide[:, 0], wide[:, 1])
    )
    if interpolation == "nearest":
        across, down = across + 0.5, down + 0.5
    known = (across > -1) & (across < columns + 1) & (down > -1) & (down < rows + 1)
    across, down = np.where(known, across, -9.0), np.where(known, down, -9.0)
    left, top = np.floor(across).astype(np.int64), np.floor(down).astype(np.int64)

    def at(row: np.ndarray, column: np.ndarray) -> np.ndarray:
        inside = (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
        taken = x[
            np.arange(count)[:, None, None],
            :,
            np.clip(row, 0, max(rows - 1, 0)),
            np.clip(column, 0, max(columns - 1, 0)),
        ]
        return np.where(inside[:, None], np.moveaxis(taken, -1, 1), fill)

    if interpolation == "nearest":
        return at(top, left).astype(x.dtype)
    right, bottom = (across - left)[:, None], (down - top)[:, None]
    upper = at(top, left) * (1 - right) + at(top, left + 1) * right
    lower = at(top + 1, left) * (1 - right) + at(top + 1, left + 1) * right
    return np.asarray(upper * (1 - bottom) + lower * bottom).astype(x.dtype)


def _warp_check(attributes: dict[str, Any]) -> dict[str, Any]:
    if attributes["interpolation"] not in INTERPOLATIONS:
        raise ValueError(
            f"warp_images: interpolation must be one of {', '.join(INTERPOLATIONS)}, got "
            f"{attributes['interpolation']!r}"
        )
    if attributes["size"] is None:
        return attributes
    return {**attributes, "size": _pair("warp_images", attributes["size"])}


def _warp_shape(name: str, shapes: dict[str, Shape | None], attrs: dict[str, Any]) -> list[Shape]:
    x = _image(name, shapes["x"])
    _beside(name, "maps", shapes["maps"], (x[0], 2, 3))
    return [(*x[:2], *(attrs["size"] or x[2:]))]


def _lower_warp(low: Lowering, x: Array, maps: Array) -> Array:
    size = low.attrs["size"] or x.shape[2:]
    y, own, image = _changed(low, x, size)
    count, rows, columns, channels = image.shape
    group, chunks, work = groups(count if y.size else 0, size[0] * size[1] * (5.0 + 2.0 * channels))
    low.phase(
        "augmentation.warp",
        [
            writes(own), reads(image), reads(contiguous(low, maps)), count, channels, rows, columns, *size,
            low.cell("fill"), group,
        ],
        chunks=chunks, work=work, flops=8 * y.size, dtype=x.dtype, bilinear=low.attrs["interpolation"] == "bilinear",
        fixed=channels if channels <= UNROLLED else 0,
    )  # fmt: skip
    return y


warp_images = Op(
    name="warp_images",
    shapes="x:(...) maps:(...) -> y:(...)",
    rule=_warp_shape,
    check=_warp_check,
    reference=(_warp, None),
    lower=(_lower_warp, None),
    attributes={"interpolation": "bilinear", "size": None},
    cells={"fill": 0.0},
    cases=[
        {"x": (5, 3, 7, 6), "maps": (5, 2, 3), "fill": 0.5},
        {"x": (5, 1, 6, 9), "maps": (5, 2, 3), "interpolation": "nearest"},
        {"x": (4, 2, 5, 6), "maps": (4, 2, 3), "size": (9, 3)},
        {"x": (0, 1, 6, 9), "maps": (0, 2, 3)},
    ],
    domain={"maps": (-1.0, 1.0)},
    bench=[{"x": (128, 1, 28, 28), "maps": (128, 2, 3)}],
)


# -- boxes


def _erase(x: np.ndarray, boxes: np.ndarray, *, value: float) -> np.ndarray:
    """Images (N, C, H, W), each with a box of its own filled with ``value``.

    ``boxes`` (N, 4) are first row and column, rows and columns; what of a box lies beyond the image is left out.
    """
    top, left, high, wide = (boxes[:, i, None] for i in range(4))
    row, column = np.arange(x.shape[2]), np.arange(x.shape[3])
    within = ((row >= top) & (row < top + high))[:, :, None] & ((column >= left) & (column < left + wide))[:, None, :]
    return np.where(within[:, None], x.dtype.type(value), x)


def _erase_shape(name: str, shapes: dict[str, Shape | None], attrs: dict[str, Any]) -> list[Shape]:
    x = _image(name, shapes["x"])
    _beside(name, "boxes", shapes["boxes"], (x[0], 4))
    return [x]


def _lower_erase(low: Lowering, x: Array, boxes: Array) -> Array:
    y, own, image = _changed(low, x, x.shape[2:])
    count, rows, columns, channels = image.shape
    size = rows * columns * channels
    group, chunks, work = groups(count if size else 0, size * 0.1 * x.itemsize)
    low.phase(
        "augmentation.erase",
        [
            writes(own), reads(image), reads(boxes), *boxes.strides, count, channels, rows, columns,
            low.cell("value"), group,
        ],
        chunks=chunks, work=work, flops=0, dtype=x.dtype, index=boxes.dtype,
    )  # fmt: skip
    return y


erase_images = Op(
    name="erase_images",
    shapes="x:(...) boxes:(...) -> y:(...)",
    rule=_erase_shape,
    reference=(_erase, None),
    lower=(_lower_erase, None),
    cells={"value": 0.0},
    integer=("boxes",),
    bounds={"boxes": "below"},
    cases=[
        {"x": (6, 3, 7, 5), "boxes": (6, 4), "below": 6, "value": 0.5},
        {"x": (4, 1, 3, 4), "boxes": (4, 4), "below": 3},
        {"x": (0, 2, 4, 4), "boxes": (0, 4), "below": 2},
    ],
    bench=[{"x": (128, 1, 28, 28), "boxes": (128, 4), "below": 14}],
)
