"""Resampled images against sums over elements one by one; gradients: tests/ops/test_declarations.py."""

import math

import numpy as np
import pytest

import fastnn
from fastnn import nn, ops
from fastnn.errors import DTypeError, ShapeError
from fastnn.nn import functional as F

rng = np.random.default_rng(6)
LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}


def keys(x, a):
    x = abs(x)
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0


def weights(size, out, mode, align, factor=None, antialias=False):
    """What each of `out` outputs takes of each of `size` inputs."""
    made = np.zeros((out, size))
    scale = ((size - 1) / (out - 1) if out > 1 else 0.0) if align else 1 / factor if factor else size / out
    for o in range(out):
        centre = scale * o if align else scale * (o + 0.5) - 0.5
        if mode == "nearest":
            made[o, min(math.floor(o * scale), size - 1)] = 1
        elif mode == "nearest-exact":
            made[o, min(math.floor((o + 0.5) * scale), size - 1)] = 1
        elif antialias:
            wide = max(scale, 1)
            reach = {"linear": 1, "cubic": 2}[mode] * wide
            middle = scale * (o + 0.5)
            for i in range(max(int(middle - reach + 0.5), 0), min(int(middle + reach + 0.5), size)):
                away = (i - middle + 0.5) / wide
                made[o, i] = keys(away, -0.5) if mode == "cubic" else max(1 - abs(away), 0)
            made[o] /= made[o].sum()
        elif mode == "cubic":
            for i in range(math.floor(centre) - 1, math.floor(centre) + 3):
                made[o, min(max(i, 0), size - 1)] += keys(centre - i, -0.75)
        else:
            place = max(centre, 0)
            first = min(math.floor(place), size - 1)
            made[o, first] += 1 - (place - first)
            made[o, min(first + 1, size - 1)] += place - first
    return made


def resampled(x, sizes, *options, factors=None, **more):
    for axis, out in enumerate(sizes, 2):
        factor = factors[axis - 2] if factors else None
        x = np.moveaxis(np.moveaxis(x, axis, -1) @ weights(x.shape[axis], out, *options, factor, **more).T, -1, axis)
    return x


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact"])
@pytest.mark.parametrize(("shape", "size"), [((7,), (11,)), ((4, 9), (6, 3)), ((3, 4, 5), (6, 1, 7))])
def test_nearest_neighbours(mode, shape, size):
    x = rng.standard_normal((2, 3, *shape))
    got = F.interpolate(fastnn.from_numpy(x), size, mode=mode)
    np.testing.assert_array_equal(got.array, resampled(x, size, mode, False))


@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize(("shape", "size"), [((7,), (11,)), ((4, 9), (6, 3)), ((3, 4, 5), (6, 1, 7)), ((1, 2), (4, 5))])
def test_lines(shape, size, align):
    x = rng.standard_normal((2, 3, *shape))
    got = F.interpolate(fastnn.from_numpy(x), size, mode=LINEAR[len(shape)], align_corners=align)
    np.testing.assert_allclose(got.array, resampled(x, size, "linear", align), atol=1e-12)


@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize(("shape", "size"), [((4, 9), (6, 3)), ((7, 5), (8, 20)), ((1, 2), (4, 5))])
def test_cubics(shape, size, align):
    x = rng.standard_normal((2, 3, *shape))
    got = F.interpolate(fastnn.from_numpy(x), size, mode="bicubic", align_corners=align)
    np.testing.assert_allclose(got.array, resampled(x, size, "cubic", align), atol=1e-12)


@pytest.mark.parametrize("mode", ["linear", "cubic"])
@pytest.mark.parametrize("size", [(4, 3), (9, 20), (5, 5)])
def test_antialias_counts_every_input(mode, size):
    x = rng.standard_normal((2, 3, 11, 13))
    got = F.interpolate(fastnn.from_numpy(x), size, mode=f"bi{mode}", antialias=True)
    np.testing.assert_allclose(got.array, resampled(x, size, mode, False, antialias=True), atol=1e-12)


def test_factors_place_the_elements_unless_they_are_recomputed():
    x = rng.standard_normal((1, 2, 5, 7))
    given = fastnn.from_numpy(x)
    placed = F.interpolate(given, scale_factor=(1.3, 1.5), mode="bilinear")
    assert placed.shape == (1, 2, 6, 10)
    np.testing.assert_allclose(placed.array, resampled(x, (6, 10), "linear", False, factors=(1.3, 1.5)), atol=1e-12)
    again = F.interpolate(given, scale_factor=(1.3, 1.5), mode="bilinear", recompute_scale_factor=True)
    np.testing.assert_allclose(again.array, resampled(x, (6, 10), "linear", False), atol=1e-12)
    assert np.abs(placed.array - again.array).max() > 0.01


