"""Training in one call: what it does, what it takes, and what it leaves."""

import itertools
import os
import signal

import numpy as np
import pytest

import fastnn
from fastnn import nn
from fastnn.data import DataLoader, Subset, TensorDataset, datasets
from fastnn.training import Call, Callback, EarlyStopping, TimeLimit


def net(*sizes, seed=0):
    fastnn.manual_seed(seed)
    layers = []
    for inputs, outputs in itertools.pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.Tanh()]
    return nn.Sequential(*layers[:-1])


@pytest.fixture(scope="module")
def moons():
    return datasets.moons(200, seed=1)


def bits(model):
    return {name: value.detach().numpy().tobytes() for name, value in model.state_dict().items()}


def fitted(data, **options):
    model = net(2, 16, 2)
    defaults = {"loss": "cross_entropy", "optimizer": fastnn.optim.Adam(model.parameters(), lr=0.02), "seed": 3}
    history = fastnn.fit(model, data, **defaults | options)
    return model, history


def test_it_learns(moons):
    model, history = fitted(moons, epochs=30, metrics=["accuracy"], validation=0.25)
    assert len(history) == 30
    assert history.names == ("loss", "accuracy", "val_loss", "val_accuracy")
    assert history["loss"][-1] < 0.4 * history["loss"][0]
    assert history.last["val_accuracy"] > 0.85
    assert history.best.values["val_loss"] == min(history["val_loss"])
    assert history.best_by("accuracy").values["accuracy"] == max(history["accuracy"])
    assert [e.number for e in history] == list(range(1, 31))
    assert history.stopped is None
    assert model.training


def test_a_step_is_the_one_of_a_plain_loop(moons):
    model, _ = fitted(moons, epochs=2, batch_size=32)
    other = net(2, 16, 2)
    optimizer = fastnn.optim.Adam(other.parameters(), lr=0.02)
    for epoch in range(2):
        loader = DataLoader(moons, 32, shuffle=True, seed=3)
        loader.set_epoch(epoch)
        for x, y in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(other(x), y).backward()
            optimizer.step()
    assert bits(model) == bits(other)


def test_the_same_seed_gives_the_same_bits(moons):
    first, again, other = (bits(fitted(moons, epochs=2, seed=s)[0]) for s in (5, 5, 6))
    assert first == again
    assert first != other


@pytest.mark.parametrize(
    "form",
    [
        lambda x, y: (x, y),
        lambda x, y: (fastnn.tensor(x), fastnn.tensor(y)),
        lambda x, y: TensorDataset(x, y),
        lambda x, y: Subset(TensorDataset(x, y), range(len(x))),
        lambda x, y: [(a, int(b)) for a, b in zip(x, y, strict=True)],
        lambda x, y: DataLoader((x, y), 32, shuffle=True, seed=3),
    ],
)
def test_data_in_its_many_forms(moons, form):
    model, history = fitted(form(*moons), epochs=2)
    assert bits(model) == bits(fitted(moons, epochs=2)[0])
    assert history.epochs[0].samples == 200


def test_an_iterable_of_batches(moons):
    x, y = moons

    class Batches:
        def __iter__(self):
            return ((x[i : i + 50], y[i : i + 50]) for i in range(0, 200, 50))

    _, history = fitted(Batches(), epochs=2)
    assert history.epochs[1].samples == 200
    with pytest.raises(TypeError, match="gives its batches only once"):
        fitted(iter(Batches()))


def test_regression_and_several_inputs():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 64, 3)).astype("f")
    y = (a.sum(1, keepdims=True) - b[:, :1]).astype("f")

    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(3, 1), nn.Linear(3, 1)

        def forward(self, a, b):
            return self.a(a) + self.b(b)

    fastnn.manual_seed(0)
    model = Two()
    optimizer = fastnn.optim.SGD(model.parameters(), lr=0.1)

    def loss(output, target):
        return ((output - target) * (output - target)).mean()

    history = fastnn.fit(model, (a, b, y), loss=loss, optimizer=optimizer, epochs=40, metrics="mae", seed=0)
    assert history["loss"][-1] < 1e-3
    assert history["mae"][-1] < 0.05
    assert fastnn.predict(model, (a, b)).shape == (64, 1)
    np.testing.assert_allclose(fastnn.predict(model, (a, b), batch_size=7), fastnn.predict(model, (a, b)), rtol=1e-6)


def test_an_array_is_its_own_target():
    x = np.random.default_rng(0).standard_normal((40, 4)).astype("f")
    model = net(4, 4)

    def loss(output, target):
        return ((output - target) * (output - target)).mean()

    history = fastnn.fit(model, x, loss=loss, optimizer="adam", epochs=3)
    assert history["loss"][2] < history["loss"][0]


def test_evaluate_and_predict(moons):
    model, history = fitted(moons, epochs=5, validation=moons, metrics="accuracy")
    found = fastnn.evaluate(model, moons, loss="cross_entropy", metrics="accuracy")
    assert found == {"loss": history.last["val_loss"], "accuracy": history.last["val_accuracy"]}
    outputs = fastnn.predict(model, moons[0])
    assert outputs.shape == (200, 2)
    assert np.mean(outputs.argmax(1) == moons[1]) == found["accuracy"]
    np.testing.assert_array_equal(fastnn.predict(model, TensorDataset(*moons)), outputs)
    with pytest.raises(ValueError, match="expected a loss or metrics"):
        fastnn.evaluate(model, moons)


def test_modes_are_put_back(moons):
    model = nn.Sequential(nn.Linear(2, 8), nn.Dropout(0.5), nn.Linear(8, 2))
    model[1].eval()
    fastnn.predict(model, moons[0])
    assert (model.training, model[0].training, model[1].training) == (True, True, False)
    model.eval()
    np.testing.assert_array_equal(fastnn.predict(model, moons[0]), fastnn.predict(model, moons[0]))
    fastnn.fit(model, moons, loss="cross_entropy", optimizer="sgd", epochs=1)
    assert not model.training


