"""A dense layer with its activation in one product: ``activation(x @ w.T + b)`` while the sums are in the cache.

The activations are the ops of `fastnn.ops.activation`: one more there is one more here, a row of `ACTIVATIONS`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastnn.ops import activation as activations
from fastnn.ops.contraction import contract, gradient
from fastnn.ops.elementwise import apply
from fastnn.ops.linear import labels, linear
from fastnn.ops.lowering import Array, Lowering
from fastnn.ops.op import Op, Saved
from fastnn.ops.reduction import sum_axes


class Activation(NamedTuple):
    """An activation as an epilogue: its op, its row of the elementwise table, the op's attributes."""

    op: Op
    row: str
    attributes: dict[str, Any]

    @property
    def keeps_argument(self) -> bool:
        """Whether its derivative needs the argument, not the result."""
        return self.op.saves == ["x"]


ACTIVATIONS = {
    **{
        op.name: Activation(op, op.name, {})
        for op in (activations.relu, activations.tanh, activations.sigmoid, activations.erf, activations.silu)
    },
    "gelu": Activation(activations.gelu, "gelu", {"approximate": "none"}),
    "gelu_tanh": Activation(activations.gelu, "gelu_tanh", {"approximate": "tanh"}),
}


def _forward(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, *, activation: str) -> tuple[np.ndarray, np.ndarray]:
    chosen = ACTIVATIONS[activation]
    z = linear.reference[0](x, w, b)
    return chosen.op.reference[0](z, **chosen.attributes), z


def _backward(saved: str) -> Callable[..., Any]:
    def backward(ctx: Saved, dy: np.ndarray) -> Any:
        chosen = ACTIVATIONS[ctx.attrs["activation"]]
        assert chosen.op.reference[1] is not None
        own = Saved({chosen.op.saves[0]: ctx.saved[saved]}, {}, {"x": True}, chosen.attributes, {})
        assert linear.reference[1] is not None
        return linear.reference[1](ctx, chosen.op.reference[1](own, dy))

    return backward


def _lower(low: Lowering, x: Array, w: Array, b: Array | None, *, keep: bool) -> Any:
    from fastnn._kernels.matmul.plan import Step, product  # only now: importing fastnn plans no product

    row = ACTIVATIONS[low.attrs["activation"]].row
    shape = (*x.shape[:-1], w.shape[0])
    y = low.output(shape, x.dtype)
    z = low.output(shape, x.dtype) if keep else None
    rows, results = x.rows(), y.rows()
    kept = None if z is None else z.rows()
    if rows is None:
        # rows that are no matrix: the product as a batch, then the activation
        one, two, out = labels(x.shape)
        before = contract(low, (x, one), (w, two), out, bias=b, final=False)
        if z is not None:
            apply(low, "copy", z, before)
        apply(low, row, y, before)
    else:
        assert results is not None
        then = [] if kept is None else [Step("keep", (kept,))]
        product(low, rows, w.T, results, bias=b, then=[*then, Step(row)])
    return y if z is None else (y, z)


def _lower_backward(saved: str) -> Callable[..., Any]:
    def lower(low: Lowering, dy: Array) -> tuple[Array | None, ...]:
        x, w = low.saved["x"], low.saved["w"]
        row = f"{ACTIVATIONS[low.attrs['activation']].row}_backward"
        dz = apply(low, row, low.temporary(dy.shape, dy.dtype), dy, low.saved[saved])
        one, two, out = labels(x.shape)
        dx = dw = db = None
        if low.needs["w"]:
            dw = gradient(low, (w, two), (dz, out), (x, one))
        if low.needs["b"]:
            db = sum_axes(low, dz, range(dz.ndim - 1), low.output((w.shape[0],), w.dtype))
        if low.needs["x"]:
            dx = gradient(low, (x, one), (dz, out), (w, two))
        return dx, dw, db

    return lower


def _declare(name: str, keep: bool) -> Op:
    saved = "z" if keep else "y"
    served = [n for n, a in ACTIVATIONS.items() if a.keeps_argument == keep]
    sizes = [{"*": (7,), "K": 33, "M": 17}, {"*": (2, 3), "K": 4, "M": 5}, {"*": (), "K": 4, "M": 3}]
    return Op(
        name=name,
        shapes="x:(*,K) w:(M,K) b:(M)? -> y:(*,M)" + ("; z:(*,M)" if keep else ""),
        attributes={"activation": served[0]},
        reference=(_forward if keep else lambda *args, **attrs: _forward(*args, **attrs)[0], _backward(saved)),
        lower=(lambda low, x, w, b: _lower(low, x, w, b, keep=keep), _lower_backward(saved)),
        saves=("x", "w", saved),
        uses={"x": ("w",), "w": ("x",)},
        flops=lambda K, M, **sizes: 2 * math.prod(sizes["*"]) * K * M,
        cases=[
            *({**case, "activation": n} for n in served for case in sizes),
            {"*": (0,), "K": 4, "M": 3, "activation": served[0]},
            {"*": (3,), "K": 0, "M": 3, "activation": served[0]},
        ],
        bench=[{"*": (128,), "K": 784, "M": 512, "activation": served[-1]}],
        doc="``activation(x @ w.T + b)``.",
    )


_dense = _declare("dense", keep=False)
_dense_kept = _declare("dense_kept", keep=True)


def dense(x: Any, w: Any, b: Any = None, activation: str | None = None, *, out: Any = None) -> Any:
    """``activation(x @ w.T + b)``, the activation applied while the product is in the cache.

    The same bits as `linear` and the activation one after the other.

    Parameters
    ----------
    x, w, b : (..., K), (M, K) and (M) or None, as for `linear`.
    activation : None, ``"relu"``, ``"tanh"``, ``"sigmoid"``, ``"erf"``, ``"silu"``, ``"gelu"`` or ``"gelu_tanh"``.
    out : array for the result, (..., M).

    Raises
    ------
    ValueError : another activation.
    ShapeError, DTypeError : as `linear`.
    """
    if activation is None:
        return linear(x, w, b, out=out)
    chosen = ACTIVATIONS.get(activation)
    if chosen is None:
        raise ValueError(f"dense: activation must be None or one of {', '.join(ACTIVATIONS)}, got {activation!r}")
    return (_dense_kept if chosen.keeps_argument else _dense)(x, w, b, activation, out=out)
