"""Attempts to fool a compiled function: it gives the eager bits, or refuses; without `strict` it gives the eager bits.

A scenario is a generator: it is given `wrap`, builds what it needs, and yields what must agree (arrays, Tensors, None
and numbers, in lists and tuples) after each call of ``wrap(function)``.
"""

import copy
import gc
import pickle
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import fastnn
from fastnn import nn, optim
from fastnn.nn import functional as F
from fastnn.training import Call

Scenario = Callable[[Any], Iterator[Any]]
SCENARIOS: dict[str, tuple[Scenario, str]] = {}


def scenario(refused: str = "") -> Callable[[Scenario], Scenario]:
    """Enter a scenario in the table; `refused` is part of the error with which `strict` may end it."""

    def enter(function: Scenario) -> Scenario:
        SCENARIOS[function.__name__] = function, refused
        return function

    return enter


def frozen(value: Any) -> Any:
    """A copy of what a scenario yields."""
    if isinstance(value, (list, tuple)):
        return [frozen(own) for own in value]
    return np.array(value.detach() if isinstance(value, fastnn.Tensor) else value)


class Same:
    """Equal to values of the same bits, dtypes and shapes."""

    def __init__(self, expected: Any) -> None:
        self.expected = expected

    def __eq__(self, found: Any) -> bool:
        wrong = [i for i, (a, b) in enumerate(zip(self.expected, found, strict=True)) if not same(a, b)]
        assert not wrong, f"other bits after the calls {wrong} of {len(found)}"
        return True

    __hash__ = None  # type: ignore[assignment]


def same(one: Any, two: Any) -> bool:
    if isinstance(one, list):
        return len(one) == len(two) and all(map(same, one, two))
    return one.dtype == two.dtype and one.shape == two.shape and one.tobytes() == two.tobytes()


def eager(function: Any) -> Any:
    if isinstance(function, nn.Module):
        return lambda *args: call(fastnn.no_grad()(function), args)
    return lambda *args: call(function, args)


def call(function: Any, args: Any) -> Any:
    return function(*[fastnn.from_numpy(x) if isinstance(x, np.ndarray) else x for x in args])


def told(function: Scenario, wrap: Any) -> list[Any]:
    fastnn.manual_seed(4)
    return [frozen(value) for value in function(wrap)]


def numbers(seed: int, *shape: int, dtype: str = "f4") -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def small(*between: Any) -> nn.Sequential:
    return nn.Sequential(nn.Linear(7, 9), *(between or (nn.Tanh(),)), nn.Linear(9, 3))


def labels(seed: int, n: int = 6) -> Any:
    return np.random.default_rng(seed).integers(0, 3, n)


def parts(*modules: Any) -> list[Any]:
    """Parameters, buffers and gradients."""
    return [
        [*module.parameters(), *module.buffers(), *[p.grad for p in module.parameters() if p.grad is not None]]
        for module in modules
    ]


def training(net: Any, optimizer: Any, *extra: Callable[[], Any]) -> Any:
    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
        for function in extra:
            function()
        return loss.detach()

    return step


def steps(run: Any, *modules: Any, count: int = 3, seed: int = 0) -> Iterator[Any]:
    for i in range(count):
        yield run(numbers(seed + i, 6, 7), labels(seed + i)), parts(*modules)


# ---------------------------------------------------------------------------------------------- optimizers


@scenario()
def state_is_changed_by_hand(wrap: Any) -> Iterator[Any]:
    net = small()
    o = optim.Adam(net.parameters(), lr=0.1)
    run = wrap(training(net, o))
    yield from steps(run, net)
    own = o.state[net[0].weight]
    own["exp_avg"].fill_(0.5)
    yield from steps(run, net)
    own["exp_avg"] = own["exp_avg"] * 2
    yield from steps(run, net)
    own["step"] = fastnn.tensor(1.0)
    yield from steps(run, net)
    own["step"].fill_(20.0)
    yield from steps(run, net)
    own["exp_avg"].data = fastnn.ones_like(own["exp_avg"])
    yield from steps(run, net)
    np.copyto(own["exp_avg_sq"].array, 2)
    yield from steps(run, net)
    del own["exp_avg_sq"]
    yield from steps(run, net)
    o.state.clear()
    yield from steps(run, net)
    o.state = copy.deepcopy(o.state)
    yield from steps(run, net)


@scenario()
def groups_change(wrap: Any) -> Iterator[Any]:
    net, other = small(), nn.Linear(7, 3)
    o = optim.SGD(
        [{"params": [net[0].weight], "lr": 0.1}, {"params": [net[0].bias, net[2].bias], "lr": 0.3}],
        lr=1.0, momentum=0.5,
    )  # fmt: skip
    run = wrap(training(net, o))
    yield from steps(run, net)
    o.param_groups.reverse()
    yield from steps(run, net)
    o.param_groups[0]["params"].reverse()
    yield from steps(run, net)
    o.add_param_group({"params": [net[2].weight], "lr": 0.01})
    yield from steps(run, net)
    o.param_groups.pop()
    yield from steps(run, net)
    o.param_groups[0]["params"][0] = net[2].weight
    yield from steps(run, net)
    o.param_groups[0]["params"].append(other.weight)
    yield from steps(run, net)
    o.param_groups[0]["params"] = [net[0].bias]
    yield from steps(run, net)
    o.param_groups[0] = {**o.param_groups[0], "lr": 0.7}
    yield from steps(run, net)
    o.param_groups.clear()
    yield from steps(run, net)


@scenario()
def a_group_joins_an_optimizer_that_had_nothing_to_do(wrap: Any) -> Iterator[Any]:
    net, other = small(), nn.Linear(2, 2)
    o = optim.SGD([other.weight], lr=0.1)
    run = wrap(training(net, o))
    yield from steps(run, net)
    o.add_param_group({"params": list(net.parameters())})
    yield from steps(run, net)


@scenario()
def a_frozen_part_is_thawed_for_the_optimizer(wrap: Any) -> Iterator[Any]:
    net = small()
    net[0].requires_grad_(False)
    o = optim.Adam([p for p in net.parameters() if p.requires_grad], lr=0.1)
    run = wrap(training(net, o))
    yield from steps(run, net)
    net[0].requires_grad_(True)
    yield from steps(run, net)
    o.add_param_group({"params": list(net[0].parameters())})
    yield from steps(run, net)


@scenario()
def a_learning_rate_is_a_tensor(wrap: Any) -> Iterator[Any]:
    net = small()
    o = optim.SGD(net.parameters(), lr=0.1)
    run = wrap(training(net, o))
    yield from steps(run, net)
    o.param_groups[0]["lr"] = fastnn.tensor(0.5)
    yield from steps(run, net)
    o.param_groups[0]["lr"].fill_(0.01)
    yield from steps(run, net)
    o.param_groups[0]["lr"] = np.float32(0.2)
    yield from steps(run, net)


@scenario()
def a_learning_rate_is_a_tensor_from_the_start(wrap: Any) -> Iterator[Any]:
    net = small()
    o = optim.Adam(net.parameters(), lr=fastnn.tensor(0.1))
    o.param_groups[0]["betas"] = fastnn.tensor(0.8), 0.9
    run = wrap(training(net, o))
    yield from steps(run, net)
    o.param_groups[0]["lr"].fill_(0.01)
    o.param_groups[0]["betas"][0].fill_(0.5)
    yield from steps(run, net)
    o.param_groups[0]["lr"] = fastnn.tensor(0.2)
    yield from steps(run, net)


