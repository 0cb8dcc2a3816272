"""Products of vectors along an axis, powers, windows, finite differences."""

import numpy as np
import pytest

import fastnn
from fastnn.testing import gradcheck

RNG = np.random.default_rng(0)


def T(*args, **kwargs):
    return fastnn.tensor(np.asarray(*args), **kwargs)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
@pytest.mark.parametrize(
    ("first", "second", "dim"), [((3,), (3,), 0), ((5, 3), (3,), -1), ((3, 4), (3, 4), 0), ((0, 3), (0, 3), 1)]
)
def test_cross(dtype, first, second, dim):
    x, y = ((10 * RNG.standard_normal(s)).astype(dtype) for s in (first, second))
    axis = dim % len(first)
    expected = np.cross(x, y if y.ndim == x.ndim else np.broadcast_to(y, x.shape), axis=axis)
    got = fastnn.linalg.cross(T(x), T(y), dim=dim)
    assert got.dtype == x.dtype
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-5, atol=1e-4)
    out = fastnn.zeros(first, dtype=dtype)
    assert fastnn.cross(T(x), T(y), dim, out=out) is out
    np.testing.assert_array_equal(out.numpy(), got.numpy())


def test_cross_takes_the_first_axis_of_three():
    x, y = RNG.standard_normal((2, 3, 4, 3)), RNG.standard_normal((2, 3, 4, 3))
    np.testing.assert_allclose(fastnn.cross(T(x), T(y)).numpy(), np.cross(x, y, axis=1))
    with pytest.raises(ValueError, match="cross: input must have an axis of extent 3"):
        fastnn.cross(T([1.0, 2.0]), T([1.0, 2.0]))
    with pytest.raises(ValueError, match=r"cross: other must have extent 3 along axis 1, got shape \(2, 1\)"):
        fastnn.linalg.cross(T(np.ones((2, 3))), T(np.ones((2, 1))))


def test_gradients():
    for shape, dim in (((3,), 0), ((2, 3), 1), ((3, 4), 0)):
        x, y = (T(RNG.standard_normal(shape), requires_grad=True) for _ in range(2))
        assert gradcheck(lambda x, y, dim=dim: fastnn.linalg.cross(x, y, dim=dim), (x, y))
        assert gradcheck(lambda x, y, dim=dim: fastnn.linalg.vecdot(x, y, dim=dim), (x, y))
    x = T([0.5, 0.0, -2.0], requires_grad=True)
    assert gradcheck(lambda x: fastnn.vander(x, 4), (x,))
    y = T(RNG.standard_normal((5, 4)), requires_grad=True)
    assert gradcheck(lambda y: fastnn.gradient(y, spacing=[0.5, T([0.0, 1.0, 1.5, 4.0])], edge_order=2), (y,))
    z = T(RNG.standard_normal((3, 4)), requires_grad=True)
    assert gradcheck(lambda z: z.sum_to_size(1, 4), (z,))


def test_vecdot():
    x, y = RNG.standard_normal((2, 3, 4)), RNG.standard_normal((3, 1))
    np.testing.assert_allclose(fastnn.linalg.vecdot(T(x), T(y)).numpy(), (x * y).sum(-1))
    np.testing.assert_allclose(fastnn.linalg.vecdot(T(x), T(y), dim=0).numpy(), (x * y).sum(0))
    assert fastnn.linalg.vecdot(T([1, 2]), T([3, 4])).tolist() == 11
    with pytest.raises(ValueError, match="vecdot"):
        fastnn.linalg.vecdot(T(1.0), T(1.0))


def test_vander():
    x = RNG.standard_normal(4)
    for n in (None, 0, 1, 6):
        for increasing in (False, True):
            np.testing.assert_allclose(fastnn.vander(T(x), n, increasing).numpy(), np.vander(x, n, increasing))
    assert fastnn.vander(T([2, 3])).tolist() == [[2, 1], [3, 1]]
    assert fastnn.linalg.vander(T([[1.0, 2.0]]), N=3).tolist() == [[[1.0, 1.0, 1.0], [1.0, 2.0, 4.0]]]
    with pytest.raises(ValueError, match="vander: N must not be negative"):
        fastnn.vander(T(x), -1)
    with pytest.raises(ValueError, match="vander: x must have 1 axis"):
        fastnn.vander(T([[1.0]]))


