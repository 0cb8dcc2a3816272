"""The matrices of Winograd's convolutions, in exact rationals.

    y  = A^T [ (G g G^T) . (B^T d B) ] A              d: a tile of the input, g: a kernel of 3x3 taps
    dW = G^T [ sum over tiles (B^T d B) . (A dy A^T) ] G

A tile of m outputs along an axis takes m + 2 points and as many inputs. The matrices follow from the points (Winograd,
"Arithmetic complexity of computations", 1980; Lavin and Gray, "Fast algorithms for convolutional neural networks",
2016). A large and a small tile share the transformed kernels: the small one uses the first points of the large one, and
what differs is put into B^T. So 7 = 4 + 3 and 14 = 4 + 4 + 3 + 3 waste nothing.
"""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

Matrix = tuple[tuple[Fraction, ...], ...]
TAPS = 3
INFINITY = None
# By the outputs of the large tile along an axis: the small tile's outputs and the points. Points of 5/8 and 3/2 cost no
# more than 1 and 2, and have half their error.
POINTS: dict[int, tuple[int, tuple[Fraction | None, ...]]] = {
    4: (3, (Fraction(0), Fraction(5, 8), Fraction(-5, 8), INFINITY, Fraction(3, 2), Fraction(-3, 2))),
    2: (1, (Fraction(0), Fraction(1), INFINITY, Fraction(-1))),
}


class Tile(NamedTuple):
    """One axis of a tile: its outputs, and the matrices A^T (outputs, points) and B^T (points, points)."""

    outputs: int
    outwards: Matrix
    inwards: Matrix

    @property
    def points(self) -> int:
        """Points, and inputs."""
        return len(self.inwards)


class Algorithm(NamedTuple):
    """The two tiles, the large one first, and the matrix G (points, taps) of both."""

    tiles: tuple[Tile, Tile]
    kernel: Matrix

    @property
    def points(self) -> int:
        """Points of the large tile along an axis."""
        return self.tiles[0].points


def transposed(matrix: Matrix) -> Matrix:
    """Rows and columns exchanged."""
    return tuple(zip(*matrix, strict=True))


def _product(roots: list[Fraction]) -> list[Fraction]:
    """Coefficients, from the constant one on, of the polynomial with these roots."""
    found = [Fraction(1)]
    for root in roots:
        shifted = [Fraction(0), *found]
        found = [s - root * c for s, c in zip(shifted, [*found, Fraction(0)], strict=True)]
    return found


def _others(points: tuple[Fraction | None, ...], own: int) -> list[Fraction]:
    return [p for i, p in enumerate(points) if p is not None and i != own]


def _at(coefficients: list[Fraction], x: Fraction) -> Fraction:
    return sum((c * x**i for i, c in enumerate(coefficients)), Fraction(0))


def _tile(outputs: int, points: tuple[Fraction | None, ...]) -> Tile:
    """The tile that uses the first of the points; G has the scale of all of them."""
    count = outputs + TAPS - 1
    used = points[:count]
    outwards = tuple(
        tuple(Fraction(row == outputs - 1) if p is None else p**row for p in used) for row in range(outputs)
    )
    inwards = []
    for i, point in enumerate(used):
        coefficients = _product(_others(used, i))
        scale = Fraction(1)
        if point is not None:
            scale = _at(_product(_others(points, i)), point) / _at(coefficients, point)
        row = [scale * c for c in coefficients]
        inwards.append(tuple(row + [Fraction(0)] * (count - len(row))))
    return Tile(outputs, outwards, tuple(inwards))


def algorithm(large: int) -> Algorithm:
    """That of a large tile of 4 or of 2 outputs along an axis."""
    small, points = POINTS[large]
    kernel: list[tuple[Fraction, ...]] = []
    for i, point in enumerate(points):
        if point is None:
            kernel.append((Fraction(0), Fraction(0), Fraction(1)))
        else:
            scale = 1 / _at(_product(_others(points, i)), point)
            kernel.append(tuple(scale * point**tap for tap in range(TAPS)))
    return Algorithm((_tile(large, points), _tile(small, points)), tuple(kernel))
