"""Where the boxes of a graph go: in layers from top to bottom, long edges beside the boxes that they pass.

Layers, places within them and coordinates are found one after the other, as K. Sugiyama, S. Tagawa, M. Toda do
("Methods for visual understanding of hierarchical system structures", 1981). A deep graph is cut into columns.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from fastnn.inspection.graph import Box, Graph

HEAVY = 1e6  # how much more a box stays in its place than an edge that passes by
SWEEPS = 4
WRAP_FROM = 14  # layers from which a graph may be cut into columns
ASPECT = 1.3  # width to height that columns aim at


@dataclass(eq=False)
class Place:
    """A box in its layer, or where a long edge passes a layer (no box)."""

    layer: int
    box: Box | None
    above: list[Place] = field(default_factory=list)
    below: list[Place] = field(default_factory=list)
    x: float = 0.0


@dataclass
class Layout:
    """The layers, each from left to right; and for each edge of the graph the places from its start to its end."""

    layers: list[list[Place]]
    paths: list[list[Place]]


def arrange(graph: Graph, width: float, passing: float) -> Layout:
    """Put boxes of a `width` in layers; edges that pass them take the width `passing`."""
    depth: dict[Box, int] = {}
    for box in graph.boxes:  # every edge goes from an earlier box to a later one
        depth[box] = max((depth[start] + 1 for start, end in graph.edges if end is box), default=0)
    for box in reversed(graph.boxes):  # what nothing leads to stands above what it leads to
        below = [depth[end] for start, end in graph.edges if start is box]
        if below and all(end is not box for _, end in graph.edges):
            depth[box] = min(below) - 1
    places = {box: Place(layer, box) for box, layer in depth.items()}
    layers: list[list[Place]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
    for place in places.values():
        layers[place.layer].append(place)
    paths = []
    for start, end in graph.edges:
        path = [places[start]]
        for layer in range(depth[start] + 1, depth[end]):
            path.append(Place(layer, None))
            layers[layer].append(path[-1])
        path.append(places[end])
        for one, two in itertools.pairwise(path):
            one.below.append(two)
            two.above.append(one)
        paths.append(path)
    _order(layers)
    for row in layers:
        _place(row, width, passing)
    return Layout(layers, paths)


def _order(layers: list[list[Place]]) -> None:
    """Put each place near the middle of those that it is connected with, to and fro."""
    for sweep in range(2 * SWEEPS + 1):
        down = sweep % 2 == 0
        for near, layer in itertools.pairwise(layers) if down else _upwards(layers):
            index = {id(place): i for i, place in enumerate(near)}

            def middle(place: Place, index: dict[int, int] = index, down: bool = down) -> tuple[float, bool]:
                others = place.above if down else place.below
                own = [index[id(other)] for other in others]
                return (sum(own) / len(own) if own else 0.0, place.box is None)

            layer.sort(key=middle)


def _upwards(layers: list[list[Place]]) -> Sequence[tuple[list[Place], list[Place]]]:
    return [(layers[i + 1], layers[i]) for i in range(len(layers) - 2, -1, -1)]


def _place(layer: list[Place], width: float, passing: float) -> None:
    """Put a layer below the one above: boxes under the middle of what leads to them, as near as the others allow.

    The places are the weighted least squares under the order and the distances: pooling of adjacent violators.
    """
    blocks: list[tuple[float, float, int]] = []  # wanted middle, weight, count
    offsets: list[float] = []
    at = 0.0
    for i, place in enumerate(layer):
        size = width if place.box is not None else passing
        if i:
            at += (size + (width if layer[i - 1].box is not None else passing)) / 2
        offsets.append(at)
        straight = [other for other in place.above if other.box is not None] or place.above
        wanted = sum(other.x for other in straight) / len(straight) if straight else 0.0
        weight = HEAVY if place.box is not None else 1.0
        block = (wanted - at, weight, 1)
        while blocks and blocks[-1][0] > block[0]:
            middle, heavy, count = blocks.pop()
            total = heavy + block[1]
            block = ((middle * heavy + block[0] * block[1]) / total, total, count + block[2])
        blocks.append(block)
    places = iter(zip(layer, offsets, strict=True))
    for middle, _, count in blocks:
        for _ in range(count):
            place, offset = next(places)
            place.x = middle + offset


def columns(layers: list[list[Place]], width: float, row: float, wanted: int | None) -> list[range]:
    """The layers of each column; cut where few edges go on.

    Parameters
    ----------
    width, row : of the whole graph in one column, and of a layer.
    wanted : how many columns; None for a picture that is about as wide as high.
    """
    count = len(layers)
    if wanted is None:
        shapes = [] if count < WRAP_FROM else range(1, count // 5 + 1)
        wanted = min(shapes, key=lambda k: abs(math.log(k * width / (ASPECT * row * count / k))), default=1)
    wanted = max(1, min(wanted, count))
    cuts = [0]
    for k in range(1, wanted):
        target = round(k * count / wanted)
        near = [i for i in range(target - 2, target + 3) if cuts[-1] < i < count - (wanted - 1 - k)]
        if near:
            cuts.append(min(near, key=lambda i: (len(layers[i]) + len(layers[i - 1]), abs(i - target))))
    return [range(start, end) for start, end in zip(cuts, [*cuts[1:], count], strict=True)]
