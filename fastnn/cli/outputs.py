"""What a training run leaves behind: weights, history and a plot, each written whole or not at all."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fastnn.serialization import save
from fastnn.serialization.atomic import write_whole
from fastnn.training import Epoch


def save_weights(path: Path, state: Mapping[str, Any]) -> None:
    """Save a ``state_dict`` as safetensors, with its keys and shapes."""
    save({**state}, path)


def save_history(path: Path, record: Mapping[str, Any]) -> None:
    """Save a run's settings and epochs as JSON; what is not a number (a loss that diverged) becomes null."""
    text = json.dumps(_finite(record), indent=2, allow_nan=False)
    write_whole(path, (text + "\n").encode())


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


def save_plot(path: Path, epochs: list[Epoch], title: str) -> None:
    """Draw loss and held-out accuracy over the epochs as a PNG. Raises ImportError without matplotlib."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    numbers = [epoch.epoch for epoch in epochs]
    left.plot(numbers, [epoch.loss for epoch in epochs], "o-", color="#0072b2")
    left.set(xlabel="epoch", ylabel="training loss, nats", yscale="log")
    right.plot(numbers, [100 * (epoch.accuracy or 0) for epoch in epochs], "o-", color="#d55e00")
    right.set(xlabel="epoch", ylabel="accuracy on held-out images, %")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.suptitle(title)
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=120)
    write_whole(path, image.getvalue())
