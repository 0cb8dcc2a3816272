"""Winograd's convolutions against sums in float64: tile sizes, borders, channels, vector widths, threads."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

import fastnn
from fastnn import ops
from fastnn._kernels import cpu
from fastnn._kernels.convolution.winograd_matrices import algorithm
from fastnn.ops.convolution import general, winograd
from fastnn.ops.convolution.geometry import Problem, forward_geometry
from fastnn.testing.phases import Execution, lowering, run

PASSES = ("forward", "input gradient", "weight gradient")
BOUND = {"float32": 5e-6, "float64": 2e-14}
# batch, channels, height, width, outputs, padding
PROBLEMS = [
    (1, 1, 1, 1, 1, 1),
    (2, 7, 2, 2, 8, 1),
    (1, 8, 5, 5, 9, 1),
    (3, 9, 7, 13, 7, 1),
    (2, 33, 14, 7, 33, 1),
    (2, 5, 6, 9, 17, 0),
    (1, 16, 3, 3, 40, 0),
    (1, 3, 4, 6, 5, ((4, 0), (0, 5))),
    (2, 4, 8, 3, 3, (2, 3)),
    (12, 24, 17, 15, 20, 1),  # block by block
    (3, 70, 28, 28, 9, 1),
    (2, 300, 7, 14, 35, 1),  # many channels
]


def geometry_of(x, w, padding):
    attributes = {"stride": 1, "padding": padding, "dilation": 1, "groups": 1}
    return forward_geometry("conv", {"x": x.shape, "w": w.shape}, attributes)


def drawn(batch, channels, height, width, outputs, padding, dtype="float32", seed=0):
    """Input, weight, bias, geometry and what the output got; channels last in memory."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((batch, height, width, channels)).astype(dtype).transpose(0, 3, 1, 2)
    w = (rng.standard_normal((3, 3, channels, outputs)) / np.sqrt(9 * channels)).astype(dtype).transpose(3, 2, 0, 1)
    geometry = geometry_of(x, w, padding)
    dy = rng.standard_normal((batch, *geometry.output, outputs)).astype(dtype).transpose(0, 3, 1, 2)
    return x, w, rng.standard_normal(outputs).astype(dtype), geometry, dy


def executions(x, w, b, geometry, dy, large):
    """For each pass its phases, ready to run, and its result."""
    low = lowering([x, w, b])
    y = winograd.forward(low, *low.inputs, geometry, large=large)
    yield Execution(low, [x, w, b]), y
    low = lowering([dy, w])
    dx = winograd.input_gradient(low, *low.inputs, geometry, large=large)
    yield Execution(low, [dy, w]), dx
    low = lowering([x, dy, w])
    dw = winograd.weight_gradient(low, *low.inputs, geometry, large=large)
    yield Execution(low, [x, dy, w]), dw


def expected(x, w, b, geometry, dy):
    """All three passes, summed in float64 tap by tap."""
    x, w, b, dy = (a.astype(np.float64) for a in (x, w, b, dy))
    padded = np.pad(x, ((0, 0), (0, 0), *geometry.padding))
    y, dx, dw = np.zeros_like(dy), np.zeros_like(padded), np.zeros_like(w)
    height, width = geometry.output
    for i in range(3):
        for j in range(3):
            here, tap = (..., slice(i, i + height), slice(j, j + width)), w[:, :, i, j]
            y += np.einsum("nchw,oc->nohw", padded[here], tap, optimize=True)
            dx[here] += np.einsum("nohw,oc->nchw", dy, tap, optimize=True)
            dw[:, :, i, j] = np.einsum("nohw,nchw->oc", dy, padded[here], optimize=True)
    (top, _), (left, _) = geometry.padding
    return y + b[:, None, None], dx[:, :, top : top + x.shape[2], left : left + x.shape[3]], dw


def error(found, wanted):
    return np.linalg.norm(found - wanted) / max(np.linalg.norm(wanted), 1e-300)


def check(problem, large, bound):
    for name, (execution, result), wanted in zip(PASSES, executions(*problem, large), expected(*problem), strict=True):
        execution.run()
        assert error(execution[result], wanted) <= bound, name


