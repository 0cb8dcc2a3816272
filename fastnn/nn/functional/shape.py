"""Padding, embeddings, patches and pixels under torch's names and arguments."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn import ops
from fastnn._numpy_views import integer
from fastnn._runtime.capture import computed, reading
from fastnn._runtime.tensor import TensorBase, is_grad_enabled
from fastnn.errors import DTypeError, ShapeError
from fastnn.tensor import Tensor, as_tensor, from_numpy

MODES = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def _tensor(value: Any) -> Any:
    return value if isinstance(value, TensorBase) else as_tensor(value)


def pad(input: Any, pad: Any, mode: str = "constant", value: Any = None) -> Tensor:
    """Elements around the last axes.

    Parameters
    ----------
    input : any shape; for modes other than ``"constant"`` the axes that are padded come after one or two others.
    pad : elements (before, after) the last axis, then the one before it, and so on. Negative ones take away.
    mode : ``"constant"``, ``"reflect"`` (mirrored without the edge), ``"replicate"`` (the edge) or ``"circular"``.
    value : of the elements that are added with ``"constant"`` (default 0).
    """
    x = _tensor(input)
    widths = tuple(integer("pad: pad", n) for n in (pad.array if isinstance(pad, TensorBase) else pad))
    if len(widths) % 2 or len(widths) > 2 * x.ndim:
        raise ShapeError(f"pad: pad must hold pairs for at most the {x.ndim} axes of {x.shape}, got {widths}")
    if mode not in MODES:
        raise ValueError(f"pad: mode must be one of {', '.join(MODES)}, got {mode!r}")
    count = len(widths) // 2
    if mode != "constant":
        if value not in (None, 0):
            raise ValueError(f"pad: value must be left out with mode {mode!r}, got {value!r}")
        if not 1 <= count <= 3 or x.ndim not in (count + 1, count + 2):
            raise ShapeError(
                f"pad: input must have one or two axes before those that are padded with mode {mode!r} (1 to 3), got "
                f"shape {x.shape} and pad {widths}"
            )
    pairs = [(0, 0)] * (x.ndim - count) + [(widths[2 * i], widths[2 * i + 1]) for i in reversed(range(count))]
    added = [(max(a, 0), max(b, 0)) for a, b in pairs]
    if added != pairs and mode == "replicate":
        # the edge is that of the whole array
        return _cropped(ops.pad(x, tuple(added), "edge"), [(min(a, 0), min(b, 0)) for a, b in pairs])
    if added != pairs:
        x = _cropped(x, pairs)
        pairs = added
    number = 0.0 if value is None else value
    if x.dtype.kind in "biu" and mode == "constant":
        number = x.dtype.type(number).item()
    made: Tensor = ops.pad(x, tuple(pairs), MODES[mode], constant_values=float(number))
    return made


def _cropped(x: Any, pairs: list[tuple[int, int]]) -> Tensor:
    """The part that negative widths leave."""
    parts = []
    for axis, ((before, after), extent) in enumerate(zip(pairs, x.shape, strict=True)):
        first, last = max(-before, 0), extent - max(-after, 0)
        if first > last:
            raise ShapeError(f"pad: pad must leave elements along axis {axis} of {x.shape}, got {(before, after)}")
        parts.append(slice(first, last))
    part: Tensor = x[tuple(parts)]
    return part


# -- embeddings


def one_hot(tensor: Any, num_classes: int = -1) -> Tensor:
    """Vectors with 1 at the place of each class and 0 elsewhere, (*) -> (*, num_classes), int64.

    `num_classes` : -1 for one more than the largest class. IndexError for a class that is not below it.
    """
    count = integer("one_hot: num_classes", num_classes)
    classes = _tensor(tensor).array
    if count == -1:
        reading("one_hot without num_classes")
    return from_numpy(computed(lambda array: _one_hot(array, count), classes))


def _one_hot(classes: np.ndarray, count: int) -> np.ndarray:
    if classes.dtype.kind not in "iu":
        raise DTypeError(f"one_hot: tensor must hold integers, got dtype {classes.dtype}")
    if count < -1 or (count == 0 and classes.size == 0) or (count == -1 and classes.size == 0):
        raise ValueError(f"one_hot: num_classes must be positive, or -1 where there are classes, got {count}")
    count = int(classes.max()) + 1 if count == -1 else count
    if classes.size and (classes.min() < 0 or classes.max() >= count):
        bad = int(((classes < 0) | (classes >= count)).reshape(-1).argmax())
        raise IndexError(f"one_hot: tensor must hold classes from 0 to {count - 1}, got {classes.reshape(-1)[bad]}")
    made = np.zeros((*classes.shape, count), np.int64)
    np.put_along_axis(made, classes[..., None].astype(np.int64), 1, -1)
    return made


def embedding(
    input: Any,
    weight: Any,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """Rows of a table, (*), (N, D) -> (*, D).

    Parameters
    ----------
    input : indices from 0 to N - 1.
    padding_idx : a row that gets no gradient; negative ones count from the end.
    max_norm : rows that are taken are first scaled down, in the table itself, to at most this norm.
    norm_type : which p-norm.
    scale_grad_by_freq : divide a row's gradient by how often it was taken.
    sparse : must be False.

    Raises
    ------
    IndexError : an index or `padding_idx` out of range.
    """
    if sparse:
        raise ValueError("embedding: sparse must be False, there are no sparse gradients")
    table, indices = _tensor(weight), _tensor(input)
    if indices.dtype.kind not in "iu":
        raise DTypeError(f"embedding: input must hold integers, got dtype {indices.dtype}")
    if indices.dtype not in (np.int32, np.int64):
        indices = indices.to(np.int64)
    if max_norm is not None:
        _renormalised(table, indices.array, float(max_norm), float(norm_type))
    made: Tensor = ops.embedding(table, indices, padding_idx, scale_grad_by_freq)
    return made


def _renormalised(table: Any, indices: np.ndarray, most: float, order: float) -> None:
    """Scale down the rows that are longer than a norm."""
    if table.requires_grad and not table.is_leaf and is_grad_enabled():
        table = table.detach()
    rows = np.unique(indices)
    if rows.size and (rows[0] < 0 or rows[-1] >= table.shape[0]):
        return  # the op that follows says which index is wrong
    norms = np.linalg.norm(table.array[rows], order, axis=1)
    long = norms > most
    if long.any():
        table.array[rows[long]] *= (most / (norms[long] + 1e-7))[:, None].astype(table.dtype)
        table._touch()


# -- patches


def _pair(name: str, value: Any) -> tuple[int, int]:
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    values = values * 2 if len(values) == 1 else values
    if len(values) != 2:
        raise ValueError(f"{name} must be a number or a pair, got {value!r}")
    return integer(name, values[0]), integer(name, values[1])


def _blocks(name: str, size: tuple[int, int], **options: tuple[int, int]) -> tuple[int, int]:
    """How many patches there are along both axes."""
    kernel, dilation, padding, stride = (options[n] for n in ("kernel_size", "dilation", "padding", "stride"))
    for option, least in (("kernel_size", 1), ("dilation", 1), ("padding", 0), ("stride", 1)):
        if min(options[option]) < least:
            raise ValueError(f"{name}: {option} must be at least {least}, got {options[option]}")
    counts = tuple(
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, p, d, k, s in zip(size, padding, dilation, kernel, stride, strict=True)
    )
    if min(counts) < 1:
        raise ShapeError(f"{name}: kernel_size {kernel} must fit the image {size} with padding {padding}")
    return counts[0], counts[1]


def _patches(image: np.ndarray, counts: tuple[int, int], **options: tuple[int, int]) -> np.ndarray:
    """A view (N, C, KH, KW, H, W) of padded images: for each place in a patch, the images seen there."""
    n, c, h, w = image.strides
    (kh, kw), (dh, dw), (sh, sw) = options["kernel_size"], options["dilation"], options["stride"]
    return np.lib.stride_tricks.as_strided(
        image, (*image.shape[:2], kh, kw, *counts), (n, c, dh * h, dw * w, sh * h, sw * w)
    )


def unfold(input: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Tensor:
    """The patches of images as columns, (N, C, H, W) -> (N, C * KH * KW, patches); also without N."""
    x = _tensor(input)
    if x.ndim not in (3, 4):
        raise ShapeError(f"unfold: input must have shape (N, C, H, W) or (C, H, W), got {x.shape}")
    if x.ndim == 3:
        return unfold(ops.reshape(x, (1, *x.shape)), kernel_size, dilation, padding, stride)[0]
    options = _options("unfold", kernel_size, dilation, padding, stride)
    counts = _blocks("unfold", x.shape[2:], **options)
    (ph, pw), (kh, kw) = options["padding"], options["kernel_size"]
    (dh, dw), (sh, sw) = options["dilation"], options["stride"]
    padded = pad(x, (pw, pw, ph, ph)) if ph or pw else x
    rows = ops.sliding_window(padded, 2, dh * (kh - 1) + 1, sh)
    both = ops.sliding_window(rows, 3, dw * (kw - 1) + 1, sw)  # N, C, H, W, rows and columns of a patch
    seen = both[..., ::dh, ::dw]
    moved = ops.transpose(seen, (0, 1, 4, 5, 2, 3))
    made: Tensor = ops.reshape(moved, (x.shape[0], x.shape[1] * kh * kw, counts[0] * counts[1]))
    return made


def _options(name: str, kernel_size: Any, dilation: Any, padding: Any, stride: Any) -> dict[str, tuple[int, int]]:
    given = {"kernel_size": kernel_size, "dilation": dilation, "padding": padding, "stride": stride}
    return {option: _pair(f"{name}: {option}", value) for option, value in given.items()}


def fold(
    input: Any, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> Tensor:
    """Images as the sum of patches, (N, C * KH * KW, patches) -> (N, C, H, W); also without N. Undoes no `unfold`
    where patches overlap: there elements are added.
    """
    x = _tensor(input)
    if x.ndim not in (2, 3):
        raise ShapeError(f"fold: input must have shape (N, C * KH * KW, L) or (C * KH * KW, L), got {x.shape}")
    if x.ndim == 2:
        return fold(ops.reshape(x, (1, *x.shape)), output_size, kernel_size, dilation, padding, stride)[0]
    options = _options("fold", kernel_size, dilation, padding, stride)
    height, width = _pair("fold: output_size", output_size)
    counts = _blocks("fold", (height, width), **options)
    kh, kw = options["kernel_size"]
    if x.shape[1] % (kh * kw) or x.shape[2] != counts[0] * counts[1]:
        raise ShapeError(
            f"fold: input must have shape (N, C * {kh * kw}, {counts[0] * counts[1]}) for output_size "
            f"{(height, width)}, got {x.shape}"
        )
    channels = x.shape[1] // (kh * kw)
    made: Tensor = _fold(x, channels, (height, width), counts, options)
    return made


def _fold(x: Any, channels: int, size: tuple[int, int], counts: tuple[int, int], options: dict[str, Any]) -> Any:
    """Add the images that each place of the patches makes; the patches' columns are read where they lie."""
    (ph, pw), (kh, kw) = options["padding"], options["kernel_size"]
    (dh, dw), (sh, sw) = options["dilation"], options["stride"]
    height, width = size[0] + 2 * ph, size[1] + 2 * pw
    parts = ops.reshape(x, (x.shape[0], channels, kh, kw, *counts))
    rows = _spread(parts, 2, 4, kh, dh, sh, height)  # N, C, KW, W, rows of the image
    return _spread(rows, 2, 3, kw, dw, sw, width)[..., ph : ph + size[0], pw : pw + size[1]]


