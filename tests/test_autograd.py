import gc
import threading
import weakref

import numpy as np
import pytest

import fastnn
from fastnn import GraphError


def leaf(*shape, seed=0, dtype="float32"):
    return fastnn.tensor(np.random.default_rng(seed).standard_normal(shape).astype(dtype), requires_grad=True)


def test_a_chain_of_operators():
    x, y = leaf(3, 4), leaf(4, seed=1)
    z = (x * y - y / 2.0 + 1.0) @ fastnn.tensor(np.ones((4, 2), "float32"))
    (-z).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), np.broadcast_to(-2 * y.detach().numpy(), (3, 4)), rtol=1e-6)
    np.testing.assert_allclose(y.grad.numpy(), (-2 * x.detach().numpy() + 1).sum(axis=0), rtol=1e-5, atol=1e-5)


def test_gradients_accumulate_and_zeroing_is_the_callers():
    x = leaf(5)
    for n in (1, 2, 3):
        (x * 2.0).sum().backward()
        assert (x.grad.numpy() == 2 * n).all()
    x.grad = None
    (x * 2.0).sum().backward()
    assert (x.grad.numpy() == 2).all()


def test_a_value_used_twice_gets_both_gradients():
    x = leaf(4)
    y = x * x
    (y + y * 3.0 + x).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 8 * x.detach().numpy() + 1, rtol=1e-6)


def test_gradients_of_two_leaves_never_share_memory():
    x, y = leaf(4), leaf(4, seed=1)
    (x + y).backward(np.ones(4, "float32"))
    x.grad.add_(1.0)
    assert (y.grad.numpy() == 1).all()


def test_a_given_gradient_is_neither_changed_nor_kept():
    x = leaf(4)
    g = np.ones(4, "float32")
    for _ in range(2):
        (x + 0.0).backward(g)
    x.grad.add_(5.0)
    assert (g == 1).all()


def test_grad_keeps_the_parameters_layout():
    w = fastnn.from_numpy(np.zeros((8, 5), "float32").T).requires_grad_()
    (w * 2.0).sum().backward()
    assert w.grad.numpy().strides == w.detach().numpy().strides


def test_no_grad_in_its_forms():
    x = leaf(3)
    with fastnn.no_grad():
        assert not (x * 2).requires_grad
        with fastnn.enable_grad():
            assert (x * 2).requires_grad

    @fastnn.no_grad()
    def f(t):
        return t * 2

    assert not f(x).requires_grad
    fastnn.set_grad_enabled(False)
    try:
        assert not (x * 2).requires_grad
    finally:
        fastnn.set_grad_enabled(True)
    with fastnn.inference_mode():
        assert not (x * 2).requires_grad
    assert (x * 2).requires_grad


def test_grad_mode_belongs_to_the_thread():
    seen = []
    with fastnn.no_grad():
        thread = threading.Thread(target=lambda: seen.append(fastnn.is_grad_enabled()))
        thread.start()
        thread.join()
    assert seen == [True]


def test_detach_shares_memory_and_cuts_the_graph():
    x = leaf(3)
    y = x.detach()
    assert not y.requires_grad
    assert np.shares_memory(y.numpy(), x.detach().numpy())
    (x * y).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), y.numpy())


def test_backward_twice_needs_retain_graph():
    x = leaf(3)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    np.testing.assert_allclose(x.grad.numpy(), 4 * x.detach().numpy(), rtol=1e-6)
    with pytest.raises(GraphError, match="a second time"):
        y.backward()


def test_backward_needs_a_scalar_or_a_gradient():
    x = leaf(3)
    with pytest.raises(RuntimeError, match="a gradient must be given"):
        (x * 2).backward()
    with pytest.raises(ValueError, match=r"gradient must have shape \(3,\)"):
        (x * 2).backward(np.ones(4, "float32"))
    with pytest.raises(RuntimeError, match="does not require grad"):
        fastnn.tensor([1.0]).backward()


def test_second_derivatives_raise_clearly():
    x = leaf(3)
    with pytest.raises(NotImplementedError, match="second derivatives"):
        (x * x).sum().backward(create_graph=True)
    with pytest.raises(NotImplementedError, match="second derivatives"):
        fastnn.autograd.grad((x * x).sum(), x, create_graph=True)


def test_autograd_grad_leaves_grad_alone():
    x, y = leaf(3), leaf(3, seed=1)
    z = x * y
    gx, gz = fastnn.autograd.grad((z * z).sum(), [x, z])
    np.testing.assert_allclose(gz.numpy(), 2 * z.detach().numpy(), rtol=1e-6)
    np.testing.assert_allclose(gx.numpy(), 2 * (z * y).detach().numpy(), rtol=1e-6)
    assert x.grad is None
    assert y.grad is None


def test_autograd_grad_of_what_is_not_used():
    x, y = leaf(3), leaf(3, seed=1)
    with pytest.raises(RuntimeError, match="do not depend on input 1"):
        fastnn.autograd.grad((x * 2).sum(), [x, y])
    gx, gy = fastnn.autograd.grad((x * 2).sum(), [x, y], allow_unused=True)
    assert gy is None
    assert (gx.numpy() == 2).all()