@scenario("made or changed during the call")
def a_learning_rate_is_a_tensor_that_the_step_changes(wrap: Any) -> Iterator[Any]:
    net = small()
    rate = fastnn.tensor(0.1)
    o = optim.Adam(net.parameters(), lr=rate)
    yield from steps(wrap(training(net, o, lambda: rate.mul_(0.5))), net)


@scenario("made or changed during the call")
def one_rate_of_two_is_a_tensor_that_the_step_changes(wrap: Any) -> Iterator[Any]:
    net = small()
    rates = fastnn.tensor([0.1, 0.8])
    o = optim.Adam(net.parameters(), lr=rates[0])
    run = wrap(training(net, o, lambda: rates.mul_(0.5)))
    yield from steps(run, net)


@scenario("made or changed during the call")
def a_learning_rate_is_a_tensor_that_the_step_makes(wrap: Any) -> Iterator[Any]:
    net = small()
    o = optim.SGD(net.parameters(), lr=0.1)

    def step(x: Any, y: Any) -> Any:
        o.param_groups[0]["lr"] = x.detach().abs().mean()
        return training(net, o)(x, y)

    yield from steps(wrap(step), net)


@scenario("updated twice")
def a_parameter_in_two_optimizers(wrap: Any) -> Iterator[Any]:
    net = small()
    one, two = optim.SGD(net.parameters(), lr=0.1), optim.Adam(net[0].parameters(), lr=0.1)
    yield from steps(wrap(training(net, one, two.step)), net)


@scenario()
def two_optimizers(wrap: Any) -> Iterator[Any]:
    net = small()
    one, two = optim.SGD(net[2].parameters(), lr=0.1), optim.Adam(net[0].parameters(), lr=0.1)
    run = wrap(training(net, one, two.step, two.zero_grad))
    yield from steps(run, net)
    two.param_groups[0]["lr"] = 0.7
    yield from steps(run, net)


@scenario()
def an_optimizer_is_replaced(wrap: Any) -> Iterator[Any]:
    net = small()
    held = [optim.SGD(net.parameters(), lr=0.1)]

    def step(x: Any, y: Any, which: int) -> Any:
        return training(net, held[which])(x, y)

    run = wrap(step)
    yield from steps(lambda x, y: run(x, y, 0), net)
    held.append(optim.SGD(net.parameters(), lr=0.5))
    yield from steps(lambda x, y: run(x, y, 1), net)
    yield from steps(lambda x, y: run(x, y, 0), net)


@scenario()
def step_hooks_come_and_go(wrap: Any) -> Iterator[Any]:
    net = small()
    o = optim.SGD(net.parameters(), lr=0.1)
    run = wrap(training(net, o))
    yield from steps(run, net)
    handle = o.register_step_pre_hook(lambda o, a, k: [p.grad.mul_(2) for p in net.parameters()] and None)
    yield from steps(run, net)
    handle.remove()
    yield from steps(run, net)
    with optim.hooks.register_optimizer_step_post_hook(lambda *_: net[0].bias.data.mul_(0.5)):
        yield from steps(run, net)
    yield from steps(run, net)


@scenario("reads a value")
def a_step_hook_that_looks_at_a_value(wrap: Any) -> Iterator[Any]:
    net = small()
    o = optim.SGD(net.parameters(), lr=0.1)
    o.register_step_post_hook(lambda *_: net[0].bias.sum().item())
    yield from steps(wrap(training(net, o)), net)


@scenario()
def the_step_of_an_optimizer_is_replaced(wrap: Any) -> Iterator[Any]:
    net = small()
    o = optim.SGD(net.parameters(), lr=0.1)
    inner = optim.SGD(net.parameters(), lr=0.1)
    run = wrap(training(net, o))
    yield from steps(run, net)
    o.param_groups[0]["nesterov"], o.param_groups[0]["momentum"] = True, 0.9
    yield from steps(run, net)
    inner.zero_grad()
    yield from steps(run, net)


def averaging(wrap: Any, net: Any, **options: Any) -> Iterator[Any]:
    """Steps with an average of the weights within."""
    mean = optim.swa_utils.AveragedModel(net, **options)
    o = optim.SGD(net.parameters(), lr=0.1)
    run = wrap(training(net, o, lambda: mean.update_parameters(net)))
    yield from steps(run, net, mean, count=6)
    mean.n_averaged.zero_()  # the next call copies
    yield from steps(run, net, mean, count=4)
    mean.n_averaged = fastnn.tensor(7)
    yield from steps(run, net, mean, count=4)


@scenario()
def averages_within_the_step(wrap: Any) -> Iterator[Any]:
    for use_buffers in (False, True):
        average = optim.swa_utils.get_ema_multi_avg_fn(0.9)
        yield from averaging(wrap, small(nn.BatchNorm1d(9)), multi_avg_fn=average, use_buffers=use_buffers)


@scenario()
def averages_of_one_parameter_after_the_other(wrap: Any) -> Iterator[Any]:
    for average in (optim.swa_utils.get_ema_avg_fn(0.9), optim.swa_utils.get_swa_avg_fn()):
        yield from averaging(wrap, small(), avg_fn=average)


@scenario()
def the_mean_of_all_weights_within_the_step(wrap: Any) -> Iterator[Any]:
    yield from averaging(wrap, small(nn.BatchNorm1d(9)))


@scenario("whose weight changes")
def the_mean_of_counts_within_the_step(wrap: Any) -> Iterator[Any]:
    yield from averaging(wrap, small(nn.BatchNorm1d(9)), use_buffers=True)


@scenario("updated twice in a call")
def a_mean_that_is_updated_twice(wrap: Any) -> Iterator[Any]:
    net = small()
    mean = optim.swa_utils.AveragedModel(net)
    o = optim.SGD(net.parameters(), lr=0.1)
    twice = [lambda: mean.update_parameters(net)] * 2
    yield from steps(wrap(training(net, o, *twice)), net, mean, count=5)


@scenario()
def a_student_learns_from_its_own_average(wrap: Any) -> Iterator[Any]:
    student = small()
    teacher = optim.swa_utils.AveragedModel(student, multi_avg_fn=optim.swa_utils.get_ema_multi_avg_fn(0.9))
    o = optim.Adam(student.parameters(), lr=0.1)

    def step(x: Any, y: Any) -> Any:
        with fastnn.no_grad():
            wanted = teacher(x)
        o.zero_grad()
        loss = F.cross_entropy(student(x), y) + (student(x) - wanted).square().mean()
        loss.backward()
        o.step()
        teacher.update_parameters(student)
        return loss.detach()

    yield from steps(wrap(step), student, teacher, count=6)


@scenario()
def averages_beside_the_step(wrap: Any) -> Iterator[Any]:
    net = small()
    mean = optim.swa_utils.AveragedModel(net, multi_avg_fn=optim.swa_utils.get_ema_multi_avg_fn(0.9))
    run = wrap(training(net, optim.Adam(net.parameters(), lr=0.1)))
    for i in range(6):
        yield run(numbers(i, 6, 7), labels(i))
        mean.update_parameters(net)
        yield parts(net, mean)


@scenario("reads a value")
def an_optimizer_with_a_closure(wrap: Any) -> Iterator[Any]:
    net = small()
    o = optim.LBFGS(net.parameters(), lr=0.5, max_iter=2)

    def step(x: Any, y: Any) -> Any:
        def closure() -> Any:
            o.zero_grad()
            loss = F.cross_entropy(net(x), y)
            loss.backward()
            return loss

        return o.step(closure).detach()

    yield from steps(wrap(step), net)


