"""What a compiled function was recorded with may change between calls; the results must follow."""

import copy
import random
import threading
import warnings
from collections import namedtuple
from typing import Any

import numpy as np
import pytest

import fastnn
from fastnn import nn, optim
from fastnn.nn import functional as F

rng = np.random.default_rng(8)


def batch(n: int = 6) -> tuple[Any, Any]:
    return rng.standard_normal((n, 7)).astype("f4"), rng.integers(0, 3, n)


class Pair:
    """Two equal nets with equal optimizers: one trained eagerly, one compiled."""

    def __init__(self, *between: Any, kind: str = "Adam", **options: Any) -> None:
        fastnn.manual_seed(2)
        self.nets = [nn.Sequential(nn.Linear(7, 9), *(between or (nn.ReLU(),)), nn.Linear(9, 3))]
        self.nets.append(copy.deepcopy(self.nets[0]))
        options.setdefault("lr", 0.05)
        self.optimizers = [getattr(optim, kind)(net.parameters(), **options) for net in self.nets]
        self.compiled = fastnn.compile(self._body(1))
        self.eager = self._body(0)

    def _body(self, which: int) -> Any:
        def step(x: Any, y: Any) -> Any:
            net, optimizer = self.nets[which], self.optimizers[which]
            optimizer.zero_grad()
            loss = F.cross_entropy(net(x), y)
            loss.backward()
            optimizer.step()
            return loss

        return step

    def steps(self, count: int = 3, n: int = 6, seed: int | None = None) -> None:
        """Some steps on both sides, whose losses and parameters must be the same."""
        for i in range(count):
            x, y = batch(n)
            if seed is not None:
                fastnn.manual_seed(seed + i)
            expected = self.eager(fastnn.from_numpy(x), fastnn.from_numpy(y))
            if seed is not None:
                fastnn.manual_seed(seed + i)
            found = self.compiled(x, y)
            assert np.array_equal(found.array, expected.detach().array)
        self.check()

    def check(self) -> None:
        for p, q in zip(self.nets[0].parameters(), self.nets[1].parameters(), strict=True):
            assert np.array_equal(p.array, q.array)
            assert (p.grad is None) == (q.grad is None)
            assert p.grad is None or np.array_equal(p.grad.array, q.grad.array)

    def each(self, function: Any) -> None:
        for net, optimizer in zip(self.nets, self.optimizers, strict=True):
            function(net, optimizer)


def test_hyper_parameters_change_between_calls() -> None:
    pair = Pair(weight_decay=0.1)
    pair.steps()
    pair.each(lambda net, o: o.param_groups[0].update(lr=0.5, betas=(0.5, 0.6), weight_decay=0.0, eps=1e-3))
    pair.steps()
    pair.each(lambda net, o: o.param_groups[0].update(maximize=True))
    pair.steps()
    pair.each(lambda net, o: o.param_groups[0].update(amsgrad=True))
    pair.steps()


def test_a_layer_is_frozen_and_thawed() -> None:
    pair = Pair()
    pair.steps()
    pair.each(lambda net, o: net[0].requires_grad_(False))
    pair.steps()
    pair.each(lambda net, o: net[0].requires_grad_(True))
    pair.steps()


def test_a_parameter_is_replaced() -> None:
    pair = Pair(kind="SGD")
    pair.steps()
    weight = rng.standard_normal((9, 7)).astype("f4")

    def replace(net: Any, optimizer: Any) -> None:
        net[0].weight = nn.Parameter(fastnn.tensor(weight))
        optimizer.add_param_group({"params": [net[0].weight]})

    pair.each(replace)
    pair.steps()


def test_a_replaced_parameter_that_no_module_call_uses() -> None:
    holder = nn.Linear(4, 3)
    fast = fastnn.compile(lambda x: x @ holder.weight.detach().T)
    x = rng.standard_normal((2, 4)).astype("f4")
    for _ in range(3):
        assert np.array_equal(fast(x).array, (fastnn.from_numpy(x) @ holder.weight.detach().T).array)
        holder.weight = nn.Parameter(fastnn.tensor(rng.standard_normal((3, 4)).astype("f4")))


def test_the_data_of_a_parameter_is_replaced() -> None:
    pair = Pair(kind="SGD")
    pair.steps()
    weight = rng.standard_normal((9, 7)).astype("f4")
    pair.each(lambda net, o: setattr(net[0].weight, "data", fastnn.tensor(weight)))
    pair.steps()


