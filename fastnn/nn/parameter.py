"""Parameter and Buffer: Tensors that belong to a Module."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from fastnn import _default_dtype
from fastnn._runtime.memory import empty
from fastnn._runtime.tensor import dense_copy
from fastnn.tensor import Tensor, as_tensor, from_numpy


class Parameter(Tensor):
    """A Tensor that registers itself when it is assigned to a Module's attribute.

    Parameters
    ----------
    data : Tensor or array whose memory the parameter takes over.
    requires_grad : whether it is trained.
    """

    def __new__(cls, data: Any = None, requires_grad: bool = True) -> Parameter:
        """Make a parameter that shares `data`'s memory."""
        self: Parameter = super().__new__(cls)
        if data is None:
            data = np.empty(0, np.float32)
        self._set_array(as_tensor(data).array)
        self.requires_grad = requires_grad
        return self

    def __init__(self, data: Any = None, requires_grad: bool = True) -> None:
        pass  # `__new__` has done it: pickle and copy make a Parameter without calling this

    def __repr__(self) -> str:
        return "Parameter containing:\n" + super().__repr__()


class Buffer(Tensor):
    """A Tensor that registers itself as a buffer when it is assigned to a Module's attribute.

    Parameters
    ----------
    data : Tensor or array whose memory the buffer takes over.
    persistent : whether it belongs to the module's ``state_dict``.
    """

    persistent: bool

    def __new__(cls, data: Any = None, *, persistent: bool = True) -> Buffer:
        """Make a buffer that shares `data`'s memory."""
        self: Buffer = super().__new__(cls)
        self._set_array(as_tensor(np.empty(0, np.float32) if data is None else data).array)
        self.persistent = persistent
        return self

    def __init__(self, data: Any = None, *, persistent: bool = True) -> None:
        pass  # as for Parameter

    def __reduce__(self) -> Any:
        return _rebuild_buffer, (type(self), self.array, self.persistent)

    def __copy__(self) -> Buffer:
        return _rebuild_buffer(type(self), self.array, self.persistent)

    def __deepcopy__(self, memo: dict[int, Any]) -> Buffer:
        made: Buffer | None = memo.get(id(self))
        if made is None:
            made = memo[id(self)] = _rebuild_buffer(type(self), dense_copy(self.array), self.persistent)
        return made


def _rebuild_buffer(cls: type[Buffer], array: np.ndarray, persistent: bool) -> Buffer:
    return cls(from_numpy(array), persistent=persistent)


class UninitializedParameter(Parameter):
    """A parameter whose shape the first input will tell; see the Lazy modules.

    Parameters
    ----------
    requires_grad : whether it is trained.
    dtype : float32 (default) or float64.
    """

    def __new__(
        cls, requires_grad: bool = True, device: Any = None, dtype: npt.DTypeLike | None = None
    ) -> UninitializedParameter:
        """Make the place for a parameter."""
        made = super().__new__(cls, np.empty(0, np.float32 if dtype is None else dtype), requires_grad)
        assert isinstance(made, UninitializedParameter)
        return made

    def __init__(self, requires_grad: bool = True, device: Any = None, dtype: npt.DTypeLike | None = None) -> None:
        pass  # as for Parameter

    @property
    def shape(self) -> NoReturn:
        """There is none yet."""
        raise RuntimeError("a parameter that is not initialised has no shape: run the module once, or materialize() it")

    def materialize(
        self, shape: tuple[int, ...], transposed: bool = False, order: Sequence[int] | None = None
    ) -> None:  # fmt: skip
        """Become a Parameter of a shape, its values unset; `transposed` and `order` as for `unset`."""
        self._set_array(_memory(shape, self.array.dtype, transposed, order))
        self.__class__ = Parameter  # type: ignore[assignment]

    def __repr__(self) -> str:
        return "<UninitializedParameter>"

    def __reduce__(self) -> Any:
        return type(self), (self.requires_grad, None, self.array.dtype)

    def __copy__(self) -> UninitializedParameter:
        return type(self)(self.requires_grad, None, self.array.dtype)

    def __deepcopy__(self, memo: dict[int, Any]) -> UninitializedParameter:
        made: UninitializedParameter | None = memo.get(id(self))
        if made is None:
            made = memo[id(self)] = self.__copy__()
        return made


class UninitializedBuffer(Buffer):
    """A buffer whose shape the first input will tell; see the Lazy modules.

    Parameters
    ----------
    dtype : float32 (default) or float64.
    """

    def __new__(
        cls, requires_grad: bool = False, device: Any = None, dtype: npt.DTypeLike | None = None, *,
        persistent: bool = True,
    ) -> UninitializedBuffer:  # fmt: skip
        """Make the place for a buffer."""
        made = super().__new__(cls, np.empty(0, np.float32 if dtype is None else dtype), persistent=persistent)
        assert isinstance(made, UninitializedBuffer)
        return made

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass  # as for Parameter

    @property
    def shape(self) -> NoReturn:
        """There is none yet."""
        raise RuntimeError("a buffer that is not initialised has no shape: run the module once, or materialize() it")

    def materialize(self, shape: tuple[int, ...], transposed: bool = False) -> None:
        """Become a Buffer of a shape, its values unset; `transposed` puts the first axis innermost in memory."""
        memory = empty(shape[::-1] if transposed else shape, self.array.dtype)
        self._set_array(memory.T if transposed else memory)
        self.__class__ = Buffer  # type: ignore[assignment]

    def __repr__(self) -> str:
        return "<UninitializedBuffer>"

    def __reduce__(self) -> Any:
        return _rebuild_lazy_buffer, (type(self), self.array.dtype, self.persistent)

    def __copy__(self) -> UninitializedBuffer:
        return _rebuild_lazy_buffer(type(self), self.array.dtype, self.persistent)

    def __deepcopy__(self, memo: dict[int, Any]) -> UninitializedBuffer:
        made: UninitializedBuffer | None = memo.get(id(self))
        if made is None:
            made = memo[id(self)] = self.__copy__()
        return made


def _rebuild_lazy_buffer(cls: type[UninitializedBuffer], dtype: npt.DTypeLike, persistent: bool) -> UninitializedBuffer:
    return cls(dtype=dtype, persistent=persistent)


def is_lazy(member: Any) -> bool:
    """Whether a parameter or buffer has no shape yet."""
    return isinstance(member, (UninitializedParameter, UninitializedBuffer))


def unset(
    shape: tuple[int, ...], dtype: npt.DTypeLike | None, transposed: bool = False, order: Sequence[int] | None = None
) -> Parameter:  # fmt: skip
    """A parameter without values yet.

    `transposed` puts the first axis innermost in memory; `order` lists the axes from the outermost to the innermost.
    """
    return Parameter(_memory(shape, _default_dtype.floating if dtype is None else dtype, transposed, order))


def _memory(
    shape: tuple[int, ...], dtype: npt.DTypeLike, transposed: bool, order: Sequence[int] | None
) -> np.ndarray:  # fmt: skip
    if order is None:
        order = range(len(shape))[::-1] if transposed else range(len(shape))
    memory = empty(tuple(shape[axis] for axis in order), dtype)
    return memory.transpose(np.argsort(order)) if len(shape) else memory


__all__ = ["Buffer", "Parameter", "UninitializedBuffer", "UninitializedParameter", "is_lazy", "unset"]
