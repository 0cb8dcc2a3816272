"""Vector mathematics: errors against wider arithmetic, values at the edges, exactness where it is promised."""

import math

import numpy as np
import pytest

from fastnn.ops.elementwise import apply
from fastnn.testing.accuracy import (
    STATED,
    STATED_BINARY,
    STATED_SLOPES,
    errors,
    evaluate,
    samples,
    slope_errors,
    truth,
    wider,
)
from fastnn.testing.phases import lowering, run

DTYPES = (np.float32, np.float64)
wide_enough = pytest.mark.skipif(
    np.finfo(np.longdouble).nmant < 60, reason="this platform's long double is no wider than float64"
)
WIDE = (np.float32, pytest.param(np.float64, marks=wide_enough))
EDGES = [0.0, -0.0, 1, -1, 2, -2, 3, -3, 0.5, -0.5, 2.5, -2.5, 7, 1e-30, np.inf, -np.inf, np.nan]


def compute(function, *operands):
    low = lowering(operands)
    shape = np.broadcast_shapes(*(x.shape for x in operands))
    y = apply(low, function, low.output(shape, str(operands[-1].dtype)), *low.inputs)
    return run(low, operands)[y]


def pairs(dtype):
    """Edges with each other, then floats of all bits, numbers of like size, and halves of integers."""
    rng = np.random.default_rng(0)
    info = np.finfo(dtype)
    edges = np.array([*EDGES, info.tiny, -info.tiny, info.smallest_subnormal, info.max, -info.max], dtype)
    x, y = (a.ravel() for a in np.meshgrid(edges, edges))
    integer, most = (np.uint32, 1 << 32) if info.bits == 32 else (np.uint64, (1 << 64) - 1)
    some = [rng.integers(0, most, 60_000, dtype=integer).view(dtype) for _ in range(2)]
    near = [(rng.standard_normal(60_000) * 10 ** rng.uniform(-3, 3, 60_000)).astype(dtype) for _ in range(4)]
    halves = [(rng.integers(-20, 20, 20_000) / 2).astype(dtype) for _ in range(2)]
    return (
        np.concatenate([x, some[0], near[0], np.abs(near[1]), halves[0]]),
        np.concatenate([y, some[1], near[2], near[3], halves[1]]),
    )


def assert_below(found, bound, *arguments):
    worst = int(found.argmax())
    assert found[worst] <= bound, f"{found[worst]:.3f} ULP at {[float(a[worst]) for a in arguments]}"


@pytest.mark.parametrize("dtype", WIDE)
@pytest.mark.parametrize("function", STATED)
def test_error(function, dtype):
    if dtype == np.float64 and STATED[function].reference is None:
        pytest.skip("the kernel for float64 is the reference of that for float32; see below")
    x = samples(dtype, 60_000)
    y = evaluate(function, x)
    exact = truth(function, x)
    stated = STATED[function]
    assert_below(errors(y, exact), stated.float32 if dtype == np.float32 else stated.float64, x)
    zero = exact == 0
    np.testing.assert_array_equal(np.signbit(y[zero]), np.signbit(exact[zero]))


@pytest.mark.parametrize("dtype", WIDE)
@pytest.mark.parametrize("function", STATED_SLOPES)
def test_error_of_derivatives(function, dtype):
    x = samples(dtype, 60_000)
    assert_below(slope_errors(function, x), STATED_SLOPES[function].bound, x)


@pytest.mark.parametrize("function", STATED)
def test_our_float64_serves_as_the_truth_for_float32(function):
    x = samples(np.float32, 2000)
    own, other = truth(function, x, own=True), truth(function, x)
    sure = np.isfinite(other) & (np.abs(other) > 1e-300)
    # A thousandth of a unit of float32.
    np.testing.assert_allclose(own[sure], other[sure], rtol=5e-11)
    np.testing.assert_array_equal(own[~np.isfinite(other)], other[~np.isfinite(other)])


@pytest.mark.parametrize("dtype", WIDE)
@pytest.mark.parametrize("function", STATED_BINARY)
def test_error_of_two_arguments(function, dtype):
    x, y = pairs(dtype)
    bound, reference = STATED_BINARY[function]
    z = compute(function, x, y)
    with np.errstate(all="ignore"):
        exact = reference(wider(x), wider(y))
    assert_below(errors(z, exact), bound, x, y)
    sure = ~np.isnan(exact)
    np.testing.assert_array_equal(np.signbit(z[sure]), np.signbit(exact[sure]))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("function", ["fmod", "remainder", "floor_divide", "copysign", "nextafter"])
