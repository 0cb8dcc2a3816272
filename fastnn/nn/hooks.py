"""Hooks of modules: functions called around forward and backward."""

from __future__ import annotations

import itertools
import warnings
from collections import OrderedDict
from collections.abc import Callable, MutableMapping
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn._runtime.capture import restructure
from fastnn._runtime.tensor import is_grad_enabled, recorded
from fastnn.tensor import Tensor, from_numpy

if TYPE_CHECKING:
    from fastnn.nn.module import Module

Gradients = list[np.ndarray | None]  # None where none arrived

_ids = itertools.count()


class HookKey(int):
    """Number of a hook, under which its dictionary holds it, with how it wants to be called."""

    with_kwargs: bool = False
    always_call: bool = False


class HookHandle:
    """Removes a hook again; as a context manager, at its end."""

    def __init__(self, hooks: MutableMapping[int, Any], key: HookKey) -> None:
        self._hooks = hooks
        self.id = key

    def remove(self) -> None:
        """Take the hook off; doing so twice is harmless."""
        self._hooks.pop(self.id, None)
        restructure()

    def __enter__(self) -> HookHandle:
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()


def add_hook(
    hooks: OrderedDict[int, Any],
    hook: Callable[..., Any],
    *,
    prepend: bool = False,
    with_kwargs: bool = False,
    always_call: bool = False,
) -> HookHandle:
    """Put `hook` at the end (or the beginning) of `hooks`."""
    if not callable(hook):
        raise TypeError(f"a hook must be callable, got {type(hook).__name__}")
    key = HookKey(next(_ids))
    if with_kwargs:
        key.with_kwargs = True
    if always_call:
        key.always_call = True
    hooks[key] = hook
    if prepend:
        hooks.move_to_end(key, last=False)
    restructure()
    return HookHandle(hooks, key)


# Hooks of all modules, called before a module's own.
global_hooks: dict[str, OrderedDict[int, Any]] = {
    kind: OrderedDict() for kind in ("forward_pre", "forward", "backward_pre", "backward")
}


