"""Rows of the elementwise table for losses: an element's loss beside its derivatives, over traced values.

The row of a derivative is the loss's name and the input's; it takes the loss's gradient first. A row that ends in
``_weighted`` takes a weight as its last operand. `fastnn._kernels.terms` adds the terms up.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from fastnn._kernels.activations import log_sigmoid
from fastnn._kernels.formula import Formula
from fastnn._kernels.mathematics.exponential import exp, sigmoid
from fastnn._kernels.mathematics.logarithm import log, log1p, softplus, times_logarithm
from fastnn._kernels.vector import Value, absolute, fma, select


def _sign(x: Value) -> Value:
    """-1, 0 or 1; 0 for NaN."""
    return select(x.compare(">", 0.0), x.number(1.0), select(x.compare("<", 0.0), x.number(-1.0), 0.0))


def _at_least(x: Value, low: float | Value) -> Value:
    """The larger; NaN stays."""
    return select(x.compare("<", low), low, x)


def _squared(x: Value, target: Value) -> Value:
    d = x - target
    return d * d


def _smooth_l1(x: Value, target: Value, beta: Value) -> Value:
    d = absolute(x - target)
    return select(d.compare("<", beta), 0.5 * d * d / beta, d - 0.5 * beta)


def _smooth_l1_slope(d: Value, beta: Value) -> Value:
    return select(absolute(d).compare("<", beta), d / beta, _sign(d))


def _huber(x: Value, target: Value, delta: Value) -> Value:
    d = absolute(x - target)
    return select(d.compare("<=", delta), 0.5 * d * d, delta * (d - 0.5 * delta))


def _huber_slope(d: Value, delta: Value) -> Value:
    return select(absolute(d).compare("<", delta), d, _sign(d) * delta)


def _bce(x: Value, target: Value) -> Value:
    return (target - 1.0) * _at_least(log1p(-x), -100.0) - target * _at_least(log(x), -100.0)


def _bce_input(g: Value, x: Value, target: Value) -> Value:
    return g * (x - target) / _at_least((1.0 - x) * x, 1e-12)


def _bce_logits_positive(x: Value, target: Value, positive: Value) -> Value:
    return fma(1.0 - target, x, -(fma(positive - 1.0, target, 1.0) * log_sigmoid(x)))


def _bce_logits_positive_input(g: Value, x: Value, target: Value, positive: Value) -> Value:
    both = positive * target
    return g * (fma(1.0 - target + both, sigmoid(x), -both))


def _kl_target(g: Value, x: Value, target: Value) -> Value:
    inner = log(target) + 1.0
    return g * (inner - x)


def _kl_log_target(g: Value, x: Value, target: Value) -> Value:
    return g * (exp(target) * (target - x + 1.0))


def _stirling(target: Value) -> Value:
    """An approximation of ``log(target!)`` for targets above 1, 0 for others."""
    large = target.compare(">", 1.0)
    t = select(large, target, 1.0)
    return select(large, t * log(t) - t + 0.5 * log(2.0 * math.pi * t), 0.0)


def _stirling_slope(target: Value) -> Value:
    large = target.compare(">", 1.0)
    t = select(large, target, 1.0)
    return select(large, log(t) + 0.5 / t, 0.0)


def _poisson_log(x: Value, target: Value, eps: Value) -> Value:
    return exp(x) - target * x


def _poisson(x: Value, target: Value, eps: Value) -> Value:
    return x - target * log(x + eps)


def _gaussian(x: Value, target: Value, variance: Value, eps: Value) -> Value:
    v, d = _at_least(variance, eps), x - target
    return 0.5 * (log(v) + d * d / v)


def _gaussian_input(g: Value, x: Value, target: Value, variance: Value, eps: Value) -> Value:
    return g * (x - target) / _at_least(variance, eps)


def _gaussian_variance(g: Value, x: Value, target: Value, variance: Value, eps: Value) -> Value:
    v, d = _at_least(variance, eps), x - target
    return 0.5 * g * (1.0 - d * d / v) / v


def _hinge(x: Value, target: Value, margin: Value) -> Value:
    own = select(target.compare("!=", -1.0), x, 0.0)
    return own + select(target.compare("!=", 1.0), _at_least(margin - x, 0.0), 0.0)


def _hinge_input(g: Value, x: Value, target: Value, margin: Value) -> Value:
    own = select(target.compare("!=", -1.0), g, 0.0)
    return own - select(target.compare("!=", 1.0) & (margin - x).compare(">=", 0.0), g, 0.0)


def _ranking(x: Value, y: Value, target: Value, margin: Value) -> Value:
    return _at_least(margin - target * (x - y), 0.0)


def _ranking_active(g: Value, x: Value, y: Value, target: Value, margin: Value) -> Value:
    return select((margin - target * (x - y)).compare(">=", 0.0), g, 0.0)


def _cosine(x: Value, target: Value, margin: Value) -> Value:
    apart = select(target.compare("==", -1.0), _at_least(x - margin, 0.0), 0.0)
    return select(target.compare("==", 1.0), 1.0 - x, apart)


def _cosine_input(g: Value, x: Value, target: Value, margin: Value) -> Value:
    apart = select(target.compare("==", -1.0) & (x - margin).compare(">=", 0.0), g, 0.0)
    return select(target.compare("==", 1.0), -g, apart)


def _of_difference(name: str, slope: Callable[..., Value], cells: int = 0) -> dict[str, Formula]:
    """Derivatives of a loss of ``input - target``."""
    return {
        f"{name}_input": Formula(3, lambda g, x, t, *given: g * slope(x - t, *given), cells),
        f"{name}_target": Formula(3, lambda g, x, t, *given: g * -slope(x - t, *given), cells),
    }


def _weighted(rows: dict[str, Formula]) -> dict[str, Formula]:
    """The rows, and beside each one the row whose last operand is a weight."""

    def times(own: Formula, derivative: bool) -> Callable[..., Value]:
        def expression(*given: Value) -> Value:
            operands, weight, cells = given[: own.operands], given[own.operands], given[own.operands + 1 :]
            if derivative:
                return own.expression(operands[0] * weight, *operands[1:], *cells)
            return own.expression(*operands, *cells) * weight

        return expression

    first = next(iter(rows))
    return rows | {
        f"{name}_weighted": Formula(own.operands + 1, times(own, name.endswith(("_input", "_target"))), own.cells)
        for name, own in rows.items()
        if name.startswith(first)
    }


ROWS: dict[str, Formula] = {
    "mse": Formula(2, _squared),
    **_of_difference("mse", lambda d: d + d),
    "l1": Formula(2, lambda x, target: absolute(x - target)),
    **_of_difference("l1", _sign),
    "smooth_l1": Formula(2, _smooth_l1, 1),
    **_of_difference("smooth_l1", _smooth_l1_slope, 1),
    "huber": Formula(2, _huber, 1),
    **_of_difference("huber", _huber_slope, 1),
    **_weighted(
        {
            "bce": Formula(2, _bce),
            "bce_input": Formula(3, _bce_input),
            "bce_target": Formula(3, lambda g, x, target: g * (log1p(-x) - log(x))),
        }
    ),
    **_weighted(
        {
            "bce_logits": Formula(2, lambda x, target: fma(1.0 - target, x, -log_sigmoid(x))),
            "bce_logits_input": Formula(3, lambda g, x, target: g * (sigmoid(x) - target)),
            "bce_logits_target": Formula(3, lambda g, x, target: g * -x),
            "bce_logits_positive": Formula(3, _bce_logits_positive),
            "bce_logits_positive_input": Formula(4, _bce_logits_positive_input),
            "bce_logits_positive_target": Formula(
                4, lambda g, x, target, positive: g * (-x - (positive - 1.0) * log_sigmoid(x))
            ),
        }
    ),
    "kl_div": Formula(2, lambda x, target: times_logarithm(target, target, log) - target * x),
    "kl_div_input": Formula(3, lambda g, x, target: -(g * target)),
    "kl_div_target": Formula(3, _kl_target),
    "kl_div_log": Formula(2, lambda x, target: exp(target) * (target - x)),
    "kl_div_log_input": Formula(3, lambda g, x, target: -(g * exp(target))),
    "kl_div_log_target": Formula(3, _kl_log_target),
    "poisson": Formula(2, _poisson, 1),
    "poisson_input": Formula(3, lambda g, x, target, eps: g * (1.0 - target / (x + eps)), 1),
    "poisson_target": Formula(3, lambda g, x, target, eps: g * -log(x + eps), 1),
    "poisson_log": Formula(2, _poisson_log, 1),
    "poisson_log_input": Formula(3, lambda g, x, target, eps: g * (exp(x) - target), 1),
    "poisson_log_target": Formula(3, lambda g, x, target, eps: g * -x, 1),
    "poisson_full": Formula(2, lambda x, target, eps: _poisson(x, target, eps) + _stirling(target), 1),
    "poisson_full_target": Formula(3, lambda g, x, target, eps: g * (_stirling_slope(target) - log(x + eps)), 1),
    "poisson_log_full": Formula(2, lambda x, target, eps: _poisson_log(x, target, eps) + _stirling(target), 1),
    "poisson_log_full_target": Formula(3, lambda g, x, target, eps: g * (_stirling_slope(target) - x), 1),
    "gaussian": Formula(3, _gaussian, 1),
    "gaussian_full": Formula(3, lambda *given: _gaussian(*given) + 0.5 * math.log(2.0 * math.pi), 1),
    "gaussian_input": Formula(4, _gaussian_input, 1),
    "gaussian_target": Formula(4, lambda *given: -_gaussian_input(*given), 1),
    "gaussian_var": Formula(4, _gaussian_variance, 1),
    "hinge": Formula(2, _hinge, 1),
    "hinge_input": Formula(3, _hinge_input, 1),
    "cosine": Formula(2, _cosine, 1),
    "cosine_input": Formula(3, _cosine_input, 1),
    "soft_margin": Formula(2, lambda x, target: softplus(-target * x)),
    "soft_margin_input": Formula(3, lambda g, x, target: g * -target * sigmoid(-target * x)),
    "soft_margin_target": Formula(3, lambda g, x, target: g * -x * sigmoid(-target * x)),
    "ranking": Formula(3, _ranking, 1),
    "ranking_input1": Formula(4, lambda g, x, y, t, margin: _ranking_active(g, x, y, t, margin) * -t, 1),
    "ranking_input2": Formula(4, lambda g, x, y, t, margin: _ranking_active(g, x, y, t, margin) * t, 1),
    "ranking_target": Formula(4, lambda g, x, y, t, margin: _ranking_active(g, x, y, t, margin) * (y - x), 1),
}

# What a constant adds changes no other derivative.
for _name, _inputs in (("poisson", ("input",)), ("poisson_log", ("input",)), ("gaussian", ("input", "target", "var"))):
    ROWS |= {f"{_name}_full_{of}": ROWS[f"{_name}_{of}"] for of in _inputs}
