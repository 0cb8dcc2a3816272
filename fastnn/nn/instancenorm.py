"""Instance normalisation."""

from __future__ import annotations

import warnings
from typing import Any

import numpy.typing as npt

from fastnn.errors import ShapeError
from fastnn.nn import functional as F
from fastnn.nn.batchnorm import NormBase
from fastnn.tensor import Tensor


class InstanceNorm(NormBase):
    """Instance normalisation: see `functional.instance_norm`. An input without the axis of samples is one sample."""

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float = 0.1, affine: bool = False,
        track_running_stats: bool = False, device: Any = None, dtype: npt.DTypeLike | None = None, *, bias: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)

    def channel_axis(self, ndim: int) -> int:
        """Which axis of an input holds the channels."""
        return ndim - min(self.axes)

    def forward(self, input: Any) -> Tensor:
        """Normalise each sample's channels."""
        x = self._checked(input)
        axis = self.channel_axis(x.ndim)
        if x.shape[axis] != self.num_features:
            what = f"{type(self).__name__}: input must have {self.num_features} channels, got shape {x.shape}"
            if self.affine:
                raise ShapeError(what)
            warnings.warn(f"{what}; without affine the number is not used", UserWarning, stacklevel=2)
        if axis == 0:
            return self._normalised(x.unsqueeze(0)).squeeze(0)
        return self._normalised(x)

    def _normalised(self, x: Tensor) -> Tensor:
        return F.instance_norm(
            x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or not self.track_running_stats,
            0.0 if self.momentum is None else self.momentum,
            self.eps,
        )


class InstanceNorm1d(InstanceNorm):
    """Instance normalisation of (N, C, L) or (C, L): see `InstanceNorm` and, for the arguments, `NormBase`."""

    axes = (2, 3)


class InstanceNorm2d(InstanceNorm):
    """Instance normalisation of (N, C, H, W) or (C, H, W): see `InstanceNorm` and, for the arguments, `NormBase`."""

    axes = (3, 4)


class InstanceNorm3d(InstanceNorm):
    """Instance normalisation of (N, C, D, H, W) or (C, D, H, W): see `InstanceNorm` and `NormBase`."""

    axes = (4, 5)


__all__ = ["InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d"]
