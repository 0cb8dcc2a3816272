"""Batch normalisation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from fastnn import _default_dtype
from fastnn.errors import ShapeError
from fastnn.nn import functional as F
from fastnn.nn.init import ones_, zeros_
from fastnn.nn.module import Module
from fastnn.nn.parameter import Parameter, unset
from fastnn.tensor import Tensor, as_tensor, from_numpy


def counter() -> Tensor:
    """A count of batches, 0."""
    return from_numpy(np.zeros((), np.int64))


class NormBase(Module):
    """What batch and instance normalisation share.

    Parameters
    ----------
    num_features : channels.
    eps : added to variances.
    momentum : how far running moments move towards a batch's; None: they become the mean of all batches' ones.
    affine : whether there are a weight and (with `bias`) a bias, which start as 1 and 0.
    track_running_stats : whether there are running moments, which start as 0 and 1.
    dtype : float32 (default) or float64.

    Attributes
    ----------
    weight, bias : (num_features,), or None.
    running_mean, running_var : (num_features,), or None; buffers.
    num_batches_tracked : how many batches the running moments have seen, int64 without axes, or None; a buffer.
    """

    _version = 2
    axes: ClassVar[tuple[int, ...]]  # how many axes an input may have

    weight: Parameter | None
    bias: Parameter | None
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True,
        track_running_stats: bool = True, device: Any = None, dtype: npt.DTypeLike | None = None, *, bias: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        self.register_parameter("weight", unset((num_features,), dtype) if affine else None)
        self.register_parameter("bias", unset((num_features,), dtype) if affine and bias else None)
        kind = _default_dtype.floating if dtype is None else dtype
        for name in ("running_mean", "running_var"):
            self.register_buffer(name, from_numpy(np.zeros(num_features, kind)) if track_running_stats else None)
        self.register_buffer("num_batches_tracked", counter() if track_running_stats else None)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Let the running moments begin anew."""
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            zeros_(self.running_mean)
            ones_(self.running_var)
            zeros_(self.num_batches_tracked)

    def reset_parameters(self) -> None:
        """Let everything begin anew."""
        self.reset_running_stats()
        if self.weight is not None:
            ones_(self.weight)
        if self.bias is not None:
            zeros_(self.bias)

    def channel_axis(self, ndim: int) -> int:
        """Which axis of an input holds the channels."""
        return 1

    def _checked(self, input: Any) -> Tensor:
        """The input as a Tensor; ShapeError for another number of axes."""
        x: Tensor = as_tensor(input)
        if x.ndim not in self.axes:
            wanted = " or ".join(map(str, self.axes))
            raise ShapeError(f"{type(self).__name__}: input must have {wanted} axes, got shape {x.shape}")
        return x

    def extra_repr(self) -> str:
        """The arguments, as torch words them."""
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )

    def _load_from_state_dict(self, state_dict: Any, prefix: str, local_metadata: Any, *rest: Any) -> None:
        """As `Module` does; files from before there were counts of batches have none."""
        version = local_metadata.get("version")
        key = prefix + "num_batches_tracked"
        if (version is None or version < 2) and self.num_batches_tracked is not None and key not in state_dict:
            state_dict[key] = self.num_batches_tracked
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)


class BatchNorm(NormBase):
    """Batch normalisation of inputs of any number of axes: see `functional.batch_norm`.

    In training the batch's moments serve; otherwise the running ones do, where there are some.
    """

    def forward(self, input: Any) -> Tensor:
        """Normalise each channel."""
        return self.normalised(input, F.batch_norm)

    def normalised(self, input: Any, function: Callable[..., Tensor]) -> Tensor:
        """The input normalised by a function with the arguments of `functional.batch_norm`."""
        x = self._checked(input)
        momentum: Any = self.momentum
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if momentum is None:
                momentum = 1.0 / self.num_batches_tracked.to(x.dtype)
        tracked = not self.training or self.track_running_stats
        return function(
            x,
            self.running_mean if tracked else None,
            self.running_var if tracked else None,
            self.weight,
            self.bias,
            self.training or (self.running_mean is None and self.running_var is None),
            0.0 if momentum is None else momentum,
            self.eps,
        )


class BatchNorm1d(BatchNorm):
    """Batch normalisation of (N, C) or (N, C, L): see `BatchNorm` and, for the arguments, `NormBase`."""

    axes = (2, 3)


class BatchNorm2d(BatchNorm):
    """Batch normalisation of (N, C, H, W): see `BatchNorm` and, for the arguments, `NormBase`."""

    axes = (4,)


class BatchNorm3d(BatchNorm):
    """Batch normalisation of (N, C, D, H, W): see `BatchNorm` and, for the arguments, `NormBase`."""

    axes = (5,)


__all__ = ["BatchNorm1d", "BatchNorm2d", "BatchNorm3d"]
