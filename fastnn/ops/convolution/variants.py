"""The ways to convolve, and the choice between them: the cheapest that takes the problem, for each pass by itself.

A variant is a row of `VARIANTS`: what it takes, what it costs, and how each of its passes becomes phases. The choice
never looks at the number of threads; `fastnn.explain` shows it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from fastnn._precision import get_precision
from fastnn.ops.convolution import depthwise, direct, general, winograd
from fastnn.ops.convolution.geometry import ANY_BATCH, Geometry, Problem
from fastnn.ops.lowering import Array, Candidate, Lowering


class Variant(NamedTuple):
    """A way to convolve. Images come as (N, C, ...) with any strides, weights as (O, C / groups, taps ...).

    Attributes
    ----------
    name : as the field calls it.
    refuses : why it does not take a problem, in a few words; empty if it does.
    nanoseconds : estimated on one core, for a problem that it takes.
    forward : of input, weight, bias or None, and geometry: the result (N, O, ...).
    input_gradient : of what the output got, the weight and the geometry: what the input gets.
    weight_gradient : of the input, what the output got, the weight (whose shape and dtype count) and the geometry:
        what the weight gets, as an output of the op.
    coarse : whether it errs more in a problem than adding up the products one by one.
    """

    name: str
    refuses: Callable[[Problem], str]
    nanoseconds: Callable[[Problem], float]
    forward: Callable[[Lowering, Array, Array, Array | None, Geometry], Array]
    input_gradient: Callable[[Lowering, Array, Array, Geometry], Array]
    weight_gradient: Callable[[Lowering, Array, Array, Array, Geometry], Array]
    coarse: Callable[[Problem], bool] = lambda _: False


def _variant(name: str, module: Any, **options: int) -> Variant:
    """The row of a module whose functions have the names of a variant's attributes, and take the options."""
    own: dict[str, Any] = {n: partial(getattr(module, n), **options) for n in Variant._fields if hasattr(module, n)}
    return Variant(name=name, **own)


VARIANTS = (
    _variant("contraction", general),
    _variant("winograd 4x4", winograd, large=4),
    _variant("winograd 2x2", winograd, large=2),
    _variant("depthwise", depthwise),
    _variant("direct", direct),
)


def choose(low: Lowering, problem: Problem) -> Variant:
    """The cheapest variant that takes the problem; with strict precision, among those that err little."""
    strict = get_precision() == "strict"
    if strict:
        problem = problem._replace(batch=ANY_BATCH)
        low.note(f"precision is strict: chosen as for a batch of {ANY_BATCH}")
    refusals = {v.name: v.refuses(problem) for v in VARIANTS}
    if strict:
        refusals |= {v.name: "errs more than strict precision allows" for v in VARIANTS if v.coarse(problem)}
    costs = {v.name: v.nanoseconds(problem) for v in VARIANTS if not refusals[v.name]}
    best = min(costs, key=lambda name: costs[name])
    low.consider(
        f"way to convolve ({problem.which})",
        [Candidate(v.name, costs.get(v.name, float("inf")), v.name == best, refusals[v.name]) for v in VARIANTS],
    )
    return next(v for v in VARIANTS if v.name == best)


def forward(low: Lowering, x: Array, w: Array, b: Array | None, geometry: Geometry) -> Array:
    """The result (N, O, ...) of an input (N, C, ...)."""
    problem = Problem("forward", geometry, x.shape[0], x.shape[1], w.shape[0], x.dtype)
    return choose(low, problem).forward(low, x, w, b, geometry)


def input_gradient(low: Lowering, dy: Array, w: Array, geometry: Geometry) -> Array:
    """What the input (N, C, ...) gets from what the output (N, O, ...) got."""
    channels = geometry.groups * w.shape[1]
    problem = Problem("input gradient", geometry, dy.shape[0], channels, dy.shape[1], dy.dtype)
    return choose(low, problem).input_gradient(low, dy, w, geometry)


def weight_gradient(low: Lowering, x: Array, dy: Array, w: Array, geometry: Geometry) -> Array:
    """What the weight gets, laid out with its output channels side by side."""
    problem = Problem("weight gradient", geometry, x.shape[0], x.shape[1], dy.shape[1], x.dtype)
    return choose(low, problem).weight_gradient(low, x, dy, w, geometry)