@pytest.mark.parametrize("edge_order", [1, 2])
def test_gradient(edge_order):
    y, at = RNG.standard_normal((5, 6)), np.array([0.0, 0.5, 2.0, 3.0, 3.5, 7.0])
    for ours, theirs in (
        (fastnn.gradient(T(y), edge_order=edge_order), np.gradient(y, edge_order=edge_order)),
        (
            fastnn.gradient(T(y), spacing=(2.0, T(at)), edge_order=edge_order),
            np.gradient(y, 2.0, at, edge_order=edge_order),
        ),
        (fastnn.gradient(T(y), dim=1, edge_order=edge_order), [np.gradient(y, axis=1, edge_order=edge_order)]),
        (fastnn.gradient(T(y[::-2].T), edge_order=edge_order), np.gradient(y[::-2].T, edge_order=edge_order)),
    ):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a.numpy(), b, rtol=1e-10, atol=1e-12)


def test_what_gradient_refuses():
    y = fastnn.zeros(4)
    with pytest.raises(ValueError, match="edge_order must be 1 or 2, got 3"):
        fastnn.gradient(y, edge_order=3)
    with pytest.raises(ValueError, match="must have at least 2 points"):
        fastnn.gradient(y[:1])
    with pytest.raises(ValueError, match="spacing must hold 4 coordinates"):
        fastnn.gradient(y, spacing=(fastnn.arange(3),))
    with pytest.raises(ValueError, match="names an axis twice"):
        fastnn.gradient(y, dim=(0, -1))


def test_windows():
    for n in (0, 1, 2, 7, 8):
        for name, window in (
            ("bartlett", np.bartlett),
            ("blackman", np.blackman),
            ("hamming", np.hamming),
            ("hann", np.hanning),
            ("kaiser", lambda n: np.kaiser(n, 12.0)),
        ):
            ours = getattr(fastnn, f"{name}_window")
            np.testing.assert_allclose(ours(n, False, dtype="float64").numpy(), window(n), atol=1e-12)
            expected = window(n + 1)[:-1] if n > 1 else np.ones(n)
            np.testing.assert_allclose(ours(n).numpy(), expected, atol=1e-6)
    assert fastnn.hann_window(4).dtype == np.float32
    assert fastnn.hann_window(4, requires_grad=True).requires_grad
    with pytest.raises(ValueError, match="hann_window: window_length must not be negative"):
        fastnn.hann_window(-1)
    with pytest.raises(TypeError, match="hann_window: dtype must be a floating one"):
        fastnn.hann_window(3, dtype="int64")
    with pytest.raises(TypeError, match="unexpected arguments size"):
        fastnn.hann_window(3, size=3)


def test_histogram():
    x = RNG.standard_normal(200).astype("float32")
    x[:3] = np.nan, 9.0, -9.0
    weight = RNG.random(200).astype("float32")
    for named in ({}, {"density": True}, {"weight": T(weight)}):
        edges = np.array([-1.0, -0.5, 0.25, 2.0], "float32")
        hist, bin_edges = fastnn.histogram(T(x), T(edges), **named)
        with_numpy = {"weights": weight} if "weight" in named else named
        np.testing.assert_allclose(
            hist.numpy(),
            np.histogram(x[1:], edges, **({"weights": weight[1:]} if "weight" in named else with_numpy))[0],
            rtol=1e-5,
        )
        np.testing.assert_array_equal(bin_edges.numpy(), edges)
    found = fastnn.histogram(T(x), 5, range=(-2.0, 2.0))
    np.testing.assert_array_equal(found.hist.numpy(), np.histogram(x[1:], 5, (-2.0, 2.0))[0])
    assert fastnn.histogram(T([2.0, 2.0]), 2).bin_edges.tolist() == [1.5, 2.0, 2.5]
    assert fastnn.histogram(fastnn.zeros(0), 2).hist.tolist() == [0, 0]
    with pytest.raises(ValueError, match="bins must be positive"):
        fastnn.histogram(T(x), 0)
    with pytest.raises(ValueError, match="vector of increasing float32"):
        fastnn.histogram(T(x), T([2.0, 1.0], dtype="float32"))
    with pytest.raises(ValueError, match="range must be finite"):
        fastnn.histogram(T([np.nan]))


