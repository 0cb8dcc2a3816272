"""Einsum against NumPy: grammar, broadcasting, strides, gradients, any number of operands, errors."""

import importlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fastnn
from fastnn import ops
from fastnn.ops import einsum, path
from fastnn.testing import gradcheck
from fastnn.testing.samples import relaid

module = importlib.import_module("fastnn.ops.einsum")

COMMON = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
LABELS = "abcdeF"
EXTENTS = st.sampled_from([1, 2, 3, 3, 4, 5, 0])


@st.composite
def equations(draw, most=4, least=1):
    """An equation and the shapes of its operands: repeats, broadcast axes, dots, with or without a result."""
    extents = {label: draw(EXTENTS) for label in LABELS}
    dots = draw(st.lists(EXTENTS, min_size=2, max_size=2))
    terms, shapes, dotted = [], [], False
    for _ in range(draw(st.integers(least, most))):
        labels = draw(st.lists(st.sampled_from(LABELS), max_size=4))
        if draw(st.booleans()):
            labels = list(dict.fromkeys(labels))
        flat = draw(st.sampled_from(["", "", *LABELS]))
        shape = [1 if label == flat else extents[label] for label in labels]
        if draw(st.integers(0, 3)) == 0:
            dotted = True
            place, count = draw(st.integers(0, len(labels))), draw(st.integers(0, 2))
            some = [1 if draw(st.integers(0, 3)) == 0 else n for n in dots[2 - count :]]
            labels, shape = [*labels[:place], "...", *labels[place:]], [*shape[:place], *some, *shape[place:]]
        terms.append("".join(labels))
        shapes.append(tuple(shape))
    equation = ",".join(terms)
    if draw(st.integers(0, 4)):
        own = sorted({label for label in equation if label in LABELS})
        result = draw(st.lists(st.sampled_from(own), unique=True)) if own else []
        if dotted:
            result.insert(draw(st.integers(0, len(result))), "...")
        equation += "->" + "".join(result)
    return equation, shapes


def draw_arrays(shapes, dtype, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


@COMMON
@given(equations(), st.sampled_from(["float32", "float64"]), st.integers(0, 1 << 30))
def test_any_equation(drawn, dtype, seed):
    equation, shapes = drawn
    arrays = draw_arrays(shapes, dtype, seed)
    try:
        expected = np.einsum(equation, *(x.astype("float64") for x in arrays))
    except ValueError:
        with pytest.raises(fastnn.ShapeError, match="einsum: "):
            einsum(equation, *arrays)
        return
    size = np.einsum(equation, *(np.abs(x).astype("float64") for x in arrays))
    got = einsum(equation, *arrays)
    assert got.shape == expected.shape
    assert got.dtype == dtype
    assert (np.abs(got - expected) <= (1e-5 if dtype == "float32" else 1e-13) * size).all()
    # the same bits from any layout, and again from what was remembered
    rng = np.random.default_rng(seed)
    np.testing.assert_array_equal(einsum(equation, *(relaid(x, rng) for x in arrays)), got)
    np.testing.assert_array_equal(einsum(equation, *arrays), got)


@settings(COMMON, max_examples=60)
@given(equations(most=3), st.integers(0, 1 << 30))
def test_any_gradient(drawn, seed):
    equation, shapes = drawn
    rng = np.random.default_rng(seed)
    arrays = [relaid(x, rng) for x in draw_arrays(shapes, "float64", seed)]
    try:
        shape = einsum(equation, *arrays).shape
    except ValueError:
        return
    weight = rng.standard_normal(shape)
    found = []
    for backend in ("kernels", "numpy"):
        with fastnn.use_backend(backend):
            leaves = [fastnn.from_numpy(x).requires_grad_() for x in arrays]
            einsum(equation, *leaves).backward(fastnn.from_numpy(weight))
            found.append([x.grad.numpy() for x in leaves])
    for one, two in zip(*found, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(
    ("equation", "shapes"),
    [
        ("ij,jk->ik", [(3, 4), (4, 2)]),
        ("bij,bjk->ikb", [(2, 3, 4), (2, 4, 2)]),
        ("...ij,...jk", [(2, 1, 3, 4), (5, 4, 2)]),
        ("iij,jk->k", [(3, 3, 2), (2, 4)]),
        ("ij,kl->l", [(2, 3), (4, 2)]),
        ("i,ij,j->", [(3,), (3, 4), (4,)]),
        ("ab,bc,cd,de->ea", [(2, 3), (3, 2), (2, 4), (4, 2)]),
        ("ii->i", [(4, 4)]),
        ("iij->", [(3, 3, 2)]),
        ("...ij->...ji", [(2, 3, 4)]),
        ("ij->j", [(3, 4)]),
        ("i,i,i->i", [(4,), (1,), (4,)]),
    ],
)
def test_gradients_agree_with_finite_differences(equation, shapes):
    leaves = [fastnn.from_numpy(x).requires_grad_() for x in draw_arrays(shapes, "float64")]
    assert gradcheck(lambda *xs: einsum(equation, *xs), leaves)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (" i j , jk ->k i ", "ij,jk->ki"),
        ("Ba,ac", "Ba,ac->Bc"),
        ("ba,ac", "ba,ac->bc"),
        ("cb,ba", "cb,ba->ac"),
        ("ij,ij", "ij,ij->"),
    ],
)
def test_spellings(one, two):
    x, y = draw_arrays([(4, 4), (4, 4)], "float32")
    np.testing.assert_array_equal(einsum(one, x, y), einsum(two, x, y))
    np.testing.assert_allclose(einsum(one, x, y), np.einsum(one, x, y), rtol=1e-5, atol=1e-6)