def test_area_is_adaptive_pooling():
    x = fastnn.from_numpy(rng.standard_normal((2, 3, 9, 8)))
    np.testing.assert_array_equal(F.interpolate(x, (4, 3), mode="area").array, F.adaptive_avg_pool2d(x, (4, 3)).array)


def test_results_have_their_channels_last_and_infinities_stay_where_they_are():
    x = rng.standard_normal((2, 3, 4, 5)).astype("f4")
    x[0, 0, 1, 2] = np.inf
    y = F.interpolate(fastnn.from_numpy(x), (7, 9), mode="bilinear", align_corners=True)
    assert np.moveaxis(y.array, 1, -1).flags.c_contiguous
    assert not np.isnan(y.array).any()
    assert y.array[0, 0, 2, 4] == np.inf  # the corners lie on corners, so this one lies on the infinity
    assert np.isfinite(y.array[0, 0, 4, 4])


def test_integers_keep_their_dtype_with_nearest_neighbours():
    x = rng.integers(0, 256, (2, 1, 4, 4)).astype(np.uint8)
    y = F.interpolate(fastnn.from_numpy(x), scale_factor=2)
    assert y.dtype == np.uint8
    np.testing.assert_array_equal(y.array, x.repeat(2, 2).repeat(2, 3))
    with pytest.raises(DTypeError, match="must be of a floating dtype with mode 'bilinear', got uint8"):
        F.interpolate(fastnn.from_numpy(x), scale_factor=2, mode="bilinear")
    with pytest.raises(DTypeError, match="must be of a floating dtype with mode 'linear', got uint8"):
        ops.interpolate(x, (8, 8), "linear")


def test_layers():
    x = fastnn.from_numpy(rng.standard_normal((2, 3, 4, 5)).astype("f4"))
    for layer, same in [
        (nn.Upsample(scale_factor=2), F.interpolate(x, scale_factor=2)),
        (nn.Upsample((3, 7), mode="bicubic"), F.interpolate(x, (3, 7), mode="bicubic")),
        (nn.UpsamplingNearest2d(scale_factor=(2, 3)), F.interpolate(x, (8, 15))),
        (nn.UpsamplingBilinear2d(8), F.interpolate(x, 8, mode="bilinear", align_corners=True)),
    ]:
        np.testing.assert_array_equal(layer(x).array, same.array)


@pytest.mark.parametrize(
    ("shape", "options", "error", "words"),
    [
        ((2, 3, 4, 4), {"mode": "best", "size": 2}, ValueError, "mode must be one of nearest, .* got 'best'"),
        ((2, 3, 4), {"mode": "bilinear", "size": 2}, ShapeError, "must have 4 axes with mode 'bilinear'"),
        ((2, 3), {"size": 2}, ShapeError, "must have 3 to 5 axes, got shape"),
        ((2, 3, 4, 4), {}, ValueError, "either size or scale_factor must be given"),
        ((2, 3, 4, 4), {"size": 2, "scale_factor": 2}, ValueError, "either size or scale_factor must be given"),
        ((2, 3, 4, 4), {"size": (2, 3, 4)}, ShapeError, "size must be one number or 2"),
        ((2, 3, 4, 4), {"size": 0}, ValueError, "size must be from 1 on"),
        ((2, 3, 4, 4), {"scale_factor": -1}, ValueError, "scale_factor must be positive, got -1"),
        ((2, 3, 4, 4), {"scale_factor": 0.1}, ShapeError, "must leave elements along each axis of"),
        ((2, 3, 0, 4), {"size": 2}, ShapeError, "at least one element along each axis"),
        ((2, 3, 4, 4), {"size": 2, "align_corners": True}, ValueError, "align_corners must be left out"),
        ((2, 3, 4, 4), {"size": 2, "antialias": True}, ValueError, "antialias is for modes bilinear and bicubic"),
        ((2, 3, 4, 4), {"size": 2, "recompute_scale_factor": True}, ValueError, "needs a scale_factor"),
    ],
)
def test_what_is_of_no_use_is_refused(shape, options, error, words):
    with pytest.raises(error, match=words):
        F.interpolate(fastnn.from_numpy(np.zeros(shape, "f4")), **options)


def test_the_op_refuses_what_does_not_go_together():
    x = np.zeros((1, 1, 4, 4), "f4")
    with pytest.raises(ValueError, match="mode must be one of nearest, nearest-exact, linear, cubic, got 'bilinear'"):
        ops.interpolate(x, (2, 2), "bilinear")
    with pytest.raises(ValueError, match="align_corners and antialias are for linear and cubic"):
        ops.interpolate(x, (2, 2), "nearest", True)
    with pytest.raises(ValueError, match="scales must be positive"):
        ops.interpolate(x, (2, 2), "linear", scales=(0.5, 0))
    with pytest.raises(ShapeError, match="scales must be as many"):
        ops.interpolate(x, (2, 2), "linear", scales=(0.5,))
