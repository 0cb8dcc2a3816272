"""How a training run shows itself, line by line and as a bar."""

import io
import re
import time
from types import SimpleNamespace

import numpy as np
import pytest

import fastnn
from fastnn import nn
from fastnn.training import Call, Metric, progress
from fastnn.training.progress import Bar, Display, Lines, display, fitting, number, span

X = np.linspace(-1, 1, 60, dtype="f").reshape(20, 3)
Y = np.arange(20) % 2


def fit(show, **options):
    fastnn.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2))
    given = {"loss": "cross_entropy", "optimizer": "sgd", "epochs": 2, "batch_size": 8, "verbose": False}
    given |= {"callbacks": [show]} | options
    return fastnn.fit(model, given.pop("data", (X, Y)), **given)


class Batches:
    """Batches without a length."""

    def __iter__(self):
        return iter([(X[:8], Y[:8]), (X[8:16], Y[8:16])])


class Told(Lines):
    def __init__(self):
        super().__init__()
        self.lines = []

    def line(self, name, text):
        self.lines.append((name, text))


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0.0000"), (0.12345, "0.1235"), (1e-5, "1.000e-05"), (-123.4, "-123.4000"), (1e9, "1.000e+09"),
     (float("nan"), "nan"), (float("inf"), "inf")],
)  # fmt: skip
def test_numbers(value, text):
    assert number(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0 s"), (59.4, "59 s"), (59.6, "1:00"), (245, "4:05"), (3600 * 3 + 245, "3:04:05"),
     (86400 * 2 + 3600 * 3 + 240, "2 d 03:04"), (86400 * 12345, "12,345 d 00:00"), (float("inf"), "?")],
)  # fmt: skip
def test_times(seconds, text):
    assert span(seconds) == text


def test_facts_that_fit():
    assert fitting(["aaaa", "bb", "c"], 10) == ["aaaa", "bb"]
    assert fitting(["aaaa", "bb", "c"], 5) == []


def test_who_shows(monkeypatch):
    assert type(display(True)) is Lines
    assert type(display(None)) is type(display(False)) is Display
    monkeypatch.setattr("sys.stdout", SimpleNamespace(isatty=lambda: True, write=print, flush=print))
    monkeypatch.setenv("TERM", "xterm")
    pytest.importorskip("rich")
    assert type(display(None)) is type(display(True)) is Bar
    assert type(display(False)) is Display
    monkeypatch.setenv("TERM", "dumb")
    assert type(display(True)) is Lines


def test_flops_a_second_follow_from_the_first_update():
    told = Told()
    fit(told, batch_size=8)  # the last batch is smaller
    # forward, loss (four operations an element, two a sample) and backward, for a sample
    forward = 2 * (3 * 8 + 8 * 2) + 8 + 4 * 2 + 2
    backward = 4 * 2 + 2 * 8 * 2 * 2 + 2 + 8 + 2 * 3 * 8 + 8
    assert told._flops == forward + backward
    assert told._counter is None
    for _, text in told.lines:
        samples, flops, unit = re.search(r"([\d,]+) samples/s  ([\d.]+) (.)FLOP/s", text).groups()
        expected = float(samples.replace(",", "")) * told._flops / {"k": 1e3, "M": 1e6, "G": 1e9}[unit]
        assert float(flops) == pytest.approx(expected, rel=0.02)


def test_later_updates_are_not_watched():
    told, watched = Told(), []
    original = progress.Counter.on_forward

    class Noted(progress.Counter):
        def on_forward(self, *args):
            watched.append(told._began)
            original(self, *args)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(progress, "Counter", Noted)
        fit(told)
    assert watched
    assert all(np.isnan(began) for began in watched)


def test_an_error_in_the_first_update_ends_the_watch():
    told = Told()
    with pytest.raises(ValueError, match="b must have shape"):
        fit(told, data=(X, Y), loss=lambda y, t: fastnn.ops.linear(y, fastnn.ones(2, 2), fastnn.ones(3)))
    assert told._counter is None


def test_a_loss_that_is_no_number():
    told = Told()
    fit(told, data=(np.full_like(X, np.nan), Y), metrics="accuracy")
    assert all("loss nan  accuracy 0.5" in text for _, text in told.lines)


