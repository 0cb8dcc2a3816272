"""Spectral normalisation by a hook before forward; `fastnn.nn.utils.parametrizations` has the newer form."""

from __future__ import annotations

from typing import Any, TypeVar

from fastnn._numpy_views import axis_argument
from fastnn.errors import ShapeError
from fastnn.nn.init import draw_normal
from fastnn.nn.module import Module
from fastnn.nn.parameter import Parameter
from fastnn.nn.utils.norms import axis_of_outputs, power_steps, rows_against_rest, spectrally_normed, unit
from fastnn.tensor import Tensor, from_numpy

T = TypeVar("T", bound=Module)


class SpectralNorm:
    """The hook: puts the weight over its largest singular value in the weight's place."""

    def __init__(self, name: str, n_power_iterations: int, dim: int, eps: float) -> None:
        if n_power_iterations <= 0:
            raise ValueError(f"spectral_norm: n_power_iterations must be positive, got {n_power_iterations}")
        self.name, self.n_power_iterations, self.dim, self.eps = name, n_power_iterations, dim, eps

    def compute_weight(self, module: Module, do_power_iteration: bool) -> Tensor:
        """The weight over the estimate of its largest singular value."""
        weight, u, v = (getattr(module, f"{self.name}_{part}") for part in ("orig", "u", "v"))
        matrix = rows_against_rest(weight, self.dim)
        if do_power_iteration:
            power_steps(matrix.array.T, u, v, self.n_power_iterations, self.eps)
        return spectrally_normed(weight, matrix, u, v)

    def __call__(self, module: Module, inputs: Any) -> None:
        setattr(module, self.name, self.compute_weight(module, module.training))


def _hook_of(module: Module, name: str) -> tuple[int, SpectralNorm] | None:
    for key, hook in module._forward_pre_hooks.items():
        if isinstance(hook, SpectralNorm) and hook.name == name:
            return key, hook
    return None


def spectral_norm(
    module: T, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None
) -> T:
    """Divide a weight by its largest singular value at each forward; returns the module.

    Parameters
    ----------
    n_power_iterations : steps of the power method at each forward in training mode.
    eps : the least norm that is divided by.
    dim : the axis of the outputs; by default 0, and 1 for transposed convolutions.

    What is trained is parameter ``<name>_orig``; buffers ``<name>_u`` and ``<name>_v`` keep the singular vectors.

    Source: T. Miyato et al., "Spectral normalization for generative adversarial networks", arXiv:1802.05957.
    """
    if _hook_of(module, name) is not None:
        raise RuntimeError(f"spectral_norm: {name!r} of {type(module).__name__} is normalised already")
    weight = module.get_parameter(name)
    axis = axis_argument("spectral_norm", axis_of_outputs(module) if dim is None else dim, weight.ndim)
    hook = SpectralNorm(name, n_power_iterations, axis, eps)
    if weight.ndim == 0:
        raise ShapeError("spectral_norm: the weight must have at least 1 axis, got shape ()")
    matrix = rows_against_rest(weight.detach(), axis).array
    delattr(module, name)
    module.register_parameter(f"{name}_orig", weight)
    setattr(module, name, weight.data)
    for part, extent in zip("uv", matrix.shape, strict=True):
        start = unit(draw_normal((extent,), 0.0, 1.0), eps).astype(weight.dtype)
        module.register_buffer(f"{name}_{part}", from_numpy(start))
    module.register_forward_pre_hook(hook)
    return module


def remove_spectral_norm(module: T, name: str = "weight") -> T:
    """Make a plain parameter again of what `spectral_norm` divides, with the value it has now; returns the module."""
    found = _hook_of(module, name)
    if found is None:
        raise ValueError(f"spectral_norm of {name!r} not found in {module}")
    key, hook = found
    weight = hook.compute_weight(module, do_power_iteration=False).detach()
    for gone in (name, f"{name}_u", f"{name}_v", f"{name}_orig"):
        delattr(module, gone)
    module.register_parameter(name, Parameter(weight))
    del module._forward_pre_hooks[key]
    return module


__all__ = ["remove_spectral_norm", "spectral_norm"]