def test_unravel_index():
    places = np.arange(24).reshape(4, 6)
    for ours, theirs in zip(
        fastnn.unravel_index(T(places), (2, 3, 4)), np.unravel_index(places, (2, 3, 4)), strict=True
    ):
        np.testing.assert_array_equal(ours.numpy(), theirs)
    assert [i.tolist() for i in fastnn.unravel_index(T([3]), 5)] == [[3]]
    with pytest.raises(ValueError, match="indices must lie from 0 to 5, got -1 to 2"):
        fastnn.unravel_index(T([-1, 2]), (2, 3))


def test_small_methods():
    x = fastnn.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    assert [getattr(x, name)().dtype.name for name in ("byte", "char", "half", "short")] == [
        "uint8", "int8", "float16", "int16",
    ]  # fmt: skip
    assert x.type_as(fastnn.tensor([1])).dtype == np.int64
    assert (x.nelement(), x.ndimension(), x.get_device()) == (6, 2, -1)
    assert x.conj() is x
    assert fastnn.real(x) is x
    assert not x.is_conj()
    assert fastnn.is_same_size(x, x * 2)
    assert not x.is_same_size(x.T)
    assert x.sum_to_size(1, 2).tolist() == [[9.0, 12.0]]
    assert x.sum_to_size(2).tolist() == [9.0, 12.0]
    assert x.sum_to_size(()).tolist() == 21.0
    with pytest.raises(ValueError, match=r"sum_to_size: size must broadcast to \(3, 2\)"):
        x.sum_to_size(2, 2)
    assert fastnn.fill(x, 7).tolist() == [[7.0] * 2] * 3
    assert x.clone().fill_diagonal_(0).tolist() == [[0.0, 2.0], [3.0, 0.0], [5.0, 6.0]]
    tall = fastnn.zeros(7, 3)
    expected = np.zeros((7, 3))
    np.fill_diagonal(expected, 5, wrap=True)
    assert tall.fill_diagonal_(5, wrap=True) is tall
    np.testing.assert_array_equal(tall.numpy(), expected)
    with pytest.raises(ValueError, match="fill_diagonal_: a Tensor must have 2 axes"):
        fastnn.zeros(2, 2, 3).fill_diagonal_(1)
    assert fastnn.frexp(fastnn.tensor([4.0])).exponent.tolist() == [3]


def test_functions_that_overwrite():
    x = fastnn.tensor([4.0, 9.0])
    assert fastnn.sqrt_(x) is x
    assert x.tolist() == [2.0, 3.0]
    with pytest.raises(TypeError, match="float_power_: the Tensor must have dtype float64, got float32"):
        x.float_power_(2)
    assert T([3.0]).float_power_(2).tolist() == [9.0]
    assert fastnn.clamp_(x, max=2.5).tolist() == [2.0, 2.5]


def test_out_of_several_and_of_copies():
    x = fastnn.arange(6.0)
    places = (fastnn.zeros(2), fastnn.zeros(4))
    fastnn.split_with_sizes_copy(x, (2, 4), out=places)
    assert [p.tolist() for p in places] == [[0.0, 1.0], [2.0, 3.0, 4.0, 5.0]]
    with pytest.raises(ValueError, match="out must hold 2 Tensors, got 1"):
        fastnn.split_with_sizes_copy(x, (2, 4), out=places[:1])
    out = fastnn.zeros(6)
    assert fastnn.slice_scatter(x, fastnn.zeros(2), start=4, out=out) is out
    assert out.tolist() == [0.0, 1.0, 2.0, 3.0, 0.0, 0.0]
    found = fastnn.zeros(6, dtype=bool)
    assert fastnn.isin(x, fastnn.tensor([2.0]), out=found) is found
    assert found.tolist() == [False, False, True, False, False, False]
