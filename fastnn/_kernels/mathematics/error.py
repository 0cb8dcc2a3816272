"""erf and its kin.

erf is an odd polynomial up to 0.75, and the normal distribution's tails take over above; erfc is ``exp(-x**2)`` times
a polynomial of ``(x - 4) / (x + 4)`` over ``1 + 2 x``; the inverse of erf is x times a polynomial of
``w = -log(1 - x**2)``, or of w's square root where w is large (M. Giles, "Approximating the erfinv function", GPU
Computing Gems, Jade Edition, 2011). erfc and the inverse are computed in float64 for float32 too.

The polynomial for erf interpolates at Chebyshev nodes, in 150 digits; the tail is Remez's rational function, in 80;
the others are fitted by least squares at Chebyshev nodes, in 60 digits (40 for the inverse). All are rounded then.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

from fastnn._kernels.mathematics.double import BIAS, MANTISSA, fast_two_sum, power_of_two, two_product
from fastnn._kernels.mathematics.exponential import EXP, LN2, LOG2_E, excess, exp, reduced
from fastnn._kernels.mathematics.logarithm import LOG, log, split
from fastnn._kernels.vector import (
    Value,
    absolute,
    fma,
    in_pieces,
    polynomial,
    quotient,
    rarely,
    scaled,
    select,
    sqrt,
    with_sign_of,
)

# erf(x) / x - 1 as a polynomial of x**2, for |x| <= 0.75
_ERF = {
    "float32": (
        1.283791661e-01,
        -3.761262000e-01,
        1.128338650e-01,
        -2.683511376e-02,
        5.115332082e-03,
        -6.756479852e-04,
    ),
    "float64": (
        0.1283791670955126,
        -0.37612638903183754,
        0.11283791670955087,
        -0.026866170645118446,
        0.005223977625222192,
        -0.0008548327001135946,
        0.00012055331545294116,
        -1.4925589383821143e-05,
        1.646038320985815e-06,
        -1.63332293434337e-07,
        1.4413879289095029e-08,
        -9.502840894774706e-10,
    ),
}
# The normal distribution's tail beyond a over exp(-a**2 / 2), a polynomial over another, for a up to 14.5 (38.7).
_TAIL = {
    "float32": (
        (5.000000000e-01, 4.383023679e-01, 1.832406372e-01, 4.063508287e-02, 4.116583616e-03),
        (
            1.000000000e00,
            1.674489737e00,
            1.202525973e00,
            4.694851339e-01,
            1.018634886e-01,
            1.031862572e-02,
        ),
    ),
    "float64": (
        (
            0.5,
            0.8277378288525675,
            0.67931852801878,
            0.3571216039188631,
            0.13193711592419688,
            0.03563083829719702,
            0.007113892029171963,
            0.0010381490561932538,
            0.00010638305892836932,
            6.961386143608651e-06,
            2.2363202593646397e-07,
        ),
        (
            1.0,
            2.4533602185080006,
            2.81613529647303,
            2.0004754930392914,
            0.9794545072500567,
            0.34802146089171787,
            0.09188062158400599,
            0.01809742455254007,
            0.0026197033850820866,
            0.0002672233458076719,
            1.7449607338224568e-05,
            5.605623593252214e-07,
        ),
    ),
}
# exp(x**2) erfc(x) (1 + 2 x) as a polynomial of (x - 4) / (x + 4), for x up to 10.2 (27.4); from 0.45 in float64.
_ERFC = {
    "float32": (
        1.2329951186514434,
        -0.1396211319499942,
        0.015379640100116209,
        0.06809789123878884,
        -0.10103798001633593,
        0.09372050789548485,
        -0.06635416655814286,
        0.03722601636659518,
        -0.016022025237985644,
        0.00503762333692663,
        -0.0011443603869011434,
        -0.0006446797663738332,
    ),
    "float64": (
        1.2329951186255526,
        -0.1396211168405625,
        0.015379652102620016,
        0.06809705425469169,
        -0.10103906603632296,
        0.09373283499839001,
        -0.0663303658117152,
        0.03716751553676305,
        -0.01619773406482127,
        0.005031969984591794,
        -0.0007577732310101085,
        -0.0001992567276192209,
        0.0001506213818286677,
        -2.439912903381389e-05,
        -1.122107235291375e-05,
        5.70966378183226e-06,
        2.918229782269003e-07,
        -8.256272116098363e-07,
        7.718237877017449e-08,
        1.1068517067634929e-07,
        -1.976749109203172e-08,
        -1.4800160550478265e-08,
        2.420550782330008e-09,
        1.553241023738964e-09,
    ),
}
# The inverse of erf over its argument: from which w on, then a centre and a polynomial of what w (in the first row) or
# its square root is above the centre.
_INVERSE = {
    "float32": (
        (
            0.0,
            2.5,
            (
                1.501409353036483,
                0.2466402889408602,
                -0.004177335342528503,
                -0.0012527474604587978,
                0.00021827722372803324,
                -4.960293771276885e-06,
                -3.4321226983577284e-06,
                4.6554606253030106e-07,
                1.7572963620509893e-08,
                -8.748171286435869e-09,
                3.65704377062994e-10,
            ),
        ),
        (
            5.0,
            3.0,
            (
                2.832976802296276,
                1.0016752554869717,
                0.009445262486159114,
                -0.0076431546642556905,
                0.0056880799485751424,
                -0.0035649503534976187,
                0.0014735354828891627,
                -0.00012440181588230673,
                -0.0002743892887799201,
                0.00016354562196566194,
                -3.1787171717759226e-05,
            ),
        ),
    ),
    "float64": (
        (
            0.0,
            3.125,
            (
                1.6536545626831027,
                0.24015818242558823,
                -0.0060336708714277725,
                -0.0007407025341537275,
                0.00018673420802433043,
                -1.3882523396390355e-05,
                -1.3654691845532077e-06,
                4.234788198068058e-07,
                -2.9070382677844503e-08,
                -4.112662471712026e-09,
                1.0512183520285106e-09,
                -5.4142185392097674e-11,
                -1.2976944463345992e-11,
                2.63030012013719e-12,
                -8.11727302313645e-14,
                -3.998027213114005e-14,
                6.59502469368786e-15,
                -4.394824388019197e-17,
                -1.3006383601173577e-16,
                1.5837233581314293e-17,
                1.145478969791445e-18,
                -3.6070982770742057e-19,
                -1.0289473799740978e-21,
                3.431822216538736e-21,
            ),
        ),
        (
            6.25,
            3.25,
            (
                3.0838856104922208,
                1.0052589676941657,
                0.005370914553571329,
                -0.0037512085082553794,
                0.0024914420969984674,
                -0.0016882755344900583,
                0.0009532893634377895,
                -0.00035503782742077577,
                2.403125981718011e-05,
                6.828722243203154e-05,
                -4.731899853892536e-05,
                1.2464552911719383e-05,
                2.925772761073285e-06,
                -3.984405988032196e-06,
                1.4986363613460814e-06,
                -2.9730048775693064e-08,
                -2.7127228130767316e-07,
                1.3346471067380917e-07,
                6.68120831997318e-10,
                -1.6008286949025646e-08,
            ),
        ),
        (
            16.0,
            5.0,
            (
                4.849906401408584,
                1.0103004648645455,
                -0.0001387193183729075,
                -0.00021503011983854082,
                7.599527790400545e-05,
                -1.968177057039449e-05,
                4.526054487283308e-06,
                -9.93030089918302e-07,
                2.2904287827155387e-07,
                -6.755416680745294e-08,
                2.9046836436105202e-08,
                -1.525837705905925e-08,
                7.774596177068167e-09,
                -3.4682707641677865e-09,
                1.3612951382694144e-09,
                -4.3904794777027253e-10,
                4.5951360305034066e-11,
                4.316157237833099e-11,
                -1.5260617184536658e-11,
            ),
        ),
    ),
}
# `lifted_exp` gives 2**this times the exponential.
LIFT = {"float32": 40, "float64": 100}
# Beyond these exp(-x**2) is 0, erf is 1, erfc is 0, whatever the rounding.
_GAUSSIAN_RANGE = {"float32": 10.4, "float64": 27.4}
_ERF_RANGE = {"float32": 4.0, "float64": 6.0}
_ERFC_RANGE = {"float32": 10.2, "float64": 27.4}
# Lanes of float64 that a kernel works on at a time: as many as in kernels for float64.
_PIECE = 16


def lifted_power(x: Value, factor: float) -> tuple[Value, Value]:
    """The integer nearest to ``x * factor`` and ``2**LIFT`` times that power of two.

    As `exponential.nearest`, but the integer in the low bits is the result's biased exponent.
    """
    mantissa = MANTISSA[x.dtype]
    magic = 1.5 * 2.0**mantissa + (BIAS[x.dtype] + LIFT[x.dtype])
    shifted = fma(x, factor, magic)
    return shifted - magic, (shifted.bits() << mantissa).bits()


def lifted_exp(p: Value, q: Value | float) -> Value:
    """``2**LIFT * exp(p * q)`` for a product up to 40, whose own rounding costs nothing.

    The power of two keeps the result among the normal numbers: who multiplies by its inverse last rounds only once.
    """
    ln2, rest = LN2[p.dtype]
    n, power = lifted_power(p * q, LOG2_E)
    r = fma(n, -rest, fma(p, q, n * -ln2))
    return polynomial(r, (1.0, 1.0, *EXP[p.dtype])) * power


def lifted_excess(p: Value, q: Value | None = None) -> tuple[Value, Value, Value]:
    """As `lifted_exp`, in three parts: the result is ``e * (1 + whole + rest)``, e a power of two. No q means 1."""
    ln2, low = LN2[p.dtype]
    product = p if q is None else p * q
    n, e = lifted_power(product, LOG2_E)
    small = n * -low if q is None else fma(n, -low, fma(p, q, -product))
    whole = fma(n, -ln2, product)
    return whole, excess(whole, small), e


def bounded(x: Value, most: dict[str, float]) -> Value:
    """The magnitude, but no more than the format's bound."""
    magnitude, bound = absolute(x), most[x.dtype]
    return select(magnitude.compare(">", bound), bound, magnitude)


