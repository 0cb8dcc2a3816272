"""Convolutions as layers."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from fastnn._numpy_views import integer
from fastnn.errors import ShapeError
from fastnn.nn import functional as F
from fastnn.nn.init import uniform_
from fastnn.nn.lazy import LazyModuleMixin
from fastnn.nn.module import Module
from fastnn.nn.parameter import Parameter, UninitializedParameter, unset
from fastnn.ops.convolution.geometry import same_padding
from fastnn.tensor import Tensor, as_tensor

MODES = ("zeros", "reflect", "replicate", "circular")


class _ConvNd(Module):
    """What all convolutions share: their parameters, in torch's shapes; in memory the last channels come last."""

    axes: ClassVar[int] = 0
    transposed: ClassVar[bool] = False
    weight: Parameter
    bias: Parameter | None

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any, padding: Any, dilation: Any,
        output_padding: Any, groups: int, bias: bool, padding_mode: str, dtype: Any,
    ) -> None:  # fmt: skip
        super().__init__()
        name = type(self).__name__
        self.in_channels = integer(f"{name}: in_channels", in_channels)
        self.out_channels = integer(f"{name}: out_channels", out_channels)
        self.groups = integer(f"{name}: groups", groups)
        if self.groups < 1:
            raise ValueError(f"{name}: groups must be at least 1, got {groups}")
        for what, count in (("in_channels", self.in_channels), ("out_channels", self.out_channels)):
            if count % self.groups:
                raise ValueError(f"{name}: {what} must be divisible by groups, got {count} and {groups}")
        if padding_mode not in (MODES if not self.transposed else MODES[:1]):
            raise ValueError(f"{name}: padding_mode must be one of {', '.join(MODES)}, got {padding_mode!r}")
        self.kernel_size = self._each("kernel_size", kernel_size, 1)
        self.stride = self._each("stride", stride, 1)
        self.dilation = self._each("dilation", dilation, 1)
        self.padding = padding if isinstance(padding, str) else self._each("padding", padding, 0)
        self.output_padding = self._each("output_padding", output_padding, 0)
        self.padding_mode = padding_mode
        if isinstance(padding, str):
            same_padding(name, padding, self.kernel_size, self.stride, self.dilation)
        self._make(bias, dtype)

    def _each(self, what: str, given: Any, least: int) -> tuple[int, ...]:
        values = tuple(given) if isinstance(given, (tuple, list)) else (given,) * self.axes
        name = type(self).__name__
        if len(values) != self.axes:
            raise ValueError(f"{name}: {what} must be a number or {self.axes} numbers, got {given!r}")
        values = tuple(integer(f"{name}: {what}", v) for v in values)
        if min(values) < least:
            raise ValueError(f"{name}: {what} must be at least {least}, got {given!r}")
        return values

    def _weight_shape(self) -> tuple[int, ...]:
        first, second = self.out_channels, self.in_channels
        if self.transposed:
            first, second = second, first
        return (first, second // self.groups, *self.kernel_size)

    def _make(self, bias: bool, dtype: Any) -> None:
        shape = self._weight_shape()
        self.weight = unset(shape, dtype, order=(*range(2, len(shape)), 1, 0))
        if bias:
            self.bias = unset((self.out_channels,), dtype)
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew from U(-b, b), b = 1 / sqrt(inputs of an output)."""
        inputs = math.prod(self.weight.shape[1:])
        bound = 1 / math.sqrt(inputs) if inputs else 0.0
        uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            uniform_(self.bias, -bound, bound)

    def extra_repr(self) -> str:
        """Channels, then what is not the default."""
        words = [f"{self.in_channels}, {self.out_channels}", f"kernel_size={self.kernel_size}"]
        words.append(f"stride={self.stride}")
        if self.padding != (0,) * self.axes:
            words.append(f"padding={self.padding}")
        if self.dilation != (1,) * self.axes:
            words.append(f"dilation={self.dilation}")
        if self.output_padding != (0,) * self.axes:
            words.append(f"output_padding={self.output_padding}")
        if self.groups != 1:
            words.append(f"groups={self.groups}")
        if self.bias is None:
            words.append("bias=False")
        if self.padding_mode != "zeros":
            words.append(f"padding_mode={self.padding_mode}")
        return ", ".join(words)


class _Conv(_ConvNd):
    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any = 1, padding: Any = 0,
        dilation: Any = 1, groups: int = 1, bias: bool = True, padding_mode: str = "zeros", device: Any = None,
        dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, 0, groups, bias, padding_mode, dtype
        )

    def forward(self, input: Any) -> Tensor:
        """Convolve the input."""
        function = getattr(F, f"conv{self.axes}d")
        padding: Any = self.padding
        if self.padding_mode != "zeros":
            pairs = (
                same_padding(type(self).__name__, padding, self.kernel_size, self.stride, self.dilation)
                if isinstance(padding, str)
                else [(p, p) for p in padding]
            )
            input = F.pad(as_tensor(input), [n for pair in reversed(pairs) for n in pair], self.padding_mode)
            padding = 0
        return function(input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)


class Conv1d(_Conv):
    """A convolution along one axis, (N, C, L) or (C, L) -> (N, O, L') or (O, L').

    Parameters
    ----------
    in_channels, out_channels : C and O, both divisible by `groups`.
    kernel_size, stride, dilation : a number, or one for each axis.
    padding : elements on both sides of each axis, ``"valid"`` or ``"same"``; see `fastnn.nn.functional.conv1d`.
    groups : into how many groups the channels fall.
    bias : whether to add one.
    padding_mode : what is put around: ``"zeros"``, ``"reflect"``, ``"replicate"`` or ``"circular"``.
    dtype : float32 (default) or float64.

    Attributes
    ----------
    weight : (O, C / groups, kernel_size), in memory (kernel_size, C / groups, O).
    bias : (O,) or None.
    """

    axes = 1


class Conv2d(_Conv):
    """A convolution along two axes, (N, C, H, W) or (C, H, W); see `Conv1d`."""

    axes = 2


class Conv3d(_Conv):
    """A convolution along three axes, (N, C, D, H, W) or (C, D, H, W); see `Conv1d`."""

    axes = 3


class _ConvTranspose(_ConvNd):
    transposed = True

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any = 1, padding: Any = 0,
        output_padding: Any = 0, groups: int = 1, bias: bool = True, dilation: Any = 1, padding_mode: str = "zeros",
        device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        if isinstance(padding, str):
            raise TypeError(f"{type(self).__name__}: padding must be a number or {self.axes} numbers, got {padding!r}")
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, output_padding, groups, bias,
            padding_mode, dtype,
        )  # fmt: skip

    def forward(self, input: Any, output_size: Any = None) -> Tensor:
        """Apply the transposed convolution; `output_size` chooses among the sizes that the stride leaves open."""
        extra: Any = self.output_padding
        if output_size is not None:
            extra = self._padding_for(as_tensor(input), output_size)
        function = getattr(F, f"conv_transpose{self.axes}d")
        return function(input, self.weight, self.bias, self.stride, self.padding, extra, self.groups, self.dilation)

    def _padding_for(self, input: Tensor, output_size: Any) -> list[int]:
        wanted = [integer(f"{type(self).__name__}: output_size", n) for n in output_size][-self.axes :]
        if len(wanted) != self.axes:
            raise ShapeError(f"{type(self).__name__}: output_size must have {self.axes} extents, got {output_size}")
        assert not isinstance(self.padding, str)
        steps = zip(
            input.shape[-self.axes :], self.stride, self.padding, self.kernel_size, self.dilation, strict=True
        )  # fmt: skip
        least = [(n - 1) * s - 2 * p + d * (k - 1) + 1 for n, s, p, k, d in steps]
        extra = [w - n for w, n in zip(wanted, least, strict=True)]
        if any(not 0 <= e < s for e, s in zip(extra, self.stride, strict=True)):
            most = [n + s - 1 for n, s in zip(least, self.stride, strict=True)]
            raise ShapeError(f"{type(self).__name__}: output_size must lie from {least} to {most}, got {wanted}")
        return extra


class ConvTranspose1d(_ConvTranspose):
    """The transpose of a convolution along one axis, (N, C, L) or (C, L) -> (N, O, L') or (O, L').

    Parameters
    ----------
    in_channels, out_channels, kernel_size, stride, padding, groups, bias, dilation, dtype : as for `Conv1d`, of the
        convolution that is transposed.
    output_padding : elements more at the end of each axis.

    Attributes
    ----------
    weight : (C, O / groups, kernel_size).
    bias : (O,) or None.
    """

    axes = 1


class ConvTranspose2d(_ConvTranspose):
    """As `ConvTranspose1d`, along two axes."""

    axes = 2


class ConvTranspose3d(_ConvTranspose):
    """As `ConvTranspose1d`, along three axes."""

    axes = 3


class _Lazy(LazyModuleMixin, _ConvNd):
    """A convolution whose ``in_channels`` are those of the first input."""

    def __init__(self, out_channels: int, *args: Any, **kwargs: Any) -> None:
        super().__init__(0, out_channels, *args, **kwargs)

    def _make(self, bias: bool, dtype: Any) -> None:
        self.weight = UninitializedParameter(dtype=dtype)
        if bias:
            self.bias = UninitializedParameter(dtype=dtype)
        else:
            self.register_parameter("bias", None)

    def initialize_parameters(self, input: Any, *_: Any, **__: Any) -> None:
        """Take the number of channels from the input."""
        x = as_tensor(input)
        name = type(self).__name__
        if x.ndim not in (self.axes + 1, self.axes + 2):
            raise ShapeError(f"{name}: input must have {self.axes + 1} or {self.axes + 2} axes, got shape {x.shape}")
        self.in_channels = int(x.shape[-self.axes - 1])
        if self.in_channels % self.groups:
            raise ValueError(f"{name}: in_channels must be divisible by groups, got {self.in_channels}, {self.groups}")
        shape = self._weight_shape()
        self.weight.materialize(shape, order=(*range(2, len(shape)), 1, 0))
        if self.bias is not None:
            self.bias.materialize((self.out_channels,))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters anew, if there are any yet."""
        if not self.has_uninitialized_params():
            super().reset_parameters()


class LazyConv1d(_Lazy, Conv1d):
    """A `Conv1d` whose ``in_channels`` are those of the first input; the other arguments as there."""

    cls_to_become = Conv1d


class LazyConv2d(_Lazy, Conv2d):
    """A `Conv2d` whose ``in_channels`` are those of the first input; the other arguments as there."""

    cls_to_become = Conv2d


class LazyConv3d(_Lazy, Conv3d):
    """A `Conv3d` whose ``in_channels`` are those of the first input; the other arguments as there."""

    cls_to_become = Conv3d


class LazyConvTranspose1d(_Lazy, ConvTranspose1d):
    """A `ConvTranspose1d` whose ``in_channels`` are those of the first input; the other arguments as there."""

    cls_to_become = ConvTranspose1d


class LazyConvTranspose2d(_Lazy, ConvTranspose2d):
    """A `ConvTranspose2d` whose ``in_channels`` are those of the first input; the other arguments as there."""

    cls_to_become = ConvTranspose2d


class LazyConvTranspose3d(_Lazy, ConvTranspose3d):
    """A `ConvTranspose3d` whose ``in_channels`` are those of the first input; the other arguments as there."""

    cls_to_become = ConvTranspose3d


__all__ = [
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
    "LazyConv1d",
    "LazyConv2d",
    "LazyConv3d",
    "LazyConvTranspose1d",
    "LazyConvTranspose2d",
    "LazyConvTranspose3d",
]
