"""Elementwise kernels against NumPy: layouts, broadcasting, chunks, overlap with an operand."""

import itertools

import numpy as np
import pytest

from fastnn._kernels import jit
from fastnn.ops.elementwise import apply, contiguous, memory_order
from fastnn.testing.phases import Execution, lowering, run

DTYPES = ("float32", "float64")
# Around the lanes of one vector (16 or 8) and the blocks of staged operands (512).
LENGTHS = (0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 100, 511, 512, 513)
FUNCTIONS = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "divide": np.divide,
    "equal": np.equal,
    "not_equal": np.not_equal,
    "less": np.less,
    "less_equal": np.less_equal,
    "greater": np.greater,
    "greater_equal": np.greater_equal,
    "negative": np.negative,
    "copy": np.positive,
    "relu": lambda x: np.maximum(x, 0),
    "relu_backward": lambda dy, y: np.where(y <= 0, 0, dy),
    "tanh_backward": lambda dy, y: dy * (1 - y * y),
    "sigmoid_backward": lambda dy, y: dy * ((1 - y) * y),
    "divide_backward": lambda dy, y, z: -(dy / y) * z,
}
COMPARISONS = ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal")
ARITY = {"negative": 1, "copy": 1, "relu": 1, "divide_backward": 3}


def compute(function, *operands, order=None, chunk=0, backwards=False):
    low = lowering(operands)
    shape = np.broadcast_shapes(*(x.shape for x in operands))
    dtype = "bool" if function in COMPARISONS else str(operands[0].dtype)
    y = apply(low, function, low.output(shape, dtype, order), *low.inputs)
    execution = Execution(low, operands)
    execution.run(chunk, backwards=backwards)
    return execution[y]


def layouts(rng, shape, dtype):
    """Arrays of one shape that lie differently."""
    yield rng.standard_normal(shape).astype(dtype)
    yield np.asfortranarray(rng.standard_normal(shape).astype(dtype))
    yield rng.standard_normal([2 * n + 1 for n in shape]).astype(dtype)[tuple(slice(1, None, 2) for _ in shape)]
    yield rng.standard_normal(shape).astype(dtype)[tuple(slice(None, None, -1) for _ in shape)]
    yield np.broadcast_to(rng.standard_normal((1, *shape[1:])).astype(dtype), shape)
    yield np.broadcast_to(rng.standard_normal((*shape[:-1], 1)).astype(dtype), shape)
    yield np.broadcast_to(dtype(rng.standard_normal()), shape)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_lengths(function, dtype):
    rng = np.random.default_rng(0)
    for n in LENGTHS:
        operands = [rng.integers(-2, 3, n).astype(dtype) + 0.5 * (k == 1) for k in range(ARITY.get(function, 2))]
        y = compute(function, *operands)
        np.testing.assert_array_equal(y, FUNCTIONS[function](*operands))
        assert y.dtype == (np.bool_ if function in COMPARISONS else dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("function", ["subtract", "less"])
def test_layouts_and_broadcasting(function, dtype):
    rng = np.random.default_rng(1)
    shape = (3, 4, 21)
    for x, y in itertools.product(layouts(rng, shape, dtype), repeat=2):
        for order in (None, (2, 0, 1)):
            np.testing.assert_array_equal(compute(function, x, y, order=order), FUNCTIONS[function](x, y))
    for a, b in (((5, 1), (4,)), ((), (2, 3)), ((3, 4, 5), (4, 1)), ((2, 1, 3, 1), (4, 1, 5)), ((0, 4), (4,))):
        x, y = rng.standard_normal(a).astype(dtype), np.asarray(rng.standard_normal(b).astype(dtype))
        np.testing.assert_array_equal(compute(function, np.asarray(x), y), FUNCTIONS[function](x, y))


def test_many_axes():
    rng = np.random.default_rng(2)
    x = rng.standard_normal((2, 3) * 5).astype("float32")
    y = x.transpose(np.random.default_rng(3).permutation(10))
    x = x.reshape(y.shape)
    np.testing.assert_array_equal(compute("add", x, y), x + y)


def test_special_values():
    nan, inf = np.nan, np.inf
    x = np.array([nan, inf, -inf, 0.0, -0.0, 1.0], "float32")
    np.testing.assert_array_equal(compute("relu", x), [nan, inf, 0, 0, 0, 1])
    for name in COMPARISONS:
        grid = np.meshgrid(x, x)
        np.testing.assert_array_equal(compute(name, *grid), FUNCTIONS[name](*grid))
    np.testing.assert_array_equal(compute("relu_backward", np.ones_like(x), x), [1, 1, 0, 0, 0, 1])


def test_chunks_give_the_same_bits():
    rng = np.random.default_rng(4)
    x, y = rng.standard_normal((301, 1003)).astype("float32"), rng.standard_normal(1003).astype("float32")
    for a, b in ((x, y), (x, x[::-1, ::-1]), (x.T, y[:, None])):
        for function in ("tanh_backward", "add"):
            whole = compute(function, a, b)
            np.testing.assert_array_equal(compute(function, a, b, chunk=1), whole)
            np.testing.assert_array_equal(compute(function, a, b, chunk=2, backwards=True), whole)
    low = lowering([x, y])
    apply(low, "add", low.output(x.shape, "float32"), *low.inputs)
    (phase,) = low.phases
    assert phase.chunks > 1
    assert phase.block * (phase.chunks - 1) < x.size <= phase.block * phase.chunks


def test_result_on_an_operand():
    rng = np.random.default_rng(5)
    for x in layouts(rng, (13, 35), np.float32):
        if not x.flags.writeable:
            continue
        y = rng.standard_normal((13, 35)).astype("float32")
        expected = x + y
        low = lowering([x, y])
        apply(low, "add", low.inputs[0], *low.inputs, in_place=True)
        run(low, [x, y])
        np.testing.assert_array_equal(x, expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_cells(dtype):
    x = np.arange(21, dtype=dtype)
    low = lowering([x])
    filled = apply(low, "fill", low.output((3, 5), dtype), cells=[low.cell("value")])
    scaled = apply(low, "scale", low.output((21,), dtype), low.inputs[0], cells=[low.cell("factor")])
    result = run(low, [x], {"value": 2.5, "factor": 0.1})
    np.testing.assert_array_equal(result[filled], np.full((3, 5), 2.5, dtype))
    np.testing.assert_array_equal(result[scaled], x * x.dtype.type(0.1))


def test_results_keep_the_layout_of_their_operands():
    channels_last = np.zeros((2, 8, 8, 3), "float32").transpose(0, 3, 1, 2)
    (x,) = lowering([channels_last]).inputs
    assert memory_order(x.shape, [x]) == (0, 2, 3, 1)
    (x, y) = lowering([np.zeros((3, 1), "float32"), np.zeros((3, 4), "float32")]).inputs
    assert memory_order((3, 4), [x, y]) == (0, 1)
    low = lowering([channels_last])
    assert contiguous(low, low.inputs[0]).contiguous
    assert len(low.phases) == 1


def test_one_kernel_a_function_and_dtype():
    """Shapes, strides and broadcasting compile nothing."""
    addresses = set()
    for shapes in (((3,), (3,)), ((2, 3), ()), ((4, 1, 2), (3, 1))):
        low = lowering([np.zeros(s, "float32") for s in shapes])
        apply(low, "add", low.output(np.broadcast_shapes(*shapes), "float32"), *low.inputs)
        addresses |= {jit.address(p.kernel, **dict(p.static)) for p in low.phases}
    assert len(addresses) == 1