def tail(a: Value) -> tuple[Value, Value]:
    """The two polynomials of a whose quotient, times ``exp(-a**2 / 2)``, is the normal distribution beyond a."""
    above, below = _TAIL[a.dtype]
    return polynomial(a, above), polynomial(a, below)


def erf(x: Value) -> Value:
    """An odd polynomial up to 0.75, above it 1 less the normal distribution's two tails beyond ``sqrt(2) |x|``."""
    a = bounded(x, _ERF_RANGE)
    e = lifted_exp(-a, a)
    above, below = tail(a * math.sqrt(2.0))
    large = fma(quotient(e * above, below), -(2.0 ** (1 - LIFT[x.dtype])), 1.0)
    small = fma(polynomial(a * a, _ERF[x.dtype]), a, a)
    return with_sign_of(select(a.compare("<", 0.75), small, large), x)


def erf_backward(dy: Value, x: Value) -> Value:
    """From the gradient of erf's result and its argument: ``dy * 2 / sqrt(pi) * exp(-x**2)``."""
    a = bounded(x, _GAUSSIAN_RANGE)
    return dy * (lifted_exp(-a, a) * (2.0 / math.sqrt(math.pi) * 2.0 ** -LIFT[x.dtype]))


def erfc(x: Value) -> Value:
    """1 less erf, without cancellation where it is small."""
    return in_pieces(x, _PIECE, _erfc32 if x.dtype == "float32" else _erfc64)


