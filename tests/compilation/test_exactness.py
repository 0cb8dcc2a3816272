"""A compiled step gives the bits that the same step gives without compiling."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastnn
from fastnn import nn, optim
from fastnn._runtime.plan import call_together
from fastnn.nn import functional as F

rng = np.random.default_rng(5)
STEPS = 7


def perceptron(*between: Any) -> nn.Module:
    return nn.Sequential(nn.Linear(13, 24), *between, nn.Linear(24, 5))


class Branches(nn.Module):
    """A net with a residual, a view, a scale of its own and functions between its layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(13, 24), nn.Linear(24, 24), nn.Linear(12, 5)
        self.scale = nn.Parameter(fastnn.ones(24))

    def forward(self, x: Any) -> Any:
        x = fastnn.tanh(self.first(x))
        x = x + self.second(x) * self.scale
        return self.last((x[:, :12] + x[:, 12:]).reshape(-1, 12))


def batches(n: int = 9, dtype: str = "float32", count: int = STEPS) -> list[tuple[Any, Any]]:
    return [(rng.standard_normal((n, 13)).astype(dtype), rng.integers(0, 5, n)) for _ in range(count)]


def trained(
    compiled: bool,
    data: list[tuple[Any, Any]],
    model: Callable[[], nn.Module],
    make: Callable[[nn.Module], Any],
    body: Callable[..., Any],
    dtype: str = "float32",
) -> tuple[Any, ...]:
    """Losses, parameters, gradients, optimizer state and buffers after a step for each batch."""
    fastnn.manual_seed(11)
    net = model()
    net.to(np.dtype(dtype))
    optimizer = make(net)

    def step(x: Any, y: Any) -> Any:
        return body(net, optimizer, x, y)

    run = fastnn.compile(step) if compiled else lambda x, y: step(fastnn.from_numpy(x), fastnn.from_numpy(y))
    losses = [run(x, y) for x, y in data]
    if compiled:
        assert run.plan is not None
    state = [
        np.asarray(v) for own in optimizer.state.values() for v in own.values() if isinstance(v, fastnn.Tensor)
    ]  # fmt: skip
    gradients = [None if p.grad is None else p.grad.array for p in net.parameters()]
    return [np.asarray(x.detach()) for x in losses], [p.array for p in net.parameters()], gradients, state


def same(one: Any, two: Any) -> bool:
    if isinstance(one, (list, tuple)):
        return len(one) == len(two) and all(map(same, one, two))
    if one is None or two is None:
        return one is two
    return one.dtype == two.dtype and np.array_equal(one, two, equal_nan=True)


def plain(net: Any, optimizer: Any, x: Any, y: Any) -> Any:
    optimizer.zero_grad()
    loss = F.cross_entropy(net(x), y)
    loss.backward()
    optimizer.step()
    return loss


OPTIMIZERS = {
    "SGD": {"lr": 0.1},
    "momentum": {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-3},
    "Adam": {"lr": 0.01},
    "AdamW": {"lr": 0.01, "amsgrad": True},
    "NAdam": {},
    "RAdam": {},
    "Adamax": {},
    "RMSprop": {"momentum": 0.5, "centered": True},
    "Adagrad": {},
    "Adadelta": {},
    "Rprop": {},
}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_optimizers(name: str, dtype: str) -> None:
    kind = getattr(optim, {"momentum": "SGD"}.get(name, name))
    data = batches(dtype=dtype)

    def make(net: nn.Module) -> Any:
        return kind(net.parameters(), **OPTIMIZERS[name])

    found = [
        trained(c, data, lambda: perceptron(nn.ReLU()), make, plain, dtype)
        for c in (False, True)
    ]  # fmt: skip
    assert same(*found)


def clipped(net: Any, optimizer: Any, x: Any, y: Any) -> Any:
    optimizer.zero_grad()
    loss = F.cross_entropy(net(x), y)
    loss.backward()
    norm = nn.utils.clip_grad_norm_(net.parameters(), 0.05)
    optimizer.step()
    return loss.detach() + norm


def clipped_values(net: Any, optimizer: Any, x: Any, y: Any) -> Any:
    optimizer.zero_grad()
    loss = F.cross_entropy(net(x), y)
    loss.backward()
    nn.utils.clip_grad_value_(net.parameters(), 0.01)
    optimizer.step()
    return loss


def accumulated(net: Any, optimizer: Any, x: Any, y: Any) -> Any:
    optimizer.zero_grad()
    total = 0.0
    for part in (slice(0, 4), slice(4, 9)):
        loss = F.cross_entropy(net(x[part]), y[part])
        loss.backward()
        total = total + loss.detach()
    optimizer.step()
    return total


def zeroed_at_the_end(net: Any, optimizer: Any, x: Any, y: Any) -> Any:
    loss = F.cross_entropy(net(x), y)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    return loss


def zeros_kept(net: Any, optimizer: Any, x: Any, y: Any) -> Any:
    optimizer.zero_grad(set_to_none=False)
    loss = F.cross_entropy(net(x), y)
    loss.backward()
    optimizer.step()
    return loss


def penalised(net: Any, optimizer: Any, x: Any, y: Any) -> Any:
    optimizer.zero_grad()
    loss = F.cross_entropy(net(x), y, label_smoothing=0.1)
    for p in net.parameters():
        loss = loss + 1e-3 * (p * p).sum()
    loss.backward()
    optimizer.step()
    return loss


