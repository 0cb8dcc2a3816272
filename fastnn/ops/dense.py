"""A dense layer with its activation in one product: ``activation(x @ w.T + b)`` while the sums are in the cache.

The activations are ops of one input that work element by element: one more is one more name in `ACTIVATIONS`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from fastnn.ops.contraction import contract, gradient
from fastnn.ops.elementwise import apply
from fastnn.ops.linear import backward_flops, labels, linear
from fastnn.ops.lowering import Array, Cell, Lowering
from fastnn.ops.op import Op, Saved
from fastnn.ops.reduction import sum_axes


class Activation(NamedTuple):
    """An activation as an epilogue.

    Attributes
    ----------
    name : of its op, which is declared when it is first used.
    row : of the elementwise table.
    attributes : the op's.
    keeps_argument : whether its derivative needs the argument, not the result.
    """

    name: str
    row: str
    attributes: dict[str, Any]
    keeps_argument: bool

    @property
    def op(self) -> Op:
        """The op."""
        from fastnn import ops

        found: Op = getattr(ops, self.name)
        return found


# What follows from the result, and what follows from the argument.
_OF_RESULT = "relu tanh sigmoid"
_OF_ARGUMENT = (
    "erf silu celu elu hardshrink hardsigmoid hardswish hardtanh leaky_relu logsigmoid mish relu6 selu softplus "
    "softshrink softsign tanhshrink threshold"
)
ACTIVATIONS = {
    **{name: Activation(name, name, {}, False) for name in _OF_RESULT.split()},
    **{name: Activation(name, name, {}, True) for name in _OF_ARGUMENT.split()},
    "gelu": Activation("gelu", "gelu", {"approximate": "none"}, True),
    "gelu_tanh": Activation("gelu", "gelu_tanh", {"approximate": "tanh"}, True),
}
# Hyper-parameters of the activation, in the order of its op.
CELLS = ("first", "second")


def _options(chosen: Activation, cells: Mapping[str, float]) -> dict[str, float]:
    """The hyper-parameters by the names that the activation's op gives them."""
    return dict(zip(chosen.op.cell_names, cells.values(), strict=False))


def _forward(
    x: np.ndarray, w: np.ndarray, b: np.ndarray | None, *, activation: str, **cells: float
) -> tuple[np.ndarray, np.ndarray]:
    chosen = ACTIVATIONS[activation]
    z = linear.reference[0](x, w, b)
    return chosen.op.reference[0](z, **chosen.attributes, **_options(chosen, cells)), z


def _backward(saved: str) -> Callable[..., Any]:
    def backward(ctx: Saved, dy: np.ndarray) -> Any:
        chosen = ACTIVATIONS[ctx.attrs["activation"]]
        assert chosen.op.reference[1] is not None
        kept, options = {chosen.op.saves[0]: ctx.saved[saved]}, _options(chosen, ctx.cells)
        own = Saved(kept, {}, {"x": True}, chosen.attributes, options)
        assert linear.reference[1] is not None
        return linear.reference[1](ctx, chosen.op.reference[1](own, dy))

    return backward


def _cells(low: Lowering, chosen: Activation) -> tuple[Cell, ...]:
    """The hyper-parameters that the activation takes."""
    return tuple(low.cell(name) for name, _ in zip(CELLS, chosen.op.cell_names, strict=False))


def _lower(low: Lowering, x: Array, w: Array, b: Array | None, *, keep: bool) -> Any:
    from fastnn._kernels.matmul.plan import Step, product  # only now: importing fastnn plans no product

    chosen = ACTIVATIONS[low.attrs["activation"]]
    row, cells = chosen.row, _cells(low, chosen)
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
        apply(low, row, y, before, cells=cells)
    else:
        assert results is not None
        then = [] if kept is None else [Step("keep", (kept,))]
        product(low, rows, w.T, results, bias=b, then=[*then, Step(row, cells=cells)])
    return y if z is None else (y, z)


def _lower_backward(saved: str) -> Callable[..., Any]:
    def lower(low: Lowering, dy: Array) -> tuple[Array | None, ...]:
        x, w = low.saved["x"], low.saved["w"]
        chosen = ACTIVATIONS[low.attrs["activation"]]
        dz = low.temporary(dy.shape, dy.dtype)
        apply(low, f"{chosen.row}_backward", dz, dy, low.saved[saved], cells=_cells(low, chosen))
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
        cells=dict.fromkeys(CELLS, 0.5),
        reference=(_forward if keep else lambda *args, **attrs: _forward(*args, **attrs)[0], _backward(saved)),
        lower=(lambda low, x, w, b: _lower(low, x, w, b, keep=keep), _lower_backward(saved)),
        saves=("x", "w", saved),
        uses={"x": ("w",), "w": ("x",)},
        flops=lambda K, M, **sizes: 2 * math.prod(sizes["*"]) * K * M,
        backward_flops=lambda needs, M, **sizes: backward_flops(needs, M=M, **sizes) + math.prod(sizes["*"]) * M,
        cases=[
            *({**sizes[0], "activation": n} for n in served),
            *({**case, "activation": served[0]} for case in sizes[1:]),
            {"*": (0,), "K": 4, "M": 3, "activation": served[0]},
            {"*": (3,), "K": 0, "M": 3, "activation": served[0]},
        ],
        bench=[{"*": (128,), "K": 784, "M": 512, "activation": served[-1]}],
        doc="``activation(x @ w.T + b)``.",
    )


_dense = _declare("dense", keep=False)
_dense_kept = _declare("dense_kept", keep=True)


def dense(x: Any, w: Any, b: Any = None, activation: str | None = None, *, out: Any = None, **options: float) -> Any:
    """``activation(x @ w.T + b)``, the activation applied while the product is in the cache.

    The same bits as `linear` and the activation one after the other.

    Parameters
    ----------
    x, w, b : (..., K), (M, K) and (M) or None, as for `linear`.
    activation : None, or the name of an op of one input that works element by element (``"relu"``, ``"elu"``, ...), or
        ``"gelu_tanh"``; `ACTIVATIONS` lists them.
    out : array for the result, (..., M).
    options : the activation's hyper-parameters (``negative_slope=0.2``); its own defaults serve for the others.

    Raises
    ------
    ValueError : another activation.
    TypeError : an option that the activation does not have.
    ShapeError, DTypeError : as `linear`.
    """
    if activation is None:
        return linear(x, w, b, out=out, **options)
    chosen = ACTIVATIONS.get(activation)
    if chosen is None:
        raise ValueError(f"dense: activation must be None or one of {', '.join(ACTIVATIONS)}, got {activation!r}")
    own = _dense_kept if chosen.keeps_argument else _dense
    op = chosen.op
    given = dict(zip(op.cell_names, op.cell_defaults, strict=True))
    for name, value in options.items():
        if name not in given:
            raise TypeError(f"dense: {activation} takes {', '.join(given) or 'no options'}, got {name}")
        given[name] = value
    return own(x, w, b, activation, *given.values(), out=out)
