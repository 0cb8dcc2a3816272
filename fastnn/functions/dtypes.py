"""What dtypes hold, and what becomes of them together, as torch says; dtypes are NumPy's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastnn import _default_dtype
from fastnn._default_dtype import get_default_dtype, set_default_dtype
from fastnn._runtime.tensor import TensorBase
from fastnn.functions._options import input_argument
from fastnn.functions.arguments import into
from fastnn.ops.op import _torch_promote, torch_result_type


class finfo:
    """Limits of a floating dtype (default: the default dtype), as Python floats.

    Attributes
    ----------
    bits, dtype : its size and name. eps : distance from 1 to the next larger number. max, min : the largest number and
        the lowest. tiny, smallest_normal : the smallest normal number above 0. resolution : ten to the minus digits.
    """

    def __init__(self, type: Any = None) -> None:
        wanted = _default_dtype.floating if type is None else np.dtype(type)
        if wanted.kind not in "fc":
            raise TypeError(f"finfo: type must be a floating dtype, got {wanted}")
        own = np.finfo(wanted)
        self.bits, self.dtype = own.bits, str(own.dtype)
        self.eps, self.max, self.min = float(own.eps), float(own.max), float(own.min)
        self.tiny = self.smallest_normal = float(own.smallest_normal)
        self.resolution = float(own.resolution)

    def __repr__(self) -> str:
        words = ", ".join(f"{n}={getattr(self, n):g}" for n in ("resolution", "min", "max", "eps", "tiny"))
        return f"finfo({words}, dtype={self.dtype})"


class iinfo:
    """Limits of an integer dtype: attributes bits, dtype, min, max."""

    def __init__(self, type: Any) -> None:
        wanted = np.dtype(type)
        if wanted.kind not in "iu":
            raise TypeError(f"iinfo: type must be an integer dtype, got {wanted}")
        own = np.iinfo(wanted)
        self.bits, self.dtype, self.min, self.max = own.bits, str(wanted), int(own.min), int(own.max)

    def __repr__(self) -> str:
        return f"iinfo(min={self.min}, max={self.max}, dtype={self.dtype})"


def _own(name: str, what: str) -> Callable[[Any], Any]:
    def same(input: Any) -> Any:
        return input

    same.__name__ = same.__qualname__ = name
    same.__doc__ = f"{what}: the Tensor itself, whose numbers are real."
    return same


conj = _own("conj", "Complex conjugates")
real = _own("real", "The real parts")
resolve_conj = _own("resolve_conj", "The numbers with a conjugation that is only noted carried out")
resolve_neg = _own("resolve_neg", "The numbers with a negation that is only noted carried out")


def conj_physical(input: Any, *, out: Any = None) -> Any:
    """As `conj`."""
    return input if out is None else into("conj_physical", input, out)


def is_conj(input: Any) -> bool:
    """Whether a conjugation is noted but not carried out: never."""
    return False


def is_neg(input: Any) -> bool:
    """Whether a negation is noted but not carried out: never."""
    return False


def is_tensor(obj: Any) -> bool:
    """Whether `obj` is a Tensor."""
    return isinstance(obj, TensorBase)


def is_floating_point(input: Any) -> bool:
    """Whether the dtype of a Tensor is a floating one."""
    return input_argument("is_floating_point", input).dtype.kind == "f"


def is_complex(input: Any) -> bool:
    """Whether the dtype of a Tensor is a complex one."""
    return input_argument("is_complex", input).dtype.kind == "c"


def is_signed(input: Any) -> bool:
    """Whether the dtype of a Tensor has numbers below 0."""
    return input_argument("is_signed", input).dtype.kind not in "bu"


def is_nonzero(input: Any) -> bool:
    """Whether the only element of a Tensor is not 0; ValueError (a RuntimeError) where there is not exactly one."""
    from fastnn.errors import ShapeError

    array = input_argument("is_nonzero", input)
    if array.size != 1:
        raise ShapeError(f"is_nonzero: input must have exactly one element, got shape {array.shape}")
    return bool(array.item())


def numel(input: Any) -> int:
    """Number of elements of a Tensor."""
    return int(input_argument("numel", input).size)


def result_type(tensor1: Any, tensor2: Any) -> np.dtype[Any]:
    """The dtype of arithmetic between two Tensors or numbers."""
    return torch_result_type([x.array if isinstance(x, TensorBase) else x for x in (tensor1, tensor2)])


def promote_types(type1: Any, type2: Any) -> np.dtype[Any]:
    """The smallest dtype that takes numbers of both, of the higher kind: a float beside any integer stays as it is."""
    return _torch_promote(np.dtype(type1), np.dtype(type2))


def can_cast(from_: Any, to: Any) -> bool:
    """Whether torch lets numbers of a dtype become those of another: not floats integers, nor integers bools."""
    order = {"b": 0, "u": 1, "i": 1, "f": 2, "c": 3}
    return order[np.dtype(from_).kind] <= order[np.dtype(to).kind]


__all__ = [
    "can_cast",
    "conj",
    "conj_physical",
    "finfo",
    "get_default_dtype",
    "iinfo",
    "is_complex",
    "is_conj",
    "is_floating_point",
    "is_neg",
    "is_nonzero",
    "is_signed",
    "is_tensor",
    "numel",
    "promote_types",
    "real",
    "resolve_conj",
    "resolve_neg",
    "result_type",
    "set_default_dtype",
]
