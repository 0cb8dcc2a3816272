"""Functions of elements under torch's names: arguments, dtypes, edges, errors. Their values are tested with the ops."""

import math

import numpy as np
import pytest

import fastnn
from fastnn import special
from fastnn.errors import DTypeError, ShapeError

T = fastnn.tensor


def same(result, expected, dtype):
    assert result.dtype == dtype
    np.testing.assert_array_equal(result.detach().numpy(), np.array(expected, dtype))


def gradient(function, *values):
    leaves = [T(v, requires_grad=True) for v in values]
    result = function(*leaves)
    result.backward(fastnn.from_numpy(np.ones(result.shape, result.dtype)))
    return [x.grad.tolist() for x in leaves]


def test_integers_become_float32_where_results_are_no_integers():
    x = T([1, 4])
    for name in ("sqrt", "exp", "log", "sin", "tanh", "erf", "reciprocal", "sigmoid", "deg2rad", "rsqrt", "logit"):
        assert getattr(fastnn, name)(x).dtype == np.float32
    for name in ("abs", "sign", "floor", "ceil", "trunc", "round", "square", "neg", "sgn", "positive", "nan_to_num"):
        assert getattr(fastnn, name)(x).dtype == np.int64
    assert fastnn.sqrt(T([True])).dtype == np.float32
    same(x / 2, [0.5, 2], np.float32)
    same(fastnn.true_divide(x, T([2, 2])), [0.5, 2], np.float32)


def test_aliases_are_the_same_functions():
    for one, two in (
        ("absolute", "abs"), ("arccos", "acos"), ("arctan2", "atan2"), ("fix", "trunc"), ("subtract", "sub"),
        ("multiply", "mul"), ("divide", "div"), ("negative", "neg"), ("clip", "clamp"), ("greater_equal", "ge"),
    ):  # fmt: skip
        assert getattr(fastnn, one) is getattr(fastnn, two)


def test_methods_and_methods_that_overwrite():
    x = T([-1.5, 2.5])
    same(x.abs(), [1.5, 2.5], np.float32)
    same(x.clamp(-1, 1), [-1, 1], np.float32)
    same(x.where(x > 0, 0.0), [0, 2.5], np.float32)
    same(x.pow(2), [2.25, 6.25], np.float32)
    assert x.abs_() is x
    same(x.clamp_(max=2).mul_(2), [3, 4], np.float32)
    same(x.div_(2, rounding_mode="floor"), [1, 2], np.float32)


def test_out():
    x, out = T([1.0, 4.0]), fastnn.from_numpy(np.zeros(2, np.float32))
    assert fastnn.sqrt(x, out=out) is out
    same(out, [1, 2], np.float32)
    for call in (
        lambda: fastnn.add(x, x, alpha=2, out=out),
        lambda: fastnn.pow(x, 2, out=out),
        lambda: fastnn.clamp(x, 0, 1, out=out),
        lambda: fastnn.where(x > 2, x, 0.0, out=out),
        lambda: fastnn.round(x, decimals=1, out=out),
    ):
        assert call() is out
    whole = fastnn.from_numpy(np.zeros(2, np.int64))
    assert fastnn.bitwise_and(T([3, 6]), 2, out=whole) is whole
    same(whole, [2, 2], np.int64)
    with pytest.raises(ShapeError, match="out must have shape"):
        fastnn.bitwise_or(T([1, 2, 3]), 1, out=whole)
    with pytest.raises(DTypeError, match="out must have a dtype"):
        fastnn.gcd(T([1, 2]), 1, out=fastnn.from_numpy(np.zeros(2, bool)))


def test_alpha():
    same(fastnn.add(T([1, 2]), T([3, 4]), alpha=2), [7, 10], np.int64)
    same(fastnn.sub(T([1.0, 2.0]), 2, alpha=0.5), [0, 1], np.float32)
    same(fastnn.rsub(T([1.0, 2.0]), 4.0, alpha=2), [2, 0], np.float32)
    with pytest.raises(DTypeError, match="alpha must be an integer"):
        fastnn.add(T([1]), T([1]), alpha=0.5)
    with pytest.raises(DTypeError, match="bools cannot be subtracted"):
        fastnn.sub(T([True]), T([False]))