@scenario("computed in NumPy")
def all_other_optimizers(wrap: Any) -> Iterator[Any]:
    for name in ("SparseAdam", "Muon", "Adafactor", "ASGD"):
        if hasattr(optim, name):
            net = small()
            ps = [p for p in net.parameters() if p.ndim == 2]
            yield from steps(wrap(training(net, getattr(optim, name)(ps))), net)


# ---------------------------------------------------------------------------------------------- modules


@scenario()
def tied_parameters(wrap: Any) -> Iterator[Any]:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two, self.last = nn.Linear(7, 7), nn.Linear(7, 7), nn.Linear(7, 3)
            self.two.weight = self.one.weight

        def forward(self, x: Any) -> Any:
            return self.last(self.two(fastnn.tanh(self.one(x))))

    net = Tied()
    run = wrap(training(net, optim.Adam(net.parameters(), lr=0.1)))
    yield from steps(run, net)
    net.two.weight = nn.Parameter(net.one.weight.detach().clone())
    yield from steps(run, net)
    net.two.weight = net.one.weight
    yield from steps(run, net)


@scenario("was set during the call")
def parametrized(wrap: Any) -> Iterator[Any]:
    net = small()
    nn.utils.parametrizations.weight_norm(net[0])
    run = wrap(training(net, optim.Adam(net.parameters(), lr=0.1)))
    yield from steps(run, net)
    nn.utils.parametrize.remove_parametrizations(net[0], "weight")
    yield from steps(run, net)
    nn.utils.weight_norm(net[2])
    yield from steps(run, net)


@scenario("changed in place")
def spectral_norms(wrap: Any) -> Iterator[Any]:
    net = small()
    nn.utils.parametrizations.spectral_norm(net[0])
    run = wrap(training(net, optim.SGD(net.parameters(), lr=0.1)))
    yield from steps(run, net)
    net.eval()
    yield from steps(run, net)


@scenario("changed in place")
def an_embedding_with_a_norm(wrap: Any) -> Iterator[Any]:
    net = nn.Embedding(10, 4, max_norm=0.5)
    o = optim.SGD(net.parameters(), lr=0.1)

    def step(i: Any) -> Any:
        o.zero_grad()
        loss = net(i).square().sum()
        loss.backward()
        o.step()
        return loss.detach()

    run = wrap(step)
    for i in range(6):
        yield run(np.random.default_rng(i).integers(0, 10, 5)), parts(net)


@scenario()
def an_embedding(wrap: Any) -> Iterator[Any]:
    net = nn.Embedding(10, 4, padding_idx=2)
    o = optim.Adam(net.parameters(), lr=0.1)

    def step(i: Any) -> Any:
        o.zero_grad()
        loss = net(i).square().sum()
        loss.backward()
        o.step()
        return loss.detach()

    run = wrap(step)
    for i in range(6):
        yield run(np.random.default_rng(i).integers(0, 10, 5)), parts(net)


@scenario("was set during the call")
def lazy_layers(wrap: Any) -> Iterator[Any]:
    net = nn.Sequential(nn.LazyLinear(9), nn.ReLU(), nn.LazyLinear(3))
    run = wrap(net)
    for i in range(3):
        yield run(numbers(i, 6, 7))
    o = optim.SGD(net.parameters(), lr=0.1)
    yield from steps(wrap(training(net, o)), net)


@scenario()
def a_model_in_two_functions_in_turn(wrap: Any) -> Iterator[Any]:
    net = small()
    one, two = optim.Adam(net.parameters(), lr=0.1), optim.SGD(net.parameters(), lr=0.1)
    first, second, third = wrap(training(net, one)), wrap(training(net, two)), wrap(net)
    for i in range(9):
        x, y = numbers(i, 6, 7), labels(i)
        yield (first, second)[i % 2](x, y), parts(net)
        yield third(x), first(x, y), parts(net)


@scenario()
def train_and_eval_of_a_part(wrap: Any) -> Iterator[Any]:
    net = small(nn.Dropout(0.5))
    run = wrap(training(net, optim.SGD(net.parameters(), lr=0.1)))
    for _ in range(3):
        yield from steps(run, net, count=2)
        net[1].eval()
        yield from steps(run, net, count=2)
        net[1].train()


@scenario()
def a_buffer_is_changed(wrap: Any) -> Iterator[Any]:
    net = nn.Linear(7, 3)
    net.register_buffer("scale", fastnn.ones(3))
    run = wrap(lambda x: (net(x) * net.scale).detach())
    for i in range(3):
        yield run(numbers(i, 6, 7))
        net.scale.mul_(2)
    for i in range(3):
        yield run(numbers(i, 6, 7))
        net.scale = net.scale + 1
    for i in range(3):
        yield run(numbers(i, 6, 7))
        net._buffers["scale"] = net.scale + 1


@scenario()
def a_parameter_is_put_in_past_the_module(wrap: Any) -> Iterator[Any]:
    net = nn.Linear(7, 3)
    run = wrap(lambda x: net(x).detach())
    for i in range(4):
        yield run(numbers(i, 6, 7))
        net._parameters["weight"] = nn.Parameter(fastnn.tensor(numbers(i, 3, 7)))


@scenario()
def a_forward_is_replaced(wrap: Any) -> Iterator[Any]:
    net = nn.Linear(7, 3)
    run = wrap(net)
    for i in range(3):
        yield run(numbers(i, 6, 7))
    net.forward = lambda x: x * 2
    for i in range(3):
        yield run(numbers(i, 6, 7))


# ---------------------------------------------------------------------------------------------- gradients


@scenario()
def gradients_are_set_by_hand(wrap: Any) -> Iterator[Any]:
    net = nn.Linear(7, 3)

    def step(x: Any) -> Any:
        loss = net(x).square().sum()
        loss.backward()
        return loss.detach()

    run = wrap(step)
    sets = [
        lambda: fastnn.ones(3, 7),
        lambda: fastnn.tensor(numbers(1, 7, 3)).T,
        lambda: fastnn.from_numpy(numbers(1, 6, 14)[::2, ::2]),
        lambda: fastnn.from_numpy(numbers(1, 3, 7)[::-1, ::-1]),
        lambda: fastnn.from_numpy(np.asfortranarray(numbers(1, 3, 7))),
        lambda: None,
    ]
    for make in sets * 2:
        for i in range(3):
            net.weight.grad = make()
            yield run(numbers(i, 6, 7)), net.weight.grad
        for i in range(2):
            yield run(numbers(i, 6, 7)), net.weight.grad


@scenario("shares its memory")
def gradients_share_their_memory(wrap: Any) -> Iterator[Any]:
    one, two = nn.Parameter(fastnn.ones(4)), nn.Parameter(fastnn.full((4,), 2.0))

    def step(x: Any) -> Any:
        ((one * x).sum() + (two * x * x).sum()).backward()
        return one.grad + two.grad

    for shared_first in (True, False):
        run = wrap(step)
        for shared in (shared_first, not shared_first) * 3:
            one.grad = fastnn.zeros(4)
            two.grad = one.grad if shared else fastnn.zeros(4)
            for i in range(2):
                yield run(numbers(i, 4)), one.grad, two.grad