@pytest.mark.parametrize("large", [4, 2])
@pytest.mark.parametrize("outputs", [0, 1])
def test_the_matrices_give_correlations_exactly(large, outputs):
    own = algorithm(large)
    tile = own.tiles[outputs]
    d = [Fraction(3 * i + 1, i + 2) for i in range(tile.points)]
    g = [Fraction(2, 7), Fraction(-5, 3), Fraction(1, 11)]
    dot = lambda row, x: sum((a * b for a, b in zip(row, x, strict=False)), Fraction(0))  # noqa: E731
    products = [dot(b, d) * dot(k, g) for b, k in zip(tile.inwards, own.kernel, strict=False)]
    assert [dot(a, products) for a in tile.outwards] == [dot(g, d[i : i + 3]) for i in range(tile.outputs)]


@pytest.mark.parametrize("large", [4, 2])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("problem", PROBLEMS, ids=str)
def test_all_passes_agree_with_sums_in_float64(problem, dtype, large):
    check(drawn(*problem, dtype=dtype), large, BOUND[dtype])


@pytest.mark.parametrize("large", [4, 2])
@pytest.mark.parametrize("seed", range(12))
def test_drawn_problems(seed, large):
    rng = np.random.default_rng(seed)
    batch, channels, outputs = rng.integers(1, 6), rng.choice([1, 7, 8, 9, 33]), rng.choice([1, 7, 8, 9, 33])
    height, width = rng.integers(1, 31, 2)
    padding = tuple(tuple(int(p) for p in rng.integers(1, 4, 2)) for _ in range(2))
    problem = tuple(map(int, (batch, channels, height, width, outputs)))
    check(drawn(*problem, padding, seed=seed), large, BOUND["float32"])


@pytest.mark.parametrize("large", [4, 2])
@pytest.mark.parametrize("size", [(6, 64, 56, 56, 48, 1), (16, 128, 14, 14, 96, 1), (8, 256, 7, 7, 64, 1)], ids=str)
def test_positive_activations_keep_the_bound(size, large):
    x, w, b, geometry, dy = drawn(*size)
    check((np.maximum(x, 0), w, b, geometry, dy), large, BOUND["float32"])


@pytest.mark.parametrize("large", [4, 2])
@pytest.mark.parametrize(("vector_bytes", "registers"), [(16, 16), (16, 32), (32, 16), (64, 32)])
@pytest.mark.parametrize("problem", [PROBLEMS[3], PROBLEMS[9]], ids=str)
def test_vectors_of_any_width(problem, vector_bytes, registers, large):
    with cpu.targeting(replace(cpu.target(), vector_bytes=vector_bytes, registers=registers)):
        check(drawn(*problem), large, BOUND["float32"])


@pytest.mark.parametrize("large", [4, 2])
@pytest.mark.parametrize("problem", [PROBLEMS[4], PROBLEMS[9], PROBLEMS[11]], ids=str)
def test_chunks_in_any_order_give_the_same_bits(problem, large):
    for execution, result in executions(*drawn(*problem), large):
        execution.run()
        once = execution[result].copy()
        execution.run(1, backwards=True)
        np.testing.assert_array_equal(execution[result], once)


@pytest.mark.parametrize("large", [4, 2])
def test_operands_lie_anyhow(large):
    x, w, b, geometry, dy = drawn(3, 12, 9, 11, 10, 1)
    wanted = expected(x, w, b, geometry, dy)
    gapped = np.zeros((3, 18, 14, 15), np.float32)
    gapped[:, ::2, 1:12, 2:14] = x.transpose(0, 2, 3, 1)
    apart = gapped[:, ::2, 1:12, 2:14].transpose(0, 3, 1, 2)
    turned = np.ascontiguousarray(w[..., ::-1])[..., ::-1]
    for inputs, weights in ((np.ascontiguousarray(x), np.ascontiguousarray(w)), (apart, turned)):
        for (execution, result), value in zip(
            executions(inputs, weights, b, geometry, np.ascontiguousarray(dy), large), wanted, strict=True
        ):
            execution.run()
            assert error(execution[result], value) <= BOUND["float32"]


