"""What `fastnn.explain` says, against what calls run; and how it shows what planners weighed."""

import numpy as np
import pytest

import fastnn
from fastnn import ops
from fastnn._kernels import jit
from fastnn._runtime import _fastnn_team as team
from fastnn.ops import every
from fastnn.ops.lowering import Candidate, Lowering, reads, updates, writes
from fastnn.testing.samples import layouts, sample

OPS = list(every().values())
CALLS = [pytest.param(op, case, id=f"{op.name}-{i}") for op in OPS for i, case in enumerate(op.cases)]


def ran(call):
    """The result of a call, and (address, chunks) of each phase that it ran."""
    team.drain()
    team.record(True)
    try:
        result = call()
    finally:
        team.record(False)
    return result, [(phase.kernel, phase.chunks) for phase in team.drain()[0]]


def said(one):
    return [(jit.address(p.kernel, **dict(p.static)), p.chunks) for p in one.phases]


def as_tuple(value):
    return value if isinstance(value, tuple) else (value,)


@pytest.mark.parametrize(("op", "case"), CALLS)
def test_calls_run_what_is_said(op, case):
    for dtype in ("float32", "float64"):
        inputs, attributes = sample(op, case, dtype)
        explained = fastnn.explain(op, *inputs, **attributes)
        results, phases = ran(lambda: op(*inputs, **attributes))  # noqa: B023
        assert said(explained.passes[0]) == phases
        for name, y in zip(explained.results, as_tuple(results), strict=True):
            assert explained.results[name].shape == y.shape
            assert explained.results[name].dtype == y.dtype
        shapes = [None if x is None else x.shape for x in inputs]
        from_shapes = fastnn.explain(op, *shapes, dtype=dtype, **attributes)
        assert said(from_shapes.passes[0]) == phases
        if all(x is None or x.size for x in inputs):  # NumPy's empty arrays have strides of their own
            assert str(from_shapes) == str(explained)


@pytest.mark.parametrize(("op", "case"), [p for p in CALLS if p.values[0].reference[1] is not None])
def test_backward_passes_run_what_is_said(op, case):
    inputs, attributes = sample(op, case, "float32")
    leaves = [
        None if x is None else fastnn.tensor(x, requires_grad=n not in op.apart + op.constant)
        for n, x in zip(op.input_names, inputs, strict=True)
    ]
    _, backward = fastnn.explain(op, *leaves, backward=True, **attributes).passes
    outputs = [y for y in as_tuple(op(*leaves, **attributes)) if y.requires_grad]
    ones = [fastnn.from_numpy(np.empty_like(y.detach().numpy())) for y in outputs]
    for one in ones:
        one.array.fill(1)
    wanted = [leaf for leaf in leaves if leaf is not None and leaf.requires_grad]
    _, phases = ran(lambda: fastnn.autograd.grad(outputs, wanted, ones))
    if backward.reference is None:
        assert said(backward) == phases
    else:
        assert phases == []


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_strides_count_and_copies_are_named(op):
    inputs, attributes = sample(op, op.cases[1], "float32")
    for i, x in enumerate(inputs):
        if x is None:
            continue
        for name, array in layouts(x):
            changed = [*inputs[:i], array, *inputs[i + 1 :]]
            explained = fastnn.explain(op, *changed, **attributes)
            assert said(explained.passes[0]) == ran(lambda: op(*changed, **attributes))[1], name  # noqa: B023
            copied = name in ("misaligned", "swapped") and array.itemsize > 1  # a byte always lies well
            assert ("copied first" in explained.inputs[op.input_names[i]].remark) == copied, name


def test_nothing_is_compiled(monkeypatch):
    def refuse(requests):
        raise AssertionError(f"compiles {requests}")

    monkeypatch.setattr(jit, "_provide", refuse)
    monkeypatch.setattr(jit, "_addresses", {})
    for op in OPS:
        for case in op.bench:
            inputs, attributes = sample(op, case, "float64")
            fastnn.explain(op, *inputs, backward=op.reference[1] is not None, **attributes)


def test_sizes_beyond_any_memory_are_explained():
    explained = fastnn.explain("matmul", (10**6, 10**6), (10**6, 10**6), transposed=("x", "y"), dtype="float64")
    assert explained.passes[0].flops == 2e18
    assert "8 TB" in str(explained)