@scenario("shares its memory")
def a_gradient_is_an_argument(wrap: Any) -> Iterator[Any]:
    one = nn.Parameter(fastnn.ones(4))

    def step(x: Any) -> Any:
        (one * x).sum().backward()
        return one.grad + x

    for first in (True, False):
        run = wrap(step)
        for is_same in (first, not first) * 3:
            x = fastnn.from_numpy(numbers(3, 4))
            one.grad = x if is_same else fastnn.zeros(4)
            for _ in range(2):
                yield run(x), one.grad, x


@scenario()
def the_gradient_that_was_left_is_passed_in(wrap: Any) -> Iterator[Any]:
    one = nn.Parameter(fastnn.ones(4))

    def step(x: Any) -> Any:
        one.grad = None
        (one * x).square().sum().backward()
        return one.grad * 1

    run = wrap(step)
    x = fastnn.from_numpy(numbers(3, 4))
    for i in range(8):
        found = run(x)
        yield found, one.grad
        x = one.grad if i % 2 else found
    for i in range(4):
        yield run(one.grad.array if i % 2 else one.grad.array[:]), one.grad


@scenario()
def hooks_of_gradients(wrap: Any) -> Iterator[Any]:
    net = small()
    net[0].weight.register_hook(lambda g: g.clamp(-0.01, 0.01))
    handle = net[0].bias.register_hook(lambda g: g * 3)
    run = wrap(training(net, optim.SGD(net.parameters(), lr=0.1)))
    yield from steps(run, net)
    handle.remove()
    yield from steps(run, net)
    net[2].weight.register_post_accumulate_grad_hook(lambda p: p.grad.mul_(2))
    yield from steps(run, net)


@scenario()
def a_graph_is_retained(wrap: Any) -> Iterator[Any]:
    net = small()
    o = optim.SGD(net.parameters(), lr=0.1)

    def step(x: Any, y: Any) -> Any:
        o.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward(retain_graph=True)
        loss.backward()
        o.step()
        return loss.detach()

    yield from steps(wrap(step), net)


@scenario()
def a_graph_of_outside_is_used(wrap: Any) -> Iterator[Any]:
    w = nn.Parameter(fastnn.ones(4))
    y = (w * 2).sum()

    def step(x: Any) -> Any:
        w.grad = None
        (y * x.sum()).backward(retain_graph=True)
        return w.grad * 1

    run = wrap(step)
    for i in range(4):
        yield run(numbers(i, 4)), w.grad


@scenario()
def a_computed_tensor_of_outside_changes(wrap: Any) -> Iterator[Any]:
    w = nn.Parameter(fastnn.ones(4))
    held = [w * 2]
    run = wrap(lambda x: (held[0] * x).detach())
    for i in range(4):
        yield run(numbers(i, 4))
    with fastnn.no_grad():
        held[0].mul_(3)
    for i in range(4):
        yield run(numbers(i, 4))
    held[0].data = fastnn.full((4,), 7.0)
    for i in range(4):
        yield run(numbers(i, 4))


