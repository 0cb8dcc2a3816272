"""The Tensor class and what makes one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from fastnn import _default_dtype as default
from fastnn import functions, ops
from fastnn._runtime.capture import active, computed, reading
from fastnn._runtime.memory import empty
from fastnn._runtime.tape import run_backward
from fastnn._runtime.tensor import (
    TensorBase,
    dense_copy,
    derived,
    is_grad_enabled,
    set_tensor_type,
)
from fastnn._tensor_products import ProductMethods
from fastnn.errors import DTypeError, GraphError, ShapeError
from fastnn.functions import subscript

_UFUNCS = {
    "add": "add",
    "subtract": "subtract",
    "multiply": "multiply",
    "divide": "divide",
    "true_divide": "divide",
    "negative": "negative",
    "matmul": "matmul",
    "equal": "equal",
    "not_equal": "not_equal",
    "less": "less",
    "less_equal": "less_equal",
    "greater": "greater",
    "greater_equal": "greater_equal",
}


_HOST_DEVICES = (1, 3, 11)  # DLPack's numbers for the CPU, and for the pinned memory of CUDA and ROCm

_ONES = {np.dtype(name): np.ones((), name) for name in ("float32", "float64")}
for _one in _ONES.values():
    _one.flags.writeable = False


_OPERANDS = (TensorBase, float, int, np.ndarray, np.generic, list, tuple)


def _operator(name: str) -> Any:
    """The method behind an operator: a function of the Tensor and what stands on its right."""

    def operator(self: Any, other: Any) -> Any:
        return functions.find(name)(self, other) if isinstance(other, _OPERANDS) else NotImplemented

    return operator


def _reflected(name: str) -> Any:
    """The method behind an operator whose left operand is no Tensor."""

    def operator(self: Any, other: Any) -> Any:
        return functions.find(name)(other, self) if isinstance(other, _OPERANDS) else NotImplemented

    return operator


def _assigned(name: str) -> Any:
    """The method behind an operator that assigns."""

    def operator(self: Any, other: Any) -> Any:
        return getattr(self, name)(other) if isinstance(other, _OPERANDS) else NotImplemented

    return operator


class _FoundMethods(type):
    """Lets ``Tensor.exp`` find the methods that are functions too, as an instance does."""

    def __getattr__(cls, name: str) -> Any:
        found = functions.method(name)
        if found is None:
            raise AttributeError(f"type object 'Tensor' has no attribute {name!r}")
        setattr(Tensor, name, found)
        return found


class Tensor(TensorBase, ProductMethods, metaclass=_FoundMethods):
    """A NumPy array that records what is done to it, with torch's methods and meaning.

    A Tensor shares memory with its array in both directions: ``fastnn.from_numpy(a)`` sees later writes to ``a``,
    ``np.asarray(t)`` is a view. The array may have any strides. Gradients accumulate in ``grad`` when ``backward`` is
    called on something computed from a Tensor whose ``requires_grad`` is true.

    Writes made through NumPy are not seen by the version check of ``backward``; writes made through Tensors are.

    Make one with `fastnn.tensor` (copies) or `fastnn.from_numpy` and `fastnn.as_tensor` (share).
    """

    def __init__(self, *data: Any) -> None:
        """Make a float32 Tensor: a copy of nested numbers, or uninitialised from separate extents (as in torch)."""
        if all(isinstance(extent, int) for extent in data):
            self._set_array(empty(data if data else (0,), np.float32))
        elif len(data) == 1:
            self._set_array(np.array(_numbers("Tensor", data[0]), np.float32))
        else:
            raise TypeError(f"Tensor takes numbers in one sequence, or extents, got {len(data)} arguments")

    def __getattr__(self, name: str) -> Any:
        """The methods that are functions too: each is put into the class when it is first asked for."""
        if functions.method(name) is None:
            raise AttributeError(f"'Tensor' object has no attribute {name!r}")
        getattr(Tensor, name)
        return getattr(self, name)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *functions.METHODS})

    # -- operators that are functions too (the others stand in the base class)

    __pow__, __rpow__, __ipow__ = _operator("pow"), _reflected("pow"), _assigned("pow_")
    __mod__, __rmod__, __imod__ = _operator("remainder"), _reflected("remainder"), _assigned("remainder_")
    __floordiv__, __rfloordiv__ = _operator("floor_divide"), _reflected("floor_divide")
    __ifloordiv__ = _assigned("floor_divide_")
    __and__, __rand__, __iand__ = _operator("bitwise_and"), _reflected("bitwise_and"), _assigned("bitwise_and_")
    __or__, __ror__, __ior__ = _operator("bitwise_or"), _reflected("bitwise_or"), _assigned("bitwise_or_")
    __xor__, __rxor__, __ixor__ = _operator("bitwise_xor"), _reflected("bitwise_xor"), _assigned("bitwise_xor_")
    __lshift__, __rlshift__ = _operator("bitwise_left_shift"), _reflected("bitwise_left_shift")
    __rshift__, __rrshift__ = _operator("bitwise_right_shift"), _reflected("bitwise_right_shift")
    __ilshift__, __irshift__ = _assigned("bitwise_left_shift_"), _assigned("bitwise_right_shift_")

    def __pos__(self) -> Tensor:
        return self

    def __abs__(self) -> Tensor:
        return functions.find("abs")(self)

    def __invert__(self) -> Tensor:
        return functions.find("bitwise_not")(self)

    # -- NumPy and other libraries

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.numpy(), dtype=dtype, copy=copy)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        name = _UFUNCS.get(ufunc.__name__)
        if method == "__call__" and name is not None and not kwargs:
            return getattr(ops, name)(*inputs)
        arrays = [np.asarray(x) if isinstance(x, Tensor) else x for x in inputs]
        if "out" in kwargs:
            kwargs["out"] = tuple(np.asarray(x) if isinstance(x, Tensor) else x for x in kwargs["out"])
        return getattr(ufunc, method)(*arrays, **kwargs)

    def __dlpack__(self, **kwargs: Any) -> Any:
        """Hand the memory to another library, without a copy where the protocol can say how it lies.

        It cannot say that an axis runs backwards: such Tensors are copied, or refused with ``copy=False``.
        """
        reading("__dlpack__")
        if self.requires_grad:
            raise GraphError("__dlpack__ of a Tensor that requires grad: use tensor.detach()")
        array = self.array
        size = array.itemsize
        if any(step < 0 or step % size for step in array.strides) or not array.dtype.isnative:
            if kwargs.get("copy") is False:
                raise BufferError(
                    f"__dlpack__: strides {array.strides} of {array.dtype} need a copy, and copy is False"
                )
            array = np.array(array, dtype=array.dtype.newbyteorder("="), order="C")
        return array.__dlpack__(**kwargs)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.array.__dlpack_device__()

    def numpy(self, *, force: bool = False) -> np.ndarray:
        """The array itself, without a copy."""
        reading("numpy()")
        if self.requires_grad and not force:
            raise GraphError("numpy() of a Tensor that requires grad: use tensor.detach().numpy()")
        return self.array

    def item(self) -> Any:
        """The only element, as a Python number."""
        reading("item()")
        if self.array.size != 1:
            raise ShapeError(f"item() needs exactly one element, got shape {self.shape}")
        return self.array.item()

    def tolist(self) -> Any:
        """The elements as nested lists of Python numbers."""
        reading("tolist()")
        return self.array.tolist()

    def __bool__(self) -> bool:
        reading("the truth value of a Tensor")
        if self.array.size != 1:
            raise ShapeError(f"the truth value of a Tensor needs exactly one element, got shape {self.shape}")
        return bool(self.array.item())

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        if self.array.dtype.kind not in "iub":
            raise TypeError(f"only integer Tensors can be an index, got dtype {self.dtype}")
        return int(self.item())

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of a Tensor without axes")
        return int(self.shape[0])

    def __iter__(self) -> Iterator[Tensor]:
        if not self.shape:
            raise TypeError("iteration over a Tensor without axes")
        return (self[i] for i in range(len(self)))

    def __contains__(self, value: Any) -> bool:
        reading("`in`")
        return bool(np.any(self.array == (value.array if isinstance(value, TensorBase) else value)))

    def __repr__(self) -> str:
        reading("printing a Tensor")
        body = np.array2string(self.array, separator=", ", precision=4, suppress_small=False, prefix="tensor(")
        words = []
        if self.dtype not in (np.float32, np.int64, np.bool_):
            words.append(f"dtype={self.dtype}")
        if 0 in self.shape and len(self.shape) > 1:
            words.append(f"size={self.shape}")
        if self.grad_fn is not None:
            words.append(f"grad_fn=<{self.grad_fn.name()}>")
        elif self.requires_grad:
            words.append("requires_grad=True")
        return f"tensor({', '.join([body, *words])})"

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if not self.shape and spec else format(str(self), spec)

    def __reduce__(self) -> Any:
        return _rebuild, (type(self), self.array, self.requires_grad)

    def __copy__(self) -> Tensor:
        return _rebuild(type(self), self.array, self.requires_grad)

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if not self.is_leaf:
            raise GraphError("only leaf Tensors can be deep-copied; use detach() or clone()")
        made = memo.get(id(self))
        if made is None:
            made = _rebuild(type(self), dense_copy(self.array), self.requires_grad)
            memo[id(self)] = made
            if self.grad is not None:
                made.grad = from_numpy(dense_copy(self.grad.array))
        return made

    # -- the tape

    def backward(
        self,
        gradient: Tensor | npt.ArrayLike | None = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
    ) -> None:
        """Add the gradients of this tensor to the ``grad`` of the leaves it came from.

        Parameters
        ----------
        gradient : of this tensor, same shape; may be left out for a single element.
        retain_graph : keep what the graph saved, so that backward can run through it again.
        """
        one = _ONES.get(self.dtype) if gradient is None and not create_graph and self.ndim == 0 else None
        if one is not None and self.requires_grad:
            # the usual end of a training step: a loss without axes
            run_backward([self], [one], bool(retain_graph))
            return
        from fastnn.autograd import backward

        backward((self,), (gradient,), retain_graph, create_graph)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Set ``requires_grad``; returns self."""
        self.requires_grad = requires_grad
        return self

    @property
    def data(self) -> Tensor:
        """The same memory, outside the tape."""
        recorder = active()
        if recorder is not None:
            recorder.met(self)
        return from_numpy(self.array)

    @data.setter
    def data(self, value: Tensor | np.ndarray) -> None:
        array = _numbers("data", value)
        if self.requires_grad and array.dtype.kind != "f":
            raise DTypeError(f"data of a Tensor that requires grad must be floating, got dtype {array.dtype}")
        self._set_array(array)

    @property
    def _version(self) -> int:
        return self._version_value

    # -- size and layout

    def size(self, dim: int | None = None) -> Any:
        """``shape``, or its entry `dim`."""
        return self.shape if dim is None else self.shape[dim]

    def numel(self) -> int:
        """Number of elements."""
        return int(self.array.size)

    def dim(self) -> int:
        """Number of axes."""
        return int(self.ndim)

    def element_size(self) -> int:
        """Bytes of an element."""
        return int(self.array.itemsize)

    def stride(self, dim: int | None = None) -> Any:
        """Distances between neighbours along each axis, in elements."""
        strides = tuple(s // self.array.itemsize for s in self.array.strides)
        return strides if dim is None else strides[dim]

    def is_contiguous(self) -> bool:
        """Whether the elements lie side by side in C order."""
        return bool(self.array.flags.c_contiguous)

    def is_floating_point(self) -> bool:
        """Whether the dtype is a floating one."""
        return bool(self.array.dtype.kind == "f")

    def data_ptr(self) -> int:
        """Address of the first element."""
        reading("data_ptr()")
        return int(self.array.__array_interface__["data"][0])

    @property
    def T(self) -> Tensor:
        """The axes reversed."""
        return ops.transpose(self)

    @property
    def mT(self) -> Tensor:
        """The last two axes swapped."""
        if self.ndim < 2:
            raise ShapeError(f"mT: a Tensor must have at least 2 axes, got shape {self.shape}")
        return ops.swapaxes(self, -2, -1)

    @property
    def H(self) -> Tensor:
        """The axes of a matrix swapped (and conjugated, which changes no real number)."""
        if self.ndim not in (0, 2):
            raise ShapeError(f"H: a Tensor must have 2 axes or none, got shape {self.shape}")
        return ops.transpose(self)

    @property
    def mH(self) -> Tensor:
        """As `mT`."""
        return self.mT

    __getitem__ = subscript.get
    __setitem__ = subscript.put

    # -- conversion

    def to(self, *args: Any, dtype: npt.DTypeLike | None = None, copy: bool = False, **_: Any) -> Tensor:
        """Convert to a dtype; a device may be named and must be the CPU."""
        for arg in args:
            if isinstance(arg, Tensor):
                dtype = arg.dtype
            elif isinstance(arg, str) and arg.split(":")[0] in ("cpu", "cuda", "mps", "meta"):
                if not arg.startswith("cpu"):
                    raise ValueError(f"to: the only device is cpu, got {arg!r}")
            elif arg is not None and not isinstance(arg, bool):
                dtype = arg
        wanted = self.dtype if dtype is None else _number_dtype("to", dtype)
        if wanted == self.dtype and not copy:
            return self
        own = self.dtype
        made = computed(lambda array: array.astype(wanted), self.array)
        return derived(self, made, "to", lambda g: g.astype(own), False)

    def type(self, dtype: npt.DTypeLike) -> Tensor:
        """Convert to a dtype."""
        return self.to(dtype)

    def cpu(self) -> Tensor:
        """Self: there is no other device."""
        return self

    # -- arithmetic by name

    def relu(self) -> Tensor:
        """``max(self, 0)``."""
        return ops.relu(self)

    def relu_(self) -> Tensor:
        """Set negative elements to 0, in place."""
        return self._map_("relu")

    def _map_(self, name: str) -> Tensor:
        """Put each element through a function of elements, in place."""
        if is_grad_enabled() and self.requires_grad:
            if self.is_leaf:
                raise GraphError("a leaf Tensor that requires grad cannot be changed in place; do it under no_grad()")
            self._become(getattr(ops, name)(self))
        else:
            getattr(ops, name)(self.array, out=self.array)
            self._touch()
        return self

    # -- in place

    def _inplace(self, name: str, other: Any) -> Tensor:
        recorded = is_grad_enabled() and (self.requires_grad or getattr(other, "requires_grad", False))
        if not recorded:
            value = other.array if isinstance(other, TensorBase) else other
            getattr(ops, name)(self.array, value, out=self.array)
            self._touch()
            return self
        if self.is_leaf and self.requires_grad:
            raise GraphError("a leaf Tensor that requires grad cannot be changed in place; do it under no_grad()")
        self._become(getattr(ops, name)(self, other))
        return self

    def add_(self, other: Any, *, alpha: Any = 1) -> Tensor:
        """Add `alpha` * `other` in place."""
        return self._inplace("add", other if alpha == 1 else other * alpha)

    def sub_(self, other: Any, *, alpha: Any = 1) -> Tensor:
        """Subtract `alpha` * `other` in place."""
        return self._inplace("subtract", other if alpha == 1 else other * alpha)

    def mul_(self, other: Any) -> Tensor:
        """Multiply in place."""
        return self._inplace("multiply", other)

    def __iadd__(self, other: Any) -> Tensor:
        return self._inplace("add", other)

    def __isub__(self, other: Any) -> Tensor:
        return self._inplace("subtract", other)

    def __imul__(self, other: Any) -> Tensor:
        return self._inplace("multiply", other)

    def __itruediv__(self, other: Any) -> Tensor:
        return self._inplace("divide", other)

    def _overwrite(self, name: str, value: Any) -> Tensor:
        source = value.array if isinstance(value, TensorBase) else np.asarray(value)
        if source.dtype.kind not in "biufc":
            raise DTypeError(f"{name}: expected numbers, got {value!r}")
        if is_grad_enabled() and (self.requires_grad or getattr(value, "requires_grad", False)):
            if self.is_leaf and self.requires_grad:
                raise GraphError("a leaf Tensor that requires grad cannot be changed in place; do it under no_grad()")
            put = as_tensor(value, self.dtype) if not isinstance(value, Tensor) else value.to(self.dtype)
            self._become(put.expand(self.shape))
            return self
        try:
            np.copyto(self.array, source, casting="unsafe")
        except ValueError as error:
            if not self.array.flags.writeable:
                raise
            raise ShapeError(f"{name}: cannot fill shape {self.shape}: {error}") from None
        recorder = active()
        if recorder is not None:
            if not isinstance(value, (TensorBase, np.ndarray)):
                recorder.constant(source)
            recorder.copied(self.array, source)
        self._touch()
        return self

    def zero_(self) -> Tensor:
        """Set all elements to 0."""
        return self._overwrite("zero_", 0)

    def fill_(self, value: Any) -> Tensor:
        """Set all elements to `value`."""
        return self._overwrite("fill_", value)

    def copy_(self, source: Any) -> Tensor:
        """Take the elements of `source`, broadcast and converted."""
        return self._overwrite("copy_", source)

    # -- conversions named as types come last: in this class the names mean these from here on

    def float(self) -> Tensor:
        """Convert to float32."""
        return self.to(np.float32)

    def double(self) -> Tensor:
        """Convert to float64."""
        return self.to(np.float64)

    def long(self) -> Tensor:
        """Convert to int64."""
        return self.to(np.int64)

    def int(self) -> Tensor:
        """Convert to int32."""
        return self.to(np.int32)

    def bool(self) -> Tensor:
        """Convert to bool."""
        return self.to(np.bool_)


set_tensor_type(Tensor)


def _rebuild(cls: type[Tensor], array: np.ndarray, requires_grad: bool) -> Tensor:
    made = cls.__new__(cls)
    made._set_array(array)
    made.requires_grad = requires_grad
    return made


def _numbers(name: str, data: Any) -> np.ndarray:
    array = data.array if isinstance(data, TensorBase) else np.asarray(data)
    if array.dtype.kind not in "biufc":
        raise DTypeError(f"{name}: data must be numbers, got dtype {array.dtype}")
    return array


def _number_dtype(name: str, dtype: npt.DTypeLike) -> np.dtype[Any]:
    wanted = np.dtype(dtype)
    if wanted.kind not in "biufc":
        raise DTypeError(f"{name}: dtype must be of numbers, got {wanted}")
    return wanted


def _default_dtype(data: Any, array: np.ndarray) -> np.dtype[Any]:
    """The default dtype for Python floats, as torch; arrays keep theirs."""
    if array.dtype.kind in "fc" and not isinstance(data, (np.ndarray, np.generic, TensorBase)):
        if array.dtype == np.float64:
            return default.floating
        if array.dtype == np.complex128:
            return default.complex_
    return array.dtype.newbyteorder("=")


def check_device(name: str, device: Any) -> None:
    """Raise for a device that is not the CPU."""
    if device is not None and str(device).partition(":")[0] != "cpu":
        raise ValueError(f"{name}: the only device is cpu, got {device!r}")


def tensor(
    data: Any, *, dtype: npt.DTypeLike | None = None, device: Any = None, requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:  # fmt: skip
    """Make a Tensor from a copy of `data`: numbers, nested sequences, an array, a Tensor.

    Python floats get the default dtype (float32), integers int64; arrays keep theirs unless `dtype` is given.
    """
    check_device("tensor", device)
    array = _numbers("tensor", data)
    wanted = _default_dtype(data, array) if dtype is None else _number_dtype("tensor", dtype)
    copy = np.array(array, dtype=wanted)
    recorder = active()
    if recorder is not None:
        recorder.promoted(array if isinstance(data, (np.ndarray, TensorBase)) else None, copy)
    return _rebuild(Tensor, copy, requires_grad)


def from_numpy(array: np.ndarray) -> Tensor:
    """Make a Tensor that shares an array's memory."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"from_numpy: expected a NumPy array, got {type(array).__name__}")
    return _rebuild(Tensor, np.asarray(_numbers("from_numpy", array)), False)


def as_tensor(data: Any, dtype: npt.DTypeLike | None = None, device: Any = None) -> Tensor:
    """Make a Tensor of `data`, sharing its memory where the dtype allows."""
    check_device("as_tensor", device)
    if isinstance(data, Tensor) and (dtype is None or data.dtype == dtype):
        return data
    array = _numbers("as_tensor", data)
    wanted = _default_dtype(data, array) if dtype is None else _number_dtype("as_tensor", dtype)
    return _rebuild(Tensor, np.asarray(array, dtype=wanted), False)


def from_dlpack(ext_tensor: Any, *, device: Any = None, copy: bool | None = None) -> Tensor:
    """Make a Tensor that shares the memory of another library's tensor (read-only before NumPy 2.1).

    Parameters
    ----------
    device : None or ``"cpu"``.
    copy : True for memory of its own; False never copies, and neither does None.

    Raises
    ------
    BufferError : the tensor lies on another device, or its library does not export it.
    DTypeError : its element type is one that NumPy does not have, as bfloat16.
    """
    if not hasattr(ext_tensor, "__dlpack__") or not hasattr(ext_tensor, "__dlpack_device__"):
        raise TypeError(f"from_dlpack: expected an object with __dlpack__, got {type(ext_tensor).__name__}")
    if device is not None and not str(device).startswith("cpu"):
        raise ValueError(f"from_dlpack: the only device is cpu, got {device!r}")
    kind = int(ext_tensor.__dlpack_device__()[0])
    if kind not in _HOST_DEVICES:
        raise BufferError(f"from_dlpack: the tensor must lie on the CPU, got DLPack device type {kind}")
    try:
        array = np.from_dlpack(ext_tensor)
    except (BufferError, RuntimeError) as error:
        if "dtype" in str(error):  # the words of NumPy
            raise DTypeError(
                f"from_dlpack: the element type of {type(ext_tensor).__name__} is unknown to NumPy"
            ) from None
        raise
    return from_numpy(array.copy(order="K") if copy else array)


__all__ = ["Tensor", "as_tensor", "from_dlpack", "from_numpy", "tensor"]