def problem_of(which, batch, channels, size, outputs, dtype="float32", **attributes):
    attributes = {"stride": 1, "padding": 1, "dilation": 1, "groups": 1, **attributes}
    taps = attributes.pop("taps", (3, 3))
    shapes = {"x": (batch, channels, size, size), "w": (outputs, channels // attributes["groups"], *taps)}
    return Problem(which, forward_geometry("conv", shapes, attributes), batch, channels, outputs, dtype)


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"stride": 2}, "stride"),
        ({"dilation": 2, "padding": 2}, "dilation"),
        ({"groups": 2}, "group"),
        ({"taps": (5, 5), "padding": 2}, "3x3"),
        ({"taps": (1, 1), "padding": 0}, "3x3"),
    ],
)
def test_other_problems_are_refused_with_a_reason(attributes, reason):
    for which in PASSES:
        assert reason in winograd.refuses(problem_of(which, 4, 64, 28, 64, **attributes), large=4)
        assert not winograd.refuses(problem_of(which, 4, 64, 28, 64), large=4)


def test_any_number_of_threads_gives_the_same_bits():
    x, w, b, _, dy = drawn(4, 64, 28, 28, 64, 1)

    def passes():
        tensors = [fastnn.tensor(a, requires_grad=True) for a in (x, w, b)]
        y = ops.conv(*tensors, padding=1)
        y.backward(fastnn.tensor(dy))
        return [y.detach().numpy(), *(t.grad.numpy() for t in tensors)]

    found = []
    for threads in (1, 2, 3):
        with fastnn.threads(threads):
            found.append(passes())
    for other in found[1:]:
        for one, two in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_spreads_within_a_tile_at_most(bad):
    x, w, b, geometry, dy = drawn(2, 16, 16, 16, 16, 1)
    x[0, 3, 0, 0] = bad
    (execution, y), _, _ = executions(x, w, b, geometry, dy, 4)
    execution.run()
    found = np.isfinite(execution[y])
    assert not found[0, :, :2, :2].any()
    assert found[0, :, 4:, 4:].all()
    assert found[1].all()


def test_explain_shows_the_choice():
    text = str(fastnn.explain("conv", (16, 64, 56, 56), (64, 64, 3, 3), None, padding=1, backward=True))
    assert "winograd 4x4" in text
    assert "convolution.winograd.convolve" in text
    assert "convolution.winograd.weight_gradient" in text
    text = str(fastnn.explain("conv", (16, 64, 56, 56), (64, 64, 3, 3), None, stride=2, padding=1))
    assert "for stride and dilation 1" in text
    assert "convolution.winograd" not in text


@pytest.mark.parametrize("seed", range(4))
def test_what_strict_precision_takes_errs_no_more_than_adding_products_one_by_one(seed):
    batch, channels, size, outputs = [(2, 32, 14, 32), (1, 64, 28, 48), (4, 96, 7, 64), (1, 256, 14, 32)][seed]
    problem = drawn(batch, channels, size, size, outputs, 1, seed=seed)
    x, w, b, geometry, dy = problem[0], problem[1], np.zeros_like(problem[2]), *problem[3:]
    y, dx, _ = expected(x, w, b, geometry, dy)
    low, other = lowering([x, w]), lowering([dy, w])
    direct = [
        (low, [x, w], general.forward(low, *low.inputs, None, geometry)),
        (other, [dy, w], general.input_gradient(other, *other.inputs, geometry)),
    ]
    for (execution, result), (own, arrays, summed), wanted in zip(
        executions(x, w, b, geometry, dy, 2), direct, (y, dx), strict=False
    ):
        execution.run()
        by_products = run(own, arrays)
        assert error(execution[result], wanted) <= error(by_products[summed], wanted)


@pytest.mark.parametrize("large", [4, 2])
def test_a_sample_alone_has_the_bits_that_it_has_in_its_batch(large):
    x, w, b, geometry, dy = drawn(24, 40, 15, 14, 36, 1)  # block by block; alone, slice by slice
    whole = [(execution, result) for execution, result in executions(x, w, b, geometry, dy, large)][:2]
    alone = [(execution, result) for execution, result in executions(x[5:6], w, b, geometry, dy[5:6], large)][:2]
    for (execution, result), (other, single) in zip(whole, alone, strict=True):
        execution.run()
        other.run()
        np.testing.assert_array_equal(execution[result][5:6], other[single])


