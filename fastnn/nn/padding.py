"""Padding as modules: one class for each mode and number of axes."""

from __future__ import annotations

from typing import Any

from fastnn._numpy_views import integer
from fastnn.errors import ShapeError
from fastnn.nn import functional as F
from fastnn.nn.module import Module
from fastnn.tensor import Tensor, as_tensor


class _Pad(Module):
    """Elements around the last axes, (N, C, *) or (C, *). So are the parameters of all classes here.

    Parameters
    ----------
    padding : elements before and after each axis, the last axis first; a number for all of them.
    """

    axes = 0
    mode = "constant"
    padding: tuple[int, ...]

    def __init__(self, padding: Any) -> None:
        super().__init__()
        name = type(self).__name__
        given = tuple(padding) if isinstance(padding, (tuple, list)) else (padding,) * (2 * self.axes)
        if len(given) != 2 * self.axes:
            raise ValueError(f"{name}: padding must be a number or {2 * self.axes} numbers, got {padding!r}")
        self.padding = tuple(integer(f"{name}: padding", n) for n in given)

    def forward(self, input: Any) -> Tensor:
        """Pad a Tensor or an array."""
        x = as_tensor(input)
        if self.mode != "constant" and x.ndim not in (self.axes + 1, self.axes + 2):
            raise ShapeError(
                f"{type(self).__name__}: input must have {self.axes + 1} or {self.axes + 2} axes, got shape {x.shape}"
            )
        return F.pad(x, self.padding, self.mode)

    def extra_repr(self) -> str:
        """The widths."""
        return f"{self.padding}"


class _Constant(_Pad):
    """Elements of one value around the last axes, (N, C, *) or (C, *).

    Parameters
    ----------
    padding : elements before and after each axis, the last axis first; a number for all of them.
    value : of the elements.
    """

    def __init__(self, padding: Any, value: float) -> None:
        super().__init__(padding)
        self.value = value

    def forward(self, input: Any) -> Tensor:
        """Pad a Tensor or an array."""
        return F.pad(input, self.padding, "constant", self.value)

    def extra_repr(self) -> str:
        """The widths and the value."""
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(_Constant):
    """Elements of one value around the last axis, (N, C, *) or (C, *)."""

    axes = 1


class ConstantPad2d(_Constant):
    """Elements of one value around the last two axes, (N, C, *) or (C, *)."""

    axes = 2


class ConstantPad3d(_Constant):
    """Elements of one value around the last three axes, (N, C, *) or (C, *)."""

    axes = 3


class _Zero(_Pad):
    """Zeros around the last axes, (N, C, *) or (C, *).

    Parameters
    ----------
    padding : elements before and after each axis, the last axis first; a number for all of them.
    """

    value = 0.0


class ZeroPad1d(_Zero):
    """Zeros around the last axis, (N, C, *) or (C, *)."""

    axes = 1


class ZeroPad2d(_Zero):
    """Zeros around the last two axes, (N, C, *) or (C, *)."""

    axes = 2


class ZeroPad3d(_Zero):
    """Zeros around the last three axes, (N, C, *) or (C, *)."""

    axes = 3


class ReflectionPad1d(_Pad):
    """The array mirrored at its first and last elements around the last axis, (N, C, *) or (C, *)."""

    axes = 1
    mode = "reflect"


class ReflectionPad2d(_Pad):
    """The array mirrored at its first and last elements around the last two axes, (N, C, *) or (C, *)."""

    axes = 2
    mode = "reflect"


class ReflectionPad3d(_Pad):
    """The array mirrored at its first and last elements around the last three axes, (N, C, *) or (C, *)."""

    axes = 3
    mode = "reflect"


class ReplicationPad1d(_Pad):
    """The nearest elements around the last axis, (N, C, *) or (C, *)."""

    axes = 1
    mode = "replicate"


class ReplicationPad2d(_Pad):
    """The nearest elements around the last two axes, (N, C, *) or (C, *)."""

    axes = 2
    mode = "replicate"


class ReplicationPad3d(_Pad):
    """The nearest elements around the last three axes, (N, C, *) or (C, *)."""

    axes = 3
    mode = "replicate"


class CircularPad1d(_Pad):
    """The elements of the other end around the last axis, (N, C, *) or (C, *)."""

    axes = 1
    mode = "circular"


class CircularPad2d(_Pad):
    """The elements of the other end around the last two axes, (N, C, *) or (C, *)."""

    axes = 2
    mode = "circular"


class CircularPad3d(_Pad):
    """The elements of the other end around the last three axes, (N, C, *) or (C, *)."""

    axes = 3
    mode = "circular"


__all__ = [
    "CircularPad1d",
    "CircularPad2d",
    "CircularPad3d",
    "ConstantPad1d",
    "ConstantPad2d",
    "ConstantPad3d",
    "ReflectionPad1d",
    "ReflectionPad2d",
    "ReflectionPad3d",
    "ReplicationPad1d",
    "ReplicationPad2d",
    "ReplicationPad3d",
    "ZeroPad1d",
    "ZeroPad2d",
    "ZeroPad3d",
]