def test_states_are_loaded_in_between() -> None:
    pair = Pair()
    pair.steps()
    model, state = copy.deepcopy(pair.nets[0].state_dict()), copy.deepcopy(pair.optimizers[0].state_dict())
    pair.steps()
    pair.each(lambda net, o: net.load_state_dict(model))
    pair.steps()
    pair.each(lambda net, o: o.load_state_dict(copy.deepcopy(state)))
    pair.steps()


def test_train_and_eval() -> None:
    pair = Pair(nn.Dropout(0.5), nn.ReLU())
    for mode in (True, False, True, False, True):
        pair.each(lambda net, o, mode=mode: net.train(mode))
        pair.steps(seed=3)
    assert [len(plans) for plans in pair.compiled.plans.values()] == [2]


def test_a_layer_s_attribute_changes() -> None:
    pair = Pair(nn.Dropout(0.5), nn.LeakyReLU(0.1))
    pair.steps(seed=1)

    def change(net: Any, optimizer: Any) -> None:
        net[1].p = 0.1
        net[2].negative_slope = 0.7

    pair.each(change)
    pair.steps(seed=1)
    pair.each(lambda net, o: setattr(net, "1", nn.Tanh()))
    pair.steps(seed=1)
    pair.each(lambda net, o: net.append(nn.Softplus()))
    pair.steps(seed=1)


def test_hooks_come_and_go() -> None:
    pair = Pair()
    pair.steps()
    handles: list[Any] = []
    pair.each(lambda net, o: handles.append(net[1].register_forward_hook(lambda m, x, y: y * 2)))
    pair.steps()
    for handle in handles:
        handle.remove()
    pair.steps()
    pair.each(lambda net, o: handles.append(net[0].weight.register_hook(lambda g: g * 0.5)))
    pair.steps()
    for handle in handles:
        handle.remove()
    pair.steps()


def test_sizes_change() -> None:
    pair = Pair()
    for n in (6, 6, 5, 6, 0, 1, 6, 5, 5, 1, 1, 6, 300, 300, 300):
        if n:
            pair.steps(1, n)
    assert len(pair.compiled.plans) == 4


def test_a_size_that_is_met_once_makes_no_plan() -> None:
    pair = Pair()
    pair.steps()
    for n in range(10, 60):
        pair.steps(1, n)
    assert len(pair.compiled.plans) == 1


def test_plans_are_bounded() -> None:
    pair = Pair()
    for n in list(range(1, 40)) * 2:
        pair.steps(1, n)
    for n in range(1, 40):
        pair.steps(2, n)
    assert sum(map(len, pair.compiled.plans.values())) <= 16


def test_dtypes_and_strides_change() -> None:
    net = nn.Linear(7, 3)
    fast = fastnn.compile(lambda x: (x * 2).sum(1))
    wide = rng.standard_normal((8, 14))
    views = [wide[:, ::2], wide[:, 7:], wide[::-1, :7], wide[:, :7].astype("f4"), wide.T[:7].T, wide[:, :7]]
    for _ in range(3):
        for x in views:
            found, expected = fast(x), (fastnn.from_numpy(x) * 2).sum(1)
            assert found.dtype == expected.dtype
            assert np.array_equal(found.array, expected.array)
    assert net.training


def test_arguments_that_overlap() -> None:
    fast = fastnn.compile(lambda x, y: (x * y).sum() + x[0] - y[1])
    memory = rng.standard_normal(12)
    pairs = [(memory[:6], memory[6:]), (memory[:6], memory[:6]), (memory[:6], memory[3:9]), (memory[6:], memory[:6])]
    for _ in range(3):
        for x, y in pairs:
            expected = (x * y).sum() + x[0] - y[1]
            assert np.allclose(fast(x, y).array, expected)


def test_an_argument_is_changed_in_place() -> None:
    def step(x: Any, total: Any) -> Any:
        total += x
        x.mul_(2)
        return total + x

    fast = fastnn.compile(step)
    x, total = np.ones(5, "f4"), np.zeros(5, "f4")
    expected_x, expected = x.copy(), total.copy()
    for _ in range(4):
        found = fast(x, total)
        expected += expected_x
        expected_x *= 2
        assert np.array_equal(x, expected_x)
        assert np.array_equal(total, expected)
        assert np.array_equal(found.array, expected + expected_x)


