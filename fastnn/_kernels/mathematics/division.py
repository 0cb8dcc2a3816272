"""Remainders, exact for any operands, and the quotients that go with them."""

from __future__ import annotations

import math

from fastnn._kernels.vector import Value, absolute, floor, fma, rarely, repeated, select, truncated, with_sign_of

# A divisor is multiplied by this, once or twice, where the quotient would overflow.
_FAR = {"float32": 2.0**100, "float64": 2.0**700}


def fmod(x: Value, y: Value) -> Value:
    """``x - trunc(x / y) * y``, exact, with the sign of x; NaN for an infinite x or a zero y.

    The quotient, rounded, times y differs from x by a number that the format holds; so an FMA gives it exactly. It is
    smaller than what was there by 2**-23 (2**-52), and what is still not smaller than y takes another step. In the end
    a remainder on the wrong side of zero is moved by y, which is exact too.
    """
    a, b = absolute(x), absolute(y)
    rest = fma(-truncated(a / b), b, a)
    far = ~absolute(rest).compare("<", b)
    (rest,) = rarely(far, [rest], lambda: [_long_remainder(select(far, a, 0.0), select(far, b, 1.0))])
    rest = select(rest.compare("<", 0.0), rest + b, rest)
    return with_sign_of(rest, x)


def _long_remainder(a: Value, b: Value) -> Value:
    """What is left of a when multiples of b are taken off, for any numbers that are not negative, NaN too."""
    regular = a.compare("<", math.inf) & b.compare(">", 0.0)
    start = select(regular & b.compare("<", math.inf), a, 0.0)
    divisor = select(b.compare(">", 0.0) & b.compare("<", math.inf), b, 1.0)
    factor = _FAR[a.dtype]

    def step(rest: Value) -> Value:
        by, near = divisor, absolute(rest)
        for _ in range(2):
            near = near * (1.0 / factor)
            by = select(near.compare(">=", divisor), by * factor, by)
        return fma(-truncated(rest / by), by, rest)

    rest = repeated(start, lambda rest: absolute(rest).compare(">=", divisor), step)
    rest = select(b.compare("==", math.inf), a, rest)
    return select(regular, rest, math.nan)


def remainder(x: Value, y: Value) -> Value:
    """``x - floor(x / y) * y``, with the sign of y, as Python's ``%``."""
    rest = fmod(x, y)
    moved = select((rest * with_sign_of(y.number(1.0), y)).compare("<", 0.0), rest + y, rest)
    return select(rest.compare("==", 0.0), with_sign_of(rest.number(0.0), y), moved)


def floor_divide(x: Value, y: Value) -> Value:
    """``floor(x / y)`` of the exact quotient, as Python's ``//``; ``x / 0`` is as in a division."""
    rest = fmod(x, y)
    quotient = (x - rest) / y
    below = (rest * with_sign_of(y.number(1.0), y)).compare("<", 0.0)
    quotient = select(below, quotient - 1.0, quotient)
    # The quotient is nearly an integer: the nearest.
    whole = floor(quotient)
    whole = select((quotient - whole).compare(">", 0.5), whole + 1.0, whole)
    plain = x / y
    whole = select(quotient.compare("==", 0.0), with_sign_of(plain.number(0.0), plain), whole)
    return select(y.compare("==", 0.0), plain, whole)
