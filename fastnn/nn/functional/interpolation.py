"""Images at another size, under torch's names and arguments."""

from __future__ import annotations

import math
from typing import Any

from fastnn import ops
from fastnn._numpy_views import integer
from fastnn.errors import DTypeError, ShapeError
from fastnn.tensor import Tensor, as_tensor

# Of a mode: how many spatial axes it is for (0: any of 1 to 3), and what the op calls it.
MODES = {
    "nearest": (0, "nearest"),
    "nearest-exact": (0, "nearest-exact"),
    "area": (0, ""),
    "linear": (1, "linear"),
    "bilinear": (2, "linear"),
    "trilinear": (3, "linear"),
    "bicubic": (2, "cubic"),
}


def interpolate(
    input: Any,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """Resample (N, C, L), (N, C, H, W) or (N, C, D, H, W) to another size.

    Parameters
    ----------
    size : extents of the result, one for all axes or one for each.
    scale_factor : in place of `size`, what the extents are multiplied by (and rounded down).
    mode : ``"nearest"``, ``"nearest-exact"`` and ``"area"`` (means, `adaptive_avg_pool2d`) for any number of axes,
        ``"linear"`` for (N, C, L), ``"bilinear"`` and ``"bicubic"`` for (N, C, H, W), ``"trilinear"`` for
        (N, C, D, H, W).
    align_corners : for the modes with "linear" or "cubic", whether corner elements lie on corner elements, or (default)
        the edges of the elements on the edges.
    recompute_scale_factor : whether positions follow from the extents where `scale_factor` is given (default: from the
        factor).
    antialias : for ``"bilinear"`` and ``"bicubic"``, whether every input counts where an axis shrinks.

    Raises
    ------
    ShapeError : an input without axes to resample, or of more or fewer than the mode is for.
    ValueError : arguments that do not go together.
    DTypeError : integers with a mode other than nearest neighbours.
    """
    x = as_tensor(input)
    if mode not in MODES:
        raise ValueError(f"interpolate: mode must be one of {', '.join(MODES)}, got {mode!r}")
    axes, kind = MODES[mode]
    count = x.ndim - 2
    if not 1 <= count <= 3 or count != (axes or count):
        wanted = f"{axes + 2} axes with mode {mode!r}" if axes else "3 to 5 axes"
        raise ShapeError(f"interpolate: input must have {wanted}, got shape {x.shape}")
    if align_corners is not None and not axes:
        raise ValueError(f"interpolate: align_corners must be left out with mode {mode!r}, got {align_corners}")
    if antialias and mode not in ("bilinear", "bicubic"):
        raise ValueError(f"interpolate: antialias is for modes bilinear and bicubic, not {mode!r}")
    if x.dtype.kind not in "fc" and not kind.startswith("nearest"):
        raise DTypeError(f"interpolate: input must be of a floating dtype with mode {mode!r}, got {x.dtype}")
    extents, factors = _extents(x.shape[2:], size, scale_factor, recompute_scale_factor)
    made: Tensor
    if mode == "area":
        made = ops.adaptive_avg_pool(x, extents)
    else:
        made = ops.interpolate(x, extents, kind, bool(align_corners), factors, antialias)
    return made


def _extents(
    shape: tuple[int, ...], size: Any, scale_factor: Any, recompute: bool | None
) -> tuple[tuple[int, ...], tuple[float, ...] | None]:
    """Extents of the result, and the factors that positions follow from, if any."""
    if (size is None) == (scale_factor is None):
        raise ValueError(
            f"interpolate: either size or scale_factor must be given, got size={size}, scale_factor={scale_factor}"
        )
    if size is not None:
        if recompute:
            raise ValueError("interpolate: recompute_scale_factor needs a scale_factor, got a size")
        return tuple(integer("interpolate: size", s) for s in _each("size", size, len(shape))), None
    factors = tuple(float(f) for f in _each("scale_factor", scale_factor, len(shape)))
    if any(not (f > 0 and math.isfinite(f)) for f in factors):
        raise ValueError(f"interpolate: scale_factor must be positive, got {scale_factor}")
    extents = tuple(math.floor(n * f) for n, f in zip(shape, factors, strict=True))
    if min(extents) < 1 <= min(shape):
        raise ShapeError(f"interpolate: scale_factor must leave elements along each axis of {shape}, got {factors}")
    return extents, None if recompute else factors


def _each(what: str, given: Any, count: int) -> tuple[Any, ...]:
    values = tuple(given) if isinstance(given, (tuple, list)) else (given,) * count
    if len(values) != count:
        raise ShapeError(f"interpolate: {what} must be one number or {count}, got {given}")
    return values


__all__ = ["interpolate"]
