"""sin, cos, tan and their inverses.

The polynomials of x**2 approximate ``(f(x) / x - 1) / x**2`` for an odd function f. They are fitted by least squares of
the relative error at Chebyshev nodes, in 60 digits, one coefficient after the other: each is rounded to the format
before those above it are fitted anew.
"""

from __future__ import annotations

import math

from fastnn._kernels.mathematics.double import fast_two_sum
from fastnn._kernels.mathematics.reduction import HALF_PI, quadrant
from fastnn._kernels.vector import Value, absolute, fma, polynomial, select, sqrt, with_sign_of

# For |x| <= pi/4; of the cosine ``(cos(x) - 1 + x**2 / 2) / x**4``.
_SIN = {
    "float32": (-1.666665375e-01, 8.332121186e-03, -1.951101585e-04),
    "float64": (
        -0.1666666666666663,
        0.00833333333332192,
        -0.0001984126982946125,
        2.7557313583628517e-06,
        -2.5050742590845666e-08,
        1.5895962196507203e-10,
    ),
}
_COS = {
    "float32": (4.166664556e-02, -1.388731063e-03, 2.443256744e-05),
    "float64": (
        0.04166666666666659,
        -0.0013888888888872349,
        2.4801587288469675e-05,
        -2.7557314081538746e-07,
        2.087568886200367e-09,
        -1.1357969771075329e-11,
    ),
}
# For |x| <= pi/4.
_TAN = {
    "float32": (
        3.333334923e-01,
        1.333268285e-01,
        5.405768380e-02,
        2.129357681e-02,
        1.080691162e-02,
        1.252633811e-04,
        4.359115846e-03,
    ),
    "float64": (
        0.33333333333332793,
        0.1333333333341192,
        0.053968253928076956,
        0.0218694895741682,
        0.008863219657823582,
        0.003592284657005522,
        0.001454784452704979,
        0.0005949552924656713,
        0.00022269623731574224,
        0.00013588679266632737,
        -2.550401262650637e-05,
        8.865796351196816e-05,
        -4.445633092420864e-05,
        2.0764200876441003e-05,
    ),
}
# For |x| <= 1/2.
_ASIN = {
    "float32": (1.666665971e-01, 7.500513643e-02, 4.451585189e-02, 3.181334212e-02, 1.442625094e-02, 3.752510995e-02),
    "float64": (
        0.16666666666666757,
        0.07499999999971792,
        0.04464285717359249,
        0.0303819427587141,
        0.022372213519528936,
        0.017351638714397925,
        0.013980498610070365,
        0.011401549996406437,
        0.010765491205053643,
        0.0037619687896042024,
        0.02157292878367737,
        -0.02080981246775407,
        0.032511041925434414,
    ),
}
# For |x| <= 1.
_ATAN = {
    "float32": (
        -3.333329260e-01,
        1.999835968e-01,
        -1.426229030e-01,
        1.094221994e-01,
        -8.374951035e-02,
        5.747894198e-02,
        -3.070900403e-02,
        1.066674013e-02,
        -1.738973195e-03,
    ),
    "float64": (
        -0.3333333333333302,
        0.19999999999944268,
        -0.14285714282181675,
        0.11111110995908832,
        -0.09090906812665642,
        0.07692277677819165,
        -0.06666386806559987,
        0.058804272191223445,
        -0.052530783065543436,
        0.047208494315127504,
        -0.04215367849911121,
        0.03656514353516968,
        -0.02978335206593911,
        0.021838074673802617,
        -0.013763346705652345,
        0.007099985521128468,
        -0.0028355190990207095,
        0.000813964717957847,
        -0.00014841831625624026,
        1.2851805242397334e-05,
    ),
}


def _odd(x: Value, coefficients: dict[str, tuple[float, ...]]) -> Value:
    """What an odd function has beyond its argument."""
    z = x * x
    return (x * z) * polynomial(z, coefficients[x.dtype])


def _turned(r: Value, turns: Value) -> Value:
    """The sine of a remainder and so many times pi/2."""
    z = r * r
    sine = fma(r * z, polynomial(z, _SIN[r.dtype]), r)
    cosine = fma(z, fma(z, polynomial(z, _COS[r.dtype]), -0.5), 1.0)
    found = select((turns & 1).compare("==", 0), sine, cosine)
    # The second bit of the multiple changes the sign.
    sign = (turns >> 1) << (31 if r.dtype == "float32" else 63)
    return (found.bits() ^ sign).bits()


