"""Limits for gradients (Pascanu, Mikolov and Bengio, 2013, arXiv:1211.5063)."""

from __future__ import annotations

import types
import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np

from fastnn._runtime.capture import active, reading
from fastnn._runtime.tensor import TensorBase
from fastnn.errors import GraphError
from fastnn.ops.gradient import clip_all, factor_for, scale_all, total_norm
from fastnn.tensor import Tensor, from_numpy, tensor

Tensors = Tensor | Iterable[Tensor]


def _listed(name: str, tensors: Tensors) -> list[Tensor]:
    found = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    for t in found:
        if not isinstance(t, TensorBase):
            raise TypeError(f"{name}: expected Tensors, got {type(t).__name__}")
    return found


def _gradients(name: str, parameters: Tensors) -> list[Tensor]:
    return [p.grad for p in _listed(name, parameters) if p.grad is not None]


def _measured(tensors: list[Tensor], norm_type: Any, limit: float | None = None) -> Tensor:
    order = float(norm_type)
    if not tensors:
        return tensor(0.0)
    dtype = np.result_type(*(t.dtype for t in tensors))
    if dtype.kind != "f":
        raise TypeError(f"a norm is taken of floating-point Tensors, got dtype {dtype}")
    norm = np.array(total_norm([t.array for t in tensors], order, limit), dtype)
    recorder = active()
    if recorder is not None:
        recorder.norm_is(norm)
    return from_numpy(norm)


def _refuse_nonfinite(norm: Tensor, norm_type: Any) -> None:
    reading("error_if_nonfinite")
    if not np.isfinite(norm.array):
        raise GraphError(
            f"the norm of order {norm_type} of all gradients is {norm.item()}, so they cannot be clipped; "
            "error_if_nonfinite=False clips all the same"
        )


def _touch(tensors: list[Tensor]) -> None:
    for t in tensors:
        t._touch()


def get_total_norm(
    tensors: Tensors, norm_type: float = 2.0, error_if_nonfinite: bool = False, foreach: bool | None = None
) -> Tensor:
    """The norm of all Tensors as one vector.

    Parameters
    ----------
    tensors : a Tensor or several, of any shapes.
    norm_type : order of the norm, ``inf`` for the largest size.
    error_if_nonfinite : raise (RuntimeError and ValueError) where the norm is infinite or NaN.
    foreach : accepted and ignored; all are done at once.

    Returns
    -------
    The norm without axes, in the Tensors' dtype; sums are in float64.
    """
    norm = _measured(_listed("get_total_norm", tensors), norm_type)
    if error_if_nonfinite:
        _refuse_nonfinite(norm, norm_type)
    return norm


def clip_grads_with_norm_(
    parameters: Tensors, max_norm: float, total_norm: Tensor, foreach: bool | None = None
) -> None:
    """Scale the parameters' gradients in place by ``min(max_norm / (total_norm + 1e-6), 1)``."""
    gradients = _gradients("clip_grads_with_norm_", parameters)
    if gradients:
        scale_all([g.array for g in gradients], factor_for(float(total_norm), float(max_norm)))
        _touch(gradients)


def clip_grad_norm_(
    parameters: Tensors, max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:  # fmt: skip
    """Scale the parameters' gradients in place so that the norm of all as one vector is at most `max_norm`.

    Parameters
    ----------
    parameters : a Tensor or several; those without gradient are skipped.
    norm_type : order of the norm, ``inf`` for the largest size.
    error_if_nonfinite : raise (RuntimeError and ValueError), and change nothing, where the norm is infinite or NaN.
    foreach : accepted and ignored; all are done at once.

    Returns
    -------
    The norm before, without axes.
    """
    given = _listed("clip_grad_norm_", parameters)
    if not given and isinstance(parameters, types.GeneratorType):
        warnings.warn("clip_grad_norm_: parameters is an exhausted generator, nothing is clipped", stacklevel=2)
    gradients = _gradients("clip_grad_norm_", given)
    if error_if_nonfinite:
        norm = get_total_norm(gradients, norm_type, error_if_nonfinite)
        clip_grads_with_norm_(given, max_norm, norm)
        return norm
    norm = _measured(gradients, norm_type, float(max_norm))
    _touch(gradients)
    return norm


def clip_grad_norm(
    parameters: Tensors, max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:  # fmt: skip
    """The former name of `clip_grad_norm_`."""
    warnings.warn("clip_grad_norm is deprecated: use clip_grad_norm_", FutureWarning, stacklevel=2)
    return clip_grad_norm_(parameters, max_norm, norm_type, error_if_nonfinite, foreach)


def clip_grad_value_(parameters: Tensors, clip_value: float, foreach: bool | None = None) -> None:
    """Limit each element of the parameters' gradients in place to ``[-clip_value, clip_value]``; NaN stays."""
    limit = float(clip_value)
    gradients = _gradients("clip_grad_value_", parameters)
    if gradients:
        clip_all([g.array for g in gradients], -limit, limit)
        _touch(gradients)


__all__ = ["clip_grad_norm", "clip_grad_norm_", "clip_grad_value_", "clip_grads_with_norm_", "get_total_norm"]
