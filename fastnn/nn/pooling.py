"""Pooling as layers: one class for each kind and number of axes."""

from __future__ import annotations

from typing import Any, ClassVar

from fastnn.nn import functional as F
from fastnn.nn.module import Module
from fastnn.tensor import Tensor


class _Pool(Module):
    """What pooling layers share: the function of their name."""

    function: ClassVar[str] = ""

    def _call(self, *args: Any) -> Any:
        return getattr(F, self.function)(*args)


class _MaxPool(_Pool):
    """The largest element of each window.

    Parameters
    ----------
    kernel_size, stride, padding, dilation : of the windows; see `fastnn.nn.functional.max_pool1d`.
    return_indices : give the places of the elements too.
    ceil_mode : whether the last window may reach over the end.
    """

    def __init__(
        self, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.kernel_size, self.padding, self.dilation = kernel_size, padding, dilation
        self.stride = kernel_size if stride is None else stride
        self.return_indices, self.ceil_mode = return_indices, ceil_mode

    def forward(self, input: Any) -> Any:
        """Pool the input."""
        return self._call(
            input, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, self.return_indices
        )

    def extra_repr(self) -> str:
        """The windows."""
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, dilation={self.dilation}, "
            f"ceil_mode={self.ceil_mode}"
        )


class _AvgPool(_Pool):
    """The mean of each window.

    Parameters
    ----------
    kernel_size, stride, padding : of the windows; see `fastnn.nn.functional.avg_pool1d`.
    ceil_mode : whether the last window may reach over the end.
    count_include_pad : whether the zeros of the padding count.
    divisor_override : a number in the place of that of the elements.
    """

    def __init__(
        self, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
        count_include_pad: bool = True, divisor_override: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.kernel_size, self.padding = kernel_size, padding
        self.stride = kernel_size if stride is None else stride
        self.ceil_mode, self.count_include_pad, self.divisor_override = ceil_mode, count_include_pad, divisor_override

    def forward(self, input: Any) -> Tensor:
        """Pool the input."""
        made: Tensor = self._call(
            input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad,
            self.divisor_override,
        )  # fmt: skip
        return made

    def extra_repr(self) -> str:
        """The windows."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool1d(_AvgPool):
    """The mean of each window of (N, C, L) or (C, L); see `fastnn.nn.functional.avg_pool1d`."""

    function = "avg_pool1d"

    def __init__(
        self, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:  # fmt: skip
        def single(value: Any) -> Any:
            return tuple(value) if isinstance(value, (tuple, list)) else (value,)

        super().__init__(
            single(kernel_size), single(kernel_size if stride is None else stride), single(padding), ceil_mode,
            count_include_pad,
        )  # fmt: skip

    def forward(self, input: Any) -> Tensor:
        """Pool the input."""
        made: Tensor = self._call(
            input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad
        )
        return made


class AvgPool2d(_AvgPool):
    """The mean of each window of (N, C, H, W) or (C, H, W); see `fastnn.nn.functional.avg_pool2d`."""

    function = "avg_pool2d"


class AvgPool3d(_AvgPool):
    """The mean of each window of (N, C, D, H, W) or (C, D, H, W); see `fastnn.nn.functional.avg_pool3d`."""

    function = "avg_pool3d"


class MaxPool1d(_MaxPool):
    """The largest element of each window of (N, C, L) or (C, L); see `fastnn.nn.functional.max_pool1d`."""

    function = "max_pool1d"


class MaxPool2d(_MaxPool):
    """The largest element of each window of (N, C, H, W) or (C, H, W); see `fastnn.nn.functional.max_pool2d`."""

    function = "max_pool2d"


class MaxPool3d(_MaxPool):
    """The largest element of each window of (N, C, D, H, W); see `fastnn.nn.functional.max_pool3d`."""

    function = "max_pool3d"


class _Adaptive(_Pool):
    """Windows that follow from the number of outputs.

    Parameters
    ----------
    output_size : outputs along each axis, a number for all; None for as many as elements.
    """

    def __init__(self, output_size: Any) -> None:
        super().__init__()
        self.output_size = output_size

    def forward(self, input: Any) -> Any:
        """Pool the input."""
        return self._call(input, self.output_size)

    def extra_repr(self) -> str:
        """The number of outputs."""
        return f"output_size={self.output_size}"


class AdaptiveAvgPool1d(_Adaptive):
    """The means of `output_size` windows of (N, C, L) or (C, L)."""

    function = "adaptive_avg_pool1d"


class AdaptiveAvgPool2d(_Adaptive):
    """The means of `output_size` windows of (N, C, H, W) or (C, H, W)."""

    function = "adaptive_avg_pool2d"


class AdaptiveAvgPool3d(_Adaptive):
    """The means of `output_size` windows of (N, C, D, H, W) or (C, D, H, W)."""

    function = "adaptive_avg_pool3d"


class _AdaptiveMax(_Adaptive):
    def __init__(self, output_size: Any, return_indices: bool = False) -> None:
        super().__init__(output_size)
        self.return_indices = return_indices

    def forward(self, input: Any) -> Any:
        """Pool the input."""
        return self._call(input, self.output_size, self.return_indices)


class AdaptiveMaxPool1d(_AdaptiveMax):
    """The largest elements of `output_size` windows of (N, C, L) or (C, L), with `return_indices` their places too."""

    function = "adaptive_max_pool1d"


class AdaptiveMaxPool2d(_AdaptiveMax):
    """As `AdaptiveMaxPool1d`, for (N, C, H, W) or (C, H, W)."""

    function = "adaptive_max_pool2d"


class AdaptiveMaxPool3d(_AdaptiveMax):
    """As `AdaptiveMaxPool1d`, for (N, C, D, H, W) or (C, D, H, W)."""

    function = "adaptive_max_pool3d"


class _LPPool(_Pool):
    """The norm of order `norm_type` of each window.

    Parameters
    ----------
    norm_type : order of the norm.
    kernel_size, stride, ceil_mode : of the windows; see `fastnn.nn.functional.max_pool1d`.
    """

    def __init__(self, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> None:
        super().__init__()
        self.norm_type, self.kernel_size, self.stride, self.ceil_mode = norm_type, kernel_size, stride, ceil_mode

    def forward(self, input: Any) -> Tensor:
        """Pool the input."""
        made: Tensor = self._call(input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode)
        return made

    def extra_repr(self) -> str:
        """The norm and the windows."""
        return (
            f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"ceil_mode={self.ceil_mode}"
        )


class LPPool1d(_LPPool):
    """The norm of order `norm_type` of each window of (N, C, L) or (C, L)."""

    function = "lp_pool1d"


class LPPool2d(_LPPool):
    """The norm of order `norm_type` of each window of (N, C, H, W) or (C, H, W)."""

    function = "lp_pool2d"


class LPPool3d(_LPPool):
    """The norm of order `norm_type` of each window of (N, C, D, H, W) or (C, D, H, W)."""

    function = "lp_pool3d"


class _MaxUnpool(_Pool):
    """Put elements back to where a max pooling found them, among zeros.

    Parameters
    ----------
    kernel_size, stride, padding : of that pooling.
    """

    axes: ClassVar[int] = 0

    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0) -> None:
        super().__init__()

        def each(value: Any) -> tuple[Any, ...]:
            return tuple(value) if isinstance(value, (tuple, list)) else (value,) * self.axes

        self.kernel_size, self.padding = each(kernel_size), each(padding)
        self.stride = self.kernel_size if stride is None else each(stride)

    def forward(self, input: Any, indices: Any, output_size: Any = None) -> Tensor:
        """Put the elements of the input to where `indices` say."""
        made: Tensor = self._call(input, indices, self.kernel_size, self.stride, self.padding, output_size)
        return made

    def extra_repr(self) -> str:
        """The windows."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxUnpool1d(_MaxUnpool):
    """Puts back what `MaxPool1d` with ``return_indices=True`` gave."""

    function, axes = "max_unpool1d", 1


class MaxUnpool2d(_MaxUnpool):
    """Puts back what `MaxPool2d` with ``return_indices=True`` gave."""

    function, axes = "max_unpool2d", 2


class MaxUnpool3d(_MaxUnpool):
    """Puts back what `MaxPool3d` with ``return_indices=True`` gave."""

    function, axes = "max_unpool3d", 3


__all__ = [
    f"{kind}{axes}d"
    for kind in ("AdaptiveAvgPool", "AdaptiveMaxPool", "AvgPool", "LPPool", "MaxPool", "MaxUnpool")
    for axes in (1, 2, 3)
]