def test_a_line_now_and_then_in_a_long_epoch(monkeypatch):
    told = Told()
    clock = iter(range(0, 100_000, 25))
    monkeypatch.setattr(progress, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    fit(told, batch_size=2, epochs=1, metrics=["accuracy"])
    texts = [text for _, text in told.lines]
    assert [re.match(r"1/1  (\d+)%", text)[1] for text in texts[:-1]] == ["40", "70", "100"]
    assert re.match(r"1/1  40%  loss 0\.\d+  2:30 left  [\d,]+ samples/s  \S+ [kMG]FLOP/s  accuracy 0\.\d+$", texts[0])


def test_a_loader_that_does_not_know_its_length():
    shares = []
    told = Told()
    fit(told, data=Batches(), callbacks=[told, Call(lambda run: shares.append(told.done(run)), "batch")])
    assert shares == [None, None, 0.75, 1.0]


def test_slow_metrics_stay_out_of_the_bar():
    class Mine(Metric):
        name = "mine"
        reset = update = lambda self, *args: None

        def value(self):
            return "text"

    told = Told()
    run = []
    fit(told, metrics=["accuracy", Mine(), lambda t, p: 1.0], callbacks=[told, Call(run.append, "batch")])
    assert [fact for fact in told.facts(run[-1], time.perf_counter()) if "mine" in fact or "lambda" in fact] == []
    assert "<lambda> 1.0000" in told.lines[0][1]


# -- the bar


@pytest.fixture
def terminal(monkeypatch):
    console = pytest.importorskip("rich.console")

    def make(width, **options):
        bar = Bar()
        file = io.TextIOWrapper(io.BytesIO(), encoding=options.pop("encoding", "utf-8"))
        bar._console = console.Console(
            file=file, width=width, force_terminal=True, highlight=False, legacy_windows=False, **options
        )
        monkeypatch.setattr(Bar, "interval", 0.0)
        return bar

    return make


def shown(bar):
    """What was written, without escapes: the bars, and the lines above them."""
    bar._console.file.seek(0)
    text = re.sub(r"\x1b\[[?0-9;]*[a-zA-Z]", "", bar._console.file.read())
    lines = [line for line in re.split(r"[\r\n]+", text) if line.strip()]
    bars = [line for line in lines if re.match(r"\d/2 ", line)]
    return bars, [line for line in lines if line not in bars]


@pytest.mark.parametrize("width", [10, 20, 40, 80, 160])
def test_a_bar_is_one_line(terminal, width):
    bar = terminal(width)
    fit(bar, metrics=["accuracy", "top1", "top2"], validation=0.2)
    bars, lines = shown(bar)
    assert len(bars) >= 4
    assert max(map(len, bars)) < max(width, 11)
    assert lines[0].startswith("epoch      1/2")
    if width >= 40:
        assert "loss" in bars[-1]
        assert "100%" in bars[-1]
        assert all(len(line) <= width for line in lines)
        # a number and its unit stay together
        assert not any(line.strip().startswith("samples/s") for line in lines)
    if width == 160:
        assert re.search(r"loss \S+  \d+ s left  [\d,]+ samples/s  \S+ [kMG]FLOP/s  accuracy \S+", bars[-1])


def test_a_bar_without_colour_and_without_unicode(terminal):
    bar = terminal(60, no_color=True)
    fit(bar)
    assert "━" in shown(bar)[0][-1]
    assert "-" in shown(bar)[0][0]
    bar = terminal(60, encoding="ascii")
    fit(bar)
    assert re.search(r"##+-*", shown(bar)[0][-1])


def test_a_bar_moves_where_epochs_are_shorter_than_its_interval(terminal, monkeypatch):
    bar = terminal(60)
    monkeypatch.setattr(Bar, "interval", 25.0)
    clock = iter(range(0, 100_000, 10))
    monkeypatch.setattr(progress, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    fit(bar, batch_size=10)  # two updates an epoch
    assert {line.split()[0] for line in shown(bar)[0]} == {"1/2", "2/2"}


def test_a_bar_goes_when_training_ends(terminal):
    bar = terminal(60)

    def stop(run):
        run.stop("enough")

    fit(bar, callbacks=[Call(stop, "batch"), bar])
    assert bar._live is None
    assert shown(bar)[1][-1] == "stopped    enough"


def test_a_bar_of_an_unknown_length(terminal):
    bar = terminal(60)
    fit(bar, data=Batches(), epochs=1)
    bar._console.file.seek(0)
    assert "update 2" in bar._console.file.read()
