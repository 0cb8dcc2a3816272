"""Products added to an array, ``beta * input + alpha * product``: torch's `addmm` and its kin."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastnn._numpy_views import sum_to as unbroadcast
from fastnn._runtime.tensor import TensorBase
from fastnn.errors import DTypeError, ShapeError
from fastnn.ops.contraction import contract, gradient, numpy_gradient
from fastnn.ops.elementwise import apply
from fastnn.ops.lowering import Array, Lowering
from fastnn.ops.op import Op, Saved, Shape, Spec
from fastnn.ops.reduction import sum_to

# What a factor may be: "zero" leaves its term out (also where it holds NaN), "one" needs no multiplication.
KINDS = ("zero", "one", "any")


def _declare(
    name: str,
    operands: str,
    product: Callable[..., np.ndarray],
    doc: str,
    cases: Sequence[dict[str, Any]],
    *bench: dict[str, Any],
) -> Op:
    """The op for a product of two operands: the letters of their shapes are the labels."""
    spec = Spec(operands)
    one, two, out = ("".join(place.dims or ()) for place in (*spec.inputs, *spec.outputs))
    first, second = (place.name for place in spec.inputs)
    # a product of matrices with its columns last can add a row by itself
    has_columns = out[-1] in two and any(label in two and label not in out for label in one)

    def rule(op: str, shapes: dict[str, Shape | None], attrs: dict[str, Any]) -> list[Shape]:
        x, y, given = shapes[first], shapes[second], shapes["input"]
        assert x is not None
        assert y is not None
        assert given is not None
        sizes = dict(zip(one + two, x + y, strict=True))
        shape = tuple(sizes[label] for label in out)
        tail = shape[len(shape) - len(given) :]
        if len(given) > len(shape) or any(n not in (1, wanted) for n, wanted in zip(given, tail, strict=True)):
            raise ShapeError(f"{op}: input must broadcast to {shape}, the shape of the product, got {given}")
        return [shape]

    def forward(
        input: np.ndarray, x: np.ndarray, y: np.ndarray, *, beta_kind: str, alpha_kind: str, beta: Any, alpha: Any
    ) -> np.ndarray:
        result = product(x, y)
        if alpha_kind == "any":
            result = alpha * result
        if beta_kind == "zero":
            return np.asarray(result)
        return np.asarray(result + (input if beta_kind == "one" else beta * input))

    def backward(ctx: Saved, dz: np.ndarray) -> tuple[np.ndarray | None, ...]:
        x, y = ctx.saved[first], ctx.saved[second]
        alpha, beta = (1 if ctx.attrs[f"{n}_kind"] == "one" else ctx.cells[n] for n in ("alpha", "beta"))
        return (
            beta * unbroadcast(dz, ctx.shapes["input"]) if ctx.needs["input"] else None,
            alpha * numpy_gradient(x.shape, one, (dz, out), (y, two)) if ctx.needs[first] else None,
            alpha * numpy_gradient(y.shape, two, (dz, out), (x, one)) if ctx.needs[second] else None,
        )

    def lower(low: Lowering, input: Array, x: Array, y: Array) -> Array:
        beta, alpha = low.attrs["beta_kind"], low.attrs["alpha_kind"]
        scale = low.cell("alpha") if alpha == "any" else None
        if beta == "zero":
            return contract(low, (x, one), (y, two), out, scale=scale)
        if beta == "one" and input.ndim == 1 and has_columns:
            bias = input.broadcast_to((y.shape[two.index(out[-1])],))
            return contract(low, (x, one), (y, two), out, bias=bias, scale=scale)
        factor = low.cell("beta") if beta == "any" else None
        return contract(low, (x, one), (y, two), out, scale=scale, initial=input, factor=factor)

    def lower_backward(low: Lowering, dz: Array) -> tuple[Array | None, ...]:
        x, y = low.saved[first], low.saved[second]
        scale = low.cell("alpha") if low.attrs["alpha_kind"] == "any" else None
        dinput = None
        if low.needs["input"] and low.attrs["beta_kind"] == "one":
            dinput = sum_to(low, dz, low.shapes["input"])
        elif low.needs["input"]:
            total = sum_to(low, dz, low.shapes["input"], final=False)
            dinput = apply(low, "scale", low.output(total.shape, dz.dtype), total, cells=[low.cell("beta")])
        return (
            dinput,
            gradient(low, (x, one), (dz, out), (y, two), scale=scale) if low.needs[first] else None,
            gradient(low, (y, two), (dz, out), (x, one), scale=scale) if low.needs[second] else None,
        )

    return Op(
        name=name,
        shapes=f"input:(...) {operands}",
        rule=rule,
        attributes={"beta_kind": "one", "alpha_kind": "one"},
        cells={"beta": 1.0, "alpha": 1.0},
        reference=(forward, backward),
        lower=(lower, lower_backward),
        saves=(first, second),
        uses={first: (second,), second: (first,)},
        flops=lambda **shapes: (
            2.0 * math.prod(dict(zip(one + two, shapes[first] + shapes[second], strict=True)).values())
        ),
        cases=[*cases, *({**cases[0], **more} for more in _FACTORS)],
        bench=bench,
        doc=doc,
    )


_FACTORS: list[dict[str, Any]] = [
    {"beta_kind": "any", "beta": 0.5},
    {"alpha_kind": "any", "alpha": -2.5},
    {"beta_kind": "any", "beta": 0.5, "alpha_kind": "any", "alpha": -2.5},
    {"beta_kind": "zero", "beta": 0.0, "alpha_kind": "any", "alpha": 2.0},
]

_addmm = _declare(
    "addmm",
    "mat1:(N,K) mat2:(K,M) -> out:(N,M)",
    np.matmul,
    "``beta * input + alpha * (mat1 @ mat2)``.",
    [
        {"input": (7, 5), "N": 7, "K": 9, "M": 5},
        {"input": (5,), "N": 7, "K": 9, "M": 5},
        {"input": (5,), "N": 7, "K": 9, "M": 5, "alpha_kind": "any", "alpha": 3.0},
        {"input": (7, 1), "N": 7, "K": 9, "M": 5},
        {"input": (1,), "N": 7, "K": 9, "M": 5},
        {"input": (), "N": 7, "K": 9, "M": 1},
        {"input": (2, 3), "N": 2, "K": 0, "M": 3},
        {"input": (0, 3), "N": 0, "K": 2, "M": 3},
    ],
    {"input": (128, 128), "N": 128, "K": 128, "M": 128},
)
_addmv = _declare(
    "addmv",
    "mat:(N,K) vec:(K) -> out:(N)",
    np.matmul,
    "``beta * input + alpha * (mat @ vec)``.",
    [{"input": (7,), "N": 7, "K": 9}, {"input": (), "N": 7, "K": 9}, {"input": (3,), "N": 3, "K": 0}],
)
_addr = _declare(
    "addr",
    "vec1:(N) vec2:(M) -> out:(N,M)",
    np.outer,
    "``beta * input + alpha * outer(vec1, vec2)``.",
    [{"input": (7, 5), "N": 7, "M": 5}, {"input": (5,), "N": 7, "M": 5}, {"input": (0, 2), "N": 0, "M": 2}],
)
_addbmm = _declare(
    "addbmm",
    "batch1:(B,N,K) batch2:(B,K,M) -> out:(N,M)",
    lambda x, y: np.matmul(x, y).sum(axis=0, dtype=x.dtype),
    "``beta * input + alpha * (sum over the batch of batch1 @ batch2)``.",
    [
        {"input": (3, 5), "B": 4, "N": 3, "K": 2, "M": 5},
        {"input": (5,), "B": 4, "N": 3, "K": 2, "M": 5},
        {"input": (3, 1), "B": 4, "N": 3, "K": 2, "M": 1},
        {"input": (3, 5), "B": 0, "N": 3, "K": 2, "M": 5},
    ],
)
_baddbmm = _declare(
    "baddbmm",
    "batch1:(B,N,K) batch2:(B,K,M) -> out:(B,N,M)",
    np.matmul,
    "``beta * input + alpha * (batch1 @ batch2)``.",
    [
        {"input": (4, 3, 5), "B": 4, "N": 3, "K": 2, "M": 5},
        {"input": (3, 1), "B": 4, "N": 3, "K": 2, "M": 5},
        {"input": (5,), "B": 4, "N": 3, "K": 2, "M": 5},
        {"input": (0, 3, 5), "B": 0, "N": 3, "K": 2, "M": 5},
    ],
    {"input": (16, 32, 32), "B": 16, "N": 32, "K": 32, "M": 32},
)


def _factor(op: Op, name: str, value: Any, first: Any) -> Any:
    """A factor as a Python number."""
    if type(value) is float and getattr(first, "dtype", None) in (np.float32, np.float64):
        return value
    if isinstance(value, (TensorBase, np.ndarray)) and value.ndim == 0:
        value = (value.array if isinstance(value, TensorBase) else value).item()
    if isinstance(value, np.generic):
        value = value.item()
    if not isinstance(value, numbers.Real):
        raise TypeError(f"{op.name}: {name} must be a real number, got {value!r}")
    dtype = getattr(first, "dtype", None)
    if isinstance(dtype, np.dtype) and dtype.kind in "biu" and not isinstance(value, numbers.Integral):
        raise DTypeError(f"{op.name}: {name} must be an integer to match input of dtype {dtype}, got {value!r}")
    return value


def _call(op: Op, operands: tuple[Any, Any, Any], beta: Any, alpha: Any, out: Any) -> Any:
    """Call an op with its factors."""
    if type(beta) is int and type(alpha) is int and beta == alpha == 1:
        return op(*operands, out=out)
    beta, alpha = _factor(op, "beta", beta, operands[0]), _factor(op, "alpha", alpha, operands[0])
    if all(getattr(x, "dtype", None) == np.bool_ for x in operands):  # a sum of bools is "or", a product "and"
        beta, alpha = bool(beta), bool(alpha)
    kinds = ("zero" if beta == 0 else "one" if beta == 1 else "any", "one" if alpha == 1 else "any")
    return op(*operands, *kinds, beta, alpha, out=out)


def addmm(input: Any, mat1: Any, mat2: Any, *, beta: Any = 1, alpha: Any = 1, out: Any = None) -> Any:
    """``beta * input + alpha * (mat1 @ mat2)``; with ``beta=0`` NaN in `input` does not count.

    Shapes: mat1 (N, K), mat2 (K, M) -> (N, M), to which input broadcasts. Integers take integer factors alone.
    Raises ShapeError, DTypeError, and TypeError for a factor that is no real number.
    """
    return _call(_addmm, (input, mat1, mat2), beta, alpha, out)


def addmv(input: Any, mat: Any, vec: Any, *, beta: Any = 1, alpha: Any = 1, out: Any = None) -> Any:
    """``beta * input + alpha * (mat @ vec)``: mat (N, K), vec (K) -> (N), to which input broadcasts; see `addmm`."""
    return _call(_addmv, (input, mat, vec), beta, alpha, out)


def addr(input: Any, vec1: Any, vec2: Any, *, beta: Any = 1, alpha: Any = 1, out: Any = None) -> Any:
    """``beta * input + alpha * outer(vec1, vec2)``: vec1 (N), vec2 (M) -> (N, M); see `addmm`."""
    return _call(_addr, (input, vec1, vec2), beta, alpha, out)


def addbmm(input: Any, batch1: Any, batch2: Any, *, beta: Any = 1, alpha: Any = 1, out: Any = None) -> Any:
    """``beta * input + alpha * sum(batch1 @ batch2)``: batch1 (B, N, K), batch2 (B, K, M) -> (N, M); see `addmm`."""
    return _call(_addbmm, (input, batch1, batch2), beta, alpha, out)


def baddbmm(input: Any, batch1: Any, batch2: Any, *, beta: Any = 1, alpha: Any = 1, out: Any = None) -> Any:
    """``beta * input + alpha * (batch1 @ batch2)``: batch1 (B, N, K), batch2 (B, K, M) -> (B, N, M); see `addmm`."""
    return _call(_baddbmm, (input, batch1, batch2), beta, alpha, out)
