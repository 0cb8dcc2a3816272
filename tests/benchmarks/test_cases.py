"""The declared cases: what can be checked without a peer or a stopwatch."""

import math
import sys
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import numpy as np
import pytest

import fastnn
from benchmarks.peers import cases
from benchmarks.peers.__main__ import declared
from benchmarks.peers.case import Case, Unavailable, Work
from benchmarks.peers.cases import (
    convolutions,
    inference,
    linear,
    many,
    matmul,
    memory,
    networks,
    operators,
    optimizers,
    pooling,
)
from benchmarks.peers.cases.numpy_step import NumpyStep
from benchmarks.peers.cases.steps import problem
from fastnn.ops.op import Saved

# torch's sides run in a process of their own, where the harness compares their results with ours
IN_PROCESS = {"fastnn", "numpy"}
CASES = {name: case for name, (_, case) in declared().items() if isinstance(case, Case)}


def test_what_is_declared():
    assert {
        "step-784-128-10-b32",
        "step-4-64-64-2-b64",
        "import",
        "first-step-cached",
        "first-step-uncached",
    } <= declared().keys()
    assert CASES["step-784-128-10-b32"].flops == 2 * 32 * (2 * 784 * 128 + 3 * 128 * 10)
    assert CASES["step-784-128-10-b32"].bar_against("numpy") is None
    modules = [import_module(found.name) for found in iter_modules(cases.__path__, cases.__name__ + ".")]
    assert len(declared()) == sum(len(getattr(module, "CASES", ())) for module in modules)


@pytest.mark.parametrize(
    ("name", "bar"),
    [
        ("matmul-f32-nn-64", 1.1),
        ("matmul-f32-nn-128x10x128", 1.1),
        ("matmul-f32-nn-1024", 1.03),
        ("matmul-f32-nn-1024x512x784", 1.03),
        ("matmul-f32-nn-1x128x784", 1.15),
        ("matmul-f32-nn-16x4096x64", 1.15),
        ("matmul-f32-nn-1023x1021x1025", 1.0),
        ("matmul-f32-tn-128x10x128", 1.0),
        ("matmul-f32-tt-97x101x89", 1.0),
        ("matmul-f32-nt-1x128x784", 0.9),
        ("matmul-f64-nt-1x128x784", 0.9),
        ("matmul-f64-nn-4096x16x64", 1.0),
        ("matmul-f64-tt-128x10x128", 0.9),
        ("bmm-f32-nn-64x32x32x32", 1.5),
        ("bmm-f32-nn-8x128x128x128", 1.1),
    ],
)
def test_bars_of_products(name, bar):
    assert {CASES[name].bar_against(peer) for peer in ("numpy", "torch")} == {bar}
    assert {"fastnn", "numpy", "torch"} == CASES[name].sides.keys()


def test_products():
    sizes = 15 * 4 - 2  # of a single row, whose transpose lies alike, two layouts are left out
    assert sum(name.startswith("matmul-f32-") for name in CASES) == sizes
    assert sum(name.startswith("matmul-f64-") for name in CASES) == sizes
    assert CASES["matmul-f32-nn-32x128x784"].flops == 2 * 32 * 128 * 784
    assert CASES["bmm-f64-nn-8x128x128x128"].flops == 2 * 8 * 128**3
    assert CASES["bmm-f64-nn-8x128x128x128"].dtype == "float64"
    assert [name for name, case in CASES.items() if case.share] == ["matmul-f32-nn-1024"]
    assert CASES["call-dot-4"].bar_against("numpy") == 3
    assert [CASES["call-matmul-4"].bar_against(peer) for peer in ("numpy", "torch")] == [5, 6]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layout", matmul.LAYOUTS)
