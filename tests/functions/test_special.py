"""Special functions: known values, identities between them, gradients, edges."""

import math

import numpy as np
import pytest

import fastnn
from fastnn import special
from fastnn.testing import gradcheck


def double(values):
    return fastnn.from_numpy(np.array(values, np.float64))


def near(result, expected, rtol=1e-13):
    np.testing.assert_allclose(result.numpy(), expected, rtol=rtol)


def test_known_values():
    """Abramowitz and Stegun's tables, and constants."""
    euler = 0.5772156649015329
    near(
        fastnn.lgamma(double([0.5, 5.0, -0.5])), [math.log(math.pi) / 2, math.log(24), math.log(2 * math.sqrt(math.pi))]
    )
    near(fastnn.digamma(double([1.0, 0.5, -0.5])), [-euler, -euler - 2 * math.log(2), 0.03648997397857652])
    near(fastnn.polygamma(1, double([1.0, 0.5])), [math.pi**2 / 6, math.pi**2 / 2])
    near(double([1.0]).polygamma(3), [math.pi**4 / 15])
    near(special.zeta(double([2.0, 4.0]), double([1.0, 2.0])), [math.pi**2 / 6, math.pi**4 / 90 - 1])
    near(fastnn.i0(double([0.0, 1.0, 30.0])), [1, 1.2660658777520084, 781672297823.9775])
    near(special.i1(double([1.0, -1.0])), [0.5651591039924851, -0.5651591039924851])
    near(special.i0e(double([1e6])), [1 / math.sqrt(2 * math.pi * 1e6)], rtol=1e-6)
    near(special.erfcx(double([0.0, 1.0, 50.0])), [1, 0.427583576155807, 0.011281536265323772])
    near(special.ndtr(double([0.0, 1.959963984540054])), [0.5, 0.975])
    near(special.ndtri(double([0.5, 0.975, 1e-20])), [0, 1.959963984540054, -9.262340089798409], rtol=1e-12)
    near(special.log_ndtr(double([-40.0, 0.0])), [-804.6084420137538, -math.log(2)])
    near(fastnn.igamma(double([1.0, 3.0]), double([2.0, 1.0])), [1 - math.exp(-2), 0.08030139707139416])
    near(fastnn.igammac(double([1.0]), double([50.0])), [math.exp(-50)])
    near(fastnn.mvlgamma(double([3.0]), 2), [math.lgamma(3) + math.lgamma(2.5) + math.log(math.pi) / 2])


def test_edges():
    inf, nan = np.inf, np.nan
    near(fastnn.lgamma(double([0.0, -1.0, inf, -inf, nan, 1e308])), [inf, inf, inf, inf, nan, inf])
    near(fastnn.digamma(double([0.0, -0.0, -2.0, inf, nan])), [-inf, inf, nan, inf, nan])
    near(special.zeta(double([1.0, 0.5, 2.0, 2.5]), double([1.0, 1.0, -3.0, -0.5])), [inf, nan, inf, nan])
    near(special.ndtri(double([0.0, 1.0, -0.1, 1.1, nan])), [-inf, inf, nan, nan, nan])
    near(fastnn.igamma(double([1.0, 0.0, -1.0, 2.0]), double([0.0, 1.0, 1.0, inf])), [0, 1, nan, 1])
    with pytest.raises(ValueError, match="polygamma: n must not be negative"):
        fastnn.polygamma(-1, double([1.0]))
    with pytest.raises(ValueError, match="mvlgamma: p must be at least 1"):
        fastnn.mvlgamma(double([1.0]), 0)


@pytest.mark.parametrize(
    "function",
    [fastnn.lgamma, fastnn.digamma, lambda x: fastnn.polygamma(2, x), fastnn.i0, special.i0e, special.i1, special.i1e,
     special.erfcx, special.ndtr, special.log_ndtr, lambda x: special.ndtri(x / 4), lambda x: fastnn.igamma(1.5, x),
     lambda x: fastnn.igammac(double([2.0]), x), lambda x: fastnn.mvlgamma(x + 1, 2), lambda x: fastnn.frexp(x)[0]],
)  # fmt: skip
def test_gradients(function):
    x = double([0.3, 0.7, 1.4, 2.6, 3.3]).requires_grad_()
    assert gradcheck(function, [x])


def test_dtypes():
    assert fastnn.lgamma(fastnn.tensor([1, 2])).dtype == np.float32
    assert fastnn.digamma(fastnn.tensor([1.0])).dtype == np.float32
    assert special.i1(np.ones(2, np.float64)).dtype == np.float64
    out = fastnn.from_numpy(np.zeros(1, np.float32))
    assert fastnn.i0(fastnn.tensor([0.0]), out=out) is out
    assert out.item() == 1
    mantissa, exponent = fastnn.frexp(fastnn.tensor([3.0, 0.25, 0.0]))
    assert (mantissa.tolist(), exponent.tolist()) == ([0.75, 0.5, 0.0], [2, -1, 0])
    assert exponent.dtype == np.int32


def test_orthogonal_polynomials():
    """By their values at 1 and by trigonometric definitions."""
    n = fastnn.tensor(np.arange(-1, 9))
    one = double(1.0)
    degrees = n.numpy()
    some = degrees >= 0
    near(special.chebyshev_polynomial_t(one, n), some)
    near(special.chebyshev_polynomial_u(one, n), (degrees + 1) * some)
    near(special.chebyshev_polynomial_v(one, n), some)
    near(special.chebyshev_polynomial_w(one, n), (2 * degrees + 1) * some)
    near(special.shifted_chebyshev_polynomial_t(one, n), some)
    near(special.legendre_polynomial_p(one, n), some)
    near(special.laguerre_polynomial_l(double(0.0), n), some)
    x = np.linspace(-0.9, 0.9, 8)
    near(special.chebyshev_polynomial_t(double(x), 5), np.cos(5 * np.arccos(x)), rtol=1e-12)
    near(special.hermite_polynomial_h(double(x), 3), 8 * x**3 - 12 * x)
    near(special.hermite_polynomial_he(double(x), 4), x**4 - 6 * x**2 + 3)
