"""Every exact way to convolve, forced on drawn problems: small integers give the reference's numbers to the bit."""

from dataclasses import replace

import numpy as np
import pytest

import fastnn
from fastnn._kernels import cpu
from fastnn.ops.convolution import reference, spread, variants
from fastnn.ops.convolution.geometry import Geometry, Problem, forward_geometry
from fastnn.testing.phases import Execution, lowering

WAYS = {v.name: v for v in variants.VARIANTS if v.name in ("contraction", "depthwise", "direct")}
DTYPES = ("float32", "float64")


def geometry_of(x, w, **attrs) -> Geometry:
    given = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1} | attrs
    return forward_geometry("conv", {"x": x.shape, "w": w.shape, "b": None}, given)


def integers(rng, *shape, dtype, last=True):
    """Small integers as floats; images and weights with their channels last in memory, or any other way."""
    values = rng.integers(-3, 4, shape).astype(dtype)
    if not last:
        return np.asfortranarray(values)
    if len(shape) < 3:
        return values
    order = [0, *range(2, len(shape)), 1]
    return np.ascontiguousarray(values.transpose(order)).transpose(np.argsort(order))


def draw(rng, groups, per_group, outputs, count=2, dtype="float32"):
    """An input, a weight and a geometry that fit together; extents from where the kernel just fits."""
    kernel = [int(rng.integers(1, 6)) for _ in range(count)]
    stride, dilation = ([int(rng.integers(1, 4)) for _ in range(count)] for _ in range(2))
    padding = [(int(rng.integers(0, 4)), int(rng.integers(0, 4))) for _ in range(count)]
    least = [max(1, d * (k - 1) + 1 - sum(p)) for d, k, p in zip(dilation, kernel, padding, strict=True)]
    extents = [n + int(rng.integers(0, 20)) for n in least]
    x = integers(rng, int(rng.integers(1, 4)), groups * per_group, *extents, dtype=dtype, last=bool(rng.integers(4)))
    w = integers(rng, groups * outputs, per_group, *kernel, dtype=dtype)
    return x, w, geometry_of(x, w, stride=stride, padding=padding, dilation=dilation, groups=groups)


def passes(way, x, w, b, dy, geometry):
    """The results of the passes that a way takes, by name: each with its phases, to be run again."""
    found = {}
    for which in ("forward", "input gradient", "weight gradient"):
        problem = Problem(which, geometry, x.shape[0], x.shape[1], w.shape[0], str(x.dtype))
        if way.refuses(problem):
            continue
        low = lowering([x, w, b, dy])
        sx, sw, sb, sdy = low.inputs
        if which == "forward":
            result = way.forward(low, sx, sw, sb, geometry)
        elif which == "input gradient":
            result = way.input_gradient(low, sdy, sw, geometry)
        else:
            result = way.weight_gradient(low, sx, sdy, sw, geometry)
        found[which] = Execution(low, [x, w, b, dy]), result
    return found


def expected(which, x, w, b, dy, geometry):
    x, w, dy = (a.astype(np.float64) for a in (x, w, dy))
    if which == "forward":
        y = reference.correlated(x, w, geometry)
        return y if b is None else y + b.reshape(-1, *(1,) * (y.ndim - 2))
    if which == "input gradient":
        return reference.spread(dy, w, geometry)
    return reference._weight_gradient(x, dy, w.shape, geometry)


def check(way, x, w, geometry, rng, bias=True):
    """All passes of a way against the reference, their chunks in any order; returns how many passes it took."""
    b = integers(rng, w.shape[0], dtype=x.dtype) if bias else None
    dy = integers(rng, x.shape[0], w.shape[0], *geometry.output, dtype=x.dtype)
    found = passes(way, x, w, b, dy, geometry)
    for which, (execution, result) in found.items():
        for chunks, backwards in ((0, False), (1, True), (3, False)):
            execution.run(chunks, backwards=backwards)
            got = execution[result]
            assert got.dtype == x.dtype
            np.testing.assert_array_equal(got, expected(which, x, w, b, dy, geometry), err_msg=f"{which} {geometry}")
    return len(found)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", WAYS)