def test_bad_labels_raise_before_anything_is_written() -> None:
    pair = Pair()
    pair.steps()
    before = [p.array.copy() for p in pair.nets[1].parameters()]
    x, y = batch()
    y[2] = 3
    with pytest.raises(IndexError, match="3"):
        pair.compiled(x, y)
    assert all(np.array_equal(p.array, b) for p, b in zip(pair.nets[1].parameters(), before, strict=True))
    pair.steps()


def test_an_exception_while_recording_leaves_no_plan() -> None:
    calls = []

    def step(x: Any) -> Any:
        calls.append(0)
        if len(calls) == 1:
            raise KeyError("the first")
        return x + 1

    fast = fastnn.compile(step)
    with pytest.raises(KeyError):
        fast(np.ones(3))
    assert fastnn.ops.add(np.ones(2), 1).sum() == 4
    for _ in range(3):
        assert np.array_equal(fast(np.ones(3)).array, np.full(3, 2.0))
    assert len(calls) == 2


def test_nested() -> None:
    inner = fastnn.compile(lambda x: x * 3)
    outer = fastnn.compile(lambda x: inner(x) + inner(x + 1))
    for n in (3, 3, 4, 4, 4, 3):
        x = rng.standard_normal(n)
        assert np.allclose(outer(x).array, x * 3 + (x + 1) * 3)
        assert np.array_equal(inner(x).array, x * 3)


def test_earlier_results_and_gradients_stay() -> None:
    pair = Pair()
    kept: list[Any] = []
    for _ in range(6):
        x, y = batch()
        loss = pair.compiled(x, y)
        gradients = [p.grad for p in pair.nets[1].parameters()]
        views = [g.array[..., :1] for g in gradients]
        kept.append((loss, loss.array.copy(), [g if i % 2 else None for i, g in enumerate(gradients)],
                     [g.array.copy() for g in gradients], views, [v.copy() for v in views]))  # fmt: skip
        del gradients
    for loss, value, gradients, arrays, views, copies in kept:
        assert np.array_equal(loss.array, value)
        assert all(g is None or np.array_equal(g.array, a) for g, a in zip(gradients, arrays, strict=True))
        assert all(np.array_equal(v, c) for v, c in zip(views, copies, strict=True))


def test_gradients_are_accumulated_over_calls() -> None:
    nets = [nn.Linear(7, 3)]
    nets.append(copy.deepcopy(nets[0]))
    optimizers = [optim.SGD(net.parameters(), lr=0.1) for net in nets]

    def body(net: Any) -> Any:
        def backward(x: Any, y: Any) -> Any:
            loss = F.cross_entropy(net(x), y)
            loss.backward()
            return loss

        return backward

    fast = fastnn.compile(body(nets[1]))
    for i in range(9):
        x, y = batch()
        body(nets[0])(fastnn.from_numpy(x), fastnn.from_numpy(y))
        fast(x, y)
        for p, q in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
            assert np.array_equal(p.grad.array, q.grad.array)
        if i % 3 == 2:
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad()


def test_gradient_of_an_array_that_the_user_sets() -> None:
    net = nn.Linear(7, 3)

    def step(x: Any) -> Any:
        net.zero_grad()
        net(x).sum().backward()
        return net.weight.grad

    fast = fastnn.compile(step)
    kept = []
    for _ in range(5):
        x = rng.standard_normal((4, 7)).astype("f4")
        kept.append((fast(x), np.repeat(x.sum(0)[None], 3, 0)))
    for found, expected in kept:
        assert np.allclose(found.array, expected, atol=1e-5)