def test_a_result_without_dots_sums_them_as_in_torch():
    x = draw_arrays([(2, 3, 4)], "float64")[0]
    np.testing.assert_allclose(einsum("...i->i", x), x.sum(axis=(0, 1)), rtol=1e-12)
    y = x.transpose(2, 0, 1)
    np.testing.assert_allclose(einsum("...i,i...->", x, y), (x * x).sum(), rtol=1e-11)


def test_lists_of_subscripts():
    x, y = draw_arrays([(2, 3, 4), (4, 5)], "float32")
    for args in (
        (x, [0, 1, 2], y, [2, 3], [3, 0, 1]),
        (x, [30, 1, 2], y, [2, 3]),
        (x, [..., 2], y, [2, 3], [3, ...]),
        (x, [..., 2], y, (2, 3)),
        (x, [2, 1, 0]),
    ):
        np.testing.assert_allclose(einsum(*args), np.einsum(*args), rtol=1e-5, atol=1e-6)
    t = fastnn.tensor(x)
    assert isinstance(einsum(t, [0, 1, 2], fastnn.tensor(y), [2, 3]), fastnn.Tensor)


def test_one_operand_is_a_view_where_nothing_is_summed():
    x = np.arange(9.0).reshape(3, 3)
    einsum("ii->i", x)[...] = -1
    assert x.tolist() == [[-1, 1, 2], [3, -1, 5], [6, 7, -1]]
    assert np.shares_memory(einsum("ij->ji", x), x)
    t = fastnn.from_numpy(x)
    diagonal = einsum("ii->i", t)
    diagonal += 1
    assert np.trace(x) == 0
    leaf = fastnn.tensor(x, requires_grad=True)
    (einsum("ii->i", leaf) * fastnn.tensor([1.0, 2.0, 3.0]).double()).sum().backward()
    np.testing.assert_array_equal(leaf.grad.numpy(), np.diag([1.0, 2, 3]))


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8", "bool", "complex64", "complex128", "float16"])
def test_other_dtypes_are_numpys(dtype):
    rng = np.random.default_rng(0)
    x, y, z = (rng.integers(0, 3, s).astype(dtype) for s in ((3, 4), (4, 5), (5, 2)))
    for equation, arrays in (("ij,jk->ki", (x, y)), ("ij->i", (x,)), ("ij->", (x,)), ("ij,jk,kl->il", (x, y, z))):
        got, expected = einsum(equation, *arrays), np.einsum(equation, *arrays)
        assert got.dtype == expected.dtype
        np.testing.assert_array_equal(got, expected)


def test_dtypes_that_differ():
    x, y, z = np.ones((2, 3), "float32"), np.ones((3, 2), "int64"), np.full((2, 2), 0.1)
    assert einsum("ij,jk", x, y).dtype == np.float64
    thirds = np.full((2, 3), 1 / 3)
    got = einsum("ij,jk,kl->il", x, thirds.T.astype("float32"), z)
    np.testing.assert_array_equal(got, einsum("ij,jk,kl->il", x.astype("f8"), thirds.T.astype("f4").astype("f8"), z))
    with pytest.raises(fastnn.DTypeError, match="einsum: y must have dtype float32 to match x, got float64"):
        einsum("ij,jk", fastnn.tensor(x), fastnn.tensor(z))
    with pytest.raises(fastnn.DTypeError, match="einsum: y must hold numbers, got dtype"):
        einsum("ij,jk", x, np.array([["a"]]))
    with pytest.raises(fastnn.DTypeError, match="einsum: operand 2 must hold numbers, got dtype"):
        einsum("ij,jk,kl", x, x.T, np.array([["a"]]))