def call_hooked(module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run a module's forward between hooks."""
    forward_hooks = [*global_hooks["forward"].items(), *module._forward_hooks.items()]
    called: set[int] = set()
    try:
        for key, hook in [*global_hooks["forward_pre"].items(), *module._forward_pre_hooks.items()]:
            if getattr(key, "with_kwargs", False):
                changed = hook(module, args, kwargs)
                if changed is not None:
                    if not isinstance(changed, tuple) or len(changed) != 2:
                        raise RuntimeError(
                            f"a forward pre-hook with kwargs must return None or a tuple (args, kwargs), got {changed}"
                        )
                    args, kwargs = changed
            else:
                changed = hook(module, args)
                if changed is not None:
                    args = changed if isinstance(changed, tuple) else (changed,)
        backward = BackwardHooks.of(module)
        if backward is not None:
            args = backward.watch_inputs(args)
        result = module.forward(*args, **kwargs)
        for key, hook in forward_hooks:
            called.add(key)
            result = _run_forward_hook(key, hook, module, args, kwargs, result)
        return result if backward is None else backward.watch_outputs(result)
    except Exception:
        for key, hook in forward_hooks:
            if getattr(key, "always_call", False) and key not in called:
                try:
                    _run_forward_hook(key, hook, module, args, kwargs, None)
                except Exception as error:
                    warnings.warn(f"a forward hook with always_call raised {error!r}; forward's own error follows")
        raise


def _run_forward_hook(
    key: int, hook: Any, module: Module, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any
) -> Any:
    changed = hook(module, args, kwargs, result) if getattr(key, "with_kwargs", False) else hook(module, args, result)
    return result if changed is None else changed


class BackwardHooks:
    """One call's watch over the gradients of a module's inputs and outputs.

    The outputs are handed on through one node of the tape, so that all their gradients are known when the hooks
    before backward are called; the inputs through another, whose gradients the other hooks see and may replace.
    """

    def __init__(self, module: Module, before: list[Any], after: list[Any]) -> None:
        self.module, self.before, self.after = module, before, after
        self.grad_outputs: tuple[Tensor | None, ...] | None = None
        self.inputs_watched = False
        self.n_inputs = 0

    @classmethod
    def of(cls, module: Module) -> BackwardHooks | None:
        """The watch that a module's hooks ask for, if gradients are recorded."""
        before = [*global_hooks["backward_pre"].values(), *module._backward_pre_hooks.values()]
        after = [*global_hooks["backward"].values(), *module._backward_hooks.values()]
        return cls(module, before, after) if (before or after) and is_grad_enabled() else None

    def watch_inputs(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Forward's positional arguments, those that require grad handed on."""
        self.n_inputs = len(args)
        places = _requiring(args)
        if not places or not self.after:
            return args
        self.inputs_watched = True

        def after(gradients: Gradients) -> Gradients:
            if self.grad_outputs is None:  # the inputs' gradients do not come through this call's outputs
                return gradients
            grads = _spread(gradients, places, self.n_inputs)
            for hook in self.after:
                grads = _replaced(hook(self.module, grads, self.grad_outputs), grads, "backward hook")
            self.grad_outputs = None
            return [_array(grads[place], args[place]) for place in places]

        return _hand_on(args, places, "BackwardHook", after)

    def watch_outputs(self, result: Any) -> Any:
        """Forward's output, a Tensor or a tuple, handed on where it requires grad."""
        outputs = result if isinstance(result, tuple) else (result,)
        places = _requiring(outputs)
        if not places:
            return result

        def before(gradients: Gradients) -> Gradients:
            grads = _spread(gradients, places, len(outputs))
            for hook in self.before:
                grads = _replaced(hook(self.module, grads), grads, "backward pre-hook")
            self.grad_outputs = grads
            if not self.inputs_watched:
                nothing: tuple[None, ...] = (None,) * self.n_inputs
                for hook in self.after:
                    changed = hook(self.module, nothing, grads)
                    if changed is not None and any(gradient is not None for gradient in _as_tuple(changed)):
                        raise RuntimeError("a backward hook must return None where no input requires grad")
            return [_array(grads[place], outputs[place]) for place in places]

        watched = _hand_on(outputs, places, "BackwardHook", before)
        if not isinstance(result, tuple):
            return watched[0]
        return type(result)(*watched) if hasattr(result, "_fields") else type(result)(watched)


def _requiring(values: tuple[Any, ...]) -> list[int]:
    return [i for i, value in enumerate(values) if isinstance(value, Tensor) and value.requires_grad]


def _hand_on(values: tuple[Any, ...], places: list[int], name: str, function: Callable[..., Any]) -> tuple[Any, ...]:
    passed = [*values]
    watched = [values[place] for place in places]
    for place, view in zip(places, recorded(name, watched, watched, function), strict=True):
        passed[place] = view
    return tuple(passed)


def _spread(gradients: Gradients, places: list[int], count: int) -> tuple[Tensor | None, ...]:
    full: list[Tensor | None] = [None] * count
    for place, gradient in zip(places, gradients, strict=True):
        full[place] = None if gradient is None else from_numpy(gradient)
    return tuple(full)


def _as_tuple(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def _replaced(changed: Any, grads: tuple[Any, ...], what: str) -> tuple[Any, ...]:
    if changed is None:
        return grads
    changed = _as_tuple(changed)
    if len(changed) != len(grads):
        raise RuntimeError(f"a {what} must return None or {len(grads)} gradients, got {len(changed)}")
    return changed


def _array(gradient: Tensor | None, like: Tensor) -> np.ndarray | None:
    if gradient is None:
        return None
    if gradient.shape != like.shape:
        raise RuntimeError(f"a backward hook must keep the gradient's shape {like.shape}, got {gradient.shape}")
    return gradient.array.astype(like.dtype, copy=False)


class ModuleHooks:
    """What `Module` inherits: registering hooks."""

    _hooked: bool = False
    _forward_hooks: OrderedDict[int, Any]
    _forward_pre_hooks: OrderedDict[int, Any]
    _backward_hooks: OrderedDict[int, Any]
    _backward_pre_hooks: OrderedDict[int, Any]

    def _hook_up(self, hooks: OrderedDict[int, Any], hook: Callable[..., Any], **how: bool) -> HookHandle:
        handle = add_hook(hooks, hook, **how)
        self.__dict__["_hooked"] = True  # from now on calls look at the hooks
        return handle

    def _look_at_hooks(self) -> None:
        """Let calls pass the hooks by if there are none."""
        if not (self._forward_hooks or self._forward_pre_hooks or self._backward_hooks or self._backward_pre_hooks):
            self.__dict__.pop("_hooked", None)

    def register_forward_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False, always_call: bool = False
    ) -> HookHandle:
        """Call ``hook(module, args, output)`` after each forward; what it returns replaces the output.

        Parameters
        ----------
        hook : with `with_kwargs` it is called as ``hook(module, args, kwargs, output)``.
        prepend : call it before the hooks that are there already.
        always_call : call it (with None for the output) also where forward raises.
        """
        return self._hook_up(
            self._forward_hooks, hook, prepend=prepend, with_kwargs=with_kwargs, always_call=always_call
        )

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> HookHandle:
        """Call ``hook(module, args)`` before each forward; what it returns replaces the arguments.

        With `with_kwargs` it is called as ``hook(module, args, kwargs)`` and returns None or ``(args, kwargs)``.
        """
        return self._hook_up(self._forward_pre_hooks, hook, prepend=prepend, with_kwargs=with_kwargs)

    def register_full_backward_hook(self, hook: Callable[..., Any], prepend: bool = False) -> HookHandle:
        """Call ``hook(module, grad_input, grad_output)`` when the gradients of the inputs are known.

        Both are tuples, with None for what requires no grad; what the hook returns replaces `grad_input`. Where no
        positional argument requires grad, it is called when the gradients of the outputs are known.
        """
        return self._hook_up(self._backward_hooks, hook, prepend=prepend)

    register_backward_hook = register_full_backward_hook

    def register_full_backward_pre_hook(self, hook: Callable[..., Any], prepend: bool = False) -> HookHandle:
        """Call ``hook(module, grad_output)`` before the module's backward; what it returns replaces `grad_output`."""
        return self._hook_up(self._backward_pre_hooks, hook, prepend=prepend)


class _GlobalHandle(HookHandle):
    """Removes a hook of all modules; with the last of them, calls pass the hooks by again."""

    def remove(self) -> None:
        """Take the hook off; doing so twice is harmless."""
        super().remove()
        ModuleHooks._hooked = any(global_hooks.values())


def _register_global(kind: str, hook: Callable[..., Any], **how: bool) -> HookHandle:
    handle = add_hook(global_hooks[kind], hook, **how)
    ModuleHooks._hooked = True
    return _GlobalHandle(global_hooks[kind], handle.id)


def register_module_forward_pre_hook(hook: Callable[..., Any]) -> HookHandle:
    """Call ``hook(module, args)`` before the forward of every module."""
    return _register_global("forward_pre", hook)


def register_module_forward_hook(
    hook: Callable[..., Any], *, with_kwargs: bool = False, always_call: bool = False
) -> HookHandle:
    """Call ``hook(module, args, output)`` after the forward of every module."""
    return _register_global("forward", hook, with_kwargs=with_kwargs, always_call=always_call)


def register_module_full_backward_pre_hook(hook: Callable[..., Any]) -> HookHandle:
    """Call ``hook(module, grad_output)`` before the backward of every module."""
    return _register_global("backward_pre", hook)


def register_module_full_backward_hook(hook: Callable[..., Any]) -> HookHandle:
    """Call ``hook(module, grad_input, grad_output)`` after the backward of every module."""
    return _register_global("backward", hook)


__all__ = [
    "HookHandle",
    "register_module_forward_hook",
    "register_module_forward_pre_hook",
    "register_module_full_backward_hook",
    "register_module_full_backward_pre_hook",
]
