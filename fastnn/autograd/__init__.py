"""Gradients: what is recorded, the functions that walk the tape, and functions with gradients of their own."""

from typing import Any

from fastnn._runtime.tensor import is_grad_enabled
from fastnn.autograd.gradients import backward, grad
from fastnn.autograd.modes import enable_grad, inference_mode, no_grad, set_grad_enabled


def __getattr__(name: str) -> Any:
    if name == "gradcheck":
        from fastnn.testing import gradcheck

        return gradcheck
    if name in ("Function", "function"):
        import importlib

        module = importlib.import_module("fastnn.autograd.function")
        return module if name == "function" else module.Function
    raise AttributeError(f"module 'fastnn.autograd' has no attribute {name!r}")


__all__ = [
    "Function",
    "backward",
    "enable_grad",
    "grad",
    "inference_mode",
    "is_grad_enabled",
    "no_grad",
    "set_grad_enabled",
]