def test_arrays_and_tensors_mix_and_numbers_count():
    x = np.ones((2, 3), "float32")
    assert isinstance(einsum("ij,kj", fastnn.tensor(x), x), fastnn.Tensor)
    assert isinstance(einsum("ij,kj,lj->ikl", x, fastnn.tensor(x), x), fastnn.Tensor)
    assert einsum(",ij", 2.0, x).tolist() == [[2.0] * 3] * 2
    assert einsum(",", 2, 3) == 6
    assert einsum(",ij", 2.0, [[1.0, 2.0]]).tolist() == [[2, 4]]
    assert einsum("ij,jk", [fastnn.tensor(x), fastnn.tensor(x.T.copy())]).shape == (2, 2)


def test_out():
    x, y, z = draw_arrays([(4, 4)] * 3, "float32")
    for equation, arrays in (("ij,jk->ik", (x, y)), ("ij,jk,kl->li", (x, y, z)), ("ij->ji", (x,)), ("ij->j", (x,))):
        expected = np.array(einsum(equation, *arrays))
        out = np.empty_like(expected)
        assert einsum(equation, *arrays, out=out) is out
        np.testing.assert_array_equal(out, expected)
        # over an input, and over a part of one in another order
        for target in (lambda a: a, lambda a: a[::-1], lambda a: a.T):
            own = [a.copy() for a in arrays]
            place = target(own[-1]) if expected.ndim == 2 else target(own[-1])[0]
            einsum(equation, *own, out=place)
            np.testing.assert_array_equal(place, expected)
    wide = np.empty((4, 4))
    einsum("ij,jk", x, y, out=wide)
    np.testing.assert_array_equal(wide, einsum("ij,jk", x, y))
    with pytest.raises(fastnn.ShapeError, match=r"einsum: out must have shape \(4, 4\), got \(4, 3\)"):
        einsum("ij,jk", x, y, out=np.empty((4, 3), "float32"))
    with pytest.raises(fastnn.GraphError, match="einsum: out"):
        einsum("ij,jk", fastnn.tensor(x, requires_grad=True), y, out=fastnn.tensor(x))


@pytest.mark.parametrize(
    "optimize",
    [
        *(True, False, "auto", "greedy", "optimal", ("greedy", 1000)),
        ["einsum_path", (1, 2), (0, 2), (0, 1)],
        ["einsum_path", (0, 1, 2), (1, 0)],
    ],
)
def test_orders_of_contraction(optimize):
    arrays = draw_arrays([(3, 4), (4, 5), (5, 6), (6, 3)], "float64")
    expected = np.einsum("ab,bc,cd,de->ae", *arrays)
    np.testing.assert_allclose(einsum("ab,bc,cd,de->ae", *arrays, optimize=optimize), expected, rtol=1e-11)


def test_the_order_follows_the_shapes():
    """A vector at the end makes a chain of matrices one of vectors: 2 * 3 * n**2 FLOPs, not 4 * n**3."""
    plan = path.plan("ij,jk,kl,l->i", [(50, 50), (50, 50), (50, 50), (50,)], True)
    assert [step.equation for step in plan] == ["kl,l->k", "jk,k->j", "ij,j->i"]


def test_a_plan_is_made_once(monkeypatch):
    arrays = draw_arrays([(3, 4), (4, 5), (5, 6)], "float32")
    module._plans.clear()
    einsum("ij,jk,kl->il", *arrays)
    einsum("ij,...j->i...", *arrays[:1], arrays[0])

    def refuse(*_, **__):
        raise AssertionError

    for name in ("parse", "_path"):
        monkeypatch.setattr(path, name, refuse)
    einsum("ij,jk,kl->il", *arrays)
    einsum("ij,...j->i...", *arrays[:1], arrays[0])
    with pytest.raises(AssertionError):
        einsum("ij,jk,kl->il", *(np.ones((2, 2), "float32") for _ in range(3)))


def test_plans_do_not_pile_up(monkeypatch):
    monkeypatch.setattr(module, "MOST_PLANS", 4)
    for n in range(1, 20):
        np.testing.assert_array_equal(einsum("ij,jk", np.ones((n, 2)), np.ones((2, n))), np.full((n, n), 2))
        einsum("i,i,i->", *[np.ones(n)] * 3)
    assert len(module._plans) <= 4


def test_kernels_serve_floats_alone_and_never_numpys_einsum(monkeypatch):
    leaves = [fastnn.tensor(x, requires_grad=True) for x in draw_arrays([(3, 3, 4), (4, 5), (5, 1)], "float32")]

    def refuse(*_, **__):
        raise AssertionError

    monkeypatch.setattr(module.pair, "reference", (refuse, refuse))
    module.pair.forget()
    einsum("iij,jk,kl->l", *leaves).sum().backward()
    assert all(x.grad is not None for x in leaves)


