"""Functions that bring their own gradient."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ClassVar

import numpy as np

from fastnn._runtime.tensor import is_grad_enabled, recorded, set_grad_enabled_now
from fastnn.errors import GraphError, ShapeError
from fastnn.tensor import Tensor, from_numpy


class Context:
    """What a `Function` hands from its forward to its backward pass; attributes may be set at will.

    Attributes
    ----------
    needs_input_grad : for each argument of ``apply``, whether its gradient is wanted.
    """

    needs_input_grad: tuple[bool, ...]

    def __init__(self) -> None:
        self._saved: tuple[tuple[Tensor | None, int], ...] = ()
        self._constant: set[int] = set()
        self._dirty: tuple[Tensor, ...] = ()
        self._materialize = True

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep inputs and outputs; a change in place before backward is noticed there."""
        for tensor in tensors:
            if tensor is not None and not isinstance(tensor, Tensor):
                raise TypeError(f"save_for_backward: expected Tensors or None, got {type(tensor).__name__}")
        self._saved = tuple((t, 0 if t is None else t._version) for t in tensors)

    @property
    def saved_tensors(self) -> tuple[Tensor | None, ...]:
        """What `save_for_backward` kept; GraphError if it was changed since."""
        for i, (tensor, version) in enumerate(self._saved):
            if tensor is not None and tensor._version != version:
                raise GraphError(
                    f"saved_tensors: number {i} was changed in place after the forward pass (version "
                    f"{tensor._version}, saved at {version}); clone it before changing it"
                )
        return tuple(tensor for tensor, _ in self._saved)

    def mark_non_differentiable(self, *outputs: Tensor) -> None:
        """Say which outputs have no gradient."""
        self._constant = {id(output) for output in outputs}

    def mark_dirty(self, *inputs: Tensor) -> None:
        """Say which inputs the forward pass changed in place (and gives back)."""
        self._dirty = inputs

    def set_materialize_grads(self, value: bool) -> None:
        """Whether a gradient that did not arrive comes as zeros (the default) or as None."""
        self._materialize = value


class Function:
    """Base of functions with a gradient of their own, as ``torch.autograd.Function``.

    A subclass has two static methods: ``forward(ctx, *args)`` gives Tensors; ``backward(ctx, *grads)`` takes a gradient
    an output and gives one an argument, None where there is none. Alternatively ``forward(*args)`` comes with
    ``setup_context(ctx, inputs, output)``. Neither is recorded. Call it by ``apply``.
    """

    setup_context: ClassVar[Callable[..., None] | None] = None

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        """Compute the outputs."""
        raise NotImplementedError("a Function must define forward")

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """Compute the arguments' gradients."""
        raise NotImplementedError("a Function must define backward to be differentiated")

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Call the function and record it."""
        ctx = Context()
        wanted = [isinstance(a, Tensor) and a.requires_grad for a in args]
        ctx.needs_input_grad = tuple(wanted)
        record = is_grad_enabled() and any(wanted)
        before = set_grad_enabled_now(False)
        try:
            if cls.setup_context is None:
                result = cls.forward(ctx, *args, **kwargs)
            else:
                result = cls.forward(*args, **kwargs)
                cls.setup_context(ctx, args, result)
        finally:
            set_grad_enabled_now(before)
        outputs = result if isinstance(result, tuple) else (result,)
        if record:
            outputs = cls._record(ctx, args, outputs)
        return outputs if isinstance(result, tuple) else outputs[0]

    @classmethod
    def _record(cls, ctx: Context, args: tuple[Any, ...], outputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """The outputs with their place on the tape."""
        wanted = [i for i, needed in enumerate(ctx.needs_input_grad) if needed]
        tensors = [o for o in outputs if isinstance(o, Tensor) and id(o) not in ctx._constant and o.dtype.kind == "f"]
        places = [next((i for i, t in enumerate(tensors) if t is o), None) for o in outputs]
        layouts = [(o.shape, o.dtype) for o in tensors]

        def backward(gradients: list[np.ndarray | None]) -> list[np.ndarray | None]:
            if ctx._materialize:
                gradients = [
                    np.zeros(*layout) if g is None else g for g, layout in zip(gradients, layouts, strict=True)
                ]
            given = [None if i is None or (g := gradients[i]) is None else from_numpy(g) for i in places]
            found = cls.backward(ctx, *given)
            found = found if isinstance(found, tuple) else (found,)
            if len(found) < len(args) or any(g is not None for g in found[len(args) :]):
                raise GraphError(
                    f"{cls.__name__}.backward must give a gradient (or None) for each of {len(args)} arguments, got "
                    f"{len(found)}"
                )
            return [cls._gradient(i, args[i], found[i]) for i in wanted]

        made = recorded(cls.__name__, [args[i] for i in wanted], tensors, backward)
        results = []
        for output, place in zip(outputs, places, strict=True):
            if place is None:
                results.append(output)
            elif any(output is x for x in ctx._dirty):
                output._become(made[place])
                results.append(output)
            else:
                results.append(made[place])
        return tuple(results)

    @classmethod
    def _gradient(cls, place: int, x: Tensor, gradient: Any) -> np.ndarray | None:
        """What backward gave for an argument, checked."""
        if gradient is None:
            return None
        array = gradient.array if isinstance(gradient, Tensor) else np.asarray(gradient)
        if array.shape != x.shape:
            try:
                array = np.broadcast_to(array, x.shape)
            except ValueError:
                raise ShapeError(
                    f"{cls.__name__}.backward: gradient {place} must have shape {x.shape}, got {array.shape}"
                ) from None
        return np.require(array, x.dtype, ["ALIGNED"])


def once_differentiable(function: Callable[..., Any]) -> Callable[..., Any]:
    """Mark a backward that is not recorded itself; none is here."""

    @wraps(function)
    def inner(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return inner


FunctionCtx = Context

__all__ = ["Context", "Function", "FunctionCtx", "once_differentiable"]
