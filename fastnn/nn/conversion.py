"""Conversions of modules: to other dtypes, with the CPU as the only device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from fastnn.autograd import no_grad
from fastnn.tensor import Tensor, from_numpy

T = TypeVar("T", bound="ModuleConversion")


def dtype_argument(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> np.dtype[Any] | None:
    """The dtype among the arguments of ``to``; a device may be named and must be the CPU."""
    known = {"device", "dtype", "non_blocking", "copy", "memory_format"}
    if not known.issuperset(kwargs):
        raise TypeError(f"{name}: unexpected argument {min(kwargs.keys() - known)!r}")
    wanted = kwargs.get("dtype")
    for arg in (*args, kwargs.get("device"), kwargs.get("tensor")):
        if arg is None or isinstance(arg, bool):
            continue
        if isinstance(arg, Tensor):
            wanted = arg.dtype
        elif getattr(arg, "type", None) in ("cpu", "cuda", "mps", "meta", "xpu") or (
            isinstance(arg, str) and arg.split(":")[0] in ("cpu", "cuda", "mps", "meta", "xpu")
        ):
            if not str(arg).startswith("cpu"):
                raise ValueError(f"{name}: the only device is cpu, got {str(arg)!r}")
        else:
            wanted = arg
    return None if wanted is None else np.dtype(wanted)


class ModuleConversion:
    """What `Module` inherits: converting all of its parameters and buffers."""

    def parameters(self, recurse: bool = True) -> Iterator[Tensor]:
        """See `Module`."""
        raise NotImplementedError

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """See `Module`."""
        raise NotImplementedError

    def _apply(self: T, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> T:
        """Replace the data of every parameter, gradient and buffer by what `fn` makes of it."""
        members: list[Tensor] = [*self.parameters(recurse), *self.buffers(recurse)]
        for member in members:
            with no_grad():
                gradient = member.grad
                changed = fn(member.data)
                member.grad = None
                member.data = changed
                if gradient is not None:
                    member.grad = fn(gradient)
        return self

    def to(self: T, *args: Any, **kwargs: Any) -> T:
        """Convert floating parameters and buffers: ``to(dtype)``, ``to(device, dtype)``, ``to(tensor)``.

        The only device is the CPU. Layouts in memory stay as they are.
        """
        dtype = dtype_argument("to", args, kwargs)
        if dtype is None:
            return self
        if dtype.kind not in "fc":
            raise TypeError(f"to: the dtype must be a floating one, got {dtype}")
        return self._apply(lambda t: t.to(dtype) if t.dtype.kind in "fc" else t)

    def type(self: T, dst_type: npt.DTypeLike) -> T:
        """Convert all parameters and buffers, those of integers too."""
        return self._apply(lambda t: t.to(dst_type))

    def float(self: T) -> T:
        """Convert to float32."""
        return self.to(np.float32)

    def double(self: T) -> T:
        """Convert to float64."""
        return self.to(np.float64)

    def half(self: T) -> T:
        """Convert to float16, which ops compute through NumPy."""
        return self.to(np.float16)

    def to_empty(self: T, *, device: Any, recurse: bool = True) -> T:
        """Give every parameter and buffer new memory without values."""
        dtype_argument("to_empty", (device,), {})
        return self._apply(lambda t: from_numpy(np.empty_like(t.array)), recurse)

    def cpu(self: T) -> T:
        """Self: there is no other device."""
        return self

    def cuda(self: T, device: Any = None) -> T:
        """There is none: ValueError."""
        return self.to("cuda")

    def share_memory(self: T) -> T:
        """Self: threads share memory, and processes get copies."""
        return self


__all__ = ["ModuleConversion"]