def test_early_stopping_and_the_best_parameters(moons):
    kept = {}

    def keep(run, epoch):
        kept[epoch.number] = bits(run.model)

    stop = EarlyStopping("val_loss", patience=1, restore_best=True)
    model, history = fitted(
        moons, epochs=500, validation=0.5, callbacks=[keep, stop], schedule=lambda epoch: 0.02 if epoch < 20 else 2.0
    )
    assert len(history) < 500
    assert "val_loss has not got better" in history.stopped
    assert bits(model) == kept[history.best.number]
    with pytest.raises(ValueError, match="monitor 'val_f1' is not measured; there are loss"):
        fitted(moons, epochs=1, callbacks=EarlyStopping("val_f1"))


def test_schedules_move_the_learning_rate(moons):
    _, history = fitted(moons, epochs=4, schedule=lambda epoch: 0.1 / 2**epoch)
    assert history["lr"] == [0.1, 0.05, 0.025, 0.0125]
    _, history = fitted(moons, epochs=4, schedule=lambda o: fastnn.optim.lr_scheduler.StepLR(o, 2, 0.1))
    np.testing.assert_allclose(history["lr"], [0.02, 0.02, 0.002, 0.002])


def test_a_time_limit_ends_within_an_epoch(moons):
    _, history = fitted(moons, epochs=10_000, callbacks=TimeLimit(0.2))
    assert "time limit of 0.2 s" in history.stopped
    assert 0 < len(history) < 10_000


def test_callbacks_see_the_run(moons):
    seen = []

    class Watch(Callback):
        def on_start(self, run):
            seen.append(("start", run.epochs, run.batches))

        def on_epoch_start(self, run):
            seen.append(("epoch", run.epoch))

        def on_batch(self, run):
            seen.append(("batch", run.batch, run.step, run.samples))

        def on_epoch(self, run, epoch):
            seen.append(("done", epoch.number))

        def on_end(self, run):
            seen.append(("end", run.stopped))

    fitted(moons, epochs=2, batch_size=100, callbacks=[Watch(), Call(lambda run: seen.append("each"), "batch")])
    assert seen == [
        ("start", 2, 2),
        ("epoch", 1), ("batch", 1, 1, 100), "each", ("batch", 2, 2, 200), "each", ("done", 1),
        ("epoch", 2), ("batch", 1, 3, 100), "each", ("batch", 2, 4, 200), "each", ("done", 2),
        ("end", None),
    ]  # fmt: skip


def test_ctrl_c_waits_for_the_update_and_the_model_is_whole(moons):
    states = []

    def interrupt(run):
        states.append(bits(run.model))
        if run.step == 3:
            os.kill(os.getpid(), signal.SIGINT)

    class End(Callback):
        def on_end(self, run):
            states.append((run.stopped, run.step, bits(run.model)))

    with pytest.raises(KeyboardInterrupt):
        fitted(moons, epochs=5, callbacks=[Call(interrupt, "batch"), End()])
    assert states[-1] == ("interrupted", 3, states[2])
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_what_is_shown(moons, capsys):
    fitted(moons, epochs=2, metrics="accuracy", verbose=True)
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("epoch      1/2  loss 0.")
    assert "accuracy 0." in second
    assert "samples/s" in second
    fitted(moons, epochs=1)
    assert capsys.readouterr().out == ""


def test_no_data_and_no_epochs():
    empty = (np.zeros((0, 2), "f"), np.zeros(0, np.int64))
    model = net(2, 2)
    before = bits(model)
    history = fastnn.fit(model, empty, loss="cross_entropy", optimizer="sgd", epochs=2, metrics="accuracy")
    assert np.isnan(history["loss"]).all()
    assert len(fastnn.fit(model, empty, loss="cross_entropy", optimizer="sgd", epochs=0)) == 0
    assert bits(model) == before
    with pytest.raises(ValueError, match="at least one sample"):
        fastnn.predict(model, empty[0])


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        (
            {"loss": "crossentropy"},
            ValueError,
            "loss must be a function or one of .*cross_entropy",
        ),
        ({"optimizer": "adamm"}, ValueError, "optimizer must be one of .*adam.* got 'adamm'"),
        ({"optimizer": 3}, TypeError, "optimizer must be an optimizer, a name or a function, got int"),
        ({"optimizer": lambda p: 3}, TypeError, "must make an optimizer of the parameters, got int"),
        ({"epochs": -1}, ValueError, "epochs must be a whole number from 0 on, got -1"),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1, got 0"),
        ({"validation": 1.5}, ValueError, "between 0 and 1 as a share of the data, got 1.5"),
        ({"metrics": "acuracy"}, ValueError, "'acuracy' is unknown; there are accuracy"),
        ({"metrics": ["accuracy", "accuracy"]}, ValueError, "names must differ"),
        ({"callbacks": [3]}, TypeError, "callbacks must be Callback objects or functions, got int"),
        ({"schedule": 3}, TypeError, "expected a scheduler or a function, got 3"),
        ({"resume": True}, ValueError, "resume=True needs the checkpoint folder"),
    ],
)
def test_bad_arguments_are_told_before_anything_is_trained(moons, options, error, text):
    model = net(2, 2)
    before = bits(model)
    with pytest.raises(error, match=text):
        fastnn.fit(model, moons, **{"loss": "cross_entropy", "optimizer": "adam"} | options)
    assert bits(model) == before
    with pytest.raises(TypeError, match="expected arrays, a dataset or a loader, got int"):
        fastnn.fit(model, 3, loss="cross_entropy", optimizer="adam")
