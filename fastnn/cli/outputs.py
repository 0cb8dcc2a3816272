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
from fastnn.training import History


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


def save_plot(path: Path, history: History, title: str) -> None:
    """Draw the epochs as a PNG. Raises ImportError without matplotlib."""
    image = io.BytesIO()
    history.plot(title=title).savefig(image, format="png", dpi=120)
    write_whole(path, image.getvalue())
