"""Functions that an optimizer calls around its step and around taking and loading state."""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any, Self

from fastnn._runtime.capture import active

Hooks = OrderedDict[int, Callable[..., Any]]

_every_pre: Hooks = OrderedDict()
_every_post: Hooks = OrderedDict()


class HookHandle:
    """Takes a hook off again, as torch's ``RemovableHandle``; also at the end of a ``with`` block."""

    _next = 0

    def __init__(self, hooks: Hooks, hook: Callable[..., Any], prepend: bool = False) -> None:
        if not callable(hook):
            raise TypeError(f"a hook must be callable, got {type(hook).__name__}")
        self.id = HookHandle._next
        HookHandle._next += 1
        self._hooks = hooks
        hooks[self.id] = hook
        if prepend:
            hooks.move_to_end(self.id, last=False)

    def remove(self) -> None:
        """Take the hook off; doing so twice is harmless."""
        self._hooks.pop(self.id, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()


def register_optimizer_step_pre_hook(hook: Callable[..., Any]) -> HookHandle:
    """Call ``hook(optimizer, args, kwargs)`` before a step of any optimizer; see `Optimizer.register_step_pre_hook`."""
    return HookHandle(_every_pre, hook)


def register_optimizer_step_post_hook(hook: Callable[..., Any]) -> HookHandle:
    """Call ``hook(optimizer, args, kwargs)`` after a step of any optimizer."""
    return HookHandle(_every_post, hook)


class Hooked:
    """The hooks of an optimizer."""

    # whether a step was made since the first schedule was put on the optimizer, and whether one was
    _opt_called = False
    _scheduled = False
    _in_step = False

    def __init__(self) -> None:
        self._step_pre_hooks: Hooks = OrderedDict()
        self._step_post_hooks: Hooks = OrderedDict()
        self._state_dict_pre_hooks: Hooks = OrderedDict()
        self._state_dict_post_hooks: Hooks = OrderedDict()
        self._load_state_dict_pre_hooks: Hooks = OrderedDict()
        self._load_state_dict_post_hooks: Hooks = OrderedDict()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        step = cls.__dict__.get("step")
        if step is not None:
            cls.step = hooked(step)  # type: ignore[attr-defined]

    def _has_step_hooks(self) -> bool:
        return bool(self._step_pre_hooks or self._step_post_hooks or _every_pre or _every_post)

    def _step_hooks(self) -> tuple[Callable[..., Any], ...]:
        """All hooks around a step as they are now; who recorded a call looks whether they are still the same."""
        if not self._has_step_hooks():
            return ()
        return tuple(_all(_every_pre, self._step_pre_hooks, self._step_post_hooks, _every_post))

    def register_step_pre_hook(self, hook: Callable[..., Any]) -> HookHandle:
        """Call ``hook(optimizer, args, kwargs)`` before each step; it may return other (args, kwargs)."""
        return HookHandle(self._step_pre_hooks, hook)

    def register_step_post_hook(self, hook: Callable[..., Any]) -> HookHandle:
        """Call ``hook(optimizer, args, kwargs)`` after each step."""
        return HookHandle(self._step_post_hooks, hook)

    def register_state_dict_pre_hook(self, hook: Callable[..., Any], prepend: bool = False) -> HookHandle:
        """Call ``hook(optimizer)`` before `state_dict` is made."""
        return HookHandle(self._state_dict_pre_hooks, hook, prepend)

    def register_state_dict_post_hook(self, hook: Callable[..., Any], prepend: bool = False) -> HookHandle:
        """Call ``hook(optimizer, state_dict)`` on what `state_dict` made; it may return another dict."""
        return HookHandle(self._state_dict_post_hooks, hook, prepend)

    def register_load_state_dict_pre_hook(self, hook: Callable[..., Any], prepend: bool = False) -> HookHandle:
        """Call ``hook(optimizer, state_dict)`` before `load_state_dict` reads it; it may return another dict."""
        return HookHandle(self._load_state_dict_pre_hooks, hook, prepend)

    def register_load_state_dict_post_hook(self, hook: Callable[..., Any], prepend: bool = False) -> HookHandle:
        """Call ``hook(optimizer)`` after `load_state_dict`."""
        return HookHandle(self._load_state_dict_post_hooks, hook, prepend)


def hooked(step: Callable[..., Any]) -> Callable[..., Any]:
    """Call the hooks around a step, once where steps call each other."""

    @functools.wraps(step)
    def with_hooks(self: Hooked, *args: Any, **kwargs: Any) -> Any:
        self._opt_called = True
        if self._in_step or not self._has_step_hooks():
            return step(self, *args, **kwargs)
        recorder = active()
        if recorder is not None:
            recorder.stepping(self)
        self._in_step = True
        try:
            for hook in _all(_every_pre, self._step_pre_hooks):
                given = hook(self, args, kwargs)
                if given is not None:
                    if not isinstance(given, tuple) or len(given) != 2:
                        raise RuntimeError(f"a hook before a step must return None or (args, kwargs), got {given!r}")
                    args, kwargs = given
            result = step(self, *args, **kwargs)
            for hook in _all(self._step_post_hooks, _every_post):
                hook(self, args, kwargs)
        finally:
            self._in_step = False
        return result

    return with_hooks


def _all(*hooks: Hooks) -> Iterable[Callable[..., Any]]:
    """The hooks at this moment: one may take itself off."""
    return [hook for each in hooks for hook in each.values()]


__all__ = ["HookHandle", "Hooked", "hooked", "register_optimizer_step_post_hook", "register_optimizer_step_pre_hook"]