def scaled_by_hand(net: Any, optimizer: Any, x: Any, y: Any) -> Any:
    optimizer.zero_grad()
    F.mse_loss(net(x).softmax(1), F.one_hot(y, 5).float()).backward()
    for p in net.parameters():
        p.grad.mul_(0.5)
        p.grad += 1e-3
    optimizer.step()
    return F.cross_entropy(net(x).detach(), y)


def by_autograd_grad(net: Any, optimizer: Any, x: Any, y: Any) -> Any:
    parameters = list(net.parameters())
    loss = F.cross_entropy(net(x), y)
    for p, g in zip(parameters, fastnn.autograd.grad(loss, parameters), strict=True):
        p.grad = g
    optimizer.step()
    return loss


def without_optimizer(net: Any, optimizer: Any, x: Any, y: Any) -> Any:
    loss = F.cross_entropy(net(x), y)
    net.zero_grad()
    loss.backward()
    with fastnn.no_grad():
        for p in net.parameters():
            p.sub_(p.grad, alpha=0.1)
    return loss


def with_constants(net: Any, optimizer: Any, x: Any, y: Any) -> Any:
    optimizer.zero_grad()
    total = fastnn.zeros(5)
    total += net(x).mean(0) * fastnn.arange(5.0)
    loss = (total - fastnn.linspace(0, 1, 5)).square().sum()
    loss.backward()
    optimizer.step()
    return loss


def noisy(net: Any, optimizer: Any, x: Any, y: Any) -> Any:
    optimizer.zero_grad()
    noise = fastnn.randn_like(x)
    loss = F.cross_entropy(net(x + 0.1 * noise), y)
    loss.backward()
    optimizer.step()
    return loss


BODIES = [
    plain, clipped, clipped_values, accumulated, zeroed_at_the_end, zeros_kept, penalised, scaled_by_hand,
    by_autograd_grad, without_optimizer, with_constants, noisy,
]  # fmt: skip


@pytest.mark.parametrize("body", BODIES, ids=lambda f: f.__name__)
@pytest.mark.parametrize("kind", ["SGD", "Adam"])
def test_steps(body: Callable[..., Any], kind: str) -> None:
    data = batches()
    found = [
        trained(c, data, lambda: perceptron(nn.ReLU()), lambda m: getattr(optim, kind)(m.parameters(), lr=0.02), body)
        for c in (False, True)
    ]
    assert same(*found)


@pytest.mark.parametrize(
    "model",
    [
        lambda: perceptron(nn.Dropout(0.3), nn.Tanh()),
        lambda: perceptron(nn.GELU(), nn.LayerNorm(24)) if hasattr(nn, "LayerNorm") else perceptron(nn.GELU()),
        lambda: perceptron(nn.PReLU()),
        lambda: perceptron(nn.AlphaDropout(0.2), nn.SELU()),
        lambda: perceptron(nn.Softmax(1)),
        Branches,
    ],
)
def test_models(model: Callable[[], nn.Module]) -> None:
    data = batches()
    found = [
        trained(c, data, model, lambda m: optim.AdamW(m.parameters(), lr=0.02), plain) for c in (False, True)
    ]  # fmt: skip
    assert same(*found)


def test_a_schedule_in_the_step_advances() -> None:
    data = batches(count=12)

    def make(net: nn.Module) -> Any:
        optimizer = optim.SGD(net.parameters(), lr=0.5, momentum=0.5)
        optimizer.schedule = optim.lr_scheduler.SequentialLR(
            optimizer,
            [optim.lr_scheduler.LinearLR(optimizer, total_iters=3), optim.lr_scheduler.ExponentialLR(optimizer, 0.7)],
            [4],
        )
        return optimizer

    def body(net: Any, optimizer: Any, x: Any, y: Any) -> Any:
        loss = plain(net, optimizer, x, y)
        optimizer.schedule.step()
        return loss

    found = [trained(c, data, lambda: perceptron(nn.ReLU()), make, body) for c in (False, True)]
    assert same(*found)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_any_number_of_threads(threads: int) -> None:
    data = [(rng.standard_normal((257, 13)).astype("f4"), rng.integers(0, 5, 257)) for _ in range(4)]

    def run(n: int) -> Any:
        with fastnn.threads(n):
            return trained(
                True, data, lambda: nn.Sequential(nn.Linear(13, 300), nn.ReLU(), nn.Linear(300, 5)),
                lambda m: optim.Adam(m.parameters()), plain,
            )  # fmt: skip

    assert same(run(1), run(threads))


def test_inference() -> None:
    net = perceptron(nn.Dropout(0.5), nn.ReLU())
    net.eval()
    fast = fastnn.compile(net)
    for n in (1, 7, 7, 1, 33, 33, 7, 1):
        x = rng.standard_normal((n, 13)).astype("f4")
        with fastnn.no_grad():
            expected = net(fastnn.from_numpy(x)).array
        found = fast(x)
        assert not found.requires_grad
        assert np.array_equal(found.array, expected)


def test_side_by_side_a_stale_plan_costs_the_others_no_draw() -> None:
    x = rng.standard_normal((9, 24)).astype("f4")

    def made(seed: int) -> tuple[Any, Any]:
        layer = nn.Dropout(0.5)
        generator = fastnn.random.Generator().manual_seed(seed)
        return layer, fastnn.compile(lambda x: layer(x), generator=generator)

    (_, first), (layer, second), (_, alone) = made(1), made(2), made(1)
    for _ in range(3):
        call_together([first, second], [(x,), (x,)])
        alone(x)
    layer.p = 0.25
    for _ in range(2):
        found = call_together([first, second], [(x,), (x,)])[0]
        np.testing.assert_array_equal(found.array, alone(x).array)