@pytest.mark.parametrize("dtype", [np.int64, np.float32])
def test_division_rounds(dtype):
    x, y = T(np.array([7, -7, 7, -7], dtype)), T(np.array([2, 2, -2, -2], dtype))
    same(fastnn.div(x, y, rounding_mode="floor"), [3, -4, -4, 3], dtype)
    same(fastnn.div(x, y, rounding_mode="trunc"), [3, -3, -3, 3], dtype)
    same(x // y, [3, -4, -4, 3], dtype)
    same(x % y, [1, 1, -1, -1], dtype)
    same(7 % T(np.array([4, -4], dtype)), [3, -1], dtype)
    same(fastnn.fmod(x, y), [1, -1, 1, -1], dtype)
    with pytest.raises(ValueError, match="rounding_mode must be"):
        fastnn.div(x, y, rounding_mode="up")


def test_powers():
    x = T([-2.0, 0.0, 3.0])
    for exponent in (0, 1, 2, 3, -1, -2, 0.5, -0.5, 1.5, True):
        with np.errstate(all="ignore"):
            expected = np.power(x.numpy(), np.float32(exponent))
        np.testing.assert_allclose((x**exponent).numpy(), expected, rtol=3e-7)
    same(2 ** T([1, 2]), [2, 4], np.int64)
    same(T([2, 3]) ** 2, [4, 9], np.int64)
    same(T([2, 3]) ** 2.0, [4, 9], np.float32)
    same(fastnn.pow(T([1, -1, 2, -1]), T([-3, -3, -1, -2])), [1, -1, 0, 1], np.int64)
    with pytest.raises(ValueError, match="negative integer powers"):
        T([2]) ** -1
    same(fastnn.float_power(T([2, 3]), 2), [4, 9], np.float64)
    same(fastnn.square(T([3])), [9], np.int64)
    assert gradient(fastnn.pow, [0.0, 2.0], [0.0, 3.0]) == [[0.0, 12.0], [0.0, pytest.approx(8 * math.log(2))]]
    assert gradient(lambda x: x**0, [0.0, 2.0]) == [[0.0, 0.0]]


def test_gradients_at_kinks():
    assert gradient(fastnn.abs, [-2.0, 0.0, 3.0]) == [[-1, 0, 1]]
    assert gradient(fastnn.maximum, [1.0, 2.0, 3.0], [2.0, 2.0, 2.0]) == [[0, 0.5, 1], [1, 0.5, 0]]
    assert gradient(fastnn.minimum, [1.0, 2.0, 3.0], [2.0, 2.0, 2.0]) == [[1, 0.5, 0], [0, 0.5, 1]]
    assert gradient(fastnn.fmax, [1.0, math.nan, 2.0], [2.0, 1.0, 2.0]) == [[0, 0, 1], [1, 1, 0]]
    assert gradient(lambda x: fastnn.clamp(x, -1, 1), [-2.0, -1.0, 0.5, 1.0, 2.0]) == [[0, 1, 1, 1, 0]]
    assert gradient(fastnn.sqrt, [0.0]) == [[math.inf]]
    bounds = gradient(fastnn.clamp, [0.0, 5.0, 2.0], [1.0, 1.0, 1.0], [3.0, 3.0, 3.0])
    assert bounds == [[0, 0, 1], [1, 0, 0], [0, 1, 0]]
    assert gradient(lambda x: fastnn.logit(x, 0.25), [0.1, 0.5]) == [[0, 4]]


def test_clamp():
    x = T([-3, 0, 3])
    same(fastnn.clamp(x, -1, 1), [-1, 0, 1], np.int64)
    same(fastnn.clamp(x, -1.5, 1), [-1.5, 0, 1], np.float32)
    same(fastnn.clamp(x, max=T([0, 0, 0])), [-3, 0, 0], np.int64)
    same(fastnn.clamp_min(T([math.nan, -1.0]), 0), [math.nan, 0], np.float32)
    same(fastnn.clamp_max(T([math.inf, -1.0]), 0), [0, -1], np.float32)
    same(fastnn.clamp(T([0.0]), 2, 1), [1], np.float32)
    assert np.isnan(fastnn.clamp(T([0.0]), math.nan, 1).item())
    with pytest.raises(ValueError, match="min or max must be given"):
        fastnn.clamp(x)


def test_where():
    condition = T([True, False])
    same(fastnn.where(condition, T([1.0, 2.0]), 0), [1, 0], np.float32)
    same(fastnn.where(condition, 1, 2), [1, 2], np.int64)
    same(fastnn.where(condition, 1.0, 2), [1, 2], np.float32)
    (found,) = fastnn.where(condition)
    same(found, [0], np.int64)
    with pytest.raises(TypeError, match="go together"):
        fastnn.where(condition, 1.0)
    with pytest.raises(DTypeError, match="condition must hold bools"):
        fastnn.where(T([1.0, 0.0]), 1.0, 2.0)


def test_bits():
    x = T([6, -1])
    same(x & 3, [2, 3], np.int64)
    same(x | 1, [7, -1], np.int64)
    same(1 ^ x, [7, -2], np.int64)
    same(~x, [-7, 0], np.int64)
    same(~T([True, False]), [False, True], np.bool_)
    same(x << 1, [12, -2], np.int64)
    same(x >> T([1, 70]), [3, -1], np.int64)
    same(x << T([64, -1]), [0, 0], np.int64)
    same(fastnn.lcm(T([4]), T([6])), [12], np.int64)
    with pytest.raises(DTypeError, match="must hold integers or bools"):
        fastnn.bitwise_and(T([1.0]), 1)


def test_rounding_to_decimals():
    same(fastnn.round(T([2.5, 3.5, -0.5])), [2, 4, -0.0], np.float32)
    same(fastnn.round(T([1.25, 0.35]).double(), decimals=1), [1.2, 0.3 if T([0.35]).double().item() < 0.35 else 0.4],
         np.float64)  # fmt: skip
    same(fastnn.round(T([1250.0]), decimals=-2), [1200], np.float32)
    with pytest.raises(DTypeError, match="floating"):
        fastnn.round(T([1]), decimals=1)


def test_questions():
    x = T([math.nan, math.inf, -math.inf, -0.0])
    same(fastnn.isnan(x), [True, False, False, False], np.bool_)
    same(fastnn.isposinf(x), [False, True, False, False], np.bool_)
    same(fastnn.signbit(x)[1:], [False, True, True], np.bool_)
    same(fastnn.logical_and(T([1, 0]), T([2.0, 1.0])), [True, False], np.bool_)
    same(fastnn.isfinite(T([1])), [True], np.bool_)
    same(fastnn.nan_to_num(x, 1.0), [1, np.finfo("f").max, np.finfo("f").min, -0.0], np.float32)
    same(fastnn.isclose(T([1.0, math.inf, math.nan]), T([1.000001, math.inf, math.nan]), equal_nan=True),
         [True, True, True], np.bool_)  # fmt: skip
    assert fastnn.allclose(T([1.0]), T([1.0]))
    assert not fastnn.equal(T([1.0]), T([1.0, 1.0]))
    same(fastnn.isin(T([1, 2, 3]), T([2])), [False, True, False], np.bool_)
    same(fastnn.isin(T([1, 2]), 2, invert=True), [True, False], np.bool_)
    assert fastnn.is_nonzero(T([2.0]))
    with pytest.raises(DTypeError, match="isclose: other must have dtype"):
        fastnn.isclose(T([1]), T([1.0]))
    with pytest.raises(ValueError, match="rtol must not be negative"):
        fastnn.isclose(T([1]), T([1]), rtol=-1)


def test_special():
    x = T([0.25, 0.75])
    np.testing.assert_allclose(special.expit(special.logit(x)).numpy(), x.numpy(), rtol=1e-6)
    np.testing.assert_allclose(special.erfinv(special.erf(x)).numpy(), x.numpy(), rtol=1e-6)
    np.testing.assert_allclose(special.xlog1py(0.0, T([-1.0])).numpy(), [0])
    np.testing.assert_allclose(special.entr(x).numpy(), -x.numpy() * np.log(x.numpy()), rtol=1e-6)
    assert special.xlogy(T([0.0]), T([0.0])).item() == 0


def test_mixtures():
    a, b, c = T([1.0, 2.0]), T([3.0, 4.0]), T([2.0, 8.0])
    same(fastnn.addcmul(a, b, c, value=0.5), [4, 18], np.float32)
    same(fastnn.addcdiv(a, b, c, value=2), [4, 3], np.float32)
    same(fastnn.addcmul(T([1]), T([2]), T([3]), value=2), [13], np.int64)
    same(fastnn.lerp(a, b, 0.5), [2, 3], np.float32)
    same(fastnn.lerp(a, b, c), [5, 18], np.float32)
    same(fastnn.ldexp(a, T([1, 2])), [2, 8], np.float32)
    with pytest.raises(DTypeError, match="addcdiv"):
        fastnn.addcdiv(a, T([1, 2]), T([1, 2]))


def test_empty_and_without_axes():
    empty = fastnn.from_numpy(np.zeros((0, 3), np.float32))
    for name in ("sin", "abs", "isnan", "square", "erfinv"):
        assert getattr(fastnn, name)(empty).shape == (0, 3)
        assert getattr(fastnn, name)(T(0.5)).shape == ()
    assert fastnn.atan2(empty, T([1.0, 2.0, 3.0])).shape == (0, 3)
    with pytest.raises(ShapeError, match="broadcast"):
        fastnn.hypot(empty, T([1.0, 2.0]))
    with pytest.raises(ShapeError, match="broadcast"):
        fastnn.bitwise_and(T([1, 2]), T([1, 2, 3]))