def test_drawn_problems(name, dtype):
    rng = np.random.default_rng(5)
    taken = 0
    for number in range(16):
        groups = int(rng.integers(8, 40)) if number % 2 else int(rng.integers(1, 3))
        each = 1 if number % 2 else int(rng.integers(1, 20))
        problem = draw(rng, groups, each, each, 1 + (number % 5 > 0), dtype)
        taken += check(WAYS[name], *problem, rng, bias=number % 3 > 0)
    assert taken >= 20


@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("kernel", [(5,), (3, 4), (2, 3, 2)])
def test_kernels_that_cover_the_input(kernel, groups):
    rng = np.random.default_rng(12)
    x = integers(rng, 4, 2 * groups, *kernel, dtype="float32")
    w = integers(rng, 7 * groups, 2, *kernel, dtype="float32")
    assert check(WAYS["contraction"], x, w, geometry_of(x, w, groups=groups), rng) == 3


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_depthwise_at_edges_of_tiles_and_vectors(dtype, stride):
    rng = np.random.default_rng(6)
    lanes = cpu.target().lanes(dtype)
    for channels in (lanes, lanes + 1, 2 * lanes - 1, 2 * lanes, 3 * lanes + 1):
        for width in (1, 2, 3, 4, 5, 7, 8, 9, 13):
            x, w = integers(rng, 2, channels, 3, width, dtype=dtype), integers(rng, channels, 1, 3, 3, dtype=dtype)
            geometry = geometry_of(x, w, stride=stride, padding=1, groups=channels)
            assert check(WAYS["depthwise"], x, w, geometry, rng) == 3


@pytest.mark.parametrize("kernel", [(1, 16), (9, 9), (7, 1)])
def test_depthwise_with_large_kernels(kernel):
    rng = np.random.default_rng(7)
    x, w = integers(rng, 1, 19, 12, 21, dtype="float32"), integers(rng, 19, 1, *kernel, dtype="float32")
    assert check(WAYS["depthwise"], x, w, geometry_of(x, w, padding=4, groups=19), rng) == 3


@pytest.mark.parametrize("dtype", DTYPES)
def test_direct_at_edges_of_tiles_and_panels(dtype):
    rng = np.random.default_rng(9)
    panel = 2 * cpu.target().lanes(dtype)
    for channels, outputs in (
        (1, 1),
        (1, panel - 1),
        (3, panel),
        (40, panel + 1),
        (17, 2 * panel),
        (70, 2 * panel + 3),
    ):
        for height, width in ((1, 5), (1, 6), (1, 7), (5, 1), (6, 2), (2, 13), (11, 12)):
            x = integers(rng, 2, channels, height, width, dtype=dtype)
            w = integers(rng, outputs, channels, 3, 3, dtype=dtype)
            for stride in (1, 2):
                geometry = geometry_of(x, w, stride=stride, padding=1)
                assert check(WAYS["direct"], x, w, geometry, rng, height > 1) == 3


@pytest.mark.parametrize(
    ("x", "w", "attrs"),
    [
        ((1, 2, 3000), (3, 2, 5), {}),  # columns are cut
        ((40, 3, 5, 5), (8, 3, 3, 3), {"padding": 1}),  # several samples a chunk
        ((1, 80, 40, 50), (20, 80, 5, 5), {"padding": 2}),  # several blocks of channels, rows are cut
        ((2, 3, 33, 31), (65, 3, 7, 7), {"stride": 2, "padding": 3}),
        ((2, 12, 9, 9), (20, 6, 3, 3), {"groups": 2, "dilation": 2, "padding": (2, 1)}),
        ((2, 4, 20, 20), (4, 4, 2, 3), {"stride": (2, 3)}),
    ],
)
def test_direct_with_large_and_odd_problems(x, w, attrs):
    rng = np.random.default_rng(10)
    x, w = integers(rng, *x, dtype="float32"), integers(rng, *w, dtype="float32")
    assert check(WAYS["direct"], x, w, geometry_of(x, w, **attrs), rng) >= 2


@pytest.mark.parametrize(("width", "registers"), [(16, 16), (32, 16), (64, 32)])
def test_vectors_of_other_machines(width, registers):
    rng = np.random.default_rng(13)
    target = replace(cpu.target(), vector_bytes=width, registers=registers)
    with cpu.targeting(target):
        for groups, channels, outputs in ((1, 3, 37), (2, 20, 17), (35, 1, 1)):
            x = integers(rng, 2, groups * channels, 9, 14, dtype="float32")
            w = integers(rng, groups * outputs, channels, 3, 3, dtype="float32")
            for way in ("direct", "depthwise"):
                found = check(WAYS[way], x, w, geometry_of(x, w, stride=2, padding=1, groups=groups), rng)
                assert found == 3 * (way == "direct" or groups == 35)