def test_same_bits_for_any_number_of_threads_and_for_a_sample_alone():
    x, w, y = draw_arrays([(6, 40, 33), (33, 70), (6, 33, 70)], "float32")
    found = []
    for count in (1, 2, 5):
        with fastnn.threads(count):
            found.append([einsum("bnk,km->bnm", x, w), einsum("bnk,bkm->bmn", x, y), einsum("bnk,bkm->nm", x, y)])
    for other in found[1:]:
        for one, two in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(one, two)
    for b in range(6):
        np.testing.assert_array_equal(einsum("bnk,km->bnm", x[b : b + 1], w)[0], found[0][0][b])
        np.testing.assert_array_equal(einsum("nk,km->nm", x[b], w), found[0][0][b])
        np.testing.assert_array_equal(einsum("bnk,bkm->bmn", x[b : b + 1], y[b : b + 1])[0], found[0][1][b])
        np.testing.assert_array_equal(einsum("km,bnk->bnm", w, x[b : b + 1])[0], einsum("km,bnk->bnm", w, x)[b])


def test_nan_and_infinity():
    x = np.array([[0.0, np.inf], [np.nan, 1.0]])
    np.testing.assert_array_equal(einsum("ij,jk", x, np.zeros((2, 2))), np.full((2, 2), np.nan))
    np.testing.assert_array_equal(einsum("ij,k->k", np.empty((0, 3)), np.array([np.inf, 1])), [0, 0])


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("ij,jk->ik", np.ones((2, 3)), np.ones((4, 5))),
         r"subscript 'j' of operand 1 must have extent 3 or 1 to match operand 0 \(2, 3\), got \(4, 5\)"),
        (("ij,jk,kl", np.ones((2, 3)), np.ones((3, 5)), np.ones((4, 1))), r"subscript 'k' of operand 2 .* operand 1"),
        (("ii->i", np.ones((2, 3))), r"subscript 'i' is repeated in operand 0, .* got \(2, 3\)"),
        (("ii->i", np.ones((1, 3))), "repeated in operand 0"),
        (("ij,jk", np.ones((2, 3)), np.ones(3)), "operand 1 must have 2 axes to match .*'jk', got"),
        (("...ij", np.ones(3)), "operand 0 must have at least 2 axes"),
        (("ij,jk->il", np.ones((2, 3)), np.ones((3, 2))), "subscript 'l' of the result must occur in an operand"),
        (("ij,jk->ii", np.ones((2, 3)), np.ones((3, 2))), "result must have each subscript once, got 'i' twice"),
        (("i1,jk", np.ones((2, 3)), np.ones((3, 2))), "operand 0 must be letters and at most one '...', got 'i1'"),
        (("i..,jk", np.ones((2, 3)), np.ones((3, 2))), "operand 0 must have dots as one '...'"),
        (("......i", np.ones((2, 3))), "dots as one"),
        (("ij->jk->i", np.ones((2, 3))), "at most one '->'"),
        (("ij-", np.ones((2, 3))), "at most one '->'"),
        (("ij,jk", np.ones((2, 3))), "subscripts for 2 operands, got 1"),
        (("...i,...i->...", np.ones((2, 3)), np.ones((4, 3))), r"'\.\.\.' \(its axis -1\) of operand 1 must have"),
        ((np.ones(3), [52]), "integers from 0 to 51 or Ellipsis, got 52"),
        ((np.ones(3), [-1]), "integers from 0 to 51"),
        (("ij,jk,kl", *[np.ones((2, 2))] * 3), None),
    ],
)  # fmt: skip
def test_errors_name_the_subscript_and_the_operand(args, words):
    if words is None:
        for path in (["einsum_path", (0, 3), (0, 1)], ["einsum_path", (0, 1)], ["einsum_path", (0, 0), (0, 1)]):
            with pytest.raises(fastnn.ShapeError, match=r"einsum: .*path"):
                einsum(*args, optimize=path)
        with pytest.raises(ValueError, match="einsum: optimize must be"):
            einsum(*args, optimize="fastest")
        return
    with pytest.raises(fastnn.ShapeError, match="einsum: .*" + words):
        einsum(*args)
    # again, once the same equation was seen with operands that fit
    if isinstance(args[0], str) and args[0] == "ij,jk->ik":
        einsum(args[0], np.ones((2, 3)), np.ones((3, 2)))
        with pytest.raises(fastnn.ShapeError, match="einsum: .*" + words):
            einsum(*args)


@pytest.mark.parametrize("args", [(), ("ij",), (np.ones(2),), (np.ones(2), 3)])
def test_missing_operands(args):
    with pytest.raises((TypeError, fastnn.ShapeError), match="einsum: "):
        einsum(*args)


def test_the_op_checks_axes_by_itself():
    einsum("ij,jk->ik", np.ones((2, 3)), np.ones((3, 2)))
    with pytest.raises(fastnn.ShapeError, match="operand 0 must have 2 axes to match 'ij', got"):
        ops.einsum("ij,jk->ik", np.ones(3), np.ones((3, 2)))
