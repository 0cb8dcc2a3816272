"""Places of a convolution's input by their remainder: with a stride, each class of places meets taps of its own."""

from __future__ import annotations

import math
from typing import NamedTuple


class Class(NamedTuple):
    """Places of an axis with the same remainder, and the taps that they meet.

    Place ``first + step * q`` meets tap ``tap + tap_step * u`` at output ``q + start - back * u``.
    """

    places: int
    tap: int
    tap_step: int
    taps: int
    start: int
    back: int


def axis_classes(n: int, kernel: int, stride: int, before: int, dilation: int) -> list[Class]:
    """The classes along an axis of `n` places with `before` zeros before it."""
    common = math.gcd(stride, dilation)
    tap_step, back = stride // common, dilation // common
    found = []
    for first in range(min(stride, n)):
        remainder, whole = (before + first) % stride, (before + first) // stride
        tap = next((i for i in range(min(tap_step, kernel)) if i * dilation % stride == remainder), None)
        taps = 0 if tap is None else -(-(kernel - tap) // tap_step)
        start = 0 if tap is None else whole + (remainder - dilation * tap) // stride
        found.append(Class(-(-(n - first) // stride), tap or 0, tap_step, taps, start, back))
    return found