@pytest.mark.parametrize("dtype", DTYPES)
def test_spreading_takes_any_stride_and_dilation(dtype):
    rng = np.random.default_rng(11)
    for number in range(40):
        x, w, geometry = draw(rng, 1 + number % 2, int(rng.integers(1, 6)), int(rng.integers(1, 40)), 2, dtype)
        dy = integers(rng, x.shape[0], w.shape[0], *geometry.output, dtype=dtype)
        low = lowering([dy, w])
        result = spread.input_gradient(low, *low.inputs, geometry)
        execution = Execution(low, [dy, w])
        execution.run(1, backwards=True)
        np.testing.assert_array_equal(
            execution[result], reference.spread(dy.astype(np.float64), w.astype(np.float64), geometry)
        )


@pytest.mark.parametrize(("x", "w"), [((2, 5, 9, 8), (20, 5, 3, 3)), ((2, 40, 9, 8), (40, 1, 3, 3))])
def test_a_sample_has_the_same_bits_alone_and_on_any_number_of_threads(x, w):
    rng = np.random.default_rng(8)
    x, w = (rng.standard_normal(shape).astype(np.float32) for shape in (x, w))
    groups = x.shape[1] // w.shape[1]

    def every(x):
        a, b = fastnn.tensor(x, requires_grad=True), fastnn.tensor(w, requires_grad=True)
        y = fastnn.ops.conv(a, b, None, padding=1, groups=groups)
        dx, dw = fastnn.autograd.grad(y, [a, b], fastnn.ones_like(y))
        return [np.asarray(t.detach()) for t in (y, dx, dw)]

    together = every(x)
    for threads in (1, 2, 3):
        with fastnn.threads(threads):
            for one, other in zip(every(x), together, strict=True):
                np.testing.assert_array_equal(one, other)
    for one, other in zip(every(x[1:]), together[:2], strict=False):
        np.testing.assert_array_equal(one, other[1:])


@pytest.mark.parametrize("stride", [1, 2])
def test_direct_gives_a_sample_the_same_bits_in_any_batch(stride):
    rng = np.random.default_rng(14)
    x = rng.standard_normal((5, 14, 14, 256)).astype(np.float32).transpose(0, 3, 1, 2)
    w = rng.standard_normal((40, 256, 3, 3)).astype(np.float32)
    geometry = geometry_of(x, w, stride=stride, padding=1)
    dy = rng.standard_normal((5, *geometry.output, 40)).astype(np.float32).transpose(0, 3, 1, 2)
    whole = passes(WAYS["direct"], x, w, None, dy, geometry)
    alone = passes(WAYS["direct"], x[3:4], w, None, dy[3:4], geometry)
    for which in ("forward", "input gradient"):
        results = []
        for execution, result in (whole[which], alone[which]):
            execution.run()
            results.append(execution[result])
        np.testing.assert_array_equal(results[0][3:4], results[1])


def test_the_choice_is_explained():
    text = str(fastnn.explain("conv", (4, 32, 14, 14), (32, 1, 3, 3), None, padding=1, groups=32))
    assert "way to convolve (forward)" in text
    assert "convolution.depthwise.correlate" in text
    assert "more than one channel a group" in str(fastnn.explain("conv", (4, 32, 14, 14), (32, 32, 3, 3), None))


def test_strict_gradients_of_an_input_do_not_depend_on_the_batch():
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((32, 8, 5, 5), "f4"), rng.standard_normal((64, 8, 3, 3), "f4")
    dy = rng.standard_normal((32, 64, 3, 3), "f4")
    with fastnn.set_precision("strict"):
        found = []
        for count in (1, 3, 10, 32):
            own = fastnn.from_numpy(x[:count].copy()).requires_grad_()
            fastnn.nn.functional.conv2d(own, fastnn.from_numpy(w)).backward(fastnn.from_numpy(dy[:count].copy()))
            found.append(own.grad.numpy())
    for part in found:
        np.testing.assert_array_equal(part, found[-1][: len(part)])