def _erfc32(x: Value) -> Value:
    """In float64, whose digits leave room: parts need not be kept, and polynomials end early."""
    wide = x.converted("float64")
    a = absolute(wide)
    a = select(a.compare(">", _ERFC_RANGE[x.dtype]), _ERFC_RANGE[x.dtype], a)
    _, bits, r, _ = reduced(-(a * a))
    e = fma(polynomial(r, EXP["float64"][:7]) * r, r, r) + 1.0
    # One division for two.
    divisor = fma(a, 2.0, 1.0)
    inverse = 1.0 / ((a + 4.0) * divisor)
    q = polynomial((a - 4.0) * divisor * inverse, _ERFC[x.dtype]) * ((a + 4.0) * inverse)
    far = (e * q) * power_of_two(bits, "float64")
    return select(wide.compare("<", 0.0), 2.0 - far, far).converted("float32")


def _erfc64(x: Value) -> Value:
    a = absolute(x)
    a = select(a.compare(">", _ERFC_RANGE[x.dtype]), _ERFC_RANGE[x.dtype], a)
    square, square_low = two_product(a, a)
    r = reduced(-square)
    small = r.small - square_low
    high, low = fast_two_sum(a.number(1.0), r.whole)
    low = low + excess(r.whole, small)
    # The polynomial over ``1 + 2 a``: what rounding took from its last sum, from the quotient and from the divisor.
    t = (a - 4.0) / (a + 4.0)
    first, *others = _ERFC[x.dtype]
    above, above_low = fast_two_sum(t.number(first), t * polynomial(t, others))
    divisor = fma(a, 2.0, 1.0)
    q = above / divisor
    lost = fma(-q, divisor, above) + above_low - q * ((a + a) - (divisor - 1.0))
    low = low + high * (lost / above)
    far = scaled(fma(low, q, high * q), r.n, r.bits, MANTISSA[x.dtype], BIAS[x.dtype])
    near = fma(-x, polynomial(x * x, _ERF[x.dtype]), 1.0 - x)
    return select(absolute(x).compare("<", 0.5), near, select(x.compare("<", 0.0), 2.0 - far, far))


