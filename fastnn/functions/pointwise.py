"""Functions of elements under torch's names, with torch's arguments.

Tensors are promoted as torch does; integers become float32 where the result is no integer. Arrays are taken too and
follow NumPy. `out` receives the result; gradients are not recorded then.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fastnn import functions, ops
from fastnn._runtime.tensor import TensorBase
from fastnn.errors import DTypeError
from fastnn.functions.operands import (
    given,
    integral,
    is_number,
    kind_of,
    promoted,
)

Function = Callable[..., Any]


def _unary(name: str, op: str = "") -> Function:
    """A function of one Tensor, which is an op."""
    served = getattr(ops, op or name)

    def function(input: Any, *, out: Any = None) -> Any:
        return served(input) if out is None else served(input, out=out)

    return _described(function, name, served)


def _binary(name: str, op: str = "") -> Function:
    """A function of two Tensors, which broadcast; one of them may be a number."""
    served = getattr(ops, op or name)

    def function(input: Any, other: Any, *, out: Any = None) -> Any:
        return served(input, other) if out is None else served(input, other, out=out)

    return _described(function, name, served)


def _described(function: Function, name: str, served: Any) -> Function:
    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{served.__doc__.splitlines()[0]} See `fastnn.ops.{served.name}`."
    return function


# -- one operand

angle = _unary("angle")
abs = absolute = _unary("abs")
acos = arccos = _unary("acos")
acosh = arccosh = _unary("acosh")
asin = arcsin = _unary("asin")
asinh = arcsinh = _unary("asinh")
atan = arctan = _unary("atan")
atanh = arctanh = _unary("atanh")
ceil = _unary("ceil")
cos = _unary("cos")
cosh = _unary("cosh")
erf = _unary("erf")
erfc = _unary("erfc")
erfinv = _unary("erfinv")
exp = _unary("exp")
exp2 = _unary("exp2")
expm1 = _unary("expm1")
floor = _unary("floor")
frac = _unary("frac")
log = _unary("log")
log10 = _unary("log10")
log1p = _unary("log1p")
log2 = _unary("log2")
neg = negative = _unary("neg", "negative")
reciprocal = _unary("reciprocal")
rsqrt = _unary("rsqrt")
sigmoid = _unary("sigmoid")
sign = _unary("sign")
sgn = _unary("sgn", "sign")
sin = _unary("sin")
sinc = _unary("sinc")
sinh = _unary("sinh")
sqrt = _unary("sqrt")
tan = _unary("tan")
tanh = _unary("tanh")
trunc = fix = _unary("trunc")


def square(input: Any, *, out: Any = None) -> Any:
    """``input**2``."""
    return pow(input, 2, out=out)


def positive(input: Any) -> Any:
    """The input itself; bools have no sign."""
    if kind_of(input) == "b":
        raise DTypeError("positive: input must not hold bools")
    return input


def round(input: Any, *, decimals: int = 0, out: Any = None) -> Any:
    """The nearest integer, the even one of two, or with `decimals` the nearest multiple of a power of ten."""
    if decimals == 0 or kind_of(input) in "iub":
        if decimals != 0:
            raise DTypeError("round: decimals need a floating input")
        return ops.round(input, out=out)
    # torch scales, rounds and scales back; the power of ten is a divisor where it would not be exact otherwise.
    scale = 10.0 ** math.fabs(decimals)
    if decimals > 0:
        return ops.divide(ops.round(ops.multiply(input, scale)), scale, out=out)
    return ops.multiply(ops.round(ops.divide(input, scale)), scale, out=out)


def deg2rad(input: Any, *, out: Any = None) -> Any:
    """Degrees as radians."""
    return ops.multiply(input, math.pi / 180, out=out)


def rad2deg(input: Any, *, out: Any = None) -> Any:
    """Radians as degrees."""
    return ops.multiply(input, 180 / math.pi, out=out)


def logit(input: Any, eps: float | None = None, *, out: Any = None) -> Any:
    """``log(x / (1 - x))``, x put into ``[eps, 1 - eps]`` first if that is given."""
    if eps is not None:
        if kind_of(input) != "f":
            input = ops.multiply(input, 1.0)
        input = ops.clip(input, low=eps, high=1 - eps)
    return ops.logit(input, out=out)


def nan_to_num(
    input: Any, nan: float | None = None, posinf: float | None = None, neginf: float | None = None, *, out: Any = None
) -> Any:
    """Numbers in place of NaN (0), inf (the largest float) and -inf (the lowest)."""
    if kind_of(input) in "iub":
        return ops.copy(input, out=out)
    info = np.finfo(input.dtype)
    return ops.nan_to_num(
        input,
        nan=0.0 if nan is None else float(nan),
        posinf=float(info.max) if posinf is None else float(posinf),
        neginf=float(info.min) if neginf is None else float(neginf),
        out=out,
    )


# -- arithmetic

mul = multiply = _binary("mul", "multiply")
true_divide = _binary("true_divide", "divide")
atan2 = arctan2 = _binary("atan2")
copysign = _binary("copysign")
floor_divide = _binary("floor_divide")
fmod = _binary("fmod")
heaviside = _binary("heaviside")
hypot = _binary("hypot")
logaddexp = _binary("logaddexp")
logaddexp2 = _binary("logaddexp2")
nextafter = _binary("nextafter")
remainder = _binary("remainder")
xlogy = _binary("xlogy")
maximum = _binary("maximum")
minimum = _binary("minimum")
fmax = _binary("fmax")
fmin = _binary("fmin")


def _scaled(name: str, x: Any, y: Any, alpha: Any) -> Any:
    """`y` times `alpha`, which must suit the dtypes of both."""
    if isinstance(alpha, bool) and not {kind_of(x), kind_of(y)} <= {"b"}:
        raise DTypeError(f"{name}: alpha must not be a bool where the operands are numbers")
    if isinstance(alpha, float) and not {kind_of(x), kind_of(y)} & {"f", "c"}:
        raise DTypeError(f"{name}: alpha must be an integer where both operands are, got {alpha}")
    return ops.multiply(y, alpha)


def add(input: Any, other: Any, *, alpha: Any = 1, out: Any = None) -> Any:
    """``input + alpha * other``."""
    if alpha != 1:
        other = _scaled("add", input, other, alpha)
    return ops.add(input, other) if out is None else ops.add(input, other, out=out)


def sub(input: Any, other: Any, *, alpha: Any = 1, out: Any = None) -> Any:
    """``input - alpha * other``."""
    if kind_of(input) == "b" or (kind_of(other) == "b" and not is_number(other)):
        raise DTypeError("sub: bools cannot be subtracted; use logical_xor or logical_not")
    if alpha != 1:
        other = _scaled("sub", input, other, alpha)
    return ops.subtract(input, other) if out is None else ops.subtract(input, other, out=out)


subtract = sub


def rsub(input: Any, other: Any, *, alpha: Any = 1) -> Any:
    """``other - alpha * input``."""
    if kind_of(input) == "b" or (kind_of(other) == "b" and not is_number(other)):
        raise DTypeError("rsub: bools cannot be subtracted; use logical_xor or logical_not")
    return ops.subtract(other, input if alpha == 1 else _scaled("rsub", other, input, alpha))


def div(input: Any, other: Any, *, rounding_mode: str | None = None, out: Any = None) -> Any:
    """``input / other``, rounded to an integer towards zero (``"trunc"``) or downwards (``"floor"``) if so asked."""
    if rounding_mode is None:
        return ops.divide(input, other) if out is None else ops.divide(input, other, out=out)
    if rounding_mode == "floor":
        return ops.floor_divide(input, other, out=out)
    if rounding_mode != "trunc":
        raise ValueError(f"div: rounding_mode must be None, 'trunc' or 'floor', got {rounding_mode!r}")
    if {kind_of(input), kind_of(other)} & {"f", "c"}:
        return ops.trunc(ops.divide(input, other), out=out)

    def toward_zero(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.asarray((x - np.fmod(x, y)) // y)

    return promoted(toward_zero, input, other, out=out)


divide = div

# Exponents whose power is an op of its own: the same number in fewer steps.
_POWERS = {1.0: "copy", 2.0: "square", 3.0: "cube", 0.5: "sqrt", -0.5: "rsqrt", -1.0: "reciprocal"}


def pow(input: Any, exponent: Any, *, out: Any = None) -> Any:
    """``input**exponent``; integers cannot be raised to negative ones."""
    if is_number(exponent):
        kind = kind_of(input)
        if kind == "f":
            quick = _POWERS.get(exponent)
            if quick is not None:
                served = getattr(ops, quick)
                return served(input) if out is None else served(input, out=out)
        elif kind in "iub" and not isinstance(exponent, float):
            if exponent < 0:
                raise ValueError("pow: integers cannot be raised to negative integer powers")
            if kind == "b":
                input = ops.multiply(input, 1)
    elif {kind_of(input), kind_of(exponent)} <= set("iub"):
        return _integer_power(input, exponent, out)
    return ops.power(input, exponent) if out is None else ops.power(input, exponent, out=out)


def _integer_power(x: Any, y: Any, out: Any) -> Any:
    """Of integers, where a negative exponent rounds the result towards zero."""

    def power(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        whole = np.power(x, np.maximum(y, 0))
        if x.dtype.kind != "i":
            return np.asarray(whole)
        odd = np.where(y % 2 == 0, 1, -1)
        inverse = np.where(x == 1, 1, np.where(x == -1, odd, 0))
        return np.where(y < 0, inverse, whole).astype(whole.dtype, copy=False)

    return promoted(power, x, y, out=out)


def float_power(input: Any, exponent: Any, *, out: Any = None) -> Any:
    """``input**exponent`` in float64."""
    if not any(isinstance(v, TensorBase) for v in (input, exponent)):
        return ops.power(np.asarray(input, np.float64), np.asarray(exponent, np.float64), out=out)
    x = input.to(np.float64) if hasattr(input, "to") else given(np.asarray(input, np.float64))
    return pow(x, exponent.to(np.float64) if hasattr(exponent, "to") else exponent, out=out)


def float_power_(self: Any, exponent: Any) -> Any:
    """As `float_power`, in place; a Tensor of float64 alone can take the result."""
    if self.dtype != np.float64:
        raise DTypeError(f"float_power_: the Tensor must have dtype float64, got {self.dtype}")
    return functions.overwriting("float_power_", float_power)(self, exponent)


def ldexp(input: Any, other: Any, *, out: Any = None) -> Any:
    """``input * 2**other``."""
    return ops.multiply(input, pow(2.0, other), out=out)


# -- bounds and mixtures


def clamp(input: Any, min: Any = None, max: Any = None, *, out: Any = None) -> Any:
    """The elements within bounds, which are numbers or both Tensors; NaN stays, and `max` wins where they cross."""
    if min is None and max is None:
        raise ValueError("clamp: min or max must be given")
    numbers = all(b is None or is_number(b) for b in (min, max))
    if numbers and kind_of(input) == "f":
        low = -math.inf if min is None else float(min)
        high = math.inf if max is None else float(max)
        if low == low and high == high:
            return ops.clip(input, low=low, high=high) if out is None else ops.clip(input, low=low, high=high, out=out)
        return ops.multiply(input, math.nan, out=out)
    if min is None:
        return ops.minimum(input, max, out=out) if numbers else _bounded(input, None, max, out)
    if max is None:
        return ops.maximum(input, min, out=out) if numbers else _bounded(input, min, None, out)
    return _bounded(input, min, max, out)


def _bounded(x: Any, low: Any, high: Any, out: Any) -> Any:
    operands = [v for v in (x, low, high) if v is not None]
    if not any(kind_of(v) in "fc" for v in operands):

        def clip(*arrays: np.ndarray) -> np.ndarray:
            found, bounds = arrays[0], list(arrays[1:])
            if low is not None:
                found = np.maximum(found, bounds.pop(0))
            return np.asarray(found if high is None else np.minimum(found, bounds.pop(0)))

        return promoted(clip, *operands, out=out)
    return ops.clip_between(x, -math.inf if low is None else low, math.inf if high is None else high, out=out)


clip = clamp


def clamp_min(input: Any, min: Any, *, out: Any = None) -> Any:
    """The elements, but at least `min`."""
    return clamp(input, min=min, out=out)


def clamp_max(input: Any, max: Any, *, out: Any = None) -> Any:
    """The elements, but at most `max`."""
    return clamp(input, max=max, out=out)


def lerp(input: Any, end: Any, weight: Any, *, out: Any = None) -> Any:
    """``input + weight * (end - input)``."""
    return ops.lerp(input, end, weight, out=out)


def addcmul(input: Any, tensor1: Any, tensor2: Any, *, value: Any = 1, out: Any = None) -> Any:
    """``input + value * tensor1 * tensor2``."""
    if {kind_of(v) for v in (input, tensor1, tensor2)} & {"f", "c"}:
        return ops.addcmul(input, tensor1, tensor2, value=float(value), out=out)
    if isinstance(value, float):
        raise DTypeError(f"addcmul: value must be an integer where all operands are, got {value}")
    return promoted(lambda x, y, z: x + y * z * x.dtype.type(value), input, tensor1, tensor2, out=out)


def addcdiv(input: Any, tensor1: Any, tensor2: Any, *, value: Any = 1, out: Any = None) -> Any:
    """``input + value * tensor1 / tensor2``."""
    if not {kind_of(v) for v in (tensor1, tensor2)} & {"f", "c"}:
        raise DTypeError("addcdiv: integers cannot be divided so; use addcmul or true_divide")
    return ops.addcdiv(input, tensor1, tensor2, value=float(value), out=out)


# -- integers


def _bitwise(name: str, function: Function) -> Function:
    def bitwise(input: Any, other: Any, *, out: Any = None) -> Any:
        integral(name, input, other)
        return promoted(function, input, other, out=out)

    bitwise.__name__ = bitwise.__qualname__ = name
    bitwise.__doc__ = f"``{function.__name__}`` of integers or bools."
    return bitwise


def _left_shift(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    inside = (y >= 0) & (y < 8 * x.dtype.itemsize)
    return np.where(inside, np.left_shift(x, np.where(inside, y, 0)), 0).astype(x.dtype, copy=False)


def _right_shift(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    most = 8 * x.dtype.itemsize - 1
    return np.asarray(np.right_shift(x, np.where((y < 0) | (y > most), most, y).astype(x.dtype)))


bitwise_and = _bitwise("bitwise_and", np.bitwise_and)
bitwise_or = _bitwise("bitwise_or", np.bitwise_or)
bitwise_xor = _bitwise("bitwise_xor", np.bitwise_xor)
bitwise_left_shift = _bitwise("bitwise_left_shift", _left_shift)
bitwise_right_shift = _bitwise("bitwise_right_shift", _right_shift)
gcd = _bitwise("gcd", np.gcd)
lcm = _bitwise("lcm", np.lcm)


def bitwise_not(input: Any, *, out: Any = None) -> Any:
    """The bits of integers the other way round; of bools, `logical_not`."""
    integral("bitwise_not", input)
    return promoted(np.bitwise_not, input, out=out)


__all__ = [
    "abs",
    "absolute",
    "acos",
    "acosh",
    "add",
    "addcdiv",
    "addcmul",
    "angle",
    "arccos",
    "arccosh",
    "arcsin",
    "arcsinh",
    "arctan",
    "arctan2",
    "arctanh",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "bitwise_and",
    "bitwise_left_shift",
    "bitwise_not",
    "bitwise_or",
    "bitwise_right_shift",
    "bitwise_xor",
    "ceil",
    "clamp",
    "clamp_max",
    "clamp_min",
    "clip",
    "copysign",
    "cos",
    "cosh",
    "deg2rad",
    "div",
    "divide",
    "erf",
    "erfc",
    "erfinv",
    "exp",
    "exp2",
    "expm1",
    "fix",
    "float_power",
    "float_power_",
    "floor",
    "floor_divide",
    "fmax",
    "fmin",
    "fmod",
    "frac",
    "gcd",
    "heaviside",
    "hypot",
    "lcm",
    "ldexp",
    "lerp",
    "log",
    "log1p",
    "log2",
    "log10",
    "logaddexp",
    "logaddexp2",
    "logit",
    "maximum",
    "minimum",
    "mul",
    "multiply",
    "nan_to_num",
    "neg",
    "negative",
    "nextafter",
    "positive",
    "pow",
    "rad2deg",
    "reciprocal",
    "remainder",
    "round",
    "rsqrt",
    "rsub",
    "sgn",
    "sigmoid",
    "sign",
    "sin",
    "sinc",
    "sinh",
    "sqrt",
    "square",
    "sub",
    "subtract",
    "tan",
    "tanh",
    "true_divide",
    "trunc",
    "xlogy",
]
