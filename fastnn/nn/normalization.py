"""Normalisation by moments of single samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy.typing as npt

from fastnn.nn import functional as F
from fastnn.nn.functional.normalization import normalized
from fastnn.nn.init import ones_, zeros_
from fastnn.nn.module import Module
from fastnn.nn.parameter import Parameter, unset
from fastnn.tensor import Tensor


class _Affine(Module):
    """A module whose weight starts as 1 and whose bias starts as 0, where it has them."""

    weight: Parameter | None
    bias: Parameter | None

    def reset_parameters(self) -> None:
        """Let weight and bias begin anew."""
        if self.weight is not None:
            ones_(self.weight)
        bias = self._parameters.get("bias")
        if bias is not None:
            zeros_(bias)


class LayerNorm(_Affine):
    """Normalisation over the last axes: see `functional.layer_norm`.

    Parameters
    ----------
    normalized_shape : extents of those axes, or the last one's.
    eps : added to the variance.
    elementwise_affine : whether there are a weight and (with `bias`) a bias, of that shape.
    dtype : float32 (default) or float64.
    """

    def __init__(
        self, normalized_shape: int | Sequence[int], eps: float = 1e-5, elementwise_affine: bool = True,
        bias: bool = True, device: Any = None, dtype: npt.DTypeLike | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.normalized_shape = normalized("LayerNorm", normalized_shape)
        self.eps, self.elementwise_affine = eps, elementwise_affine
        shape = self.normalized_shape
        self.register_parameter("weight", unset(shape, dtype) if elementwise_affine else None)
        self.register_parameter("bias", unset(shape, dtype) if elementwise_affine and bias else None)
        self.reset_parameters()

    def forward(self, input: Any) -> Tensor:
        """Normalise."""
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """The arguments, as torch words them."""
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}, "
            f"bias={self.bias is not None}"
        )


class RMSNorm(_Affine):
    """Division by the root of the mean square over the last axes: see `functional.rms_norm`.

    Parameters
    ----------
    normalized_shape : extents of those axes, or the last one's.
    eps : added to the mean square; None: the machine epsilon of the input's dtype.
    elementwise_affine : whether there is a weight of that shape.
    dtype : float32 (default) or float64.
    """

    def __init__(
        self, normalized_shape: int | Sequence[int], eps: float | None = None, elementwise_affine: bool = True,
        device: Any = None, dtype: npt.DTypeLike | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.normalized_shape = normalized("RMSNorm", normalized_shape)
        self.eps, self.elementwise_affine = eps, elementwise_affine
        self.register_parameter("weight", unset(self.normalized_shape, dtype) if elementwise_affine else None)
        self.reset_parameters()

    def forward(self, input: Any) -> Tensor:
        """Normalise."""
        return F.rms_norm(input, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        """The arguments, as torch words them."""
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class GroupNorm(_Affine):
    """Normalisation of groups of channels: see `functional.group_norm`.

    Parameters
    ----------
    num_groups : a divisor of `num_channels`.
    num_channels : C of inputs (N, C, *).
    eps : added to the variance.
    affine : whether there are a weight and (with `bias`) a bias, (num_channels,).
    dtype : float32 (default) or float64.
    """

    def __init__(
        self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True, device: Any = None,
        dtype: npt.DTypeLike | None = None, *, bias: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        if num_groups < 1:
            raise ValueError(f"GroupNorm: num_groups must be positive, got {num_groups}")
        if num_channels % num_groups:
            raise ValueError(f"GroupNorm: num_channels {num_channels} must be divisible by num_groups {num_groups}")
        self.num_groups, self.num_channels, self.eps, self.affine = num_groups, num_channels, eps, affine
        self.register_parameter("weight", unset((num_channels,), dtype) if affine else None)
        self.register_parameter("bias", unset((num_channels,), dtype) if affine and bias else None)
        self.reset_parameters()

    def forward(self, input: Any) -> Tensor:
        """Normalise."""
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """The arguments, as torch words them."""
        return (
            f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, "
            f"bias={self.bias is not None}"
        )


class LocalResponseNorm(Module):
    """Division by the squares of neighbouring channels: see `functional.local_response_norm`."""

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def forward(self, input: Any) -> Tensor:
        """Normalise."""
        return F.local_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        """The arguments, as torch words them."""
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"


__all__ = ["GroupNorm", "LayerNorm", "LocalResponseNorm", "RMSNorm"]
