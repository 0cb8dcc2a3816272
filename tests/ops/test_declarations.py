"""Every op against its reference, from its declaration alone: values, gradients, layouts, threads, dtypes."""

import numpy as np
import pytest

import fastnn
from fastnn._runtime import _fastnn_team as team
from fastnn.ops import every
from fastnn.testing import gradcheck
from fastnn.testing.samples import layouts, sample

OPS = list(every().values())
CALLS = [pytest.param(op, case, id=f"{op.name}-{i}") for op in OPS for i, case in enumerate(op.cases)]
DIFFERENTIABLE = [p for p in CALLS if p.values[0].reference[1] is not None]
TOLERANCE = {"float32": 2e-5, "float64": 1e-12}


def as_tuple(value):
    return value if isinstance(value, tuple) else (value,)


def floating(outputs):
    """The outputs that have gradients."""
    return tuple(y for y in as_tuple(outputs) if y.dtype.kind == "f")


def assert_close(got, expected, dtype, what=""):
    got, expected = as_tuple(got), as_tuple(expected)
    assert len(got) == len(expected)
    for g, e in zip(got, expected, strict=True):
        assert g.shape == e.shape, what
        assert g.dtype == e.dtype, what
        scale = np.abs(e).max(initial=1) if e.dtype.kind == "f" else 1
        np.testing.assert_allclose(g, e, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype] * scale, err_msg=what)


def reference(op, inputs, attributes):
    with fastnn.use_backend("numpy"):
        return op(*inputs, **attributes)


def tensors(inputs, op):
    return [
        None if x is None else fastnn.tensor(x, requires_grad=n not in op.apart + op.constant)
        for n, x in zip(op.input_names, inputs, strict=True)
    ]


def test_there_are_ops_and_each_has_cases_and_says_its_shapes():
    assert len(OPS) >= 20
    assert [op.name for op in OPS if not op.cases] == []
    assert [op.name for op in OPS if op.spec.text not in op.__doc__] == []


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("op", "case"), CALLS)
def test_values(op, case, dtype):
    inputs, attributes = sample(op, case, dtype)
    before = [None if x is None else x.copy() for x in inputs]
    got = op(*inputs, **attributes)
    assert_close(got, reference(op, inputs, attributes), dtype)
    for x, y in zip(inputs, before, strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize(("op", "case"), CALLS)
def test_kernels_serve_and_not_the_reference(op, case):
    inputs, attributes = sample(op, case, "float32")
    team.record(True)
    try:
        results = as_tuple(op(*inputs, **attributes))
    finally:
        team.record(False)
        phases, _ = team.drain()
    if op.views:
        assert not phases, op.name
    elif any(y.size for y in results):
        assert phases, op.name


@pytest.mark.parametrize(("op", "case"), CALLS)
def test_layouts(op, case):
    inputs, attributes = sample(op, case, "float32")
    for i, x in enumerate(inputs):
        if x is None:
            continue
        for name, array in layouts(x):
            changed = [*inputs[:i], array, *inputs[i + 1 :]]
            plain = [*inputs[:i], np.array(array, dtype=x.dtype, order="C"), *inputs[i + 1 :]]
            for g, e in zip(as_tuple(op(*changed, **attributes)), as_tuple(op(*plain, **attributes)), strict=True):
                np.testing.assert_array_equal(g, e, err_msg=f"{name} {op.input_names[i]}")


@pytest.mark.parametrize(("op", "case"), DIFFERENTIABLE)
def test_gradients_agree_with_the_reference(op, case):
    for dtype in ("float32", "float64"):
        inputs, attributes = sample(op, case, dtype)
        grads = []
        for backend in ("kernels", "numpy"):
            with fastnn.use_backend(backend):
                leaves = tensors(inputs, op)
                outputs = floating(op(*leaves, **attributes))
                rng = np.random.default_rng(1)
                weights = [fastnn.tensor(rng.standard_normal(y.shape).astype(y.dtype)) for y in outputs]
                fastnn.autograd.backward(outputs, weights)
                grads.append(tuple(x.grad.array for x in leaves if x is not None and x.requires_grad))
        assert_close(grads[0], grads[1], dtype)


@pytest.mark.parametrize(("op", "case"), DIFFERENTIABLE)
def test_gradients_agree_with_finite_differences(op, case):
    inputs, attributes = sample(op, case, "float64")
    assert gradcheck(lambda *xs: floating(op(*xs, **attributes)), tensors(inputs, op), samples=30)


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_same_bits_for_any_number_of_threads(op):
    for case in [*op.cases, *op.bench]:
        inputs, attributes = sample(op, case, "float32")
        results = []
        for count in (1, 2, 3, 8):
            with fastnn.threads(count):
                leaves = tensors(inputs, op)
                outputs = as_tuple(op(*leaves, **attributes))
                found = [y.array for y in outputs]
                if op.reference[1] is not None:
                    outputs = floating(outputs)
                    fastnn.autograd.backward(outputs, [fastnn.tensor(np.full(y.shape, 0.3, y.dtype)) for y in outputs])
                    found += [x.grad.array for x in leaves if x is not None and x.requires_grad]
                results.append([f.tobytes() for f in found])
        assert all(r == results[0] for r in results[1:]), case


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_float16_and_wrong_types(op):
    inputs, attributes = sample(op, op.cases[0], "float16")
    for y in as_tuple(op(*inputs, **attributes)):
        assert y.dtype in (np.float16, np.bool_, np.int64)
    words = np.array(["a"], dtype=object)
    with pytest.raises(TypeError):
        op(*[words for _ in op.input_names], **attributes)
