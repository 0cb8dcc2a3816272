"""The ways to convolve, and the choice between them: the cheapest that takes the problem, for each pass by itself.

A variant is a row of `VARIANTS`: what it takes, what it costs, and how each of its passes becomes phases. The choice
never looks at the number of threads; `fastnn.explain` shows it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from fastnn.ops.convolution import depthwise, direct, general, winograd
from fastnn.ops.convolution.geometry import Geometry, Problem
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
    """

    name: str
    refuses: Callable[[Problem], str]
    nanoseconds: Callable[[Problem], float]
    forward: Callable[[Lowering, Array, Array, Array | None, Geometry], Array]
    input_gradient: Callable[[Lowering, Array, Array, Geometry], Array]
    weight_gradient: Callable[[Lowering, Array, Array, Array, Geometry], Array]


GENERAL = Variant(
    name="contraction",
    refuses=lambda _: "",
    nanoseconds=general.nanoseconds,
    forward=general.forward,
    input_gradient=general.input_gradient,
    weight_gradient=general.weight_gradient,
)
WINOGRAD = Variant(
    name="winograd 4x4",
    refuses=partial(winograd.refuses, large=4),
    nanoseconds=partial(winograd.nanoseconds, large=4),
    forward=partial(winograd.forward, large=4),
    input_gradient=partial(winograd.input_gradient, large=4),
    weight_gradient=partial(winograd.weight_gradient, large=4),
)
DEPTHWISE = Variant(
    name="depthwise",
    refuses=depthwise.refuses,
    nanoseconds=depthwise.nanoseconds,
    forward=depthwise.forward,
    input_gradient=depthwise.input_gradient,
    weight_gradient=depthwise.weight_gradient,
)
DIRECT = Variant(
    name="direct",
    refuses=direct.refuses,
    nanoseconds=direct.nanoseconds,
    forward=direct.forward,
    input_gradient=direct.input_gradient,
    weight_gradient=direct.weight_gradient,
)
VARIANTS = (GENERAL, WINOGRAD, DEPTHWISE, DIRECT)


def choose(low: Lowering, problem: Problem) -> Variant:
    """The cheapest variant that takes the problem."""
    refusals = {v.name: v.refuses(problem) for v in VARIANTS}
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
