"""Parametrizations of weights: of a norm, of the largest singular value, orthogonal ones."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np

from fastnn._numpy_views import axis_argument
from fastnn._runtime.tensor import derived
from fastnn.errors import ShapeError
from fastnn.nn.init import draw_normal
from fastnn.nn.module import Module
from fastnn.nn.utils.matrices import MAPS, nearest, reflectors
from fastnn.nn.utils.norms import (
    axis_of_outputs,
    norm_except_dim,
    power_steps,
    rows_against_rest,
    spectrally_normed,
    unit,
)
from fastnn.nn.utils.parametrize import register_parametrization
from fastnn.tensor import Tensor, from_numpy

T = TypeVar("T", bound=Module)


def _weight(module: Module, name: str) -> Tensor:
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ValueError(f"{type(module).__name__} has no parameter or buffer with name {name!r}")
    return weight


class _WeightNorm(Module):
    """``original0 * original1 / |original1|``."""

    def __init__(self, dim: int | None = 0) -> None:
        super().__init__()
        self.dim = -1 if dim is None else dim

    def forward(self, weight_g: Tensor, weight_v: Tensor) -> Tensor:
        """The weight of a length and a direction."""
        weight: Tensor = weight_v * (weight_g / norm_except_dim(weight_v, self.dim))
        return weight

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """The length and the direction."""
        return norm_except_dim(weight, self.dim), weight


def weight_norm(module: T, name: str = "weight", dim: int | None = 0) -> T:
    """Train a weight's length and direction apart; returns the module.

    Parameters
    ----------
    dim : the axis along which each slice has a length of its own; None for one length over all.

    The length is ``module.parametrizations.<name>.original0``, the direction ``original1``.

    Source: T. Salimans, D. Kingma, "Weight normalization", arXiv:1602.07868.
    """
    _weight(module, name)
    register_parametrization(module, name, _WeightNorm(dim), unsafe=True)
    return module


class _SpectralNorm(Module):
    """A weight over its largest singular value, which some steps of the power method keep an estimate of."""

    _u: Tensor
    _v: Tensor

    def __init__(self, weight: Tensor, n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12) -> None:
        super().__init__()
        if n_power_iterations <= 0:
            raise ValueError(f"spectral_norm: n_power_iterations must be positive, got {n_power_iterations}")
        self.dim = axis_argument("spectral_norm", dim, weight.ndim)
        self.n_power_iterations, self.eps = n_power_iterations, eps
        if weight.ndim > 1:
            matrix = rows_against_rest(weight.detach(), self.dim).array
            for name, extent in zip(("_u", "_v"), matrix.shape, strict=True):
                start = unit(draw_normal((extent,), 0.0, 1.0), eps).astype(weight.dtype)
                self.register_buffer(name, from_numpy(start))
            power_steps(matrix, self._v, self._u, 15, eps)

    def forward(self, weight: Tensor) -> Tensor:
        """The weight, its largest singular value about 1."""
        if weight.ndim == 1:
            norm = norm_except_dim(weight, None)
            small = norm.item() < self.eps
            result: Tensor = weight / self.eps if small else weight / norm
            return result
        matrix = rows_against_rest(weight, self.dim)
        if self.training:
            power_steps(matrix.array, self._v, self._u, self.n_power_iterations, self.eps)
        return spectrally_normed(weight, matrix, self._u, self._v)

    def right_inverse(self, value: Tensor) -> Tensor:
        """Anything may be assigned; what is read is normalised."""
        return value


def spectral_norm(
    module: T, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None
) -> T:
    """Divide a weight by its largest singular value whenever it is read; returns the module.

    Parameters
    ----------
    n_power_iterations : steps of the power method whenever the weight is read in training mode.
    eps : the least norm that is divided by.
    dim : the axis of the outputs; by default 0, and 1 for transposed convolutions.

    Source: T. Miyato et al., "Spectral normalization for generative adversarial networks", arXiv:1802.05957.
    """
    weight = _weight(module, name)
    if dim is None:
        dim = axis_of_outputs(module)
    register_parametrization(module, name, _SpectralNorm(weight, n_power_iterations, dim, eps))
    return module


class _Orthogonal(Module):
    """A matrix with orthonormal rows or columns, as a function of any matrix."""

    base: Tensor | None

    def __init__(self, weight: Tensor, orthogonal_map: str, use_trivialization: bool = True) -> None:
        super().__init__()
        self.shape, self.orthogonal_map, self.use_trivialization = weight.shape, orthogonal_map, use_trivialization
        if use_trivialization:
            self.register_buffer("base", None)

    def forward(self, X: Tensor) -> Tensor:
        """The orthogonal matrix (or matrices)."""
        wide = X.shape[-2] < X.shape[-1]
        tall = X.transpose(-2, -1) if wide else X
        dtype = X.dtype
        q, back = MAPS[self.orthogonal_map](tall.array)
        Q: Tensor = derived(tall, q.astype(dtype), self.orthogonal_map, lambda g: back(g).astype(dtype), False)
        if self.use_trivialization and self.base is not None:
            Q = self.base @ Q
        return Q.transpose(-2, -1) if wide else Q

    def right_inverse(self, Q: Tensor) -> Tensor:
        """What maps to `Q`, or to the orthogonal matrix near it."""
        if Q.shape != self.shape:
            raise ShapeError(f"orthogonal: the weight must have shape {self.shape}, got {Q.shape}")
        wide = Q.shape[-2] < Q.shape[-1]
        tall = np.asarray(Q.detach().array, np.float64)
        tall = tall.swapaxes(-2, -1) if wide else tall
        n, k = tall.shape[-2:]
        if not self.use_trivialization:
            if self.orthogonal_map != "householder":
                raise NotImplementedError(
                    "the matrix exponential and the Cayley map cannot be assigned to without use_trivialization"
                )
            found = reflectors(tall)
            return from_numpy(np.ascontiguousarray(found.swapaxes(-2, -1) if wide else found).astype(Q.dtype))
        if n != k:
            tall = np.concatenate([tall, draw_normal((*tall.shape[:-1], n - k), 0.0, 1.0)], axis=-1)
        if n != k or not self._is_orthogonal(tall, Q.dtype):
            tall = nearest(tall)
        self.base = from_numpy(np.ascontiguousarray(tall).astype(Q.dtype))
        # every map takes this to the identity, for which `base` stands in
        return from_numpy(np.broadcast_to(-np.eye(*Q.shape[-2:], dtype=Q.dtype), Q.shape).copy())

    @staticmethod
    def _is_orthogonal(q: np.ndarray, dtype: np.dtype[Any]) -> bool:
        n = q.shape[-1]
        return bool(np.allclose(q.swapaxes(-2, -1) @ q, np.eye(n), rtol=0, atol=10 * n * np.finfo(dtype).eps))


def orthogonal(
    module: T, name: str = "weight", orthogonal_map: str | None = None, *, use_trivialization: bool = True
) -> T:
    """Keep a matrix (or a batch of them) orthogonal: orthonormal rows, or columns if it is tall; returns the module.

    Parameters
    ----------
    orthogonal_map : ``"matrix_exp"`` (default for square matrices), ``"cayley"`` or ``"householder"`` (default for
        others).
    use_trivialization : train the distance from a base, the orthogonal matrix that was there.

    Source: M. Lezcano-Casado, "Trivializations for gradient-based optimization on manifolds", arXiv:1909.09501.
    """
    weight = _weight(module, name)
    if weight.ndim < 2:
        raise ShapeError(f"orthogonal: the weight must have at least 2 axes, got shape {weight.shape}")
    if orthogonal_map is None:
        orthogonal_map = "matrix_exp" if weight.shape[-2] == weight.shape[-1] else "householder"
    if orthogonal_map not in MAPS:
        raise ValueError(f"orthogonal: orthogonal_map must be one of {', '.join(MAPS)}, got {orthogonal_map!r}")
    register_parametrization(module, name, _Orthogonal(weight, orthogonal_map, use_trivialization), unsafe=True)
    return module


__all__ = ["orthogonal", "spectral_norm", "weight_norm"]