def test_the_text_of_a_linear_layer():
    text = str(fastnn.explain("linear", (128, 784), (512, 784), (512,), transposed="w", backward=True))
    forward, backward = (" ".join(part.split()) for part in text.split("backward:"))
    for line in (
        "takes x (128, 784) strides (784, 1) float32",
        "takes w (512, 784) strides (1, 512) float32",
        "takes b (512,) strides (1,) float32",
        "gives y (128, 512) strides (512, 1) float32",
        "writes y (128, 512) strides (512, 1) 262 kB",
        "103 MFLOP",
    ):
        assert line in forward
    assert "dy" not in forward
    for name in ("dw", "db", "dx"):
        assert f"writes {name}" in backward
    assert "thread" not in text


def test_the_text_does_not_depend_on_threads():
    texts = set()
    for count in (1, 2, 5):
        with fastnn.threads(count):
            texts.add(str(fastnn.explain("linear", (300, 784), (512, 784), None, backward=True)))
    assert len(texts) == 1


def test_flops_and_intensity():
    explained = fastnn.explain("softmax", (128, 10), axis=1)
    (phase,) = explained.passes[0].phases
    assert (phase.kernel, phase.flops) == ("softmax.forward", 4 * 1280)
    assert explained.passes[0].flops == phase.flops
    assert "5.12 kFLOP, 0.5 FLOP/B" in str(explained)  # 4 for each 4 bytes read and 4 written
    # what is repeated counts once
    assert "20 FLOP, 0.1 FLOP/B" in str(fastnn.explain("add", (2, 10), (10,)))


@pytest.mark.parametrize(
    ("name", "shapes", "flops"),
    [
        ("matmul", [(7, 33), (33, 17)], 2 * 7 * 33 * 17),
        ("matmul", [(5,), (5,)], 10),
        ("matmul", [(2, 1, 3, 4), (3, 4, 5)], 2 * 6 * 3 * 4 * 5),
        ("linear", [(2, 3, 4), (5, 4)], 2 * 6 * 4 * 5),
        ("linear", [(4,), (5, 4)], 2 * 4 * 5),
    ],
)
def test_declared_flops(name, shapes, flops):
    assert fastnn.explain(name, *shapes).passes[0].flops == flops


def test_copies_say_why():
    (copy, softmax) = fastnn.explain("softmax", np.ones((10, 8), np.float32).T).passes[0].phases
    assert copy.kernel == "transposition.copy"
    assert copy.notes == ("copied first: the elements do not lie in C order",)
    assert softmax.notes == ()


def test_numpy_serves():
    assert "kernels take float32 and float64, not int64" in str(fastnn.explain("add", (3,), (3,), dtype="int64"))
    assert "not float16" in str(fastnn.explain("matmul", (3, 3), (3, 3), dtype="float16", backward=True))
    with fastnn.use_backend("numpy"):
        lines = str(fastnn.explain("matmul", (3, 3), (3, 3), backward=True)).splitlines()
    assert "forward: the NumPy reference serves (the backend is NumPy)" in lines
    assert "backward: the NumPy reference serves (as in the forward pass)" in lines


def test_an_op_without_kernels_for_a_case(monkeypatch):
    monkeypatch.setattr(ops.relu, "lower", (lambda low, x: NotImplemented, None))
    text = str(fastnn.explain("relu", (3,), backward=True))
    assert "forward: the NumPy reference serves (no kernel of relu takes these" in text


def test_dtypes_are_converted_as_in_a_call():
    x, y = np.ones((4, 3), np.float32).T, np.ones((3, 4), np.int64)
    explained = fastnn.explain(ops.multiply, x, y, backward=True)
    assert explained.results["z"].dtype == ops.multiply(x, y).dtype == np.float64
    assert explained.inputs["x"].remark == "converted from float32 first"
    assert explained.inputs["x"].array.strides == (1, 3)
    # integers have no gradient
    assert {n for n in explained.passes[1].names if n in ("dx", "dy")} == {"dx"}
    number = fastnn.explain("multiply", (4, 3), 2)
    assert number.inputs["y"].array.dtype == number.results["z"].dtype == "float32"
    assert number.inputs["y"].remark == "a number"
    with pytest.raises(TypeError, match="y must have dtype float32 to match x, got float64"):
        fastnn.explain("matmul", fastnn.tensor(np.ones((2, 2), "f")), fastnn.tensor(np.ones((2, 2))))


def test_gradients_that_are_wanted():
    x, w = fastnn.tensor(np.ones((5, 4), "f")), fastnn.tensor(np.ones((3, 4), "f"), requires_grad=True)
    names = fastnn.explain("linear", x, w, None, backward=True).passes[1].names
    assert "dw" in names
    assert "dx" not in names
    assert {"dx", "dw"} <= set(fastnn.explain("linear", (5, 4), (3, 4), backward=True).passes[1].names)