def test_exact_results(function, dtype):
    x, y = pairs(dtype)
    with np.errstate(all="ignore"):
        expected = getattr(np, function)(x, y)
    z = compute(function, x, y)
    np.testing.assert_array_equal(z, expected)
    sure = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(z[sure]), np.signbit(expected[sure]))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("function", ["maximum", "minimum", "fmax", "fmin", "heaviside"])
def test_choices(function, dtype):
    x, y = pairs(dtype)
    with np.errstate(invalid="ignore"):
        expected = getattr(np, function)(x, y)
    np.testing.assert_array_equal(compute(function, x, y), expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("function", "expected"),
    [("floor", np.floor), ("ceil", np.ceil), ("trunc", np.trunc), ("round", np.rint), ("sign", np.sign),
     ("abs", np.abs), ("square", np.square), ("frac", lambda x: np.copysign(x - np.trunc(x), x))],
)  # fmt: skip
def test_exact_functions_of_one_argument(function, expected, dtype):
    x = samples(dtype, 20_000)
    x = np.concatenate([x, np.arange(-40, 40).astype(dtype) / 2])
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(compute(function, x), expected(x))


def test_angles_that_are_huge():
    """Known values; the last is the float64 that lies closest to a multiple of pi/2 (Muller, 2006, 11.3)."""
    x = np.array([1e22, 2.0**1000, 1.7976931348623157e308, 6381956970095103 * 2.0**797])
    sines = [-0.8522008497671888, -0.15920170308624246, 0.004961954789184062, 1.0]
    cosines = [0.5232147853951389, 0.9872460775989135, -0.9999876894265599, -4.6871659242546276e-19]
    np.testing.assert_allclose(compute("sin", x), sines, rtol=4e-16)
    np.testing.assert_allclose(compute("cos", x), cosines, rtol=4e-16)
    np.testing.assert_allclose(compute("tan", x)[:3], np.divide(sines, cosines)[:3], rtol=1e-15)
    near = np.array([16367173.0 * 2.0**72, -16367173.0 * 2.0**72], np.float32)
    np.testing.assert_allclose(compute("cos", near), np.cos(near.astype(np.float64)), rtol=2e-7)
    np.testing.assert_allclose(compute("sin", near), np.sin(near.astype(np.float64)), rtol=2e-7)


@wide_enough
def test_the_inverse_of_erf_in_float64():
    """By the residual: where erf is y's, one step of Newton's method shows how far x is off."""
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.uniform(-0.5, 0.5, 2000), 1 - 10 ** rng.uniform(-15, -0.4, 2000)])
    y = compute("erfinv", x)
    for argument, result in zip(x[::20], y[::20], strict=True):
        slope = 2 / math.sqrt(math.pi) * math.exp(-result * result)
        residual = (1 - argument) - math.erfc(result) if argument > 0.5 else math.erf(result) - argument
        assert abs(residual) <= slope * 2.3 * np.spacing(abs(result)) + 2 * np.spacing(1 - argument)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("function", ["erfc", "erfinv", "logit", "entropy", "sinc", "angle"])
def test_limits(function, dtype):
    nan, inf = np.nan, np.inf
    x = np.array([nan, inf, -inf, 0.0, 1.0, -1.0], dtype)
    expected = {
        "erfc": [nan, 0, 2, 1, math.erfc(1), math.erfc(-1)],
        "erfinv": [nan, nan, nan, 0, inf, -inf],
        "logit": [nan, nan, nan, -inf, inf, nan],
        "entropy": [nan, -inf, -inf, 0, 0, -inf],
        "sinc": [nan, nan, nan, 1, 0, 0],
        "angle": [nan, 0, np.pi, 0, 0, np.pi],
    }[function]
    np.testing.assert_allclose(compute(function, x), np.array(expected, dtype), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("function", [*STATED, *STATED_BINARY, "fmod", "logaddexp"])
def test_bits_do_not_depend_on_the_place_or_on_neighbours(function, dtype):
    rng = np.random.default_rng(1)
    x = rng.uniform(0.1, 4, 100).astype(dtype)
    # Neighbours for whom a whole vector takes the long way.
    x[[3, 40, 41, 99]] = [1e30, 3e7, -1e12, 1e20]
    operands = [x] if function in STATED else [x, rng.uniform(0.1, 4, 100).astype(dtype)]
    found = evaluate if function in STATED else compute
    whole = found(function, *operands)
    for start, stop in ((0, 1), (1, 8), (4, 20), (5, 22), (16, 33), (67, 100)):
        part = [a[start:stop].copy() for a in operands]
        np.testing.assert_array_equal(found(function, *part), whole[start:stop])
