"""Matrix products, dot products and sums over axes against NumPy, over drawn shapes and layouts."""

import importlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import fastnn
from fastnn import ops
from fastnn.testing import gradcheck
from fastnn.testing.samples import relaid

COMMON = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
DTYPES = st.sampled_from(["float32", "float64"])
SEEDS = st.integers(0, 1 << 30)
SMALL = st.integers(0, 5)


def draw_arrays(shapes, dtype, seed):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def assert_agrees(name, arrays, seed, **options):
    """The op against NumPy's function: value within gamma_k |x| |y|, dtype, shape, and the same bits in any layout."""
    numpys, ours = getattr(np, name), getattr(ops, name)
    wide = [x.astype("float64") for x in arrays]
    expected = np.asarray(numpys(*wide, **options))
    size = np.asarray(numpys(*map(np.abs, wide), **options))
    got = ours(*arrays, **options)
    assert got.shape == expected.shape
    assert got.dtype == arrays[0].dtype
    unit = np.finfo(got.dtype).eps
    assert (np.abs(got - expected) <= (max(x.size for x in arrays) + 2) * unit * size).all()
    rng = np.random.default_rng(seed)
    np.testing.assert_array_equal(ours(*(relaid(x, rng) for x in arrays), **options), got)


@st.composite
def matmul_shapes(draw):
    batches = draw(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=4, min_side=0)).input_shapes
    m, n, k = draw(st.tuples(*[st.sampled_from([0, 1, 2, 5, 17])] * 3))
    x, y = (*batches[0], m, k), (*batches[1], k, n)
    return [(k,) if draw(st.integers(0, 4)) == 0 else x, (k,) if draw(st.integers(0, 4)) == 0 else y]


@COMMON
@given(matmul_shapes(), DTYPES, SEEDS)
def test_matmul(shapes, dtype, seed):
    assert_agrees("matmul", draw_arrays(shapes, dtype, seed), seed)


@COMMON
@given(matmul_shapes(), SEEDS)
def test_gradients_of_matmul(shapes, seed):
    rng = np.random.default_rng(seed)
    arrays = [relaid(x, rng) for x in draw_arrays(shapes, "float64", seed)]
    weight = rng.standard_normal(ops.matmul(*arrays).shape)
    found = []
    for backend in ("kernels", "numpy"):
        with fastnn.use_backend(backend):
            leaves = [fastnn.from_numpy(x).requires_grad_() for x in arrays]
            ops.matmul(*leaves).backward(fastnn.from_numpy(weight))
            found.append([x.grad.numpy() for x in leaves])
    for one, two in zip(*found, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-11, atol=1e-11)


SOME = [[(3, 4), (2, 4, 5)], [(2, 1, 3, 4), (3, 4, 2)], [(4,), (2, 4, 3)], [(2, 3, 4), (4,)], [(4,), (4,)]]


@pytest.mark.parametrize("shapes", [*SOME, [(2, 3, 4), (4, 5)], [(4,), (4, 2)], [(1, 3, 4), (2, 4, 5)]])
def test_gradients_of_matmul_agree_with_finite_differences(shapes):
    leaves = [fastnn.from_numpy(x).requires_grad_() for x in draw_arrays(shapes, "float64", 0)]
    assert gradcheck(ops.matmul, leaves)