@pytest.mark.parametrize("size", [matmul.Size(5, 3, 7), matmul.Size(1, 4, 2), matmul.Size(5, 3, 7, batch=2)])
def test_sides_of_products_agree(size, layout, dtype):
    a, b, c = matmul.operands(size, dtype, layout, 1)
    assert a.shape[-2:] == (size.rows, size.k)
    assert b.shape[-2:] == (size.k, size.columns)
    assert a.dtype == b.dtype == c.dtype == dtype
    for array, which in ((a, layout[0]), (b, layout[1])):
        assert (array.swapaxes(-1, -2) if which == "t" else array).flags.c_contiguous
    case = matmul.case("x", size, dtype, layout)
    for name in IN_PROCESS & case.sides.keys():
        work = case.sides[name].setup(1)
        assert work.run().shape == c.shape
        result = work.verify()["c"]
        assert result.dtype == dtype
        np.testing.assert_allclose(result, a @ b, case.rtol, case.atol)


@pytest.mark.parametrize("backward", [False, True])
def test_the_dense_layer(backward):
    case = CASES[f"linear-relu-{'backward' if backward else 'forward'}"]
    x, w, b, dy = (array.astype(np.float64) for array in linear.problem(1))
    y = np.maximum(x @ w.T + b, 0)
    dy = np.where(y > 0, dy, 0)
    expected = {"y": y} | ({"dx": dy @ w, "dw": dy.T @ x, "db": dy.sum(0)} if backward else {})
    for name in IN_PROCESS & case.sides.keys():
        work = case.sides[name].setup(1)
        assert work.run().requires_grad is backward
        found = work.verify()
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            np.testing.assert_allclose(found[key], value, case.rtol, case.atol)


@pytest.mark.parametrize("name", operators.ROWS)
def test_operators_compute_what_they_say(name):
    small = {operators.MILLION: 40, 1024: 6}
    row = operators.ROWS[name]
    row = row._replace(
        shapes=tuple(tuple(small.get(n, n) for n in shape) for shape in row.shapes),
        out=row.out and tuple(small.get(n, n) for n in row.out),
    )
    found = operators._fastnn(row, 1).verify()["y"]
    operands = operators._operands(row, 1)
    _, what, *rest = name.split("-")
    if name.startswith("reduce"):
        axis = {"rows": 1, "columns": 0, "all": None}[rest[0]]
        expected = getattr(np, what)(operands[0].astype(float), axis=axis, **({"ddof": 1} if what == "var" else {}))
    elif name.startswith("broadcast"):
        expected = operands[0] + operands[1]
    else:
        names = {"mul": "multiply", "div": "divide", "pow": "power"}
        special = {
            "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
            "erf": np.vectorize(math.erf),
            "rsqrt": lambda x: 1 / np.sqrt(x),
            "clamp": lambda x: np.clip(x, -1, 1),
        }
        expected = (special.get(what) or getattr(np, names.get(what, what)))(*operands)
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("name", operators.CALLS)
def test_calls_on_ten_elements_are_recorded(name):
    work = CASES[f"ten-{name}"].sides["fastnn"].setup(1)
    assert work.run().requires_grad
    assert np.isfinite(work.verify()["y"]).all()


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "cross_entropy"])
def test_gradients_add_up(name):
    dx = CASES[f"gradient-{name}-128x10"].sides["fastnn"].setup(1).verify()["dx"]
    assert dx.shape == (128, 10)
    np.testing.assert_allclose(dx.sum(1), 0, atol=1e-5)


def test_an_activation_that_is_not_there_is_left_out(monkeypatch):
    monkeypatch.delattr("fastnn.nn.functional.gelu", raising=False)
    with pytest.raises(Unavailable, match=r"fastnn\.nn\.functional has no gelu"):
        CASES["linear-gelu-forward"].sides["fastnn"].setup(0)


def test_the_numpy_step_follows_finite_differences():
    weights, x, labels = problem((5, 4, 3), 6, 0)
    weights = [(w.astype(np.float64), b.astype(np.float64)) for w, b in weights]
    seen = []
    step = NumpyStep(weights, 0.0)
    step._update = seen.append
    loss = step(x.astype(np.float64), labels)
    at = (weights[0][0].copy(), 1e-6)
    at[0][2, 3] += at[1]
    moved = NumpyStep([(at[0], weights[0][1]), weights[1]], 0.0)(x.astype(np.float64), labels)
    assert (moved - loss) / at[1] == pytest.approx(seen[0][0][3, 2], rel=1e-4)


