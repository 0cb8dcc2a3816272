import math

import numpy as np
import pytest

from fastnn.training import accuracy, cosine, train, train_epoch


class Scripted:
    """A model, loss and optimizer in one, which writes down what is asked of it."""

    def __init__(self, losses):
        self.calls, self.losses, self.param_groups = [], iter(losses), [{"lr": 0.5}]

    def __call__(self, inputs, labels=None):
        self.calls.append("forward" if labels is None else "loss")
        return self

    def __getattr__(self, name):
        return lambda: self.calls.append(name)

    def item(self):
        return next(self.losses)


def batches(*sizes):
    return [(np.zeros((n, 2)), np.zeros(n, np.int64)) for n in sizes]


def test_a_step_is_torch_like():
    model, seen = Scripted([1.0, 4.0]), []
    loss, samples, seconds = train_epoch(model, batches(4, 2), model, model, on_batch=lambda *a: seen.append(a))
    assert model.calls == ["zero_grad", "forward", "loss", "backward", "step"] * 2
    assert (loss, samples) == (2.0, 6)
    assert seen == [(4, 1.0), (6, 4.0)]
    assert seconds > 0


def test_an_empty_epoch():
    model = Scripted([])
    assert math.isnan(train_epoch(model, [], model, model)[0])


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_accuracy(batch_size):
    outputs = np.eye(4)[[0, 1, 2, 3, 0]]
    assert accuracy(lambda x: x, outputs, np.array([0, 1, 2, 0, 0]), batch_size) == 0.8


def test_cosine_starts_at_lr_and_falls_towards_zero():
    schedule = cosine(0.1, 4)
    np.testing.assert_allclose(
        [schedule(e) for e in range(5)], [0.1, 0.08535534, 0.05, 0.01464466, 0], rtol=1e-6, atol=1e-17
    )


def test_history():
    model, told = Scripted([3.0, 2.0, 1.0]), []
    history = train(model, batches(4), model, model, epochs=3, schedule=lambda e: 1 / (e + 1), on_epoch=told.append)
    assert [e.loss for e in history.epochs] == [3, 2, 1]
    assert [e.lr for e in history.epochs] == [1, 1 / 2, 1 / 3]
    assert told == history.epochs
    assert history.accuracy is None
    assert history.samples_per_second == sorted(e.samples_per_second for e in history.epochs)[1]
    assert history.records()[0]["epoch"] == 1


def test_without_a_schedule_the_optimizers_rate_stays():
    model = Scripted([1.0])
    assert train(model, batches(1), model, model, epochs=1).epochs[0].lr == 0.5
