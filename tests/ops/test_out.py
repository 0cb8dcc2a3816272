"""`out=`: results go where the caller wants them, in any layout, whatever they share memory with."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import as_strided, sliding_window_view

import fastnn
from fastnn import ops
from fastnn.ops import every
from fastnn.ops.lowering import Array, Lowering, symbolic
from fastnn.testing.samples import sample

COMMON = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
CALLS = [pytest.param(op, case, id=f"{op.name}-{i}") for op in every().values() for i, case in enumerate(op.cases)]


def places(shape, dtype):
    """Memory of a shape in every layout that callers bring: its name, the view, and all of the memory around it."""

    def within(wide, index, axes=None):
        memory = np.zeros(wide, dtype)
        memory[...] = 77 if memory.dtype.kind != "b" else True
        view = memory[index]
        return view if axes is None else view.transpose(axes), memory

    yield "contiguous", *within(shape, ...)
    if not shape:
        return
    back = tuple(range(len(shape)))[::-1]
    yield "fortran", *within(shape[::-1], ..., back)
    yield "padded", *within((*shape[:-1], shape[-1] + 3), (..., slice(1, shape[-1] + 1)))
    yield "padded fortran", *within((*shape[:0:-1], shape[0] + 2), (..., slice(0, shape[0])), back)
    yield "every third", *within((*shape[:-1], 3 * shape[-1] + 1), (..., slice(1, 3 * shape[-1] + 1, 3)))
    yield "every other row", *within((2 * shape[0], *shape[1:]), slice(0, 2 * shape[0], 2))
    yield "rows reversed", *within(shape, slice(None, None, -1))
    yield "all reversed", *within(shape, tuple(slice(None, None, -1) for _ in shape))


@pytest.mark.parametrize(("op", "case"), CALLS)
def test_every_layout_gets_the_same_bits_and_nothing_beside_it_changes(op, case):
    inputs, attributes = sample(op, case, "float32")
    expected = op(*inputs, **attributes)
    expected = expected[0] if isinstance(expected, tuple) else expected
    for name, out, memory in places(expected.shape, expected.dtype):
        assert out.shape == expected.shape, name
        before = memory.copy()
        for _ in range(2):  # as a new signature, and as a known one
            got = op(*inputs, **attributes, out=out)
            assert (got[0] if isinstance(got, tuple) else got) is out
            np.testing.assert_array_equal(out, expected, err_msg=name)
        inside = np.zeros(memory.shape, bool)
        if out.size:
            strides = [s // memory.itemsize for s in out.strides]
            start = (out.ctypes.data - memory.ctypes.data) // memory.itemsize
            steps = sum((np.arange(n) * s).reshape(-1, *[1] * (out.ndim - 1 - i)) for i, (n, s) in enumerate(
                zip(out.shape, strides, strict=True)))  # fmt: skip
            inside.reshape(-1)[start + np.asarray(steps).ravel()] = True
        np.testing.assert_array_equal(memory[~inside], before[~inside], err_msg=name)


@pytest.mark.parametrize("threads", [1, 3])
def test_large_results_in_any_layout(threads):
    rng = np.random.default_rng(0)
    x, y = (rng.standard_normal((400, 300)).astype("float32") for _ in range(2))
    w = rng.standard_normal((70, 300)).astype("float32")
    with fastnn.threads(threads):
        for call in (ops.add, ops.multiply, lambda a, b, out=None: ops.linear(a, w, out=out)):
            expected = call(x, y)
            for name, out, _ in places(expected.shape, "float32"):
                np.testing.assert_array_equal(call(x, y, out=out), expected, err_msg=name)


def lowered(op, arrays, out):
    arrays = [*arrays, *[None] * (len(op.input_names) - len(arrays))]
    low = Lowering(
        tuple(None if a is None else symbolic(a, i) for i, a in enumerate(arrays)),
        dict(zip(op.attribute_names, op.attribute_defaults, strict=True)),
        out=symbolic(out, len(arrays)),
    )
    return low, op.lower[0](low, *low.inputs)


def test_elementwise_ops_write_any_layout_themselves():
    x = np.zeros((5, 7), "float32")
    for op in (ops.add, ops.less, ops.tanh):
        dtype = "bool" if op is ops.less else "float32"
        for name, out, _ in places(x.shape, dtype):
            low, y = lowered(op, [x, x][: len(op.input_names)], out)
            assert low.lies_in_out(y), (op, name)
            assert [s.kind for s in low.storages].count("temporary") == 0
    # but a large one in another order of axes than the operands is copied faster
    large = np.zeros((50, 70), "float32")
    copied = set()
    for name, out, _ in places(large.shape, "float32"):
        low, y = lowered(ops.add, [large, large], out)
        if not low.lies_in_out(y):
            copied.add(name)
    assert copied == {"fortran", "padded fortran"}


@pytest.mark.parametrize("shape", [(5, 7), (2, 5, 7)])
def test_products_write_every_layout_with_a_unit_stride_themselves(shape):
    x, y = np.zeros((*shape[:-1], 3), "float32"), np.zeros((3, shape[-1]), "float32")
    w = np.zeros((shape[-1], 3), "float32")
    direct = set()
    for name, out, _ in places(shape, "float32"):
        low, z = lowered(ops.matmul, [x, y], out)
        assert (low.storages[z.storage].kind == "out") == low.lies_in_out(z)
        if low.lies_in_out(z):
            direct.add(name)
        low, z = lowered(ops.linear, [x, w], out)
        assert low.lies_in_out(z) == (name in direct)
    assert {"contiguous", "padded"} <= direct
    if len(shape) == 2:
        assert {"fortran", "padded fortran", "every other row", "rows reversed"} <= direct


def test_results_of_other_shapes_and_dtypes_are_not_laid_out_as_out():
    x = np.zeros((5, 7), "float32")
    for out in (np.zeros((7, 5), "float32"), np.zeros((5, 7), "float64"), np.zeros((1, 5, 7), "float32")):
        low, y = lowered(ops.add, [x, x], out)
        assert not low.lies_in_out(y)


def test_only_the_first_output_may_be_laid_out_as_out():
    def anywhere(_):
        return True

    out = Array(0, (3, 4), (1, 3), "float32")
    low = Lowering((), out=out)
    first, second = (low.output((3, 4), "float32", into=anywhere) for _ in range(2))
    for wrong in (first, second):
        with pytest.raises(ValueError, match="first output"):
            low.lies_in_out(wrong)
    low = Lowering((), out=out)
    with pytest.raises(ValueError, match="returned as it is"):
        low.lies_in_out(replace(low.output((3, 4), "float32", into=anywhere), strides=(4, 1)))
    low = Lowering((), out=out)
    assert low.lies_in_out(low.output((3, 4), "float32", (1, 0)))
    assert not low.lies_in_out(low.output((3, 4), "float32"))
    assert not low.lies_in_out(low.temporary((4, 3), "float32").T)


@pytest.mark.parametrize(
    ("shape", "strides", "expected"),
    [
        ((), (), False),
        ((3,), (0,), True),
        ((1,), (0,), False),
        ((0, 3), (0, 0), False),
        ((3, 4), (4, 1), False),
        ((3, 4), (3, 1), True),
        ((3, 4), (-1, 3), False),
        ((3, 4), (1, -2), True),
        ((2, 3, 4), (100, 1, 3), False),
    ],
)
def test_which_layouts_overlap_themselves(shape, strides, expected):
    assert Array(0, shape, strides, "float32").overlaps_itself == expected


def test_out_that_overlaps_itself_is_filled_as_numpy_fills_it():
    x = np.arange(12, dtype="float32").reshape(3, 4)
    for strides in ((4, 4), (0, 4), (0, 0)):
        got, expected = np.zeros(20, "float32"), np.zeros(20, "float32")
        ops.add(x, x, out=as_strided(got, (3, 4), strides))
        np.copyto(as_strided(expected, (3, 4), strides), x + x)
        np.testing.assert_array_equal(got, expected)


# -- memory that out and inputs share


def view(draw, memory, shape):
    """Some view of a shape into the memory, axes in any order and direction."""
    axes = draw(st.permutations(range(len(shape))))
    strides, reach = [0] * len(shape), 1
    for axis in axes:
        step = reach * draw(st.integers(1, 2))
        strides[axis] = step
        reach = step * (shape[axis] - 1) + reach
    signs = [draw(st.sampled_from([1, -1])) for _ in shape]
    start = draw(st.integers(0, memory.size - reach))
    flat = as_strided(memory[start:], shape, [s * memory.itemsize for s in strides])
    return flat[tuple(slice(None, None, sign) for sign in signs)]


@COMMON
@given(st.data())
def test_whatever_memory_out_shares_results_are_those_of_copies(data):
    memory = np.random.default_rng(data.draw(st.integers(0, 99))).standard_normal(150).astype("float32")
    m, n = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4))
    name = data.draw(st.sampled_from(["add", "multiply", "matmul", "relu", "softmax", "linear"]))
    op = every()[name]
    k = m if name == "linear" else n
    shapes = [(m, n)] * len(op.input_names)
    if name in ("matmul", "linear"):
        shapes = [(m, n), (n, n) if name == "matmul" else (k, n)]
    inputs = [view(data.draw, memory, shape) for shape in shapes]
    out = view(data.draw, memory, (m, k))
    if data.draw(st.booleans()) and inputs[0].shape == out.shape:
        out = inputs[0]
    expected = op(*[x.copy() for x in inputs])
    op(*inputs, out=out)
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("op", [ops.add, ops.matmul, ops.linear], ids=lambda op: op.name)
@pytest.mark.parametrize("place", [0, 1])
def test_out_that_starts_where_an_input_does(op, place):
    for turn in (lambda a: a, lambda a: a.T):
        operands = [np.random.default_rng(i).standard_normal((40, 40)).astype("float32") for i in range(2)]
        expected = op(*[x.copy() for x in operands])
        np.testing.assert_array_equal(op(*operands, out=turn(operands[place])), expected)


@pytest.mark.parametrize("op", [ops.add, ops.matmul], ids=lambda op: op.name)
def test_out_that_lies_between_the_elements_of_inputs(op):
    memory = np.random.default_rng(0).standard_normal((6, 12)).astype("float32")
    x, y, out = memory[:, :6], memory[:6, 6:], memory[:, 0:12:2]
    expected = op(x.copy(), y.copy())
    np.testing.assert_array_equal(op(x, y, out=out), expected)
    x, y, out = memory[:, 0:12:2], memory[:, 0:12:2], memory[:, 1:12:2]
    expected, before = op(x.copy(), y.copy()), x.copy()
    np.testing.assert_array_equal(op(x, y, out=out), expected)
    np.testing.assert_array_equal(x, before)


def test_windows_of_the_memory_that_out_lies_in():
    memory = np.arange(20, dtype="float32")
    windows = sliding_window_view(memory, 5)
    expected = windows[:5].copy() @ windows[3:8].copy()
    out = memory[:15].reshape(3, 5)
    np.testing.assert_array_equal(ops.matmul(windows[:3], windows[3:8], out=out), expected[:3])


# -- what may be given


def test_out_may_be_a_tensor_a_subclass_or_memory_that_kernels_cannot_write():
    x = np.arange(6, dtype="float32").reshape(2, 3)
    t = fastnn.tensor(np.zeros((2, 3), "float32"))
    version = t._version_value
    assert ops.add(x, x, out=t) is t
    assert t.tolist() == (2 * x).tolist()
    assert t._version_value == version + 1

    class Named(np.ndarray):
        pass

    named = np.zeros((2, 3), "float32").view(Named)
    assert ops.add(x, x, out=named) is named
    np.testing.assert_array_equal(np.asarray(named), 2 * x)
    for odd in (
        np.zeros(25, "uint8")[1:].view("float32").reshape(2, 3),
        np.zeros((2, 3), ">f4"),
        np.zeros((2, 3), "float64"),
        np.zeros((2, 3), "float16"),
    ):
        for _ in range(2):
            odd[...] = 0
            assert ops.add(x, x, out=odd) is odd
            np.testing.assert_array_equal(odd, 2 * x)


def test_tensors_with_an_array_as_out_give_a_tensor_that_shares_it():
    t, out = fastnn.tensor(np.ones((2, 3), "float32")), np.zeros((2, 3), "float32")
    for target in (out, out.T.copy().T, np.zeros((2, 3))):
        result = ops.add(t, t, out=target)
        assert isinstance(result, fastnn.Tensor)
        assert result.array is target
        assert (target == 2).all()


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (np.zeros((3, 2), "float32"), r"matmul: out must have shape \(2, 2\), got \(3, 2\)"),
        (np.zeros((2, 2), "int32"), "matmul: out must have a dtype that float32 fits, got int32"),
        ([[0.0]], "matmul: out must be an array, got list"),
        (np.broadcast_to(np.float32(0), (2, 2)), "matmul: out is read-only"),
    ],
)
def test_errors_name_what_is_wrong_and_come_before_anything_is_written(out, message):
    x = np.ones((2, 2), "float32")
    for backend in ("kernels", "numpy"):
        with fastnn.use_backend(backend):
            for _ in range(2):
                with pytest.raises((TypeError, ValueError), match=message):
                    ops.matmul(x, x, out=out)
    assert not np.any(out)


def test_gradients_are_not_recorded_into_out():
    t, out = fastnn.tensor([1.0, 2.0], requires_grad=True), np.zeros(2, "float32")
    with pytest.raises(RuntimeError, match="no_grad"):
        ops.add(t, t, out=out)
    with pytest.raises(RuntimeError, match="no_grad"):
        ops.add(out, out, out=t)
    with fastnn.no_grad():
        assert ops.add(t, t, out=out).tolist() == [2, 4]
        assert ops.add(out, out, out=t) is t
    assert t.tolist() == [4, 8]


def test_empty_results():
    x = np.zeros((0, 3), "float32")
    for out in (np.zeros((0, 3), "float32"), np.zeros((3, 0), "float32").T, np.zeros((4, 3), "float32")[4:]):
        assert ops.add(x, x, out=out) is out
    filled = np.ones((2, 3), "float32")
    assert not ops.matmul(np.zeros((2, 0), "float32"), x, out=filled).any()