def test_the_numpy_step_learns():
    weights, x, labels = problem((4, 16, 2), 32, 0)
    step = NumpyStep(weights, 1e-2)
    losses = [step(x, labels) for _ in range(200)]
    assert losses[-1] < 0.2 * losses[0]


def test_steps_of_optimizers():
    assert {name: case.bar for name, case in CASES.items() if name.startswith("update-")} == {
        f"update-{name}-{size}": bar
        for size, bar in (("large", 1.0), ("small", 2.0))
        for name in ("adam", "adamw", "sgd-momentum")
    }
    assert 10_000_000 <= sum(optimizers.LARGE) < 10_001_000
    work = CASES["update-sgd-momentum-small"].sides["fastnn"].setup(1)
    work.run()
    found = work.verify()
    arrays = optimizers.problem(optimizers.SMALL, 1)
    # with a gradient that stays, the buffer is its geometric sum
    pull = sum(sum(0.9**k for k in range(step + 1)) for step in range(optimizers.VERIFIED_STEPS))
    for i, (p, g) in enumerate(zip(arrays[::2], arrays[1::2], strict=True)):
        np.testing.assert_allclose(
            found[f"parameter{i}"], p - optimizers.VERIFIED_RATE * pull * g, rtol=1e-4, atol=1e-5
        )


def test_bars_of_compiled_steps():
    bars = {
        name: [case.bar_against("torch", threads) for threads in (1, 2, 3)]
        for name, case in CASES.items()
        if name.startswith("compiled-")
    }
    assert bars == {
        "compiled-4-64-64-2-b64": [10, 12, None],
        "compiled-784-128-10-b1": [4, 5, None],
        "compiled-784-128-10-b32": [2.7, 4, None],
        "compiled-784-128-10-b128": [1.7, 2.2, None],
        "compiled-784-128-10-b1024": [1.3, 1.5, None],
        "compiled-784-1024x3-10-b256": [1.15, 1.15, 1.15],
        "compiled-784-128-10-b32-among-neighbours": [2, 4, None],
    }
    assert CASES["compiled-4-64-64-2-b64"].bar_against("torch-compile") is None
    assert CASES["compiled-784-128-10-b32-among-neighbours"].neighbours == 2
    inference = CASES["inference-784-128-10-b1"]
    assert [inference.bar_against(peer, 2) for peer in ("torch", "onnxruntime")] == [3, 1.5]
    assert [CASES["many-64-models"].bar_against("torch", threads) for threads in (1, 2)] == [15, 25]
    assert [CASES["many-64-models-pool"].bar_against("sklearn", threads) for threads in (1, 2)] == [5, 5]


def test_threads_never_hurt():
    widths = [name for name in CASES if name.startswith("threads-never-hurt-")]
    assert (widths[0], widths[-1]) == ("threads-never-hurt-16", "threads-never-hurt-96")
    for name in widths:
        assert CASES[name].bar_against("one-thread", 2) == pytest.approx(1 / 1.05)
        assert CASES[name].threads == (2,)
        assert CASES[name].sides["one-thread"].threads == 1


def test_compiled_steps_are_replayed_and_give_what_eager_ones_give():
    eager, compiled = (CASES[f"{kind}-4-64-64-2-b64"].sides["fastnn"].setup(3) for kind in ("step", "compiled"))
    expected, found = eager.verify(), compiled.verify()
    assert expected.keys() == found.keys()
    assert all(np.array_equal(expected[key], found[key]) for key in expected)
    compiled.run()
    compiled.run()


@pytest.mark.parametrize("batch", [1, 5])
def test_inference_gives_the_output(batch):
    sizes = (6, 5, 3)
    weights, x, _ = problem(sizes, batch, 2)
    expected = np.maximum(x @ weights[0][0].T + weights[0][1], 0) @ weights[1][0].T + weights[1][1]
    work = inference._fastnn(sizes, batch, 2)
    for _ in range(3):
        np.testing.assert_allclose(work.verify()["y"], expected, rtol=1e-5, atol=1e-6)


