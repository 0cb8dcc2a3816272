"""Gradients of reductions as functions of elements (rows of `elementwise.TABLE`), over traced values."""

from __future__ import annotations

from fastnn._kernels.mathematics.comparison import sign
from fastnn._kernels.vector import Value, absolute, select


def same(x: Value, y: Value) -> Value:
    """Whether two numbers are equal, or both NaN."""
    return x.compare("==", y) | (x.compare("!=", x) & y.compare("!=", y))


def finite_or_zero(x: Value) -> Value:
    """The number itself, or 0 for an infinity."""
    return select(absolute(x).compare("==", float("inf")), x.number(0.0), x)


def prod_backward(dy: Value, x: Value, product: Value, zeros: Value) -> Value:
    """``dy`` times the product of the other elements; `product` is that of the elements other than 0."""
    others = select(zeros.compare("==", 0.0), product / x, x.number(0.0))
    return dy * select(zeros.compare("==", 1.0) & x.compare("==", 0.0), product, others)


def ties_backward(share: Value, x: Value, y: Value) -> Value:
    """An extreme's gradient, already divided by the number of elements that are as extreme."""
    return select(same(x, y), share, x.number(0.0))


def norm_inf_backward(share: Value, x: Value, y: Value) -> Value:
    """The same for the extreme magnitude."""
    return select(same(absolute(x), y), share * sign(x), x.number(0.0))
