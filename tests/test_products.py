"""Products under torch's names: functions, Tensor methods, in place, chains."""

import inspect
from itertools import pairwise

import numpy as np
import pytest

import fastnn
from fastnn import ops


def tensors(*shapes, grad=False, dtype="float64"):
    rng = np.random.default_rng(0)
    return [fastnn.tensor(rng.standard_normal(s).astype(dtype), requires_grad=grad) for s in shapes]


CALLS = {
    "matmul": [(2, 3), (3, 4)],
    "mm": [(2, 3), (3, 4)],
    "bmm": [(2, 3, 4), (2, 4, 2)],
    "mv": [(2, 3), (3,)],
    "dot": [(3,), (3,)],
    "vdot": [(3,), (3,)],
    "inner": [(2, 3), (4, 3)],
    "outer": [(2,), (3,)],
    "ger": [(2,), (3,)],
    "addmm": [(2, 4), (2, 3), (3, 4)],
    "addmv": [(2,), (2, 3), (3,)],
    "addr": [(2, 3), (2,), (3,)],
    "addbmm": [(3, 2), (2, 3, 4), (2, 4, 2)],
    "baddbmm": [(2, 3, 2), (2, 3, 4), (2, 4, 2)],
}
ADDING = [name for name in CALLS if name.startswith(("add", "badd"))]


@pytest.mark.parametrize("name", CALLS)
def test_functions_and_methods_agree_with_the_ops(name):
    operands = tensors(*CALLS[name], grad=True)
    function, method = getattr(fastnn, name), getattr(operands[0], name)
    expected = getattr(ops, "outer" if name == "ger" else name)(*operands)
    for got in (function(*operands), method(*operands[1:])):
        assert isinstance(got, fastnn.Tensor)
        assert got.requires_grad
        np.testing.assert_array_equal(got.detach(), expected.detach())
    assert fastnn.testing.gradcheck(function, operands)
    arrays = [x.detach().numpy() for x in operands]
    out = np.empty(expected.shape)
    assert function(*arrays, out=out) is out
    np.testing.assert_array_equal(out, expected.detach())


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("matmul", ["input", "other", "out"]),
        ("dot", ["input", "tensor", "out"]),
        ("vdot", ["input", "other", "out"]),
        ("inner", ["input", "other", "out"]),
        ("outer", ["input", "vec2", "out"]),
        ("tensordot", ["a", "b", "dims", "out"]),
        ("addmm", ["input", "mat1", "mat2", "beta", "alpha", "out"]),
        ("addmv", ["input", "mat", "vec", "beta", "alpha", "out"]),
        ("addr", ["input", "vec1", "vec2", "beta", "alpha", "out"]),
        ("addbmm", ["input", "batch1", "batch2", "beta", "alpha", "out"]),
        ("baddbmm", ["input", "batch1", "batch2", "beta", "alpha", "out"]),
    ],
)
def test_arguments_are_torchs(name, parameters):
    assert list(inspect.signature(getattr(fastnn, name)).parameters) == parameters


def test_ops_take_torchs_keywords():
    x, y = tensors((2, 3), (3, 4))
    assert fastnn.mm(input=x, mat2=y).shape == (2, 4)
    assert fastnn.mv(input=x, vec=y[:, 0]).shape == (2,)
    assert fastnn.bmm(input=x.unsqueeze(0), mat2=y.unsqueeze(0)).shape == (1, 2, 4)


@pytest.mark.parametrize("name", ["dot", "vdot", "outer"])
def test_vectors_alone(name):
    x, v = tensors((2, 3), (3,))
    for call in (lambda: getattr(fastnn, name)(x, v), lambda: getattr(x, name)(v)):
        with pytest.raises(fastnn.ShapeError, match=rf"{name}: input must have 1 axis, got shape \(2, 3\)"):
            call()
    with pytest.raises(fastnn.ShapeError, match=rf"{name}: \w+ must have 1 axis, got shape \(2, 3\)"):
        getattr(fastnn, name)(v, x)


def test_mm_takes_matrices_alone():
    x, y = tensors((2, 2, 3), (3, 4))
    with pytest.raises(fastnn.ShapeError, match="mm: input must have 2 axes"):
        x.mm(y)
    with pytest.raises(fastnn.DTypeError, match="mm: mat2 must have dtype float64 to match input, got float32"):
        y.mm(y.T.float())


def test_tensordot():
    x, y = tensors((2, 3, 4), (4, 3, 2))
    expected = np.tensordot(x.numpy(), y.numpy(), ([1, 2], [1, 0]))
    for dims in (([1, 2], [1, 0]), ((1, -1), (1, 0)), fastnn.tensor([[1, 2], [1, 0]])):
        np.testing.assert_allclose(fastnn.tensordot(x, y, dims=dims), expected, rtol=1e-12)
    np.testing.assert_allclose(fastnn.tensordot(x, y, 1), np.tensordot(x.numpy(), y.numpy(), 1), rtol=1e-12)
    assert fastnn.tensordot(x, fastnn.tensor(np.ones((3, 4, 5)))).shape == (2, 5)