def erfc_backward(dy: Value, x: Value) -> Value:
    """From the gradient of erfc's result and its argument."""
    return -erf_backward(dy, x)


def erfinv(x: Value) -> Value:
    """What erf makes x of; NaN outside [-1, 1]."""
    return in_pieces(x, _PIECE, _erfinv)


def _erfinv(x: Value) -> Value:
    given = x.converted("float64")
    inside = absolute(given).compare("<", 1.0)
    wide = select(inside, given, 0.0)
    rest = (1.0 - wide) * (1.0 + wide)
    w = -(log(rest) if x.dtype == "float64" else _short_log(rest))
    (_, centre, coefficients), *others = _INVERSE[x.dtype]
    found = _parted(w - centre, coefficients)
    for first, centre, coefficients in others:
        found = rarely(w.compare(">=", first), found, partial(_tail_of_inverse, w, centre, coefficients))
    high, low = fast_two_sum(*found)
    edge = select(absolute(given).compare("==", 1.0), with_sign_of(given.number(math.inf), given), math.nan)
    return select(inside, fma(wide, low, wide * high), edge).converted(x.dtype)


def _parted(u: Value, coefficients: Sequence[float]) -> list[Value]:
    """A polynomial's constant term, and the others."""
    constant, *others = coefficients
    return [u.number(constant), u * polynomial(u, others)]


def _tail_of_inverse(w: Value, centre: float, coefficients: Sequence[float]) -> list[Value]:
    return _parted(sqrt(w) - centre, coefficients)


def _short_log(x: Value) -> Value:
    """The logarithm of a float64, with an error of 2**-28 of it or of 1."""
    f, e = split(x)[:2]
    s = f / (f + 2.0)
    z = s * s
    return fma(s * z, polynomial(z, LOG["float64"][:4]), fma(e, math.log(2.0), s + s))


def erfinv_backward(dy: Value, y: Value) -> Value:
    """From the gradient of the inverse's result and the result."""
    return dy * (exp(y * y) * (math.sqrt(math.pi) / 2.0))
