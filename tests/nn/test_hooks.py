import copy
import pickle

import numpy as np
import pytest

import fastnn
from fastnn import nn
from fastnn.nn import hooks


def note(module, args, output):
    module.seen = output.shape


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(fastnn.tensor([3.0]))

    def forward(self, x, *, shift=0.0):
        if shift is None:
            raise ValueError("no shift")
        return x * self.scale + shift


class Pair(nn.Module):
    def forward(self, x, n, y):
        return x * y, x + y


def leaf(*values):
    return fastnn.tensor([*values], requires_grad=True)


def test_forward_hooks_run_in_order_and_replace():
    layer, order = nn.Identity(), []
    layer.register_forward_pre_hook(lambda m, args: order.append("second") or (args[0] + 1,))
    layer.register_forward_pre_hook(lambda m, args: order.append("first") or args[0] * 10, prepend=True)
    layer.register_forward_hook(lambda m, args, out: order.append("last") or out + args[0])
    assert layer(fastnn.tensor([2.0])).tolist() == [42.0]
    assert order == ["first", "second", "last"]


def test_hooks_with_kwargs():
    layer, seen = Scaled(), []
    layer.register_forward_pre_hook(lambda m, a, k: (a, {"shift": k["shift"] + 1}), with_kwargs=True)
    layer.register_forward_hook(lambda m, a, k, out: seen.append(k["shift"]), with_kwargs=True)
    assert layer(fastnn.tensor([2.0]), shift=4.0).tolist() == [11.0]
    assert seen == [5.0]
    layer.register_forward_pre_hook(lambda m, a, k: a, with_kwargs=True)
    with pytest.raises(RuntimeError, match=r"tuple \(args, kwargs\)"):
        layer(fastnn.tensor([2.0]), shift=4.0)


def test_always_called_hooks_see_no_output_where_forward_raises():
    layer, seen = Scaled(), []
    layer.register_forward_hook(lambda m, a, out: seen.append(out), always_call=True)
    layer.register_forward_hook(lambda m, a, out: seen.append("plain"))
    with pytest.raises(ValueError, match="no shift"):
        layer(fastnn.tensor([2.0]), shift=None)
    assert seen == [None]

    def fail(module, args, output):
        raise KeyError("mine")

    layer.register_forward_hook(fail, always_call=True)
    with pytest.raises(ValueError, match="no shift"), pytest.warns(UserWarning, match="mine"):
        layer(fastnn.tensor([2.0]), shift=None)


def test_handles_remove_once_or_at_the_end_of_a_block():
    layer, calls = nn.Identity(), []
    with layer.register_forward_hook(lambda *a: calls.append(1)) as handle:
        layer(1)
    layer(1)
    handle.remove()
    assert calls == [1]
    with pytest.raises(TypeError, match="callable"):
        layer.register_forward_hook(3)


def test_hooks_are_copied_and_pickled_with_their_module():
    layer = nn.Linear(2, 3)
    layer.register_forward_hook(note)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        other(np.ones((1, 2), "float32"))
        assert other.seen == (1, 3)
    assert not hasattr(layer, "seen")


def test_global_hooks_come_first():
    layer, order = nn.Identity(), []
    layer.register_forward_hook(lambda *a: order.append("own"))
    layer.register_forward_pre_hook(lambda *a: order.append("own pre"))
    handles = [
        hooks.register_module_forward_hook(lambda *a: order.append("all")),
        hooks.register_module_forward_pre_hook(lambda *a: order.append("all pre")),
    ]
    try:
        layer(1)
    finally:
        for handle in handles:
            handle.remove()
    layer(1)
    assert order == ["all pre", "own pre", "all", "own", "own pre", "own"]
    assert not nn.Identity()._hooked  # calls pass the hooks by again


def test_backward_hooks_see_and_replace_the_gradients():
    layer, seen = Scaled(), []

    def hook(module, grad_input, grad_output):
        seen.append((module, grad_input[0].tolist(), grad_output[0].tolist()))
        return (grad_input[0] * 100.0,)

    layer.register_full_backward_hook(hook)
    layer.register_full_backward_pre_hook(lambda m, grad: (grad[0] * 2.0,))
    x = leaf(1.0, 5.0)
    (layer(x) * fastnn.tensor([1.0, 10.0])).sum().backward()
    assert seen == [(layer, [6.0, 60.0], [2.0, 20.0])]
    assert x.grad.tolist() == [600.0, 6000.0]
    assert layer.scale.grad.tolist() == [102.0]


def test_backward_hooks_of_several_inputs_and_outputs():
    layer, seen = Pair(), []
    layer.register_full_backward_hook(lambda m, gi, go: seen.append((gi, go)))
    x, y = leaf(2.0), leaf(3.0)
    product, total = layer(x, 7, y)
    (product + total).sum().backward()
    ((grad_input, grad_output),) = seen
    assert [None if g is None else g.tolist() for g in grad_input] == [[4.0], None, [3.0]]
    assert [g.tolist() for g in grad_output] == [[1.0], [1.0]]
    seen.clear()
    product, total = layer(x, 7, y)
    total.sum().backward()
    assert seen[0][1][0] is None
    assert seen[0][1][1].tolist() == [1.0]


def test_backward_hooks_without_inputs_that_require_grad():
    layer, seen = Scaled(), []
    handle = layer.register_full_backward_hook(lambda m, gi, go: seen.append((gi, go[0].tolist())))
    layer(fastnn.tensor([2.0])).sum().backward()
    assert seen == [((None,), [1.0])]
    with fastnn.no_grad():
        layer(fastnn.tensor([2.0]))
    handle.remove()
    layer.register_full_backward_hook(lambda m, gi, go: (go[0],))
    with pytest.raises(RuntimeError, match="must return None"):
        layer(fastnn.tensor([2.0])).sum().backward()


def test_backward_hooks_check_what_they_get_back():
    layer = nn.Identity()
    handle = layer.register_full_backward_hook(lambda m, gi, go: (gi[0], gi[0]))
    with pytest.raises(RuntimeError, match="None or 1 gradients, got 2"):
        layer(leaf(1.0)).sum().backward()
    handle.remove()
    layer.register_full_backward_pre_hook(lambda m, go: fastnn.tensor([1.0, 2.0]))
    with pytest.raises(RuntimeError, match=r"keep the gradient's shape \(1,\)"):
        layer(leaf(1.0)).sum().backward()


def test_global_backward_hooks():
    seen = []
    handles = [
        hooks.register_module_full_backward_hook(lambda m, gi, go: seen.append("after")),
        hooks.register_module_full_backward_pre_hook(lambda m, go: seen.append("before")),
    ]
    try:
        nn.ReLU()(leaf(1.0)).sum().backward()
    finally:
        for handle in handles:
            handle.remove()
    assert seen == ["before", "after"]


def test_gradients_are_those_without_hooks():
    fastnn.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    x = fastnn.tensor(np.random.default_rng(0).standard_normal((5, 4)).astype("float32"), requires_grad=True)

    def gradients():
        net.zero_grad()
        x.grad = None
        y = net(x)
        (y * y).sum().backward()
        return [p.grad.numpy().copy() for p in (x, *net.parameters())]

    expected = gradients()
    for module in net.modules():
        module.register_full_backward_hook(lambda m, gi, go: None)
        module.register_full_backward_pre_hook(lambda m, go: None)
    for one, two in zip(expected, gradients(), strict=True):
        np.testing.assert_array_equal(one, two)
