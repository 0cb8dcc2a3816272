"""A plan holds what it needs and no more, and everything goes when the compiled function does."""

import gc
import tracemalloc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastnn
from fastnn import nn, optim
from fastnn._runtime import memory
from fastnn.nn import functional as F

rng = np.random.default_rng(3)


def batch(n: int = 32) -> tuple[Any, Any]:
    return rng.random((n, 64), dtype="f4"), rng.integers(0, 10, n)


def made(width: int = 128) -> tuple[Any, Any, Any]:
    """A net, its optimizer and a compiled step of a schedule, clipping and dropout."""
    net = nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Dropout(0.2), nn.Linear(width, 10))
    optimizer = optim.Adam(net.parameters())
    schedule = optim.lr_scheduler.ExponentialLR(optimizer, 0.999)

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        return loss.detach()

    return net, optimizer, fastnn.compile(step)


def in_use() -> int:
    gc.collect()
    return memory.stats()["in_use"]


def train(run: Any, *sizes: int) -> None:
    for n in sizes:
        run(*batch(n))


def dropped_step() -> list[Any]:
    net, optimizer, run = made()
    train(run, 32, 32, 32, 32, 16, 16, 16)
    net.eval()
    train(run, 32, 32)
    assert sum(map(len, run.plans.values())) == 3
    return [net, optimizer, run, *net.parameters()]


def dropped_inference() -> list[Any]:
    net = nn.Sequential(nn.Linear(64, 10))
    run = fastnn.compile(net)
    for _ in range(3):
        result = run(batch()[0])
    return [net, run, result]


def dropped_module_that_holds_its_own_function() -> list[Any]:
    net, _, run = made()
    net.run = run
    train(run, 32, 32, 32, 32)
    return [net, run]


def dropped_after_an_error() -> list[Any]:
    net, _, run = made()
    train(run, 32, 32, 32)
    for _ in range(3):
        with pytest.raises(IndexError):
            run(batch()[0], np.full(32, 10))
    return [net, run]


def dropped_after_a_refusal() -> list[Any]:
    net = nn.Linear(64, 10)
    run = fastnn.compile(lambda x: net(x) * float(net(x).sum()))
    with pytest.raises(fastnn.CompileError):
        run(batch()[0])
    return [net, run]


def dropped_after_fit() -> list[Any]:
    net = nn.Sequential(nn.Linear(64, 10))
    fastnn.fit(net, batch(100), loss="cross_entropy", optimizer="adam", epochs=2, verbose=False)
    return [net, *net.parameters()]


@pytest.mark.parametrize(
    "make",
    [
        dropped_step, dropped_inference, dropped_module_that_holds_its_own_function, dropped_after_an_error,
        dropped_after_a_refusal, dropped_after_fit,
    ],
)  # fmt: skip
def test_all_goes_when_it_is_dropped(make: Callable[[], list[Any]]) -> None:
    make()
    before = in_use()
    references = [weakref.ref(own) for own in make()]
    assert in_use() == before
    assert [reference() for reference in references] == [None] * len(references)


def test_a_plan_keeps_nothing_of_the_recorded_call() -> None:
    _, _, run = made()
    train(run, 32)
    x, y = batch()
    tensor = fastnn.from_numpy(x)
    held = [weakref.ref(own) for own in (x, y, tensor)]
    loss = weakref.ref(run(tensor, y))
    del x, y, tensor
    gc.collect()
    assert run.plan is not None
    assert [own() for own in (*held, loss)] == [None] * 4


def test_a_plan_holds_its_arena_alone() -> None:
    net, optimizer, run = made()
    train(run, 256)  # the optimizer's state begins
    optimizer.zero_grad()
    before = in_use()
    train(run, 256)
    weights = sum(p.array.nbytes for p in net.parameters())
    grown = in_use() - before
    # memory comes in sizes that are up to a quarter larger than asked for
    assert run.plan.arena_bytes <= grown <= 1.3 * (run.plan.arena_bytes + weights) + 8192
    train(run, *[256] * 20)
    assert in_use() - before == grown


def test_a_recorded_call_frees_what_it_makes() -> None:
    seen = []

    def body(x: Any) -> Any:
        for i in range(20):
            x = (x * i).tanh() + 1
            seen.append(memory.stats()["in_use"])
        return x.sum()

    run = fastnn.compile(body)
    x = rng.random((512, 512), dtype="f4")
    before = in_use()
    for _ in range(3):
        run(x)
    assert len(seen) == 20  # the first call
    assert max(seen) - before <= 4 * x.nbytes


def test_a_plan_writes_gradients_where_the_recorded_call_left_them() -> None:
    net, _, run = made()
    train(run, 32, 32)
    addresses = [p.grad.data_ptr() for p in net.parameters()]
    train(run, 32, 32)
    assert [p.grad.data_ptr() for p in net.parameters()] == addresses
    kept = [p.grad for p in net.parameters()]
    train(run, 32)
    assert not {p.grad.data_ptr() for p in net.parameters()} & set(addresses)
    assert [g.data_ptr() for g in kept] == addresses


def test_recording_over_and_over_takes_no_memory() -> None:
    net, _, run = made(16)

    def change(i: int) -> None:
        net[1] = nn.ReLU() if i % 2 else nn.Tanh()  # plans that were there serve no more
        train(run, 8, 8)
        fastnn.compile(net)(batch(4)[0])

    tracemalloc.start()
    try:
        for i in range(60):
            change(i)
        gc.collect()
        before, pooled = tracemalloc.get_traced_memory()[0], in_use()
        for i in range(60):
            change(i)
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] - before < 30_000
        assert in_use() <= pooled
    finally:
        tracemalloc.stop()


def test_replays_take_no_memory() -> None:
    _, _, run = made(16)
    batches = [batch(n) for n in (8, 4)]

    def work(count: int) -> None:
        for i in range(count):
            run(*batches[i % 2])

    work(20)
    tracemalloc.start()
    try:
        work(100)
        gc.collect()
        before, pooled = tracemalloc.get_traced_memory()[0], in_use()
        work(2000)
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] - before < 5000
        assert in_use() == pooled
    finally:
        tracemalloc.stop()
