"""Functions that bring their own gradient, as torch's users write them."""

import numpy as np
import pytest

import fastnn
from fastnn.autograd import Function


class Cube(Function):
    @staticmethod
    def forward(ctx, x, factor):
        ctx.save_for_backward(x)
        ctx.factor = factor
        return x * x * x * factor

    @staticmethod
    def backward(ctx, dy):
        (x,) = ctx.saved_tensors
        return dy * 3 * x * x * ctx.factor, None


class SumAndDifference(Function):
    @staticmethod
    def forward(x, y, unused):
        return x + y, x - y

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.shape = inputs[0].shape

    @staticmethod
    def backward(ctx, ds, dd):
        return ds + dd, ds - dd, None


def leaf(*shape, seed=0):
    return fastnn.tensor(np.random.default_rng(seed).standard_normal(shape), requires_grad=True)


def test_gradients_are_those_that_it_gives():
    x = leaf(3, 2)
    y = Cube.apply(x, 2.0)
    assert "Cube" in repr(y)
    y.sum().backward()
    np.testing.assert_allclose(x.grad.array, 6 * x.array**2)
    assert fastnn.testing.gradcheck(lambda t: Cube.apply(t * 2, 0.5), (leaf(4),))
    assert fastnn.testing.gradcheck(lambda a, b: SumAndDifference.apply(a, b, "text"), (leaf(4), leaf(4, seed=1)))


def test_gradients_that_do_not_arrive_are_zeros():
    a, b = leaf(3), leaf(3, seed=1)
    total, _ = SumAndDifference.apply(a, b, None)
    total.sum().backward()
    np.testing.assert_array_equal(a.grad.array, np.ones(3))
    np.testing.assert_array_equal(b.grad.array, np.ones(3))


def test_it_records_only_where_gradients_are_wanted():
    assert not Cube.apply(fastnn.tensor([1.0]), 1.0).requires_grad
    with fastnn.no_grad():
        assert not Cube.apply(leaf(1), 1.0).requires_grad
    y = Cube.apply(leaf(2), 1.0)
    y.sum().backward()
    with pytest.raises(RuntimeError, match="Cube a second time"):
        y.sum().backward()


def test_what_was_saved_is_watched():
    x = leaf(2) * 1
    y = Cube.apply(x, 1.0)
    x += 1
    with pytest.raises(RuntimeError, match="changed in place"):
        y.sum().backward()


def test_outputs_without_gradient():
    class Parts(Function):
        @staticmethod
        def forward(ctx, x):
            size = x * 0 + 1
            ctx.mark_non_differentiable(size)
            return x * 2, size, x > 0

        @staticmethod
        def backward(ctx, dx, dsize, dmask):
            assert dsize is None
            assert dmask is None
            return dx * 2

    x = leaf(3)
    y, size, mask = Parts.apply(x)
    assert (y.requires_grad, size.requires_grad, mask.requires_grad) == (True, False, False)
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.array, [2, 2, 2])


def test_changes_in_place():
    class Doubled(Function):
        @staticmethod
        def forward(ctx, x):
            x *= 2
            ctx.mark_dirty(x)
            return x

        @staticmethod
        def backward(ctx, dy):
            return dy * 2

    x = leaf(3)
    y = x * 1
    z = Doubled.apply(y)
    assert z is y
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.array, [2, 2, 2])


def test_wrong_gradients_are_named():
    class Few(Cube):
        @staticmethod
        def backward(ctx, dy):
            return dy

    class Misshapen(Cube):
        @staticmethod
        def backward(ctx, dy):
            return fastnn.tensor(np.ones(7)), None

    with pytest.raises(RuntimeError, match=r"Few.backward must give a gradient .* each of 2 arguments, got 1"):
        Few.apply(leaf(3), 1.0).sum().backward()
    with pytest.raises(ValueError, match=r"Misshapen.backward: gradient 0 must have shape \(3,\), got \(7,\)"):
        Misshapen.apply(leaf(3), 1.0).sum().backward()
    with pytest.raises(NotImplementedError):
        Function.apply(leaf(1))