def test_two_threads_with_a_plan_each_and_with_the_same_plan() -> None:
    weight = fastnn.tensor(rng.standard_normal((64, 64)).astype("f4"))
    functions = [fastnn.compile(lambda x: fastnn.tanh(x @ weight).sum(1)) for _ in range(2)]
    inputs = [rng.standard_normal((50, 64)).astype("f4") for _ in range(4)]
    expected = [fastnn.tanh(fastnn.from_numpy(x) @ weight).sum(1).array for x in inputs]
    wrong: list[Any] = []

    def work(function: Any, seed: int) -> None:
        order = np.random.default_rng(seed)
        for _ in range(200):
            i = int(order.integers(4))
            if not np.array_equal(function(inputs[i]).array, expected[i]):
                wrong.append(i)

    for chosen in ([0, 1], [0, 0, 0]):
        threads = [threading.Thread(target=work, args=(functions[c], i)) for i, c in enumerate(chosen)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong


def test_forms_of_arguments_and_results() -> None:
    Point = namedtuple("Point", "x y")
    tags = []

    def step(batch: Any, *, scale: float, mode: str = "a") -> Any:
        tags.append(mode)
        return Point(batch["x"] * scale, [batch["y"][0], (batch["x"] - 1, mode, None)])

    fast = fastnn.compile(step)
    for scale, mode in [(2.0, "a"), (2.0, "a"), (3.0, "b"), (3.0, "b"), (3.0, "b"), (2.0, "a")]:
        x, y = rng.standard_normal(3), rng.standard_normal(2)
        found = fast({"x": x, "y": (y,)}, scale=scale, mode=mode)
        assert type(found).__name__ == "Point"
        assert np.array_equal(found.x.array, x * scale)
        assert np.array_equal(found.y[0].array, y)
        assert np.array_equal(found.y[1][0].array, x - 1)
        assert found.y[1][1:] == (mode, None)
    assert len(tags) == 3


REFUSED = {
    "item": lambda x: x * (x.sum().item() + 1),
    "bool": lambda x: x if (x.sum() > 0) else -x,
    "numpy": lambda x: fastnn.from_numpy(np.exp(x.numpy())) + 1,
    "asarray": lambda x: x + fastnn.from_numpy(np.asarray(x) * 2),
    "float": lambda x: x * float(x[0]),
    "made inside": lambda x: x + fastnn.from_numpy(np.random.default_rng(0).standard_normal(3)),
    "print": lambda x: (repr(x), x + 1)[1],
    "random": lambda x: x * random.random(),
    "numpy.random": lambda x: x * float(np.random.rand()),  # noqa: NPY002
    "data": lambda x: setattr(x, "data", fastnn.zeros(3)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_recorded_is_refused(name: str) -> None:
    x = np.array([1.0, 2.0, 3.0])
    with pytest.raises(fastnn.CompileError):
        fastnn.compile(REFUSED[name])(x)
    assert np.array_equal((fastnn.from_numpy(x) + 1).array, [2, 3, 4])


@pytest.mark.parametrize("name", ["item", "numpy", "made inside", "float"])
def test_not_strict_means_one_warning_and_the_same_results(name: str) -> None:
    fast = fastnn.compile(REFUSED[name], strict=False)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(4):
            x = rng.standard_normal(3)
            assert np.array_equal(fast(x).array, REFUSED[name](fastnn.from_numpy(x)).array)
    assert len(caught) == 1
    assert "test_guards.py" in str(caught[0].message)


def test_a_result_that_could_be_differentiated_is_refused() -> None:
    net = nn.Linear(3, 2)
    x = np.ones((2, 3), "f4")
    with pytest.raises(fastnn.CompileError, match="differentiated"):
        fastnn.compile(lambda x: net(x))(x)
    assert fastnn.compile(lambda x: net(x).detach())(x).shape == (2, 2)


def test_a_module_that_changes_itself_is_refused() -> None:
    class Counts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.calls = 0

        def forward(self, x: Any) -> Any:
            self.calls += 1
            return x * self.calls

    net = Counts()
    with pytest.raises(fastnn.CompileError, match="'calls' of a Counts"):
        fastnn.compile(net)(np.ones(3))
    slow = fastnn.compile(Counts(), strict=False)
    with pytest.warns(RuntimeWarning, match="not compiled"):
        assert [slow(np.ones(1)).tolist() for _ in range(3)] == [[1.0], [2.0], [3.0]]


def test_the_numpy_backend() -> None:
    pair = Pair()
    pair.steps()
    with fastnn.use_backend("numpy"):
        x = np.arange(3.0)
        fast = fastnn.compile(lambda x: fastnn.exp(x) * 2)
        for _ in range(3):
            assert np.array_equal(fast(x).array, np.exp(x) * 2)
    pair.steps()


def test_bad_arguments() -> None:
    with pytest.raises(TypeError, match="function or a Module"):
        fastnn.compile(3)
