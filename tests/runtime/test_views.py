"""Changes in place that are recorded, through views and beside them."""

import numpy as np
import pytest

import fastnn


def leaf(*shape, seed=0):
    return fastnn.tensor(np.random.default_rng(seed).standard_normal(shape), requires_grad=True)


VIEWS = {
    "slice": lambda t: t[1:, ::2],
    "element": lambda t: t[2, 1],
    "reversed": lambda t: t[::-1],
    "transpose": lambda t: t.T[1],
    "reshape": lambda t: t.reshape(2, 8)[:, 3:5],
    "of a view": lambda t: t[1:].transpose(0, 1)[2:][..., 0],
    "unsqueeze": lambda t: t.unsqueeze(1)[0],
    "nothing": lambda t: t[2:2],
    "all": lambda t: t[...],
}


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_a_change_through_a_view_is_one_of_its_base(view):
    def changed(x, w):
        y = x * 2
        part = view(y)
        part *= w
        return y

    def plain(x, w):
        y = x * 2
        index = view(fastnn.from_numpy(np.arange(16).reshape(4, 4))).array
        mask = np.isin(np.arange(16), index).reshape(4, 4).astype(float)
        return y * (1 - mask) + y * mask * w

    x, w = leaf(4, 4), leaf(1, seed=1).reshape(())
    np.testing.assert_allclose(changed(x, w).detach(), plain(x, w).detach())
    assert fastnn.testing.gradcheck(changed, (x, leaf(1).reshape(()).detach().requires_grad_()))
    grads = []
    for function in (changed, plain):
        a, b = leaf(4, 4), leaf(1, seed=1)
        result = function(a, b.reshape(()))
        (result * result).sum().backward()
        grads.append((a.grad.array, b.grad.array))
    for got, expected in zip(*grads, strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-12)


def test_views_made_before_a_change_see_it_on_the_tape():
    x = leaf(3, 4)
    y = x * 1
    row, column = y[1], y[:, 2]
    y *= 3
    row += 1
    (column * column).sum().backward()
    expected = np.zeros((3, 4))
    expected[:, 2] = 2 * 3 * (3 * x.array[:, 2] + [0, 1, 0])
    np.testing.assert_allclose(x.grad.array, expected)
    assert not row.is_leaf
    assert row.requires_grad


def test_a_tensor_without_gradient_takes_one_from_what_is_put_into_it():
    x = leaf(3)
    out = fastnn.tensor(np.zeros((2, 3)))
    kept = out[1]
    out[0] = x * 2
    assert out.requires_grad
    assert kept.requires_grad
    kept.copy_(x)
    out[0, 1] = 5.0
    (out * fastnn.tensor(np.arange(6.0).reshape(2, 3))).sum().backward()
    np.testing.assert_allclose(x.grad.array, [3, 4, 9])
    np.testing.assert_allclose(out.detach()[1], x.detach())


def test_overwriting_ends_the_gradient_of_what_was_there():
    x = leaf(4)
    y = x * 2
    y[1:3] = 0
    y[3].fill_(1)
    y.sum().backward()
    assert x.grad.tolist() == [2, 0, 0, 0]
    z = leaf(2) * 1
    z.zero_()
    assert z.requires_grad
    z.sum().backward()


def test_a_leaf_is_not_changed_through_a_view():
    x = leaf(4)
    before = x.array.copy()
    for change in (lambda v: v.add_(1), lambda v: v.copy_(x.detach()[:2]), lambda v: v.relu_()):
        with pytest.raises(RuntimeError, match="leaf"):
            change(x[:2])
    np.testing.assert_array_equal(x.array, before)
    with fastnn.no_grad():
        x[:2].add_(1)
    np.testing.assert_array_equal(x.array[:2], before[:2] + 1)


def test_what_was_saved_and_then_changed_through_a_view_raises():
    x = leaf(4)
    y = x * 1
    z = y * y
    y[1:2] *= 2
    with pytest.raises(RuntimeError, match="changed in place"):
        z.sum().backward()


def test_repeated_elements_cannot_be_changed():
    x = leaf(1)
    with pytest.raises(RuntimeError, match="clone"):
        (x * 1).expand(3).mul_(2)


def test_odd_bases():
    flipped = fastnn.from_numpy(np.arange(12.0).reshape(3, 4)[::-1, ::-2])
    w = leaf(2)
    flipped[1:] = w
    (flipped * flipped).sum().backward()
    np.testing.assert_allclose(w.grad.array, 4 * w.array)
    np.testing.assert_allclose(flipped.detach()[0], [11, 9])


def test_memory_is_not_kept_by_cycles():
    import gc
    import weakref

    x = leaf(3)
    gc.disable()
    try:
        y = x * 1
        part = y[1:]
        part *= 2
        y += 1
        watch = weakref.ref(y)
        del y, part
        assert watch() is None
    finally:
        gc.enable()
