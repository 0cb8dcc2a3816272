"""Weight normalisation by a hook before forward; `fastnn.nn.utils.parametrizations.weight_norm` is the newer form."""

from __future__ import annotations

from typing import Any, TypeVar

from fastnn.nn.module import Module
from fastnn.nn.parameter import Parameter
from fastnn.nn.utils.norms import norm_except_dim
from fastnn.tensor import Tensor

T = TypeVar("T", bound=Module)


class WeightNorm:
    """The hook: puts ``g * v / |v|`` in the weight's place."""

    def __init__(self, name: str, dim: int | None) -> None:
        self.name, self.dim = name, dim

    def compute_weight(self, module: Module) -> Tensor:
        """The weight of direction ``<name>_v`` and length ``<name>_g``."""
        g, v = getattr(module, f"{self.name}_g"), getattr(module, f"{self.name}_v")
        weight: Tensor = v * (g / norm_except_dim(v, self.dim))
        return weight

    def __call__(self, module: Module, inputs: Any) -> None:
        setattr(module, self.name, self.compute_weight(module))


def weight_norm(module: T, name: str = "weight", dim: int | None = 0) -> T:
    """Split a weight into its length, parameter ``<name>_g``, and its direction, ``<name>_v``; returns the module.

    Parameters
    ----------
    dim : the axis along which each slice has a length of its own; None for one length over all.

    Source: T. Salimans, D. Kingma, "Weight normalization", arXiv:1602.07868.
    """
    if any(isinstance(hook, WeightNorm) and hook.name == name for hook in module._forward_pre_hooks.values()):
        raise RuntimeError(f"weight_norm: {name!r} of {type(module).__name__} is normalised already")
    weight = module.get_parameter(name)
    hook = WeightNorm(name, dim)
    delattr(module, name)
    module.register_parameter(f"{name}_g", Parameter(norm_except_dim(weight, dim).detach()))
    module.register_parameter(f"{name}_v", Parameter(weight.detach()))
    setattr(module, name, hook.compute_weight(module))
    module.register_forward_pre_hook(hook)
    return module


def remove_weight_norm(module: T, name: str = "weight") -> T:
    """Make one parameter again of what `weight_norm` has split; returns the module."""
    for key, hook in module._forward_pre_hooks.items():
        if isinstance(hook, WeightNorm) and hook.name == name:
            weight = hook.compute_weight(module).detach()
            for gone in (name, f"{name}_g", f"{name}_v"):
                delattr(module, gone)
            setattr(module, name, Parameter(weight))
            del module._forward_pre_hooks[key]
            return module
    raise ValueError(f"weight_norm of {name!r} not found in {module}")


__all__ = ["remove_weight_norm", "weight_norm"]
