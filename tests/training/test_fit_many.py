"""Many models side by side end in the bits that each ends in alone."""

import numpy as np
import pytest

import fastnn
from fastnn import nn

rng = np.random.default_rng(3)
X, Y = rng.standard_normal((50, 6)).astype("f4"), rng.integers(0, 3, 50)


def net(i, *between):
    fastnn.manual_seed(i)
    return nn.Sequential(nn.Linear(6, 8 + i), *(between or (nn.ReLU(),)), nn.Linear(8 + i, 3))


def assert_same(one, two):
    for p, q in zip(one.parameters(), two.parameters(), strict=True):
        np.testing.assert_array_equal(p.array, q.array)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("between", [(), (nn.Dropout(0.4),)])
def test_as_alone(threads, between):
    options = {"loss": "cross_entropy", "optimizer": "adam", "epochs": 3, "batch_size": 16, "metrics": ["accuracy"]}
    many = [net(i, *between) for i in range(5)]
    with fastnn.threads(threads):
        histories = fastnn.fit_many(many, (X, Y), seeds=20, validation=(X[:10], Y[:10]), **options)
    for i, model in enumerate(many):
        alone = net(i, *between)
        history = fastnn.fit(alone, (X, Y), seed=20 + i, validation=(X[:10], Y[:10]), verbose=False, **options)
        assert_same(model, alone)
        for one, other in zip(histories[i].epochs, history.epochs, strict=True):
            assert one.values == other.values
            assert (one.number, one.lr, one.samples) == (other.number, other.lr, other.samples)


def test_one_entry_for_each_model():
    folds = [(X[:30], Y[:30]), (X[20:], Y[20:]), (X[::2], Y[::2])]
    held = [(X[30:], Y[30:]), None, 0.2]
    optimizers = ["sgd", "adam", lambda p: fastnn.optim.RMSprop(p, lr=0.01)]
    losses = ["cross_entropy", lambda o, t: nn.functional.cross_entropy(o, t, label_smoothing=0.1), "cross_entropy"]
    many = [net(i) for i in range(3)]
    histories = fastnn.fit_many(
        many, folds, loss=losses, optimizer=optimizers, validation=held, epochs=2, batch_size=8, seeds=[5, 5, 9],
        metrics=[["accuracy"], [], ["top2"]],
    )  # fmt: skip
    for i, seed in enumerate([5, 5, 9]):
        alone = net(i)
        fastnn.fit(alone, folds[i], loss=losses[i], optimizer=optimizers[i], validation=held[i], epochs=2, batch_size=8,
                   seed=seed, verbose=False)  # fmt: skip
        assert_same(many[i], alone)
    assert [sorted(h.epochs[-1].values) for h in histories] == [
        ["accuracy", "loss", "val_accuracy", "val_loss"],
        ["loss"],
        ["loss", "top2", "val_loss", "val_top2"],
    ]


def test_a_step_that_cannot_be_recorded_is_called():
    class Reads(nn.Linear):
        def forward(self, x):
            return super().forward(x) * (1.0 if x.sum().item() > 0 else 0.5)

    many = [Reads(6, 3) for _ in range(2)]
    alone = [Reads(6, 3) for _ in range(2)]
    for one, other in zip(many, alone, strict=True):
        other.load_state_dict(one.state_dict())
    options = {"loss": "cross_entropy", "optimizer": "sgd", "batch_size": 16}
    with pytest.warns(RuntimeWarning, match="not compiled"):
        fastnn.fit_many(many, (X, Y), seeds=1, **options)
    for i, model in enumerate(alone):
        with pytest.warns(RuntimeWarning, match="not compiled"):
            fastnn.fit(model, (X, Y), seed=1 + i, verbose=False, **options)
        assert_same(many[i], model)


def test_a_bad_label_raises():
    bad = Y.copy()
    bad[40] = 3
    with pytest.raises(IndexError, match="got 3"):
        fastnn.fit_many(net, (X, bad), count=4, loss="cross_entropy", optimizer="sgd", batch_size=10, shuffle=False)


def test_bad_arguments():
    options = {"loss": "cross_entropy", "optimizer": "sgd"}
    with pytest.raises(ValueError, match="needs count"):
        fastnn.fit_many(net, (X, Y), **options)
    with pytest.raises(ValueError, match="share parameters"):
        fastnn.fit_many([net(0)] * 2, (X, Y), **options)
    with pytest.raises(ValueError, match="one entry for each of 2"):
        fastnn.fit_many([net(0), net(1)], [(X, Y)], **options)
    with pytest.raises(TypeError, match="sequence of Modules"):
        fastnn.fit_many(3, (X, Y), **options)
    with pytest.raises(TypeError, match="Modules, got int at place 1"):
        fastnn.fit_many([net(0), 3], (X, Y), **options)
    assert fastnn.fit_many([], (X, Y), **options) == []