def sin(x: Value) -> Value:
    """The sine, from sine and cosine of what remains when the nearest multiple of pi/2 is taken off."""
    turns, r = quadrant(x)
    return select(x.compare("==", 0.0), x, _turned(r, turns))


def cos(x: Value) -> Value:
    """The cosine, as `sin`."""
    turns, r = quadrant(x)
    return _turned(r, turns + 1)


def tan(x: Value) -> Value:
    """The tangent of what remains when the nearest multiple of pi/2 is taken off, or -1 over that."""
    turns, r, rest = quadrant(x, exact=True)
    high, low = fast_two_sum(r, _odd(r, _TAN) + rest)
    # -1 / (high + low), to first order in low.
    inverse = -1.0 / high
    inverse = select(high.compare("==", 0.0), inverse, fma(inverse * low, inverse, inverse))
    result = select((turns & 1).compare("!=", 0), inverse, high + low)
    return select(x.compare("==", 0.0), x, result)


def _half_pi(x: Value, times: float) -> tuple[float, float]:
    """A multiple of pi/2 in two parts."""
    first, second, _ = HALF_PI[x.dtype]
    return first * times, second * times


def _arc(x: Value) -> tuple[Value, Value, Value, Value]:
    """An arc sine's parts for ``|x| <= 1``.

    Returns
    -------
    Whether ``a = |x|`` is below 1/2; a; y, which is a there and else ``sqrt((1 - a) / 2)``; what ``asin(y)`` is beyond
    y.
    """
    a = absolute(x)
    near = a.compare("<", 0.5)
    z = select(near, a * a, 0.5 * (1.0 - a))
    y = select(near, a, sqrt(z))
    return near, a, y, (y * z) * polynomial(z, _ASIN[x.dtype])


def asin(x: Value) -> Value:
    """A polynomial up to 1/2; above it ``pi/2 - 2 asin(sqrt((1 - x) / 2))``."""
    near, _, y, beyond = _arc(x)
    first, second = _half_pi(x, 1.0)
    high, low = fast_two_sum(y.number(first), -(y + y))
    far = high + (low - (beyond + beyond - second))
    return with_sign_of(select(near, y + beyond, far), x)


def acos(x: Value) -> Value:
    """``pi/2 - asin(x)`` up to 1/2; above it ``2 asin(sqrt((1 - x) / 2))``, below -1/2 pi less that of -x."""
    near, _, y, beyond = _arc(x)
    half, half_low = _half_pi(x, 1.0)
    y_signed, beyond_signed = with_sign_of(y, x), with_sign_of(beyond, x)
    inner = half - (y_signed + (beyond_signed - half_low))
    double = (y + beyond) + (y + beyond)
    whole, whole_low = _half_pi(x, 2.0)
    below = whole - (double - whole_low)
    return select(near, inner, select(x.compare("<", 0.0), below, double))


def _atan_of(q: Value) -> Value:
    """What atan has beyond its argument, for q from 0 to 1."""
    return _odd(q, _ATAN)


def atan(x: Value) -> Value:
    """A polynomial up to 1, ``pi/2 - atan(1 / x)`` above."""
    a = absolute(x)
    large = a.compare(">", 1.0)
    q = select(large, 1.0 / a, a)
    first, second = _half_pi(x, 1.0)
    beyond = _atan_of(q)
    return with_sign_of(select(large, first - (q + (beyond - second)), q + beyond), x)


def atan2(y: Value, x: Value) -> Value:
    """The angle of the point (x, y), from -pi to pi; zeros count by their signs."""
    a, b = absolute(y), absolute(x)
    steep = a.compare(">", b)
    above, below = select(steep, b, a), select(steep, a, b)
    q = select(above.compare("==", 0.0), 0.0, above / below)
    q = select(above.compare("==", math.inf), 1.0, q)
    beyond = _atan_of(q)
    first, second = _half_pi(x, 1.0)
    whole, whole_low = _half_pi(x, 2.0)
    left = x.bits().compare("<", 0)
    angle = q + beyond
    # Off the nearest axis, towards the y axis or the negative x axis; signs are exact.
    angle = select(steep, select(left, first + (q + (beyond + second)), first - (q + (beyond - second))), angle)
    angle = select(left & ~steep, whole - (q + (beyond - whole_low)), angle)
    angle = select(x.compare("!=", x) | y.compare("!=", y), x + y, angle)
    return with_sign_of(angle, y)


def sinc(x: Value) -> Value:
    """``sin(pi x) / (pi x)``, 1 at 0."""
    angle = x * math.pi
    return select(x.compare("==", 0.0), 1.0, sin(angle) / angle)