def test_hooks_see_and_replace_gradients():
    x = leaf(3)
    seen = []
    handle = x.register_hook(lambda g: seen.append(g.tolist()))
    y = x * 2.0
    y.register_hook(lambda g: g * 10.0)
    y.sum().backward()
    assert seen == [[20, 20, 20]]
    assert (x.grad.numpy() == 20).all()
    handle.remove()
    (x * 1.0).sum().backward()
    assert len(seen) == 1
    counted = []
    x.register_post_accumulate_grad_hook(lambda t: counted.append(t.grad.tolist()))
    (x * 1.0).sum().backward()
    assert counted == [[22, 22, 22]]


def test_a_hook_that_keeps_its_gradient_keeps_its_values():
    x = leaf(3)
    kept = []
    x.register_hook(kept.append)
    (x * 2.0).sum().backward()
    (x * 3.0).sum().backward()
    assert kept[0].tolist() == [2, 2, 2]
    assert kept[1].tolist() == [3, 3, 3]
    assert (x.grad.numpy() == 5).all()


def test_retain_grad():
    x = leaf(3)
    y = x * 2.0
    y.retain_grad()
    (y * y).sum().backward()
    np.testing.assert_allclose(y.grad.numpy(), 2 * y.detach().numpy(), rtol=1e-6)


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.mul_(2.0),
        lambda t: t.zero_(),
        lambda t: t[1:].fill_(3.0),
        lambda t: t.reshape(3, 1).add_(1.0),
        lambda t: t.__setitem__(0, 5.0),
        lambda t: t.detach().copy_(fastnn.tensor([1.0, 2.0, 3.0])),
    ],
)
def test_changes_in_place_are_noticed_through_any_view(change):
    x = leaf(3)
    y = fastnn.tensor([1.0, 2.0, 3.0])
    loss = (x * y).sum()
    change(y)
    with pytest.raises(GraphError, match="changed in place"):
        loss.backward()


def test_in_place_on_computed_tensors_is_recorded():
    x = leaf(3)
    y = x * 2.0
    y += 1.0
    y *= y
    y.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 4 * (2 * x.detach().numpy() + 1), rtol=1e-5)


def test_in_place_on_a_leaf_that_requires_grad_raises():
    x = leaf(3)
    with pytest.raises(GraphError, match="leaf"):
        x.add_(1.0)
    with fastnn.no_grad():
        x.add_(1.0)


@pytest.mark.parametrize(
    "view",
    [
        lambda t: t.T,
        lambda t: t.reshape(2, 6),
        lambda t: t.view(12),
        lambda t: t.permute(1, 0),
        lambda t: t.transpose(0, 1),
        lambda t: t.flatten(),
        lambda t: t.unsqueeze(1).squeeze(),
        lambda t: t[1],
        lambda t: t[:, 1:3],
        lambda t: t[::-1, None],
        lambda t: t[..., 2],
        lambda t: t[np.array([0, 0, 2])],
        lambda t: t[np.array([[True, False, True, False]] * 3)],
        lambda t: t.unsqueeze(0).expand(5, 3, 4),
        lambda t: t.to(np.float64, copy=True),
        lambda t: t.clone(),
        lambda t: t.T.contiguous(),
    ],
)
def test_gradients_through_views(view):
    x = leaf(3, 4, dtype="float64")
    assert fastnn.testing.gradcheck(view, x)
    y = view(x)
    assert y.requires_grad
    assert y.grad_fn is not None


def test_a_graph_of_100_000_nodes_runs_and_frees_without_recursion():
    x = leaf(1)
    y = x
    for _ in range(100_000):
        y = y + 0.0
    y.sum().backward(retain_graph=True)
    assert x.grad.tolist() == [1]
    del y
    gc.collect()


def test_the_graph_is_freed_with_its_result():
    x = leaf(1000)
    y = (x * 2.0) * 3.0
    node = y.grad_fn
    assert node.name() == "multiply"
    z = y.sum()
    watch = weakref.ref(y)
    del y
    assert watch() is None
    del z, node
    assert fastnn.testing.gradcheck(lambda t: t * t, leaf(3, dtype="float64"))


def test_threads_may_run_backward_at_once():
    w = leaf(16, 16)
    results = {}

    def work(i):
        x = fastnn.tensor(np.full((4, 16), i, "float32"))
        for _ in range(50):
            (gw,) = fastnn.autograd.grad((x @ w).sum(), w)
        results[i] = gw.numpy()

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    for i in range(8):
        assert (results[i] == 4 * i).all()


def test_a_steady_loop_allocates_nothing_from_the_system():
    from fastnn._runtime import memory

    x, w = leaf(32, 64), leaf(64, 16, seed=1)

    def step():
        w.grad = None
        (x @ w).relu().sum().backward()

    for _ in range(3):
        step()
    before = memory.stats()["system_allocations"]
    for _ in range(20):
        step()
    assert memory.stats()["system_allocations"] == before


