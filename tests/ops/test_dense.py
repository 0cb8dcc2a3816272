"""A dense layer with its activation: the same bits as one after the other, in values and gradients."""

import numpy as np
import pytest

import fastnn
from fastnn import ops
from fastnn.ops import activation, gates, rectifiers
from fastnn.ops.dense import ACTIVATIONS
from fastnn.ops.op import Op


def separately(activation):
    chosen = ACTIVATIONS[activation]
    return lambda x, w, b: chosen.op(ops.linear(x, w, b), **chosen.attributes)


# one of each kind in float64 too: of the result, of the argument, with hyper-parameters
@pytest.mark.parametrize(
    ("activation", "dtype"),
    [*((name, "float32") for name in ACTIVATIONS), ("tanh", "float64"), ("gelu", "float64"), ("softplus", "float64")],
)
def test_the_bits_are_those_of_the_parts(activation, dtype):
    rng = np.random.default_rng(0)
    for rows, k, m in ((130, 77, 50), (1, 33, 17), (5, 4, 1), (64, 32, 48), (800, 300, 520)):
        x, w, b = (rng.standard_normal(s).astype(dtype) for s in ((rows, k), (m, k), (m,)))
        for given in (
            (x, w, b),
            (x, w, None),
            (x[:, ::-1], w, b),
            (np.asfortranarray(x), w, b[::-1]),
            (x, w.T.copy().T, b),
        ):
            fused = ops.dense(*given, activation)
            np.testing.assert_array_equal(fused, separately(activation)(*given))
            out = np.full((m, rows), np.nan, dtype).T
            assert ops.dense(*given, activation, out=out) is out
            np.testing.assert_array_equal(out, fused)
    x = rng.standard_normal((4, 6, 5)).astype(dtype)[:, ::2]
    w, b = rng.standard_normal((7, 5)).astype(dtype), rng.standard_normal(7).astype(dtype)
    np.testing.assert_array_equal(ops.dense(x, w, b, activation), separately(activation)(x, w, b))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_gradients_are_those_of_the_parts(activation):
    rng = np.random.default_rng(1)
    arrays = [rng.standard_normal(s).astype("float32") for s in ((40, 30), (20, 30), (20,))]
    dy = rng.standard_normal((40, 20)).astype("float32")

    def gradients(function):
        given = [fastnn.tensor(a.copy(), requires_grad=True) for a in arrays]
        function(*given).backward(fastnn.from_numpy(dy))
        return [t.grad.numpy() for t in given]

    fused = gradients(lambda x, w, b: ops.dense(x, w, b, activation))
    for one, two in zip(fused, gradients(separately(activation)), strict=True):
        np.testing.assert_array_equal(one, two)


def test_the_activations_options():
    rng = np.random.default_rng(2)
    x, w, b = (rng.standard_normal(s).astype("float32") for s in ((40, 30), (20, 30), (20,)))
    for name, options in (
        ("leaky_relu", {"negative_slope": 0.3}),
        ("hardtanh", {"min_val": -0.2, "max_val": 0.4}),
        ("hardtanh", {"max_val": 0.4}),
        ("softplus", {"beta": 2.0}),
    ):
        leaves = [[fastnn.tensor(a, requires_grad=True) for a in (x, w, b)] for _ in range(2)]
        fused = ops.dense(*leaves[0], name, **options)
        parts = getattr(ops, name)(ops.linear(*leaves[1]), **options)
        np.testing.assert_array_equal(fused.detach(), parts.detach())
        fused.sum().backward()
        parts.sum().backward()
        for one, two in zip(*leaves, strict=True):
            np.testing.assert_array_equal(one.grad, two.grad)
        with fastnn.use_backend("numpy"):
            np.testing.assert_allclose(ops.dense(x, w, b, name, **options), fused.detach(), rtol=1e-4, atol=1e-5)
    with pytest.raises(TypeError, match="dense: relu takes no options, got alpha"):
        ops.dense(x, w, b, "relu", alpha=1.0)


def test_every_activation_of_elements_is_there():
    declared = [op for room in (activation, gates, rectifiers) for op in vars(room).values() if isinstance(op, Op)]
    names = {op.name for op in declared if len(op.input_names) == 1} - {"glu", "softmax", "log_softmax"}
    assert names <= set(ACTIVATIONS)
    for name in names:
        assert ACTIVATIONS[name].keeps_argument == (getattr(ops, name).saves == ["x"])


def test_an_unknown_activation_is_named():
    with pytest.raises(ValueError, match=r"activation must be None or one of relu, tanh, .*, got 'swish'"):
        ops.dense(np.ones((2, 3)), np.ones((4, 3)), None, "swish")
    np.testing.assert_array_equal(ops.dense(np.ones((2, 3)), np.ones((4, 3))), np.full((2, 4), 3.0))
