"""What a run gave, as numbers, frames and pictures."""

import math

import pytest

from fastnn.training import Epoch, History


def made():
    values = [{"loss": 2.0, "val_loss": 3.0}, {"loss": 1.0, "val_loss": 1.5}, {"loss": 0.5, "val_loss": 2.0}]
    return History([Epoch(i + 1, 0.1, v, 2.0, 10 * (i + 1)) for i, v in enumerate(values)])


def test_values():
    history = made()
    assert history["val_loss"] == [3.0, 1.5, 2.0]
    assert history["lr"] == [0.1] * 3
    assert history.best.number == 2
    assert history.best_by("loss").number == 3
    assert history.samples_per_second == 10
    with pytest.raises(KeyError, match="there are lr, loss, val_loss"):
        history["accuracy"]
    assert history.records()[1] == {
        "epoch": 2, "lr": 0.1, "loss": 1.0, "val_loss": 1.5, "seconds": 2.0, "samples": 20, "samples_per_second": 10.0,
    }  # fmt: skip


def test_nothing():
    assert History().best is None
    assert History().last == {}
    assert History().samples_per_second is None
    history = History([Epoch(1, 0.1, {"loss": math.nan}, 0.0, 0)])
    assert history.best is None
    assert math.isnan(history.epochs[0].samples_per_second)


def test_a_frame():
    pytest.importorskip("pandas")
    frame = made().to_frame()
    assert frame["val_loss"].tolist() == [3.0, 1.5, 2.0]
    assert frame.index.tolist() == [1, 2, 3]


def test_a_picture(tmp_path):
    figure = made().plot(tmp_path / "h.png", title="a run")
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss"]
    assert [line.get_label() for line in figure.axes[0].lines] == ["training", "validation"]
    assert (tmp_path / "h.png").read_bytes()[1:4] == b"PNG"
    History().plot()