def test_gradcheck_prints_input_index_and_both_numbers():
    def wrong(x):
        y = x * 2.0
        if y.requires_grad:
            y.register_hook(lambda g: g * 1.5)
        return y

    with pytest.raises(AssertionError, match=r"input 0 at \[\d\]: backward gives .*, finite differences give"):
        fastnn.testing.gradcheck(wrong, leaf(3, dtype="float64"))
    assert not fastnn.testing.gradcheck(wrong, leaf(3, dtype="float64"), raise_exception=False)


def test_a_result_changed_in_place_is_noticed():
    x = leaf(3)
    y = x.sigmoid()
    with fastnn.no_grad():
        y.mul_(2.0)
    with pytest.raises(GraphError, match="its result was changed in place"):
        y.sum().backward()


def test_what_no_gradient_needs_may_change():
    x, c = leaf(3), fastnn.tensor([1.0, 2.0, 3.0])
    y = x * c
    with fastnn.no_grad():
        x.mul_(2.0)
    y.sum().backward()
    assert x.grad.tolist() == [1, 2, 3]


def test_out_is_refused_where_gradients_are_recorded():
    x = leaf(3)
    out = fastnn.tensor([0.0, 0.0, 0.0])
    with pytest.raises(GraphError, match="out cannot be given"):
        fastnn.ops.sigmoid(x, out=out)
    with fastnn.no_grad():
        assert fastnn.ops.sigmoid(x, out=out) is out


def test_decorators_restore_the_mode():
    x = leaf(3)

    @fastnn.set_grad_enabled(False)
    def off():
        return (x * 2.0).requires_grad

    @fastnn.no_grad
    def bare():
        return (x * 2.0).requires_grad

    @fastnn.no_grad()
    def generator():
        got = yield (x * 2.0).requires_grad
        yield got, (x * 2.0).requires_grad

    assert fastnn.is_grad_enabled()
    assert not off()
    assert not bare()
    steps = generator()
    assert next(steps) is False
    assert fastnn.is_grad_enabled()
    assert steps.send(7) == (7, False)
    assert fastnn.is_grad_enabled()


def test_gradients_of_any_layout_accumulate():
    p = fastnn.tensor([1.0, 2.0, 3.0, 4.0], requires_grad=True)
    p.grad = fastnn.from_numpy(np.ones(4, [("a", "u1"), ("b", "f4")])["b"])
    (p * 1.0).sum().backward()
    assert p.grad.tolist() == [2, 2, 2, 2]
    x = fastnn.from_numpy(np.array([1.0, 2.0, 3.0], ">f4")).requires_grad_()
    (x.to("float64").sum() + x.to("float64").sum()).backward()
    assert x.grad.tolist() == [2, 2, 2]


def test_an_index_is_kept_as_it_was():
    x = leaf(3)
    index = fastnn.tensor([0, 1])
    y = x[index]
    index.fill_(2)
    y.sum().backward()
    assert x.grad.tolist() == [1, 1, 0]


def test_recorded_changes_in_place_reach_the_memory():
    array = np.zeros(3, "float32")
    x, w = fastnn.from_numpy(array), leaf(3)
    x.add_(w)
    np.testing.assert_array_equal(array, w.detach().numpy())
    y = w * 2.0
    y.retain_grad()
    y.mul_(3.0)
    y.sum().backward()
    assert y.grad.tolist() == [1, 1, 1]
    assert w.grad.tolist() == [6, 6, 6]


def test_gradients_that_are_given_out_belong_to_the_caller():
    x, one = leaf(2), fastnn.tensor([[1.0], [1.0]])
    (g,) = fastnn.autograd.grad(x.clone().sum(), x)
    g.add_(1.0)
    (h,) = fastnn.autograd.grad(x.reshape(2, 1), x, one)
    h.add_(1.0)
    assert one.tolist() == [[1], [1]]


def test_nodes_cannot_be_made_by_hand():
    node = type((leaf(1) * 2.0).grad_fn)
    with pytest.raises(TypeError):
        node()


def test_only_what_leads_to_the_wanted_gradients_is_computed():
    x, w = (fastnn.tensor(np.ones((3, 3), "f4"), requires_grad=True) for _ in range(2))
    y = fastnn.matmul(x, w).sum()
    fired = []
    w.register_hook(fired.append)
    (dx,) = fastnn.autograd.grad(y, [x], retain_graph=True)
    assert not fired
    np.testing.assert_array_equal(dx.numpy(), np.full((3, 3), 3, "f4"))
    (dw,) = fastnn.autograd.grad(y, [w], retain_graph=True)
    assert len(fired) == 1
    y.backward()
    np.testing.assert_array_equal(w.grad.numpy(), dw.numpy())
    np.testing.assert_array_equal(x.grad.numpy(), dx.numpy())