def explained(**more):
    return str(fastnn.explain("conv", (16, 64, 56, 56), (64, 64, 3, 3), None, padding=1, **more))


def test_strict_precision_takes_what_errs_little():
    assert fastnn.get_precision() == "default"
    with fastnn.set_precision("strict"):
        assert fastnn.get_precision() == "strict"
        text = explained(backward=True)
        assert "errs more than strict precision allows" in text
        forward, backward = explained(), text[len(explained()) :]
        assert "large=2" in forward
        assert "large=4" not in forward
        assert "convolution.winograd.weight_gradient" not in backward
        few = str(fastnn.explain("conv", (16, 16, 56, 56), (64, 16, 3, 3), None, padding=1))
        assert "large=" not in few
    assert fastnn.get_precision() == "default"
    assert "large=4" in explained()
    with pytest.raises(ValueError, match="must be one of default, strict, got 'fast'"):
        fastnn.set_precision("fast")


def test_a_change_of_precision_repeats_nothing_that_was_chosen_before():
    x, w, _, _, dy = drawn(4, 64, 28, 28, 64, 1)

    def passes():
        tensors = [fastnn.tensor(a, requires_grad=True) for a in (x, w)]
        y = ops.conv(*tensors, None, padding=1)
        y.backward(fastnn.tensor(dy))
        return [a.copy() for a in (y.detach().numpy(), *(t.grad.numpy() for t in tensors))]

    step = fastnn.compile(lambda a, k: ops.conv(a, k, None, padding=1))
    inputs = fastnn.tensor(x), fastnn.tensor(w)
    usual, planned = passes(), [step(*inputs).numpy().copy() for _ in range(3)]
    with fastnn.set_precision("strict"):
        strict, planned_strictly = passes(), [step(*inputs).numpy().copy() for _ in range(3)]
    for one, two, again in zip(usual, strict, passes(), strict=True):
        assert not np.array_equal(one, two)
        np.testing.assert_array_equal(one, again)
    for own in planned:
        np.testing.assert_array_equal(own, usual[0])
    for own in planned_strictly:
        np.testing.assert_array_equal(own, strict[0])
    np.testing.assert_array_equal(step(*inputs).numpy(), usual[0])


def test_a_gradient_has_the_precision_that_holds_when_it_is_computed():
    x, w, _, _, dy = drawn(4, 64, 28, 28, 64, 1)
    tensors = [fastnn.tensor(a, requires_grad=True) for a in (x, w)]
    y = ops.conv(*tensors, None, padding=1)

    def gradient():
        return fastnn.autograd.grad(y, tensors[:1], fastnn.tensor(dy), retain_graph=True)[0].numpy().copy()

    with fastnn.set_precision("strict"):
        strict = gradient()
    usual = gradient()
    assert not np.array_equal(strict, usual)
    with fastnn.set_precision("strict"):
        np.testing.assert_array_equal(gradient(), strict)


def test_strict_precision_chooses_alike_for_any_batch_size():
    x, w, b, _, _ = drawn(20, 48, 14, 14, 48, 1)
    with fastnn.set_precision("strict"):
        whole = ops.conv(x, w, b, padding=1)
        for n in (1, 3):
            np.testing.assert_array_equal(ops.conv(x[:n], w, b, padding=1), whole[:n])


def test_transposed_convolutions_go_the_same_ways():
    rng = np.random.default_rng(4)
    arrays = [rng.standard_normal(s).astype(np.float32) for s in ((2, 48, 20, 20), (48, 40, 3, 3), (40,))]
    text = str(fastnn.explain("conv_transpose", *(a.shape for a in arrays), padding=1, backward=True))
    assert text.count("* winograd 4x4") == 3
    found = []
    for backend in ("kernels", "numpy"):
        with fastnn.use_backend(backend):
            tensors = [fastnn.tensor(a, requires_grad=True) for a in arrays]
            y = ops.conv_transpose(*tensors, padding=1)
            (y * y).sum().backward()
            found.append([y.detach().numpy(), *(t.grad.numpy() for t in tensors)])
    for own, wanted in zip(*found, strict=True):
        assert error(own, wanted) <= BOUND["float32"]
