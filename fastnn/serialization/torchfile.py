"""Tensors of files that torch saved: a zip archive of a pickle and of the storages that its tensors view."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from typing import Any

import numpy as np

from fastnn.errors import FormatError
from fastnn.serialization.archive import Archive
from fastnn.serialization.pickles import Function, Reader
from fastnn.serialization.source import Source
from fastnn.serialization.tree import as_member

_BFLOAT16 = "bfloat16"

# what torch calls the element types, and NumPy's; bfloat16 is read as float32
_DTYPES: dict[str, Any] = {
    **{name: np.dtype(name) for name in ("float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint8")},
    **{name: np.dtype(name) for name in ("bool", "complex64", "complex128", "uint16", "uint32", "uint64")},
    "bfloat16": _BFLOAT16,
}
_STORAGES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
}


class _StorageType:
    """A class of storages; `dtype` is None where each tensor brings its own."""

    def __init__(self, dtype: str | None) -> None:
        self.dtype = dtype


class _BFloat16:
    """torch.bfloat16, a dtype that NumPy does not have."""

    name = _BFLOAT16


class _TensorType:
    """torch.Tensor or torch.nn.Parameter, as a class."""

    def __init__(self, parameter: bool) -> None:
        self.parameter = parameter


class _Storage:
    """Some bytes of the archive, and the arrays made of them so far."""

    def __init__(self, key: str, dtype: str | None, nbytes: int, offset: int) -> None:
        self.key, self.dtype, self.nbytes, self.offset = key, dtype, nbytes, offset
        self.arrays: dict[Any, np.ndarray] = {}


def recognises(source: Source) -> bool:
    """Whether a file is an archive; FormatError for files of torch before 1.6."""
    start = source.read(0, min(source.size, 4))
    if start[:2] == b"\x80\x02":
        raise source.fail("a file of torch's format before 1.6; load it with torch and save it again")
    return start == b"PK\x03\x04"


def load(source: Source) -> Any:
    """What the archive's pickle describes; FormatError where that is more than tensors, or damaged."""
    return _File(source).load()