@pytest.mark.parametrize(
    ("args", "options", "error", "text"),
    [
        (("matmull", (2, 2), (2, 2)), {}, ValueError, "no op 'matmull'; did you mean matmul"),
        ((3,), {}, TypeError, "op must be an op or its name, got int"),
        (("matmul", (2, 3), (4, 5)), {}, ValueError, r"matmul: y must have shape \(3, 5\) to match x \(2, 3\)"),
        (("matmul", (2, 3)), {}, TypeError, "matmul: y is missing"),
        (("matmul", (2, 3), (3, 2), 1), {}, TypeError, "takes at most 2 arguments, got 3"),
        (("matmul", (2, 3), (3, 2)), {"axis": 1}, TypeError, "unexpected argument 'axis'; it takes x, y"),
        (("matmul", (2, 3)), {"x": (2, 3)}, TypeError, "matmul: got 'x' twice"),
        (("matmul", (2, -3), (3, 2)), {}, ValueError, "the shape of x must hold integers from 0 up"),
        (("matmul", [[1.0]], (1, 1)), {}, ValueError, "the shape of x must hold integers"),
        (("matmul", (2, 3), (3, 2)), {"transposed": "b"}, ValueError, r"must name inputs of matmul \(x, y\), got 'b'"),
        (("matmul", (3,), (3, 2)), {"transposed": "x"}, ValueError, r"must have at least 2 axes, got \(3,\)"),
        (("matmul", np.ones((2, 2)), (2, 2)), {"transposed": "x"}, ValueError, "an array says how it lies"),
        (("softmax", (2, 3)), {"axis": 5}, IndexError, "axis must lie from"),
        (("equal", (2,), (2,)), {"backward": True}, ValueError, "equal has no backward pass"),
        (("add", (2,), (2,)), {"backward": True, "dtype": "int64"}, TypeError, "needs floats, got int64"),
        (("cross_entropy", (2, 3), np.ones(2)), {}, TypeError, "target must hold integers, got dtype float64"),
    ],
)
def test_errors(args, options, error, text):
    with pytest.raises(error, match=text):
        fastnn.explain(*args, **options)


# -- planners that say why


def planned(low, x):
    """A planner that weighs tiles and packs first."""
    y, packed = low.output(x.shape, x.dtype), low.temporary(x.shape, x.dtype)
    low.consider(
        "tile",
        [
            Candidate("9 x 3", 412_000, True, "fewest loads"),
            Candidate("14 x 2", 1_430_000.0, False, "spills"),
            Candidate("1 x 8", float("inf"), False, "needs rows below 4"),
        ],
    )
    low.phase("a.pack", [reads(x), writes(packed)], chunks=3, work=2_000, flops=0)
    low.consider("dropped", [Candidate("only", 1, True)])
    low.phase("a.nothing", [], chunks=0)
    low.note("computed as its transpose")
    low.phase("a.product", [reads(packed), updates(y), 7], chunks=2, work=500_000, flops=3e6, width=64)
    low.note("no epilogue is left")
    return y


def test_what_planners_weighed_is_shown(monkeypatch):
    monkeypatch.setattr(ops.copy, "lower", (planned, None))
    assert str(fastnn.explain("copy", (10, 100))).splitlines()[1:] == [
        "   takes  x  (10, 100)  strides (100, 1)  float32",
        "   gives  y  (10, 100)  strides (100, 1)  float32",
        "",
        "forward: 2 phases, estimated 502 us of one core, 3 MFLOP, 4 kB of working memory",
        " 1 a.pack",
        "   3 chunks, 2 us, 0 FLOP",
        "   reads   x   (10, 100)  strides (100, 1)  4 kB",
        "   writes  t0  (10, 100)  strides (100, 1)  4 kB",
        "     tile    estimate",
        "   * 9 x 3     412 us  fewest loads",
        "     14 x 2   1.43 ms  spills",
        "     1 x 8          -  needs rows below 4",
        " 2 a.product  width=64",
        "   2 chunks, 500 us, 3 MFLOP, 250 FLOP/B",
        "   reads    t0  (10, 100)  strides (100, 1)  4 kB",
        "   updates  y   (10, 100)  strides (100, 1)  4 kB",
        "   computed as its transpose",
        "   no epilogue is left",
    ]


def test_a_lowering_that_nobody_asks_keeps_nothing():
    low = Lowering(())
    low.consider("tile", [])
    low.note("x")
    assert low.take_notes() == ()


@pytest.mark.parametrize("chosen", [[], [False], [True, True]])
def test_one_candidate_is_chosen(chosen):
    low = Lowering((), explaining=True)
    with pytest.raises(ValueError, match=f"tile: one candidate must be chosen, got {sum(chosen)} of {len(chosen)}"):
        low.consider("tile", [Candidate("a", 1, one) for one in chosen])
