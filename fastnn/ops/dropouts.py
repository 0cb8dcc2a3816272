"""Dropout: the NumPy reference and the lowering of each form.

Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from Overfitting", JMLR 2014.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastnn.errors import ShapeError
from fastnn.ops.elementwise import apply, like, memory_order, pays_into
from fastnn.ops.lowering import Array, Lowering, reads
from fastnn.ops.op import Op, Saved, Shape
from fastnn.ops.philox import CELLS, draws, lies_in_order
from fastnn.ops.sampling import fallen

SATURATION = 1.7580993408473766  # as in fastnn._kernels.dropout
COST = 0.5
SEEDED: dict[str, Any] = {"seed_low": 1234.0, "seed_high": 5.0, "draw": 77.0}
CASES = [
    {"x": shape, "p": p, "features": features, **SEEDED}
    for shape, p, features in [
        ((), 0.5, 0),
        ((7,), 0.5, 0),
        ((33,), 0.1, 0),
        ((5, 41), 0.75, 0),
        ((0, 3), 0.5, 0),
        ((3, 1000), 0.3, 0),
        ((4,), 0.0, 0),
        ((4,), 1.0, 0),
        ((3, 4, 5, 2), 0.5, 2),
        ((3, 4), 0.5, 1),
        ((0, 4, 2), 0.5, 2),
    ]
]


def _drawn(shape: Shape, features: int, p: float, alpha: bool, seed: dict[str, float]) -> tuple[Any, Any]:
    """Factors and shifts of elements (with `features`, of what the first axes name)."""
    own = shape[:features] if features else shape
    falls = fallen(math.prod(own), p, seed).reshape(own + (1,) * (len(shape) - len(own)))
    if p >= 1:
        return np.zeros(falls.shape), np.zeros(falls.shape)
    factor = 1 / math.sqrt((SATURATION**2 * p + 1) * (1 - p)) if alpha else 1 / (1 - p)
    standing = factor * SATURATION * p
    return np.where(falls, 0, factor), np.where(falls, standing - factor * SATURATION, standing)


def _dropout(x: np.ndarray, *, features: int, p: float, **seed: float) -> np.ndarray:
    """``x / (1 - p)``, but 0 times x where an element falls, as it does with probability p.

    With ``features`` above 0, all elements that agree in their first so many indices fall together. Nothing is saved
    for the gradient: the backward pass draws the same numbers again.
    """
    return np.asarray(x * _drawn(x.shape, features, p, False, seed)[0].astype(x.dtype))


def _alpha_dropout(x: np.ndarray, *, features: int, p: float, **seed: float) -> np.ndarray:
    """``a * x + b``, but ``b - 1.758 * a`` where an element falls, as it does with probability p.

    a and b keep the mean 0 and variance 1 of x (Klambauer et al., "Self-Normalizing Neural Networks", NeurIPS 2017).
    ``features`` as for `dropout`.
    """
    factor, shift = _drawn(x.shape, features, p, True, seed)
    return np.asarray(x * factor.astype(x.dtype) + shift.astype(x.dtype))


def _rule(name: str, shapes: dict[str, Shape | None], attrs: dict[str, Any]) -> list[Shape]:
    x = shapes["x"]
    assert x is not None
    if attrs["features"] > len(x):
        raise ShapeError(f"{name}: x must have at least {attrs['features']} axes, got {x}")
    return [x]


def _check(attributes: dict[str, Any]) -> dict[str, Any]:
    features = attributes["features"]
    if not isinstance(features, int) or features < 0:
        raise ValueError(f"dropout: features must be 0 or more, got {features!r}")
    return attributes


def _declare(name: str, reference: Any, alpha: bool) -> Op:
    def mask(low: Lowering, x: Array, form: str) -> Array:
        """The "factor" or "shift" of each element (or feature), to broadcast with x."""
        features = low.attrs["features"]
        shape = x.shape[:features] if features else x.shape
        made = low.temporary(shape + (1,) * (x.ndim - len(shape)), x.dtype)
        return draws(low, "dropout.map", made, [low.cell("p")], COST, dtype=x.dtype, alpha=alpha, form=form)

    def in_order(low: Lowering, x: Array, form: str) -> Array:
        out = low.output(x.shape, x.dtype, into=lies_in_order)
        return draws(
            low, "dropout.map", out, [low.cell("p"), reads(x)], COST, dtype=x.dtype, alpha=alpha, form=form
        )  # fmt: skip

    def forward(low: Lowering, x: Array) -> Array:
        if x.contiguous and not low.attrs["features"]:
            return in_order(low, x, "apply")
        order = memory_order(x.shape, [x])
        out = low.output(x.shape, x.dtype, order, into=lambda out: pays_into(out, order))
        if out.size == 0:
            return out
        apply(low, "multiply", out, x, mask(low, x, "factor"))
        return apply(low, "add", out, out, mask(low, x, "shift"), in_place=True) if alpha else out

    def backward(low: Lowering, dy: Array) -> Array:
        if dy.contiguous and not low.attrs["features"]:
            return in_order(low, dy, "scale")
        if dy.size == 0:
            return low.output(dy.shape, dy.dtype)
        return like(low, "multiply", dy, mask(low, dy, "factor"))

    def gradient(ctx: Saved, dy: np.ndarray) -> np.ndarray:
        seed = {n: ctx.cells[n] for n in CELLS}
        factor, _ = _drawn(dy.shape, ctx.attrs["features"], ctx.cells["p"], alpha, seed)
        return np.asarray(dy * factor.astype(dy.dtype))

    return Op(
        name=name,
        shapes="x:(...) -> y:(...)",
        reference=(reference, gradient),
        lower=(forward, backward),
        rule=_rule,
        check=_check,
        attributes={"features": 0},
        cells={"p": 0.5, **CELLS},
        elementwise=True,
        floating=True,
        cases=CASES,
        bench=[{"x": (10,), **SEEDED}, {"x": (1 << 20,), **SEEDED}, {"x": (64, 64, 256), "features": 2, **SEEDED}],
        doc=(reference.__doc__ or "")
        + "\n\n    seed_low and seed_high are the halves of a 64-bit seed; draw tells draws from one seed apart.",
    )


dropout = _declare("dropout", _dropout, False)
alpha_dropout = _declare("alpha_dropout", _alpha_dropout, True)