class _File:
    """One file, while it is read."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.archive = Archive(source)
        found = [name for name in self.archive.records if name.endswith("/data.pkl") and name.count("/") == 1]
        if len(found) != 1:
            raise source.fail("the archive has no data.pkl, so torch.save did not make it")
        self.root = found[0].removesuffix("data.pkl")
        if f"{self.root}constants.pkl" in self.archive:
            raise source.fail("a TorchScript program; save the model's state_dict() instead")
        order = self.archive.read(f"{self.root}byteorder") if f"{self.root}byteorder" in self.archive else b"little"
        if order not in (b"little", b"big"):
            raise source.fail("the byte order must be little or big")
        self.little = order == b"little"
        self.storages: dict[str, _Storage] = {}

    def load(self) -> Any:
        """The object."""
        try:
            data = self.archive.read(f"{self.root}data.pkl")
            found = Reader(data, self._names(), self._storage, 2 * self.source.size).read()
            _check_members(found)
        except FormatError as error:
            message = str(error)
            raise error if message.startswith("load:") else self.source.fail(message) from None
        return found

    def _names(self) -> dict[str, Any]:
        tensor, parameter = _TensorType(False), _TensorType(True)
        functions: dict[str, Any] = {
            "collections.OrderedDict": _ordered,
            "torch.Size": tuple,
            "torch.device": lambda kind, index=None: "cpu",
            "_codecs.encode": _encode,
            "torch._utils._rebuild_tensor": partial(self._tensor, requires_grad=False),
            "torch._utils._rebuild_tensor_v2": self._tensor,
            "torch._utils._rebuild_tensor_v3": self._tensor_v3,
            "torch._utils._rebuild_parameter": self._parameter,
            "torch._utils._rebuild_parameter_with_state": self._parameter,
            "torch._tensor._rebuild_from_type_v2": self._from_type,
        }
        return {
            **{name: Function(name, call) for name, call in functions.items()},
            **{f"torch.{name}": _StorageType(dtype) for name, dtype in _STORAGES.items()},
            "torch.storage.UntypedStorage": _StorageType(None),
            **{f"torch.{name}": _BFloat16() if name == _BFLOAT16 else dtype for name, dtype in _DTYPES.items()},
            "torch.Tensor": tensor,
            "torch.nn.parameter.Parameter": parameter,
        }

    def _storage(self, identity: Any) -> _Storage:
        if not (isinstance(identity, tuple) and len(identity) == 5 and identity[0] == "storage"):
            raise FormatError("the pickle refers to something that is no storage")
        _, kind, key, location, count = identity
        if not (isinstance(kind, _StorageType) and isinstance(key, str) and isinstance(location, str)):
            raise FormatError("the pickle refers to a storage of unknown kind")
        nbytes = _integer("a storage's size", count) * _width(kind.dtype)
        known = self.storages.get(key)
        if known is None:
            offset, size = self.archive.find(f"{self.root}data/{key}")
            if size != nbytes:
                raise FormatError(f"storage {key} should have {nbytes} bytes, but has {size}")
            known = self.storages[key] = _Storage(key, kind.dtype, nbytes, offset)
        elif (known.dtype, known.nbytes) != (kind.dtype, nbytes):
            raise FormatError(f"storage {key} is described in two ways")
        return known

    def _array(self, storage: _Storage, name: str) -> np.ndarray:
        """The storage's elements; every tensor of it shares them."""
        if name in storage.arrays:
            return storage.arrays[name]
        dtype = _DTYPES[name]
        if storage.nbytes % _width(name):
            raise FormatError(f"storage {storage.key} of {storage.nbytes} bytes cannot hold {name}")
        count = storage.nbytes // _width(name)
        if dtype is _BFLOAT16:
            array = self.source.bfloat16(storage.offset, count, self.little)
        elif storage.arrays:
            raise FormatError(f"storage {storage.key} is used with two dtypes")
        else:
            array = self.source.array(storage.offset, count, dtype, self.little)
        storage.arrays[name] = array
        return array

    def _view(self, storage: Any, name: Any, offset: Any, size: Any, stride: Any) -> np.ndarray:
        if not isinstance(storage, _Storage) or name not in _DTYPES:
            raise FormatError("the pickle has a tensor without a storage, or of unknown dtype")
        if not isinstance(size, tuple) or not isinstance(stride, tuple) or not len(size) == len(stride) <= 64:
            raise FormatError("a tensor's size and stride must be tuples of the same length, 64 at most")
        offset = _integer("a tensor's offset", offset)
        shape = tuple(_integer("a tensor's size", n) for n in size)
        steps = tuple(_integer("a tensor's stride", n) for n in stride)
        elements = storage.nbytes // _width(name)
        last = offset + sum((n - 1) * step for n, step in zip(shape, steps, strict=True))
        if (0 not in shape and last >= elements) or offset > elements:
            raise FormatError(
                f"a tensor of size {shape} and stride {steps} at {offset} leaves its storage of {elements}"
            )
        flat = self._array(storage, name)
        width = flat.itemsize
        if 0 in shape:
            return flat[:0].reshape(shape)
        return np.ndarray(shape, flat.dtype, flat, offset * width, tuple(step * width for step in steps))

    def _tensor(
        self, storage: Any, offset: Any, size: Any, stride: Any, requires_grad: Any = False, hooks: Any = None,
        metadata: Any = None,
    ) -> Any:  # fmt: skip
        name = storage.dtype if isinstance(storage, _Storage) else None
        return as_member(self._view(storage, name, offset, size, stride), False, _flag(requires_grad))

    def _tensor_v3(
        self, storage: Any, offset: Any, size: Any, stride: Any, requires_grad: Any, hooks: Any, dtype: Any,
        metadata: Any = None,
    ) -> Any:  # fmt: skip
        name = dtype.name if isinstance(dtype, (np.dtype, _BFloat16)) else None
        return as_member(self._view(storage, name, offset, size, stride), False, _flag(requires_grad))

    def _parameter(self, data: Any, requires_grad: Any, hooks: Any, state: Any = None) -> Any:
        return as_member(_array_of(data), True, _flag(requires_grad))

    def _from_type(self, function: Any, kind: Any, arguments: Any, state: Any) -> Any:
        """A tensor with attributes of its own, which are left behind."""
        known = isinstance(function, Function) and function.name.startswith("torch._utils._rebuild_")
        if not (known and isinstance(kind, _TensorType) and isinstance(arguments, tuple)):
            raise FormatError("the pickle has a tensor of unknown kind")
        made = function.call(*arguments)
        return as_member(_array_of(made), True, made.requires_grad) if kind.parameter else made


def _check_members(tree: Any) -> None:
    """FormatError where the tree holds one of this module's own objects, as a storage."""
    own = (_Storage, _StorageType, _TensorType, _BFloat16, Function)
    containers = (dict, list, tuple)
    stack, seen = [tree], set()
    while stack:
        value = stack.pop()
        if isinstance(value, containers):
            if id(value) not in seen:
                seen.add(id(value))
                items = value.values() if isinstance(value, dict) else value
                stack.extend(item for item in items if isinstance(item, own) or (isinstance(item, containers) and item))
        elif isinstance(value, own):
            raise FormatError("it holds a storage or a class; only tensors, numbers and strings are read")


def _array_of(tensor: Any) -> np.ndarray:
    array = getattr(tensor, "array", None)
    if not isinstance(array, np.ndarray):
        raise FormatError("a parameter must be made of a tensor")
    return array


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise FormatError(f"requires_grad must be True or False, got a {type(value).__name__}")
    return value


def _integer(what: str, value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 62:
        raise FormatError(f"{what} must be a number from 0 to 2**62, got {value!r:.50}")
    return value


def _width(name: str | None) -> int:
    if name is None:
        return 1
    return 2 if name == _BFLOAT16 else int(_DTYPES[name].itemsize)


def _encode(text: Any, encoding: Any) -> bytes:
    """Bytes, as pickles of protocol 2 write them."""
    if not isinstance(text, str) or encoding != "latin1":
        raise FormatError("the pickle has bytes in an unknown encoding")
    return text.encode("latin1")


def _ordered(items: Any = ()) -> OrderedDict[Any, Any]:
    from fastnn.serialization.pickles import check_key

    made: OrderedDict[Any, Any] = OrderedDict()
    for key, value in items:
        check_key(key)
        made[key] = value
    return made


__all__ = ["load", "recognises"]