def test_the_onnx_runtime_computes_the_same():
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    found = inference._onnx((6, 5, 3), 2, 4).verify()["y"]
    np.testing.assert_allclose(found, inference._fastnn((6, 5, 3), 2, 4).verify()["y"], rtol=1e-5, atol=1e-6)


def test_without_the_onnx_runtime_the_case_is_left_out(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(Unavailable, match="onnx is not installed"):
        inference._onnx((6, 5, 3), 2, 4)


def test_many_models_train_as_each_alone():
    work = many._fastnn(3, 2, True, 5)
    found = work.verify()
    x, y = many.data(5)
    weights = problem(many.SIZES, 1, 6)[0]
    step = NumpyStep(weights, many.RATE)
    for i in range(0, many.SAMPLES, many.BATCH):
        step(x[i : i + many.BATCH], y[i : i + many.BATCH])
    for i, expected in enumerate(step.torch_parameters()):
        np.testing.assert_allclose(found[f"parameter{i}"][1], expected, rtol=1e-3, atol=3e-4)
    assert len(work.run()) == 3


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the system does not tell peaks of memory")
def test_the_peak_of_memory_is_seen():
    held = []
    work = Work(run=lambda: held.append(np.ones(1 << 20)), verify=dict)
    assert memory._peak(work) == pytest.approx(memory.STEPS * (8 << 20), rel=0.1)


@pytest.mark.parametrize(
    "problem", [convolutions.Problem(2, 3, 7, 4, 3, 2), convolutions.Problem(2, 4, 6, 4, 3, 1, 2, 4)]
)
def test_convolutions(problem):
    x, w, dy = convolutions.arrays(problem, 3)
    op = fastnn.ops.conv
    attributes = {k: getattr(problem, k) for k in ("stride", "padding", "dilation", "groups")}
    y = op.reference[0](x, w, None, **attributes)
    assert y.shape == dy.shape
    assert problem.flops == 2 * y.size * w[0].size
    needs = {"x": True, "w": True, "b": False}
    dx, dw, _ = op.reference[1](Saved({"x": x, "w": w}, {}, needs, attributes, {}), dy)
    for which, expected in zip(convolutions.PASSES, (y, dx, dw), strict=True):
        found = convolutions._fastnn(problem, which, 3).verify()[which]
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_bars_of_convolutions():
    assert CASES["conv-forward-64to64-3x3-at56-b16"].bar_against("torch") == 2.4
    assert CASES["conv-weight-gradient-512to512-3x3-at7-b16"].bar_against("torch-contiguous") == 2.6
    assert CASES["conv-input-gradient-64to64-3x3-at56-b1"].bar_against("torch") is None
    assert CASES["conv-input-gradient-3to64-7x7-at224-b16-s2"].bar_against("torch") == 3


def test_pooling():
    found = pooling._fastnn((2, 3, 5, 6), (2, 2, 0), 1).verify()
    x, dy = pooling._drawn((2, 3, 5, 6), 1), pooling._drawn((2, 3, 2, 3), 1)
    windows = x[:, :, :4].reshape(2, 3, 2, 2, 3, 2)
    np.testing.assert_array_equal(found["y"], windows.max((3, 5)))
    assert found["dx"].sum() == pytest.approx(dy.sum(), rel=1e-5)


@pytest.mark.parametrize(
    ("build", "count"), [(networks.lenet, 421_642), (networks.resnet18, 11_173_962), (networks.resnet50, 25_557_032)]
)
def test_networks_have_the_published_sizes(build, count):
    assert sum(p.numel() for p in build(fastnn.nn).parameters()) == count


def test_steps_and_inference_of_networks():
    losses = networks._fastnn_step(networks.lenet, "Adam", networks.ADAM, (4, 1, 28, 28), 1).verify()["losses"]
    assert losses[-1] < losses[0]

    def small(nn):
        return nn.Sequential(*networks._unit(nn, 3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())

    found = networks._fastnn_inference(small, (2, 3, 5, 5), 1).verify()["y"]
    model = networks._loaded(small(fastnn.nn), fastnn.from_numpy, 1).eval()
    expected = model(fastnn.from_numpy(networks.inputs((2, 3, 5, 5), 10, 1)[0])).detach().numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
