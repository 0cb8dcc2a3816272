"""Whether ops are recorded: switches that are context managers and decorators."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator
from functools import partial, wraps
from types import TracebackType
from typing import Any, TypeVar

from fastnn._runtime.tensor import set_grad_enabled_now

F = TypeVar("F", bound=Callable[..., Any])


class _GradMode:
    """A context manager, and a decorator, that sets whether ops are recorded in this thread."""

    mode: bool

    def __enter__(self) -> None:
        self._before = set_grad_enabled_now(self.mode)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        set_grad_enabled_now(self._before)

    def __call__(self, function: F) -> F:
        """Decorate: the mode holds while `function` runs, for a generator function while its body runs."""
        mode = self.mode
        if inspect.isgeneratorfunction(function):

            @wraps(function)
            def steps(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
                body = function(*args, **kwargs)
                send: Callable[[], Any] = partial(next, body)
                while True:
                    before = set_grad_enabled_now(mode)
                    try:
                        value = send()
                    except StopIteration as end:
                        return end.value
                    finally:
                        set_grad_enabled_now(before)
                    try:
                        send = partial(body.send, (yield value))
                    except GeneratorExit:
                        body.close()
                        raise
                    except BaseException as error:
                        send = partial(body.throw, error)

            return steps  # type: ignore[return-value]

        @wraps(function)
        def inner(*args: Any, **kwargs: Any) -> Any:
            before = set_grad_enabled_now(mode)
            try:
                return function(*args, **kwargs)
            finally:
                set_grad_enabled_now(before)

        return inner  # type: ignore[return-value]


class _PlainMode(_GradMode):
    """A mode without options, which decorates with or without parentheses."""

    def __new__(cls, function: Any = None) -> Any:
        """A mode, or `function` decorated with it."""
        made = super().__new__(cls)
        return made if function is None else made(function)


class no_grad(_PlainMode):
    """Within it, ops record nothing and results do not require grad."""

    mode = False


class inference_mode(_GradMode):
    """As `no_grad`; `mode=False` leaves recording on."""

    def __init__(self, mode: bool = True) -> None:
        self.mode = not mode


class enable_grad(_PlainMode):
    """Within it, ops are recorded, also inside `no_grad`."""

    mode = True


class set_grad_enabled(_GradMode):
    """Set recording at once; as a context manager, until its end."""

    def __init__(self, mode: bool) -> None:
        self.mode = mode
        self._before = set_grad_enabled_now(mode)

    def __enter__(self) -> None:
        set_grad_enabled_now(self.mode)

    def __call__(self, function: F) -> F:
        """Decorate: what was set by making this is taken back, and holds while `function` runs."""
        set_grad_enabled_now(self._before)
        return super().__call__(function)


__all__ = ["enable_grad", "inference_mode", "no_grad", "set_grad_enabled"]