def test_many_matrices():
    x, y = draw_arrays([(300, 3, 4), (300, 4, 2)], "float32", 0)
    np.testing.assert_allclose(ops.matmul(x, y), x @ y, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(ops.matmul(x[::-1], y[0]), x[::-1] @ y[0], rtol=1e-5, atol=1e-5)


def refuse(*_, **__):
    raise AssertionError


@pytest.mark.parametrize("shapes", [*SOME, [(270, 2, 3), (270, 3, 2)]])
def test_numpy_serves_no_matmul_of_floats(shapes, monkeypatch):
    op = importlib.import_module("fastnn.ops.matmul").matmul
    op.forget()
    monkeypatch.setattr(op, "reference", (refuse, refuse))
    leaves = [fastnn.tensor(x, requires_grad=True) for x in draw_arrays(shapes, "float32", 0)]
    ops.matmul(*leaves).sum().backward()
    assert [x.grad.shape for x in leaves] == shapes


def test_a_sample_alone_has_the_bits_it_has_in_its_batch():
    x, y, v = draw_arrays([(7, 5, 33), (33, 70), (33,)], "float32", 0)
    for other in (y, y[:, :1], v):
        whole = ops.matmul(x, other)
        for b in range(7):
            np.testing.assert_array_equal(ops.matmul(x[b : b + 1], other)[0], whole[b])
            np.testing.assert_array_equal(ops.matmul(x[b], other), whole[b])
            np.testing.assert_array_equal(ops.matmul(x[b, 2], other), whole[b, 2])
    batch = draw_arrays([(7, 33, 70)], "float32", 1)[0]
    for own in (batch, batch[..., :1]):
        whole = ops.matmul(x, own)
        for b in range(7):
            np.testing.assert_array_equal(ops.matmul(x[b], own[b]), whole[b])
            np.testing.assert_array_equal(ops.matmul(x[0], own)[b], ops.matmul(x[0], own[b]))
            np.testing.assert_array_equal(ops.matmul(x[0, 0], own)[b], ops.matmul(x[0, 0], own[b]))


def test_the_gradient_of_a_sample_alone_has_the_bits_it_has_in_its_batch():
    x, w, dy = draw_arrays([(6, 5, 33), (20, 33), (6, 5, 20)], "float32", 0)

    def gradient(x, dy):
        leaf = fastnn.tensor(x, requires_grad=True)
        ops.linear(leaf, fastnn.tensor(w)).backward(fastnn.tensor(dy))
        return leaf.grad.numpy()

    whole = gradient(x, dy)
    for b in range(6):
        np.testing.assert_array_equal(gradient(x[b], dy[b]), whole[b])
        np.testing.assert_array_equal(gradient(x[b, 3], dy[b, 3]), whole[b, 3])


def test_same_bits_for_any_number_of_threads():
    shapes = [[(64, 70, 50), (50, 30)], [(70, 50), (8, 50, 30)], [(50,), (8, 50, 300)], [(8, 200, 50), (50,)]]
    for shape in shapes:
        x, y = draw_arrays(shape, "float32", 0)
        found = []
        for count in (1, 2, 7):
            with fastnn.threads(count):
                leaves = [fastnn.tensor(x, requires_grad=True), fastnn.tensor(y, requires_grad=True)]
                z = ops.matmul(*leaves)
                z.backward(fastnn.tensor(np.full(z.shape, 0.3, "float32")))
                found.append([z.detach().numpy(), *(leaf.grad.numpy() for leaf in leaves)])
        for other in found[1:]:
            for one, two in zip(found[0], other, strict=True):
                np.testing.assert_array_equal(one, two)


def test_out_may_overlap_the_operands():
    for name, shapes in (("matmul", [(3, 4, 4), (3, 4, 4)]), ("bmm", [(3, 4, 4), (3, 4, 4)]), ("mm", [(4, 4), (4, 4)]),
                         ("inner", [(4, 4), (4, 4)]), ("outer", [(4,), (4,)])):  # fmt: skip
        op = getattr(ops, name)
        x, y = draw_arrays(shapes, "float32", 0)
        expected = op(x, y)
        memory = np.zeros(200, "float32")
        own = memory[: x.size].reshape(x.shape)
        own[...] = x
        for start in (0, 3):
            own[...] = x
            place = memory[start : start + expected.size].reshape(expected.shape)
            assert op(own, y, out=place) is place
            np.testing.assert_array_equal(place, expected)
    both = draw_arrays([(5, 5)], "float32", 0)[0]
    expected = ops.matmul(both, both)
    np.testing.assert_array_equal(ops.matmul(both, both, out=both), expected)


# -- NumPy's other products


@COMMON
@given(
    st.sampled_from(["dot", "inner"]), st.lists(SMALL, max_size=3), st.lists(SMALL, max_size=3), SMALL, DTYPES, SEEDS
)
def test_dot_and_inner(name, lead_x, lead_y, k, dtype, seed):
    x, y = (*lead_x, k), (*lead_y, k)
    if name == "dot" and len(y) > 1:
        y = (*y[:-2], y[-1], y[-2])
    if seed % 7 == 0:
        x = ()
    assert_agrees(name, draw_arrays([x, y], dtype, seed), seed)


@COMMON
@given(st.lists(SMALL, max_size=3), st.lists(SMALL, max_size=3), DTYPES, SEEDS)
def test_outer_and_vdot(x, y, dtype, seed):
    assert_agrees("outer", draw_arrays([x, y], dtype, seed), seed)
    assert_agrees("vdot", draw_arrays([x, x[::-1]], dtype, seed), seed)
    assert_agrees("vdot", draw_arrays([x, x], dtype, seed), seed)


@st.composite
def tensordot_calls(draw):
    """Shapes and axes of both operands."""
    extents = draw(st.lists(st.integers(0, 4), max_size=3))
    shapes, axes = [], []
    for _ in range(2):
        free = draw(st.lists(st.integers(1, 3), max_size=2))
        places = draw(st.permutations(range(len(extents) + len(free))))
        shape = [0] * len(places)
        for place, extent in zip(places, [*extents, *free], strict=True):
            shape[place] = extent
        own = list(places[: len(extents)])
        axes.append([a - len(shape) if draw(st.booleans()) else a for a in own])
        shapes.append(tuple(shape))
    return shapes, axes


@COMMON
@given(tensordot_calls(), DTYPES, SEEDS)
def test_tensordot(drawn, dtype, seed):
    shapes, axes = drawn
    arrays = draw_arrays(shapes, dtype, seed)
    assert_agrees("tensordot", arrays, seed, axes=axes)
    if len(axes[0]) == 1:
        assert_agrees("tensordot", arrays, seed, axes=(axes[0][0], axes[1][0]))


@pytest.mark.parametrize("axes", [0, 1, 2, np.int64(1)])
def test_tensordot_over_a_number_of_axes(axes):
    assert_agrees("tensordot", draw_arrays([(2, 3, 3), (3, 3, 2)], "float32", 0), 0, axes=axes)


@pytest.mark.parametrize(
    ("name", "shapes", "options"),
    [
        ("dot", [(2, 3), (4, 3, 2)], {}),
        ("dot", [(), (3, 2)], {}),
        ("inner", [(3,), (4, 3)], {}),
        ("inner", [(2, 2, 3), (2, 3)], {}),
        ("vdot", [(2, 3), (3, 2)], {}),
        ("vdot", [(2, 3), (2, 3)], {}),
        ("outer", [(2, 3), (2,)], {}),
        ("tensordot", [(2, 3, 4), (4, 2, 3)], {"axes": ([0, 2], [1, 0])}),
        ("tensordot", [(2, 3), (2, 2)], {"axes": 0}),
        ("mm", [(2, 3), (3, 2)], {}),
        ("bmm", [(2, 2, 3), (2, 3, 1)], {}),
        ("mv", [(2, 3), (3,)], {}),
    ],
)
def test_gradients_agree_with_finite_differences(name, shapes, options):
    rng = np.random.default_rng(0)
    leaves = [fastnn.from_numpy(relaid(x, rng)).requires_grad_() for x in draw_arrays(shapes, "float64", 0)]
    assert gradcheck(lambda x, y: getattr(ops, name)(x, y, **options), leaves)


@pytest.mark.parametrize("dtype", ["int16", "int64", "uint8", "bool", "complex64", "float16"])
def test_other_dtypes_are_numpys(dtype):
    rng = np.random.default_rng(0)
    x, y = (rng.integers(0, 3, (4, 4)).astype(dtype) for _ in range(2))
    if dtype == "complex64":
        x = x + 1j * y
    for name in ("matmul", "dot", "vdot", "inner", "outer", "tensordot"):
        got, expected = getattr(ops, name)(x, y), np.asarray(getattr(np, name)(x, y))
        assert got.dtype == expected.dtype
        np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(ops.mm(x, y), x @ y)
    np.testing.assert_array_equal(ops.bmm(x[None], y[None]), (x @ y)[None])
    np.testing.assert_array_equal(ops.mv(x, y[0]), x @ y[0])


A, B, C = np.ones((2, 3)), np.ones((4, 3)), np.ones((5, 3, 2))


@pytest.mark.parametrize(
    ("name", "args", "error", "words"),
    [
        ("matmul", (A, B), fastnn.ShapeError, r"matmul: y must have shape \(3, 3\) to match x \(2, 3\), got \(4, 3\)"),
        ("matmul", (C, np.ones((4, 2, 2))), fastnn.ShapeError, r"matmul: batch axes must broadcast together"),
        ("matmul", (2.0, A), fastnn.ShapeError, r"matmul: x must have at least 1 axis, got \(\)"),
        ("mm", (A, B), fastnn.ShapeError, r"mm: mat2 must have shape \(3, M\) to match input \(2, 3\), got \(4, 3\)"),
        ("mm", (A, np.ones(3)), fastnn.ShapeError, r"mm: mat2 must have 2 axes, \(K, M\), got \(3,\)"),
        ("bmm", (C, C), fastnn.ShapeError, r"bmm: mat2 must have shape \(5, 2, M\) to match input \(5, 3, 2\)"),
        ("bmm", (C, A), fastnn.ShapeError, r"bmm: mat2 must have 3 axes"),
        (
            "mv",
            (A, np.ones(2)),
            fastnn.ShapeError,
            r"mv: vec must have shape \(3,\) to match input \(2, 3\), got \(2,\)",
        ),
        (
            "dot",
            (A, B),
            fastnn.ShapeError,
            r"dot: y must have extent 3 along axis 0 to match axis 1 of x \(2, 3\), got",
        ),
        ("inner", (A, C), fastnn.ShapeError, r"inner: y must have extent 3 along axis 2 to match axis 1 of x \(2, 3\)"),
        ("vdot", (A, B), fastnn.ShapeError, r"vdot: y must have 6 elements to match x \(2, 3\), got \(4, 3\)"),
        (
            "tensordot",
            (A, B, 1),
            fastnn.ShapeError,
            "tensordot: y must have extent 3 along axis 0 to match axis 1 of x",
        ),
        ("tensordot", (A, B, 3), fastnn.ShapeError, "tensordot: axes must lie from 0 to 2, .* got 3"),
        ("tensordot", (A, B, -1), fastnn.ShapeError, "tensordot: axes must lie from 0 to 2, .* got -1"),
        ("tensordot", (A, B, ([0, 1], [0])), fastnn.ShapeError, "as many axes of x as of y"),
        ("tensordot", (A, B, ([2], [1])), IndexError, r"tensordot: an axis of x \(2, 3\) must lie from -2 to 1, got 2"),
        ("tensordot", (A, A, ([1, 1], [1, 0])), fastnn.ShapeError, r"name an axis of x once, got \(1, 1\)"),
        ("tensordot", (A, B, "ab"), TypeError, "tensordot: axes must be an integer or two of integers or sequences"),
        ("tensordot", (A, B, 1.5), TypeError, "tensordot: axes must be an integer"),
        ("outer", (A, np.array(["a"])), fastnn.DTypeError, "outer: y must hold numbers"),
    ],
)
def test_errors(name, args, error, words):
    with pytest.raises(error, match=words):
        getattr(ops, name)(*args)


def test_tensors_of_different_dtypes():
    x, y = fastnn.tensor(A), fastnn.tensor(A.T.astype("float32"))
    for name in ("matmul", "mm", "inner", "tensordot"):
        with pytest.raises(fastnn.DTypeError, match=f"{name}: .* must have dtype float64 to match .*, got float32"):
            getattr(ops, name)(x, y)