class Doubled(fastnn.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        (x,) = ctx.saved_tensors
        return g * x * 2


class ThroughNumpy(fastnn.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        return fastnn.from_numpy(np.sin(x.detach().numpy()))

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        return g


@scenario()
def a_function_of_one_s_own(wrap: Any) -> Iterator[Any]:
    net = small()
    o = optim.SGD(net.parameters(), lr=0.1)

    def step(x: Any, y: Any) -> Any:
        o.zero_grad()
        loss = F.cross_entropy(Doubled.apply(net(x)), y)
        loss.backward()
        o.step()
        return loss.detach()

    yield from steps(wrap(step), net)


@scenario("reads a value")
def a_function_of_one_s_own_in_numpy(wrap: Any) -> Iterator[Any]:
    run = wrap(lambda x: ThroughNumpy.apply(x) * 2)
    for i in range(3):
        yield run(numbers(i, 4))


@scenario()
def accumulating_gradients_over_sizes(wrap: Any) -> Iterator[Any]:
    net = nn.Linear(7, 3)

    def step(x: Any) -> Any:
        loss = net(x).square().sum()
        loss.backward()
        return loss.detach()

    run = wrap(step)
    for n in (4, 5, 5, 4, 4, 5, 3, 3, 3):
        yield run(numbers(n, n, 7)), parts(net)
    net.zero_grad()
    for n in (4, 5, 5):
        yield run(numbers(n, n, 7)), parts(net)


@scenario()
def gradients_of_arguments(wrap: Any) -> Iterator[Any]:
    def step(x: Any) -> Any:
        (found,) = fastnn.autograd.grad((x * x * x).sum(), x)
        return found

    run = wrap(step)
    for i in range(4):
        yield run(fastnn.tensor(numbers(i, 5), requires_grad=True))


@scenario("left in its `grad`")
def a_gradient_left_in_an_argument(wrap: Any) -> Iterator[Any]:
    def step(x: Any) -> Any:
        loss = (x * x).sum()
        loss.backward()
        return loss.detach()

    run = wrap(step)
    for i in range(4):
        x = fastnn.tensor(numbers(i, 5), requires_grad=True)
        yield run(x), x.grad


# ---------------------------------------------------------------------------------------------- arguments


@scenario()
def arguments_are_views_of_parameters(wrap: Any) -> Iterator[Any]:
    for first in (True, False):
        w = fastnn.tensor(numbers(1, 6, 4))

        def step(x: Any, w: Any = w) -> Any:
            x.mul_(2)
            w.add_(1)
            return x + w.sum(0)

        run = wrap(step)
        for own in (first, not first) * 3:
            for i in range(3):
                x = w[i] if own else fastnn.from_numpy(numbers(i, 4))
                yield run(x), w, x
                x = w.array[i] if own else numbers(i, 4)
                yield run(x), w, x


@scenario()
def an_argument_is_what_the_function_holds(wrap: Any) -> Iterator[Any]:
    for writes in (False, True):
        for tensor in (True, False):
            held = numbers(1, 4)
            w = fastnn.from_numpy(held)

            def step(x: Any, w: Any = w, writes: bool = writes) -> Any:
                if writes:
                    w.mul_(2)
                return x * 2 + w

            run = wrap(step)
            for i in range(9):
                x = (w if tensor else held) if i // 2 % 2 == 0 else numbers(i, 4)
                yield run(x), w


@scenario()
def an_argument_overlaps_what_the_function_holds(wrap: Any) -> Iterator[Any]:
    for first in (True, False):
        memory = numbers(1, 40)
        w = fastnn.from_numpy(memory[8:16])

        def step(x: Any, w: Any = w) -> Any:
            w.copy_(x)
            return w * x

        run = wrap(step)
        for own in (first, not first) * 3:
            for i in range(3):
                x = memory[5 + i : 13 + i] if own else numbers(i, 8)
                yield run(x), w, memory


@scenario()
def an_argument_is_the_optimizer_s_state(wrap: Any) -> Iterator[Any]:
    net = nn.Linear(7, 3)
    o = optim.SGD(net.parameters(), lr=0.1, momentum=0.9)

    def step(x: Any) -> Any:
        o.zero_grad()
        loss = (net(x) * 1).square().sum()
        loss.backward()
        o.step()
        return loss.detach(), x * 2

    run = wrap(step)
    for i in range(4):
        yield run(numbers(i, 3, 7)), parts(net)
    for i in range(6):
        x = o.state[net.weight]["momentum_buffer"] if i % 2 else fastnn.from_numpy(numbers(i, 7, 3)).T
        yield run(x), parts(net)
    for _ in range(4):
        yield run(net.weight.detach()), parts(net)


@scenario()
def a_parameter_is_an_argument(wrap: Any) -> Iterator[Any]:
    net = nn.Linear(7, 7)

    def step(w: Any) -> Any:
        return (net(w) * net.weight).detach()

    run = wrap(step)
    other = nn.Parameter(fastnn.tensor(numbers(3, 7, 7)).T)
    for w in (net.weight, net.weight, other, other, net.weight, net.weight.detach(), other.detach()):
        yield run(w)


@scenario()
def memory_is_freed_and_handed_out_again(wrap: Any) -> Iterator[Any]:
    def body(x: Any) -> Any:
        kept = []
        for i in range(9):
            x = (x * (i + 2)).tanh() - x[:1]
            if i % 3 == 1:
                kept += [x[2:, ::2], x.T]
            if i % 3 == 2:
                x = x.to("float64").to("float32")  # memory of NumPy's
        return [*kept, x.sum()]

    run = wrap(body)
    held = [run(numbers(i, 6, 7)) for i in range(4)]
    yield from held


@scenario()
def a_gradient_of_before_is_freed_and_its_memory_handed_out_again(wrap: Any) -> Iterator[Any]:
    net = small()
    o = optim.SGD(net.parameters(), lr=0.1, momentum=0.9)

    def step(x: Any, y: Any) -> Any:
        o.zero_grad()
        like = [p.detach() * 2 for p in net.parameters()]
        loss = F.cross_entropy(net(x), y) + sum(x.sum() for x in like)
        loss.backward()
        o.step()
        return [loss.detach(), *like]

    run = wrap(step)
    yield from steps(run, net)
    kept = [p.grad for p in net.parameters()]
    yield from steps(run, net)
    yield kept


@scenario("computed in NumPy")
def numpy_s_memory_where_fastnn_s_was(wrap: Any) -> Iterator[Any]:
    def body(x: Any) -> Any:
        for _ in range(8):
            double = x.to("float64")
            del double
            x = x + np.full(x.shape, 0.5)
        return x

    run = wrap(body)
    for i in range(3):
        yield run(numbers(i, 64, 7))


@scenario()
def another_thread_takes_memory(wrap: Any) -> Iterator[Any]:
    def other() -> None:
        for n in range(1, 40):
            (fastnn.ones(n, 7) * 3).exp()

    def body(x: Any) -> Any:
        made = []
        for i in range(4):
            thread = threading.Thread(target=other)
            thread.start()
            for _ in range(5):
                x = (x + i).tanh() * 2
            made.append(x)
            thread.join()
        return made

    run = wrap(body)
    for i in range(3):
        yield run(numbers(i, 6, 7))


@scenario()
def the_last_reference_dies_in_another_thread(wrap: Any) -> Iterator[Any]:
    def body(x: Any) -> Any:
        for i in range(4):
            box = [x * i]
            x = box[0] + x
            thread = threading.Thread(target=box.clear)
            thread.start()
            thread.join()
            x = (x - 1).tanh() * 2
        return x

    run = wrap(body)
    for i in range(3):
        yield run(numbers(i, 6, 7))


@scenario()
def layouts(wrap: Any) -> Iterator[Any]:
    def step(x: Any, y: Any) -> Any:
        return (x * y).sum(0), x - y, (x + 1.0).sum()

    run = wrap(step)
    locked = numbers(1, 6, 4)
    locked.flags.writeable = False
    raw = np.zeros(6 * 4 * 4 + 1, np.uint8)[1:].view("f4").reshape(6, 4)
    raw[...] = numbers(2, 6, 4)
    kinds = [
        numbers(0, 6, 4), locked, numbers(1, 6, 4).astype(">f4"), raw, numbers(1, 6, 4)[::-1],
        numbers(1, 12, 8)[::2, ::2], np.asfortranarray(numbers(1, 6, 4)),
        np.broadcast_to(numbers(1, 4), (6, 4)), numbers(1, 6, 4, dtype="f8"),
        numbers(1, 6, 4).astype(np.int32), numbers(1, 6, 4) > 0, np.zeros((6, 4), np.uint8),
        numbers(0, 6, 4).T.copy().T,
    ]  # fmt: skip
    for _ in range(2):
        for x in kinds:
            for y in kinds[:4]:
                yield run(x, y)


@scenario()
def shapes(wrap: Any) -> Iterator[Any]:
    run = wrap(lambda x: (x * 2, fastnn.tanh(x) + 1, x.sum()))
    for _ in range(3):
        for shape in ((), (0,), (1,), (3, 0), (0, 3), (1, 1), (2, 3), (3, 2), (6,)):
            for _ in range(2):
                yield run(numbers(len(shape), *shape) if shape else np.array(2.5, "f4"))


@scenario()
def an_empty_batch_in_training(wrap: Any) -> Iterator[Any]:
    net = small()
    run = wrap(training(net, optim.SGD(net.parameters(), lr=0.1)))
    with np.errstate(all="ignore"):
        for n in (3, 3, 0, 0, 0, 3):
            yield run(numbers(n, n, 7), labels(n, n)), parts(net)


@scenario()
def read_only_arguments_that_are_written(wrap: Any) -> Iterator[Any]:
    def step(x: Any) -> Any:
        x.add_(1)
        return x * 2

    run = wrap(step)
    for locked in (False, False, True, False, True, True):
        x = numbers(2, 5)
        x.flags.writeable = not locked
        try:
            found = run(x)
        except fastnn.CompileError:
            raise
        except Exception as error:
            found = [ord(c) for c in type(error).__name__]
        yield found, x


@scenario()
def byte_swapped_arguments_that_are_written(wrap: Any) -> Iterator[Any]:
    def step(x: Any) -> Any:
        x.add_(1)
        return x * 2

    run = wrap(step)
    for kind in ("f4", ">f4", "f4", ">f4", ">f4"):
        x = numbers(2, 5).astype(kind)
        yield run(x), x.astype("f4")


@scenario("computed in NumPy")
def signed_zeros_and_nans_as_plain_arguments(wrap: Any) -> Iterator[Any]:
    run = wrap(lambda x, number: 1 / (x * number))
    for _ in range(3):
        for number in (0.0, -0.0, 1, 1.0, True, float("nan"), np.float32(1), np.float64(1), -1, 2**40):
            yield run(np.ones(3), number)


@scenario()
def odd_plain_arguments(wrap: Any) -> Iterator[Any]:
    run = wrap(lambda x, index: x[index] * 2)
    for _ in range(3):
        for index in (slice(0, 2), slice(1, 3), 1, ..., None, (slice(0, 1), None)):
            yield run(np.arange(4.0), index)


@scenario("cannot be told from others")
def a_set_as_an_argument(wrap: Any) -> Iterator[Any]:
    run = wrap(lambda x, chosen: x * len(chosen))
    for chosen in ({1}, {1, 2}, {1}):
        yield run(np.ones(3), chosen)


@scenario()
def an_object_as_an_argument(wrap: Any) -> Iterator[Any]:
    class Settings:
        scale = 1.0

    settings = Settings()
    run = wrap(lambda x, s: x * s.scale)
    yield run(np.ones(3), settings)
    yield run(np.ones(3), settings)
    other = Settings()
    other.scale = 3.0
    yield run(np.ones(3), other)
    yield run(np.ones(3), other)


@scenario()
def versions_are_kept(wrap: Any) -> Iterator[Any]:
    """A graph of outside notices that a replay wrote to what it had saved."""

    def step(x: Any) -> Any:
        x.mul_(2)
        return x + 1

    run = wrap(step)
    for _ in range(4):
        w, x = nn.Parameter(fastnn.ones(4)), fastnn.tensor(numbers(1, 4))
        loss = (w * x).sum()
        run(x)
        try:
            loss.backward()
        except RuntimeError:
            yield 1
        else:
            yield 0


@scenario()
def versions_of_what_is_held_are_kept(wrap: Any) -> Iterator[Any]:
    held = fastnn.tensor(numbers(1, 4))

    def step(x: Any) -> Any:
        held.mul_(x)
        return held + 1

    run = wrap(step)
    for i in range(4):
        w = nn.Parameter(fastnn.ones(4))
        loss = (w * held).sum()
        run(numbers(i, 4))
        try:
            loss.backward()
        except RuntimeError:
            yield 1
        else:
            yield 0


# ---------------------------------------------------------------------------------------------- randomness, modes


@scenario("was seeded")
def seeds_within_the_step(wrap: Any) -> Iterator[Any]:
    def step(x: Any) -> Any:
        fastnn.manual_seed(3)
        return x + fastnn.randn(4)

    run = wrap(step)
    for i in range(4):
        yield run(numbers(i, 4))


@scenario("was seeded")
def a_generator_is_seeded_within_the_step(wrap: Any) -> Iterator[Any]:
    generator = fastnn.Generator()

    def step(x: Any) -> Any:
        generator.manual_seed(3)
        return x + fastnn.randn(4, generator=generator)

    run = wrap(step)
    for i in range(4):
        yield run(numbers(i, 4))


@scenario()
def generators_as_arguments(wrap: Any) -> Iterator[Any]:
    one, two = fastnn.Generator().manual_seed(1), fastnn.Generator().manual_seed(2)
    run = wrap(lambda x, g: x + fastnn.randn(4, generator=g))
    for i in range(12):
        yield run(np.zeros(4, "f4"), (one, two)[i // 2 % 2])
    one.manual_seed(1)
    for _ in range(3):
        yield run(np.zeros(4, "f4"), one)
    yield one.get_state(), two.get_state()


@scenario("reads a value")
def states_of_generators_within_the_step(wrap: Any) -> Iterator[Any]:
    def step(x: Any) -> Any:
        state = fastnn.get_rng_state()
        one = fastnn.randn(4)
        fastnn.set_rng_state(state) if hasattr(fastnn, "set_rng_state") else None
        return x + one + fastnn.randn(4)

    run = wrap(step)
    for i in range(4):
        yield run(numbers(i, 4))


@scenario()
def default_dtypes(wrap: Any) -> Iterator[Any]:
    run = wrap(lambda x: x * fastnn.ones(3) + fastnn.rand(3))
    try:
        for kind in ("float32", "float64", "float32", "float32", "float64"):
            fastnn.set_default_dtype(getattr(fastnn, kind))
            fastnn.manual_seed(1)
            yield run(numbers(1, 3))
            yield run(numbers(2, 3))
    finally:
        fastnn.set_default_dtype(fastnn.float32)


@scenario()
def grad_modes(wrap: Any) -> Iterator[Any]:
    net = nn.Linear(7, 3)

    def step(x: Any) -> Any:
        found = net(x)
        if found.requires_grad:
            net.zero_grad()
            found.sum().backward()
        return found.detach()

    run = wrap(step)
    for i in range(8):
        with fastnn.set_grad_enabled(i // 2 % 2 == 0):
            yield run(numbers(i, 6, 7)), parts(net)
        with fastnn.inference_mode():
            yield run(numbers(i, 6, 7)), parts(net)


@scenario("switched on or off")
def grad_mode_is_switched_within_the_step(wrap: Any) -> Iterator[Any]:
    def step(x: Any) -> Any:
        fastnn.set_grad_enabled(False)
        return x * 2

    run = wrap(step)
    try:
        for i in range(4):
            fastnn.set_grad_enabled(True)
            yield run(numbers(i, 4)), int(fastnn.is_grad_enabled())
    finally:
        fastnn.set_grad_enabled(True)


@scenario()
def the_backend_changes(wrap: Any) -> Iterator[Any]:
    run = wrap(lambda x: (x * 2 + 1).sum())
    for i in range(8):
        with fastnn.use_backend("numpy" if i // 2 % 2 else "compiled") if i // 2 % 2 else fastnn.enable_grad():
            yield run(np.arange(i + 3.0)[:3])


@scenario()
def a_function_that_calls_itself(wrap: Any) -> Iterator[Any]:
    def step(x: Any, depth: int) -> Any:
        return x if depth == 0 else run(x * 2, depth - 1) + 1

    run = wrap(step)
    for depth in (3, 3, 3, 2, 2, 0, 0, 3):
        yield run(numbers(depth, 4), depth)


@scenario()
def training_mode_is_switched_within_the_step(wrap: Any) -> Iterator[Any]:
    net = small(nn.Dropout(0.5))
    o = optim.SGD(net.parameters(), lr=0.1)

    def step(x: Any, y: Any) -> Any:
        net.eval()
        before = net(x).detach()
        net.train()
        return before, training(net, o)(x, y)

    run = wrap(step)
    yield from steps(run, net)
    net.eval()
    yield from steps(run, net)
    yield int(net.training)


@scenario()
def training_mode_is_left_otherwise(wrap: Any) -> Iterator[Any]:
    net = small(nn.Dropout(0.5))

    def step(x: Any) -> Any:
        found = net(x).detach()
        net.eval()
        return found

    run = wrap(step)
    for i in range(4):
        net.train()
        yield run(numbers(i, 6, 7)), int(net.training)


@scenario("requires_grad")
def freezing_within_the_step(wrap: Any) -> Iterator[Any]:
    net = small()
    o = optim.SGD(net.parameters(), lr=0.1)

    def step(x: Any, y: Any) -> Any:
        found = training(net, o)(x, y)
        net[0].weight.requires_grad_(False)
        return found

    run = wrap(step)
    yield from steps(run, net)
    net[0].weight.requires_grad_(True)
    yield from steps(run, net)
    yield int(net[0].weight.requires_grad)


@scenario("hyper-parameter")
def hyper_parameters_set_within_the_step(wrap: Any) -> Iterator[Any]:
    net = small()
    o = optim.SGD(net.parameters(), lr=0.1)

    def step(x: Any, y: Any) -> Any:
        o.param_groups[0]["lr"] *= 0.5
        return training(net, o)(x, y)

    yield from steps(wrap(step), net)


@scenario("with arguments")
def a_schedule_of_the_losses(wrap: Any) -> Iterator[Any]:
    net = small()
    o = optim.SGD(net.parameters(), lr=0.1)
    schedule = optim.lr_scheduler.ReduceLROnPlateau(o, patience=0)

    def step(x: Any, y: Any) -> Any:
        found = training(net, o)(x, y)
        schedule.step(found)
        return found

    yield from steps(wrap(step), net)
    yield o.param_groups[0]["lr"]


@scenario("changed in place")
def weights_are_loaded_within_the_step(wrap: Any) -> Iterator[Any]:
    net = small()
    o = optim.SGD(net.parameters(), lr=0.1)
    kept = copy.deepcopy(net.state_dict())
    run = wrap(training(net, o, lambda: net.load_state_dict(kept)))
    yield from steps(run, net)


@scenario("a mask as an index")
def shapes_that_follow_from_values(wrap: Any) -> Iterator[Any]:
    run = wrap(lambda x: x[x > 0].sum())
    for i in range(4):
        yield run(numbers(i, 9))


@scenario()
def indices_in_arrays(wrap: Any) -> Iterator[Any]:
    w = nn.Parameter(fastnn.tensor(numbers(1, 9, 2)))

    def step(i: Any) -> Any:
        w.grad = None
        w[i].square().sum().backward()
        return w.grad * 1

    run = wrap(step)
    for i in range(4):
        yield run(np.random.default_rng(i).integers(0, 9, 5))


@scenario()
def writing_by_index(wrap: Any) -> Iterator[Any]:
    held = fastnn.tensor([0, 5])

    def step(x: Any, i: Any) -> Any:
        y = x * 1
        y[i] = 0.0
        y[0] += 1
        y[i + 2] = y[i] * 3
        y[held] = [7.0, 8.0]
        y[[1, 2]] = y[:2]
        x[i] = y[-1]  # the argument itself
        counts = fastnn.zeros(12, dtype="int64")
        counts[i] = i
        return y, counts

    run = wrap(step)
    for i in range(4):
        x = numbers(i, 12)
        yield run(x, np.random.default_rng(i).integers(0, 9, 3)), x
        held.add_(1)


@scenario()
def an_index_is_kept_as_it_was(wrap: Any) -> Iterator[Any]:
    w = nn.Parameter(fastnn.tensor(numbers(1, 5, 6)))

    def step(i: Any) -> Any:
        w.grad = None
        y = w[i]
        i.fill_(2)
        y.sum().backward()
        return w.grad * 1

    run = wrap(step)
    for i in range(4):
        yield run(np.random.default_rng(i).integers(0, 5, 3))


@scenario("share memory")
def writing_by_index_where_elements_share_memory(wrap: Any) -> Iterator[Any]:
    one = numbers(0, 4)
    rows = np.lib.stride_tricks.as_strided(one, (3, 4), (0, 4))

    def step(x: Any) -> Any:
        fastnn.from_numpy(rows)[0] = x
        return x * 1

    run = wrap(step)
    for i in range(3):
        yield run(numbers(i, 4)), one


@scenario()
def gradients_through_writing_by_index(wrap: Any) -> Iterator[Any]:
    w = nn.Parameter(fastnn.tensor(numbers(1, 5, 6)))
    v = nn.Parameter(fastnn.tensor(numbers(2, 6)))

    def step(i: Any, k: Any) -> Any:
        w.grad = v.grad = None
        y = w * 2
        y[1] = 3.0
        y[i, k] = v[:3]
        y[2:, i] = v[1:2] * 2
        y[i] += v
        (y * y.detach()).sum().backward()
        return w.grad * 1, v.grad * 1

    run = wrap(step)
    for i in range(4):
        pick = np.random.default_rng(i)
        yield run(pick.integers(-5, 5, 3), pick.integers(0, 6, 3).astype("i4")), w.grad, v.grad


@scenario()
def indices_of_all_kinds(wrap: Any) -> Iterator[Any]:
    outer, fixed = np.array([2, 0]), fastnn.tensor([[1], [3]])

    def step(x: Any, i: Any, k: Any) -> Any:
        whole = (x * 10).to("int64")
        return [
            x[i], x[i.to("int32")], x[:, i], x[i, k], x[i, :, k], x[1:, i, None], x[..., i], x[outer], x[fixed, k],
            x[[0, 1]], x[[0, 1], [2, 3]], x[True], x[i.reshape(2, 2)], whole[i], whole[i, k], whole[outer, 1],
            x.index_put((i, k), x[:4, 0] * 2), fastnn.index_select(x, 1, k),
        ]  # fmt: skip

    run = wrap(step)
    for i in range(4):
        pick = np.random.default_rng(i)
        yield run(numbers(i, 4, 5, 6), pick.integers(-4, 4, 4), pick.integers(0, 4, 4))
        outer[:] = (outer + 1) % 4
        fixed.copy_(fixed.flip(0))


@scenario("without axes as an index")
def an_index_without_axes(wrap: Any) -> Iterator[Any]:
    run = wrap(lambda x, i: x[i])
    for i in range(4):
        yield run(numbers(i, 6), np.array(i))


@scenario("a list of Tensors")
def a_list_of_tensors_as_an_index(wrap: Any) -> Iterator[Any]:
    run = wrap(lambda x, i: x[[i[0], i[1]]])
    for i in range(4):
        yield run(numbers(i, 6), np.array([i, 2]))


@scenario()
def globals_of_numpy_change(wrap: Any) -> Iterator[Any]:
    held = numbers(1, 4)
    run = wrap(lambda x: x * fastnn.from_numpy(held))
    for i in range(4):
        yield run(numbers(i, 4))
        held[...] = numbers(i + 7, 4)


@scenario()
def results_are_kept(wrap: Any) -> Iterator[Any]:
    net = small()
    run = wrap(training(net, optim.SGD(net.parameters(), lr=1e-3)))
    x, y = numbers(0, 6, 7), labels(0)
    kept = [run(x, y) for _ in range(1000)]
    yield [fastnn.stack(kept), parts(net)]


@scenario()
def results_are_changed(wrap: Any) -> Iterator[Any]:
    w = fastnn.tensor(numbers(1, 4))
    run = wrap(lambda x: (x, w, w[1:], x * 2, x * 2))
    for i in range(6):
        x = fastnn.from_numpy(numbers(i, 4))
        found = run(x)
        yield found
        for own in found:
            own.add_(1)
        yield found, w, x


@scenario()
def one_result_many_times(wrap: Any) -> Iterator[Any]:
    def step(x: Any) -> Any:
        y = x * 2
        return y, y, y[1:], (y, {"y": y})

    run = wrap(step)
    for i in range(4):
        a, b, c, (d, e) = run(numbers(i, 4))
        a.add_(1)
        yield a, b, c, d, e["y"]


@scenario()
def results_that_are_no_arrays(wrap: Any) -> Iterator[Any]:
    run = wrap(lambda x: (x.shape[0], x.ndim, x * 2, len(x)))
    for n in (3, 3, 4, 4, 3):
        yield run(numbers(n, n))


@scenario("computed in NumPy")
def a_counter_in_numpy(wrap: Any) -> Iterator[Any]:
    count = np.zeros(1)

    def step(x: Any) -> Any:
        return x * fastnn.from_numpy(count + 1)

    run = wrap(step)
    for i in range(4):
        yield run(numbers(i, 4))
        count += 1


@scenario()
def what_is_held_is_used_through_views_alone(wrap: Any) -> Iterator[Any]:
    w = fastnn.tensor(numbers(1, 4))
    run = wrap(lambda x: x * w[1:])
    for i in range(9):
        yield run(numbers(i, 3))
        if i % 3 == 2:
            w.data = fastnn.tensor(numbers(i + 9, 4))


@scenario()
def what_is_written_into_is_replaced(wrap: Any) -> Iterator[Any]:
    held = {"total": np.zeros(3, "f4")}

    def step(x: Any, total: Any) -> Any:
        fastnn.ops.add(total, x, out=total)
        return total * 2

    run = wrap(step)
    for i in range(9):
        yield run(numbers(i, 3), held["total"]), held["total"]
        if i % 3 == 2:
            held["total"] = np.ones(3, "f4")


@scenario()
def a_gan(wrap: Any) -> Iterator[Any]:
    """Parts that are frozen and thawed again within a step, as they were before it."""
    one, two = small(), nn.Linear(3, 1)
    first, second = optim.Adam(one.parameters(), lr=0.1), optim.Adam(two.parameters(), lr=0.1)

    def step(x: Any) -> Any:
        second.zero_grad()
        loss = two(one(x).detach()).square().mean()
        loss.backward()
        second.step()
        two.requires_grad_(False)
        first.zero_grad()
        other = (1 - two(one(x))).square().mean()
        other.backward()
        first.step()
        two.requires_grad_(True)
        return loss.detach(), other.detach()

    run = wrap(step)
    for i in range(5):
        yield run(numbers(i, 6, 7)), parts(one, two)


@pytest.mark.parametrize("name", SCENARIOS)
def test_strict(name: str) -> None:
    function, refused = SCENARIOS[name]
    if refused:
        with pytest.raises(fastnn.CompileError, match=refused):
            told(function, fastnn.compile)
    else:
        assert told(function, fastnn.compile) == Same(told(function, eager))


@pytest.mark.parametrize("name", SCENARIOS)
def test_not_strict(name: str) -> None:
    function, refused = SCENARIOS[name]
    functions = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = told(function, lambda f: functions.append(f) or fastnn.compile(f, strict=False))
    assert found == Same(told(function, eager))
    assert bool(refused) <= len(caught) <= (len(functions) if refused else 0)


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x.detach(), lambda x: x.data, lambda x: x.view(-1), lambda x: x.T, lambda x: x[1:],
        lambda x: x.float(), lambda x: x.reshape(2, 2), lambda x: x.contiguous(), lambda x: x.unsqueeze(0),
        lambda x: x.to(fastnn.float32),
        lambda x: x.expand(3, 4), lambda x: x.chunk(2)[1], lambda x: fastnn.as_tensor(x), lambda x: x.requires_grad_(),
        lambda x: x.flatten(), lambda x: x.squeeze(), lambda x: next(iter(x)), lambda x: x.split(1)[2],
    ],
)  # fmt: skip
def test_views_of_arguments_do_not_bind_them(view: Any) -> None:
    fast = fastnn.compile(lambda x: (view(x) * 2).detach())
    for made in (fastnn.tensor, np.asarray):
        for i in range(3):
            x = made(numbers(i, 4))
            assert np.array_equal(fast(x).array, (view(fastnn.tensor(np.asarray(x))) * 2).detach().array)
    assert fast.plans
    assert not any(plan.is_bound for plans in fast.plans.values() for plan in plans)


def test_a_copy_of_a_compiled_function_records_anew() -> None:
    net = nn.Linear(7, 3)
    net.fast = fastnn.compile(net)
    step = fastnn.compile(fastnn.tanh)
    x = numbers(1, 6, 7)
    for _ in range(3):
        expected, of_step = net.fast(x).array, step(x).array
    for copied in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert copied.fast.plan is None
        assert np.array_equal(copied.fast(x).array, expected)
        with fastnn.no_grad():
            copied.weight.zero_()
        assert np.array_equal(copied.fast(x).array, np.broadcast_to(copied.bias.array, (6, 3)))
    assert np.array_equal(net.fast(x).array, expected)
    for copied in (copy.copy(step), copy.deepcopy(step), pickle.loads(pickle.dumps(step))):
        assert copied.strict
        assert all(np.array_equal(copied(x).array, of_step) for _ in range(3))
    with pytest.raises((AttributeError, pickle.PicklingError)):
        pickle.dumps(fastnn.compile(lambda x: x))


def test_a_model_and_an_optimizer_that_a_compiled_function_holds_are_copied() -> None:
    net = small()
    o = optim.Adam(net.parameters(), lr=0.1)
    run = fastnn.compile(training(net, o))
    for _ in steps(run, net):
        pass
    made = pickle.loads(pickle.dumps((net, o)))
    for other, other_o in (made, copy.deepcopy((net, o))):
        one, two = copy.deepcopy((net, o))
        found = list(map(frozen, steps(fastnn.compile(training(other, other_o)), other)))
        assert found == Same(list(map(frozen, steps(eager(training(one, two)), one))))
        assert not any(p is q for p in other.parameters() for q in net.parameters())


@pytest.mark.parametrize("function", [lambda x, i: x[i], lambda x, i: x[i, i], lambda x, i: x.to("int64")[i]])
def test_an_index_out_of_range_in_a_replay(function: Any) -> None:
    run = fastnn.compile(function)
    x, i = numbers(0, 4, 4), np.array([0, 3])
    for _ in range(3):
        run(x, i)
    for bad in (4, -5):
        with pytest.raises(IndexError):
            run(x, np.array([1, bad]))
    assert np.array_equal(run(x, i).array, eager(function)(x, i).array)
    assert len(run.plans) == 1


@pytest.mark.parametrize("ndim", [1, 8, 20])
def test_many_arguments_of_one_memory(ndim: int) -> None:
    memory = numbers(0, 40).reshape(*[1] * (ndim - 1), 40)

    def total(*args: Any) -> Any:
        return sum((i + 1) * x for i, x in enumerate(args))

    run = fastnn.compile(total)
    for shift in (0, 0, 1, 1, 0, 2, 2):
        args = [memory[..., i * shift : i * shift + 8] for i in range(16)]
        assert np.array_equal(run(*args).array, eager(total)(*args).array)
    assert len(run.plans) == 3


def test_an_exception_in_a_hook_leaves_nothing_behind() -> None:
    net = small()
    handle = net[1].register_forward_hook(lambda *_: 1 / 0)
    o = optim.SGD(net.parameters(), lr=0.1)
    run = fastnn.compile(training(net, o))
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            run(numbers(0, 6, 7), labels(0))
    handle.remove()
    gradient = net[0].weight.register_hook(lambda g: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(numbers(0, 6, 7), labels(0))
    gradient.remove()
    assert not run.plans
    other = copy.deepcopy(net)
    reference = eager(training(other, optim.SGD(other.parameters(), lr=0.1)))
    assert list(map(frozen, steps(run, net))) == Same(list(map(frozen, steps(reference, other))))


def test_a_callback_that_raises_within_fit() -> None:
    net, bits = small(), []
    o = optim.Adam(net.parameters(), lr=0.1)

    def trouble(run: Any) -> None:
        bits.append([p.array.copy() for p in net.parameters()])
        if run.step == 3:
            raise KeyError("trouble")

    data = numbers(0, 60, 7), labels(0, 60)
    with pytest.raises(KeyError, match="trouble"):
        fastnn.fit(net, data, loss="cross_entropy", optimizer=o, batch_size=6, callbacks=Call(trouble, "batch"))
    fastnn.fit(net, data, loss="cross_entropy", optimizer=o, batch_size=6)
    assert float(o.state[net[0].weight]["step"]) == len(bits) + 10
    assert net.training


def test_weak_references() -> None:
    run = fastnn.compile(lambda x: x + 1)
    x = fastnn.tensor([1.0])
    seen, argument = weakref.ref(run), weakref.ref(x)
    result = weakref.ref(run(x))
    for _ in range(3):
        assert run(x).tolist() == [2.0]
    assert seen() is run
    assert result() is None
    del x, run
    gc.collect()
    assert seen() is None
    assert argument() is None
