"""``fastnn predict`` and ``fastnn evaluate``: what a trained model makes of other data."""

from __future__ import annotations

import csv
import io
import sys
from pathlib import Path

import numpy as np

from fastnn.cli.failure import Failure
from fastnn.cli.subjects import IMAGES, Description, images, images_of, load_trained, loss_of
from fastnn.data import TableError, read_csv
from fastnn.serialization.atomic import write_whole
from fastnn.training.loop import evaluate, predict


def run_prediction(folder: Path, data: str, out: Path | None) -> None:
    """Write a CSV of predictions, to a file or the standard output. Raises Failure."""
    model, described = load_trained(folder)
    inputs, _ = _inputs(described, data, with_targets=False)
    outputs = predict(model, inputs)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if described.classes is None:
        writer.writerow([described.target])
        for value in outputs.reshape(-1) * described.target_scale + described.target_mean:
            writer.writerow([f"{value:.7g}"])
    else:
        odds = np.exp(outputs - outputs.max(1, keepdims=True))
        chances = odds / odds.sum(1, keepdims=True)
        writer.writerow([described.target or "class", *(f"p({name})" for name in described.classes)])
        for row, best in zip(chances, outputs.argmax(1), strict=True):
            writer.writerow([described.classes[best], *(f"{p:.4f}" for p in row)])
    if out is None:
        sys.stdout.write(text.getvalue())
        return
    try:
        write_whole(out, text.getvalue().encode())
    except OSError as error:
        raise Failure(f"--out must be a file that can be written, got {out} ({error.strerror})") from None


def run_evaluation(folder: Path, data: str | None) -> None:
    """Print the loss and the score on data. Raises Failure."""
    model, described = load_trained(folder)
    inputs, targets = _inputs(described, data or described.data, with_targets=True)
    assert targets is not None
    metrics = ("accuracy",) if described.classes is not None else ("mae",)
    found = evaluate(model, (inputs, targets), loss=loss_of(described), metrics=metrics)
    print(f"{'samples':<10} {len(targets):,}")
    for name, value in found.items():
        if name == "mae":
            value *= described.target_scale
        elif name == "loss" and described.classes is None:
            value *= described.target_scale**2
        print(f"{name:<10} {value:.4f}" if name != "accuracy" else f"{name:<10} {100 * value:.2f}%")


def _inputs(described: Description, data: str, *, with_targets: bool) -> tuple[np.ndarray, np.ndarray | None]:
    """Data as the model takes it; images are the held-out part."""
    try:
        if described.feature_names is None:
            if data not in IMAGES:
                raise Failure(f"the model knows images; data must be one of {', '.join(IMAGES)}, got '{data}'")
            part = images(data).test
            return images_of(part, described.model), part.labels
        if data in IMAGES:
            raise Failure(f"the model knows tables with columns {', '.join(described.feature_names)}, got {data}")
        return _table_inputs(described, data, with_targets)
    except (OSError, TableError, ValueError) as error:
        raise Failure(str(error)) from None


def _table_inputs(described: Description, data: str, with_targets: bool) -> tuple[np.ndarray, np.ndarray | None]:
    assert described.feature_names is not None
    with open(data, newline="", encoding="utf-8-sig") as stream:
        header = [name.strip() for name in next(csv.reader(stream), [])]
    has_target = described.target in header
    if with_targets and not has_target:
        raise TableError(f"{data}: there is no column {described.target!r}; there are {', '.join(header)}")
    missing = [name for name in described.feature_names if name not in header]
    if missing and not _unnamed(described, header):
        raise TableError(f"{data}: columns {', '.join(map(repr, missing))} are missing; there are {', '.join(header)}")
    table = read_csv(data, described.target if has_target else None, classes=described.classes if has_target else None)
    names, columns = list(table.feature_names), table.features
    if not has_target:  # the last column was taken for the target: read it as the feature that it is
        last = read_csv(data, names[0])
        columns = np.concatenate([columns, last.features[:, -1:]], 1)
        names.append(table.target_name)
    order = [names.index(name) for name in described.feature_names]
    x = described.standardized(columns[:, order])
    if not with_targets:
        return x, None
    y = table.targets
    if described.classes is None:
        y = ((y.astype(np.float32) - described.target_mean) / described.target_scale).astype(np.float32)[:, None]
    return x, y


def _unnamed(described: Description, header: list[str]) -> bool:
    """Whether columns are numbered, in the model and in the file."""
    numbers = [str(i + 1) for i in range(len(header))]
    return described.target in numbers and all(name in numbers for name in described.feature_names or ())