def test_einsum():
    x, y, z = tensors((2, 3), (3, 4), (4, 2))
    expected = (x.numpy() @ y.numpy() @ z.numpy()).T
    np.testing.assert_allclose(fastnn.einsum("ij,jk,kl->li", x, y, z), expected, rtol=1e-12)
    np.testing.assert_allclose(fastnn.einsum("ij,jk,kl->li", [x, y, z]), expected, rtol=1e-12)
    np.testing.assert_allclose(fastnn.einsum(x, [0, 1], y, [1, 2], [2, 0]), (x @ y).T, rtol=1e-12)


# -- in place


@pytest.mark.parametrize("name", ADDING)
def test_in_place(name):
    operands = tensors(*CALLS[name])
    expected = getattr(fastnn, name)(*operands, beta=0.5, alpha=-2)
    version = operands[0]._version
    memory = operands[0].numpy()
    assert getattr(operands[0], name + "_")(*operands[1:], beta=0.5, alpha=-2) is operands[0]
    np.testing.assert_array_equal(memory, expected)
    assert operands[0]._version > version
    wrong = fastnn.tensor(np.ones((1, *memory.shape[1:])))
    with pytest.raises(fastnn.ShapeError):
        getattr(wrong, name + "_")(*operands[1:])


@pytest.mark.parametrize("name", ADDING)
def test_in_place_is_recorded(name):
    leaves = tensors(*CALLS[name], grad=True)

    def call(first, *others):
        own = first * 1.0
        getattr(own, name + "_")(*others, beta=0.5, alpha=-2)
        return own

    assert fastnn.testing.gradcheck(call, leaves)
    with pytest.raises(fastnn.GraphError, match="leaf"):
        getattr(leaves[0], name + "_")(*leaves[1:])
    with fastnn.no_grad():
        getattr(leaves[0], name + "_")(*leaves[1:])
    with pytest.raises(fastnn.DTypeError):
        getattr(leaves[0].detach().float(), name + "_")(*(x.detach() for x in leaves[1:]))


def test_in_place_of_what_requires_no_grad():
    plain, x, y = tensors((2, 4), (2, 3), (3, 4))
    x.requires_grad_()
    before = plain.numpy().copy()
    plain.addmm_(x, y)
    assert plain.requires_grad
    np.testing.assert_allclose(plain.detach(), before + x.detach().numpy() @ y.numpy(), rtol=1e-12)
    plain.sum().backward()
    np.testing.assert_allclose(x.grad, np.tile(y.numpy().sum(axis=1), (2, 1)), rtol=1e-12)


# -- chains


def test_chains_take_the_cheapest_order(monkeypatch):
    """The example of Cormen et al.: 15,125 multiplications."""
    extents = (30, 35, 15, 5, 10, 20, 25)
    matrices = tensors(*pairwise(extents))
    expected = np.linalg.multi_dot([x.numpy() for x in matrices])
    count = 0
    matmul = ops.matmul

    def counted(x, y, out=None):
        nonlocal count
        count += x.shape[0] * x.shape[1] * y.shape[1]
        return matmul(x, y, out=out)

    monkeypatch.setattr(ops, "matmul", counted)
    np.testing.assert_allclose(fastnn.chain_matmul(*matrices), expected, rtol=1e-10)
    assert count == 15_125
    np.testing.assert_allclose(fastnn.linalg.multi_dot(matrices), expected, rtol=1e-10)
    out = np.empty(expected.shape)
    assert fastnn.linalg.multi_dot([x.numpy() for x in matrices], out=out) is out
    np.testing.assert_allclose(out, expected, rtol=1e-10)


@pytest.mark.parametrize(
    "shapes",
    [
        [(3,), (3, 4)],
        [(2, 3), (3,)],
        [(3,), (3,)],
        [(3,), (3, 4), (4, 2)],
        [(2, 3), (3, 4), (4,)],
        [(3,), (3, 4), (4,)],
        [(2, 3), (3, 0), (0, 2)],
    ],
)
def test_chains_with_vectors_at_their_ends(shapes):
    matrices = tensors(*shapes, grad=True)
    got = fastnn.linalg.multi_dot(matrices)
    arrays = [x.detach().numpy() for x in matrices]
    expected = arrays[0]
    for other in arrays[1:]:
        expected = expected @ other
    assert got.shape == np.shape(expected)
    np.testing.assert_allclose(got.detach(), expected, rtol=1e-12)
    assert fastnn.testing.gradcheck(lambda *xs: fastnn.linalg.multi_dot(xs), matrices)


def test_errors_of_chains():
    x, v = tensors((2, 3), (3,))
    assert fastnn.chain_matmul(x) is x
    with pytest.raises(fastnn.ShapeError, match="multi_dot: there must be at least 2 tensors, got 1"):
        fastnn.linalg.multi_dot([x])
    with pytest.raises(
        fastnn.ShapeError, match=r"multi_dot: tensor 1 must have extent 3 .* tensor 0 \(2, 3\), got \(2, 3\)"
    ):
        fastnn.linalg.multi_dot([x, x])
    with pytest.raises(fastnn.ShapeError, match=r"multi_dot: tensor 1 must have 2 axes, got \(3,\)"):
        fastnn.linalg.multi_dot([x, v, v])
    with pytest.raises(fastnn.ShapeError, match=r"chain_matmul: tensor 1 must have 2 axes, got \(3,\)"):
        fastnn.chain_matmul(x, v)
    with pytest.raises(TypeError, match="chain_matmul: matrices are missing"):
        fastnn.chain_matmul()