def _spread(x: Any, kernel_axis: int, block_axis: int, kernel: int, dilation: int, stride: int, extent: int) -> Any:
    """Sum over a patch axis of what lies `stride` apart and shifted by the place in the patch; the axis comes last."""
    count = x.shape[block_axis]
    order = [a for a in range(x.ndim) if a not in (kernel_axis, block_axis)]
    moved = ops.transpose(x, (*order, kernel_axis, block_axis))
    lead = moved.shape[:-2]
    places = np.arange(kernel)[:, None] * dilation + np.arange(count)[None, :] * stride
    flat = ops.reshape(moved, (*lead, kernel * count))
    nothing = from_numpy(np.zeros((*lead, extent), x.dtype))
    return ops.index_put(nothing, places.reshape(-1), flat, len(lead), "add")


# -- pixels and channels


def pixel_shuffle(input: Any, upscale_factor: int) -> Tensor:
    """Channels laid out as pixels, (*, C * r * r, H, W) -> (*, C, H * r, W * r) (Shi et al., 2016)."""
    x, r = _tensor(input), integer("pixel_shuffle: upscale_factor", upscale_factor)
    if x.ndim < 3:
        raise ShapeError(f"pixel_shuffle: input must have at least 3 axes, got shape {x.shape}")
    if r <= 0:
        raise ValueError(f"pixel_shuffle: upscale_factor must be positive, got {r}")
    *lead, channels, height, width = x.shape
    if channels % (r * r):
        raise ShapeError(f"pixel_shuffle: input must have a multiple of {r * r} channels, got shape {x.shape}")
    n = len(lead)
    parts = ops.reshape(x, (*lead, channels // (r * r), r, r, height, width))
    moved = ops.transpose(parts, (*range(n), n, n + 3, n + 1, n + 4, n + 2))
    made: Tensor = ops.reshape(moved, (*lead, channels // (r * r), height * r, width * r))
    return made


def pixel_unshuffle(input: Any, downscale_factor: int) -> Tensor:
    """The inverse of `pixel_shuffle`, (*, C, H * r, W * r) -> (*, C * r * r, H, W)."""
    x, r = _tensor(input), integer("pixel_unshuffle: downscale_factor", downscale_factor)
    if x.ndim < 3:
        raise ShapeError(f"pixel_unshuffle: input must have at least 3 axes, got shape {x.shape}")
    if r <= 0:
        raise ValueError(f"pixel_unshuffle: downscale_factor must be positive, got {r}")
    *lead, channels, height, width = x.shape
    if height % r or width % r:
        raise ShapeError(f"pixel_unshuffle: height and width must be multiples of {r}, got shape {x.shape}")
    n = len(lead)
    parts = ops.reshape(x, (*lead, channels, height // r, r, width // r, r))
    moved = ops.transpose(parts, (*range(n), n, n + 2, n + 4, n + 1, n + 3))
    made: Tensor = ops.reshape(moved, (*lead, channels * r * r, height // r, width // r))
    return made


def channel_shuffle(input: Any, groups: int) -> Tensor:
    """Channels of `groups` groups dealt out in turn, (N, C, *) -> (N, C, *) (Zhang et al., 2018)."""
    x, count = _tensor(input), integer("channel_shuffle: groups", groups)
    if x.ndim < 3:
        raise ShapeError(f"channel_shuffle: input must have at least 3 axes, got shape {x.shape}")
    if count <= 0 or x.shape[1] % count:
        raise ShapeError(f"channel_shuffle: groups must divide the {x.shape[1]} channels, got {count}")
    parts = ops.reshape(x, (x.shape[0], count, x.shape[1] // count, *x.shape[2:]))
    made: Tensor = ops.reshape(ops.swapaxes(parts, 1, 2), x.shape)
    return made


__all__ = [
    "channel_shuffle",
    "embedding",
    "fold",
    "one_hot",
    "pad",
    "pixel_shuffle",
    "pixel_unshuffle",
    "unfold",
]
