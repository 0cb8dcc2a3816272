"""Products added to an array: factors, broadcasting, NaN that must not count, dtypes, errors."""

import numpy as np
import pytest

import fastnn
from fastnn import ops
from fastnn.testing import gradcheck
from fastnn.testing.samples import relaid

SHAPES = {
    "addmm": [(4, 3), (3, 5)],
    "addmv": [(4, 3), (3,)],
    "addr": [(4,), (5,)],
    "addbmm": [(2, 4, 3), (2, 3, 5)],
    "baddbmm": [(2, 4, 3), (2, 3, 5)],
}
PRODUCTS = {
    "addmm": np.matmul,
    "addmv": np.matmul,
    "addr": np.outer,
    "addbmm": lambda x, y: (x @ y).sum(axis=0),
    "baddbmm": np.matmul,
}
FACTORS = [(1, 1), (1.0, True), (0.5, 1), (1, -2), (0.5, -2.5), (0, 1), (0, 3), (2, 0)]


def operands(name, dtype="float64", seed=0):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(dtype) for shape in SHAPES[name]]


def inputs(name):
    """Every shape that broadcasts to the product's, some of them in another layout."""
    rng = np.random.default_rng(1)
    shape = PRODUCTS[name](*operands(name)).shape
    for start in range(len(shape) + 1):
        own = shape[start:]
        yield rng.standard_normal(own)
        yield relaid(rng.standard_normal(own), rng)
        if own:
            yield rng.standard_normal((1, *own[1:]))
            yield rng.standard_normal((*own[:-1], 1))


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize(("beta", "alpha"), FACTORS)
def test_values(name, beta, alpha):
    x, y = operands(name)
    for given in inputs(name):
        expected = beta * given + alpha * PRODUCTS[name](x, y)
        got = getattr(ops, name)(given, x, y, beta=beta, alpha=alpha)
        assert got.shape == expected.shape
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)
        single = getattr(ops, name)(*(z.astype("float32") for z in (given, x, y)), beta=beta, alpha=alpha)
        assert single.dtype == np.float32
        np.testing.assert_allclose(single, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize(("beta", "alpha"), [(1, 1), (0.5, -2.5), (0, 2)])
def test_gradients(name, beta, alpha):
    rng = np.random.default_rng(2)
    x, y = (fastnn.from_numpy(relaid(z, rng)).requires_grad_() for z in operands(name))
    for given in inputs(name):
        leaf = fastnn.from_numpy(given).requires_grad_()
        assert gradcheck(lambda *xs: getattr(ops, name)(*xs, beta=beta, alpha=alpha), [leaf, x, y], samples=12)


@pytest.mark.parametrize("name", SHAPES)
def test_an_input_times_zero_does_not_count(name):
    x, y = operands(name)
    product = PRODUCTS[name](x, y)
    given = np.full(product.shape, np.nan)
    np.testing.assert_allclose(getattr(ops, name)(given, x, y, beta=0), product, rtol=1e-12)
    np.testing.assert_allclose(getattr(ops, name)(given, x, y, beta=-0.0, alpha=2), 2 * product, rtol=1e-12)
    ints = getattr(ops, name)(np.ones(1, "int64"), *(np.ones(s, "int64") for s in SHAPES[name]), beta=0)
    np.testing.assert_array_equal(ints, PRODUCTS[name](*(np.ones(s, "int64") for s in SHAPES[name])))


def test_a_factor_that_changes_lowers_nothing_anew(monkeypatch):
    from fastnn.ops.addmm import _addmm

    x, y = operands("addmm", "float32")
    ops.addmm(x[:, :1], x, y, beta=0.25, alpha=0.75)
    monkeypatch.setattr(_addmm, "lower", None)
    monkeypatch.setattr(_addmm, "reference", (None, None))
    for i in range(5):
        got = ops.addmm(x[:, :1], x, y, beta=1 / (i + 2), alpha=float(i + 2))
        np.testing.assert_allclose(got, x[:, :1] / (i + 2) + (i + 2) * (x @ y), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", SHAPES)
def test_a_sample_alone_has_the_bits_it_has_in_its_batch(name):
    if name in ("addbmm", "addr"):
        return
    x, y = operands(name, "float32")
    given = np.random.default_rng(1).standard_normal(PRODUCTS[name](x, y).shape).astype("float32")
    op = getattr(ops, name)
    for beta, alpha in ((1, 1), (0.5, 3)):
        whole = op(given, x, y, beta=beta, alpha=alpha)
        for i in range(len(x)):
            other = y[i : i + 1] if name == "baddbmm" else y
            one = op(given[i : i + 1], x[i : i + 1], other, beta=beta, alpha=alpha)
            np.testing.assert_array_equal(one[0], whole[i])


@pytest.mark.parametrize("name", SHAPES)
def test_integers_stay_integers(name):
    rng = np.random.default_rng(0)
    x, y = (rng.integers(-3, 4, s).astype("int32") for s in SHAPES[name])
    got = getattr(ops, name)(np.ones(1, "int32"), x, y, beta=2, alpha=3)
    assert got.dtype == np.int32
    np.testing.assert_array_equal(got, 2 + 3 * PRODUCTS[name](x, y))
    for factor in ("beta", "alpha"):
        with pytest.raises(
            fastnn.DTypeError, match=f"{name}: {factor} must be an integer to match input of dtype int32"
        ):
            getattr(ops, name)(np.ones(1, "int32"), x, y, **{factor: 0.5})


def test_factors_of_other_types():
    x, y = operands("addmm")
    for beta in (np.float32(0.5), np.array(0.5), fastnn.tensor(0.5)):
        np.testing.assert_allclose(ops.addmm(x[:, :1], x, y, beta=beta), 0.5 * x[:, :1] + x @ y, rtol=1e-12)
    for beta in ("1", 1j, None, np.ones(2)):
        with pytest.raises(TypeError, match="addmm: beta must be a real number"):
            ops.addmm(x[:, :1], x, y, beta=beta)


def test_out_may_be_the_input():
    x, y = operands("addmm")
    given = np.random.default_rng(1).standard_normal((4, 5))
    expected = 0.5 * given + 2 * (x @ y)
    assert ops.addmm(given, x, y, beta=0.5, alpha=2, out=given) is given
    np.testing.assert_allclose(given, expected, rtol=1e-12)
    square = np.random.default_rng(1).standard_normal((4, 4))
    expected = square + square @ square
    np.testing.assert_allclose(ops.addmm(square, square, square, out=square), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "given", "words"),
    [
        ("addmm", (3, 5), r"addmm: input must broadcast to \(4, 5\), the shape of the product, got \(3, 5\)"),
        ("addmm", (1, 4, 5), r"addmm: input must broadcast to \(4, 5\), .*, got \(1, 4, 5\)"),
        ("addmv", (5,), r"addmv: input must broadcast to \(4,\)"),
        ("addr", (5, 4), r"addr: input must broadcast to \(4, 5\)"),
        ("addbmm", (2, 4, 5), r"addbmm: input must broadcast to \(4, 5\)"),
        ("baddbmm", (3, 4, 5), r"baddbmm: input must broadcast to \(2, 4, 5\)"),
    ],
)
def test_errors(name, given, words):
    with pytest.raises(fastnn.ShapeError, match=words):
        getattr(ops, name)(np.ones(given), *operands(name))
    if name != "addr":
        x, y = operands(name)
        with pytest.raises(fastnn.ShapeError, match=rf"{name}: \w+ must have shape \(.*\) to match \w+ \(.*\), got"):
            getattr(ops, name)(np.ones(1), x, np.concatenate([y, y], axis=-2 if y.ndim > 1 else 0))


@pytest.mark.parametrize("beta", [True, False, 1, 0, 2])
@pytest.mark.parametrize("alpha", [True, False, 1, 0, 3])
def test_bools_stay_bools(beta, alpha):
    given = np.array([[True, False, False], [True, False, True]])
    x, y = np.array([True, False]), np.array([True, True, False])
    got = ops.addr(given, x, y, beta=beta, alpha=alpha)
    assert got.dtype == np.bool_
    np.testing.assert_array_equal(got, (given & bool(beta)) | (np.outer(x, y) & bool(alpha)))
