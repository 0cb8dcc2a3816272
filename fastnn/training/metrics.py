"""Metrics by name or as functions. Where scikit-learn has one, it is scikit-learn's.

A metric sees the outputs and targets of all batches of an epoch. `Accuracy`, `TopK` and `MeanAbsoluteError` add up as
they go; the others keep what they saw and call scikit-learn at the end.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastnn._runtime.tensor import TensorBase

Array = np.ndarray[Any, Any]


def predicted_classes(outputs: Array) -> Array:
    """The class with the largest output, or for a single output (a logit) 1 where it is positive."""
    if outputs.ndim == 1 or outputs.shape[1] == 1:
        return np.asarray(outputs.reshape(len(outputs)) > 0).astype(np.int64)
    return np.asarray(outputs.argmax(1))


class Metric:
    """What is measured over the batches of an epoch: ``reset``, then ``update`` for each batch, then ``value``."""

    name: str

    def reset(self) -> None:
        """Begin anew."""
        raise NotImplementedError

    def update(self, outputs: Array, targets: Array) -> None:
        """See a batch: outputs (N, ...) and targets (N, ...)."""
        raise NotImplementedError

    def value(self) -> Any:
        """The metric over what was seen; NaN over nothing."""
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """What was seen so far, for a checkpoint in the middle of an epoch."""
        return {k: v for k, v in vars(self).items() if k.startswith("_")}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what `state_dict` gave."""
        vars(self).update(state)


class _Mean(Metric):
    """A mean over the samples."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.reset()

    def reset(self) -> None:
        """Begin anew."""
        self._sum, self._count = 0.0, 0

    def value(self) -> float:
        """The mean over what was seen; NaN over nothing."""
        return self._sum / self._count if self._count else math.nan


class Accuracy(_Mean):
    """The share of samples whose class is right, 0 to 1."""

    def __init__(self) -> None:
        super().__init__("accuracy")

    def update(self, outputs: Array, targets: Array) -> None:
        """See a batch: outputs (N, C), or (N) or (N, 1) of logits, or (N, C, d1, ...); targets of classes."""
        if targets.ndim > 1 and targets.shape == outputs.shape and outputs.shape[1] > 1:
            targets = targets.argmax(1)  # probabilities of the classes
        right = predicted_classes(outputs) == targets.reshape(targets.shape if outputs.ndim > 2 else len(targets))
        self._sum += int(np.count_nonzero(right))
        self._count += right.size


class TopK(_Mean):
    """The share of samples whose class is among the k with the largest outputs; equal outputs count against it."""

    def __init__(self, k: int) -> None:
        if k < 1:
            raise ValueError(f"top-k: k must be at least 1, got {k}")
        super().__init__(f"top{k}")
        self.k = k

    def update(self, outputs: Array, targets: Array) -> None:
        """See a batch: outputs (N, C), targets (N)."""
        own = np.take_along_axis(outputs, targets.reshape(-1, 1), 1)
        # those before it, itself included
        self._sum += int(np.count_nonzero((outputs >= own).sum(1) <= self.k))
        self._count += len(outputs)


class MeanAbsoluteError(_Mean):
    """The mean of ``|output - target|`` over all elements."""

    def __init__(self) -> None:
        super().__init__("mae")

    def update(self, outputs: Array, targets: Array) -> None:
        """See a batch: outputs and targets of as many elements."""
        difference = np.abs(np.subtract(outputs, targets.reshape(outputs.shape), dtype=np.float64))
        self._sum += float(difference.sum())
        self._count += difference.size


class Collected(Metric):
    """A function of all targets and predictions of an epoch, such as scikit-learn's metrics.

    Parameters
    ----------
    function : ``function(targets, predictions)``.
    takes : what the predictions are: ``"classes"``, ``"scores"`` (the outputs; probabilities of more than two
        classes), ``"values"`` (the outputs), or ``"auto"``: classes where the targets are integers.
    """

    def __init__(self, name: str, function: Callable[[Array, Array], Any], takes: str = "auto") -> None:
        self.name, self.function, self.takes = name, function, takes
        self.reset()

    def reset(self) -> None:
        """Begin anew."""
        self._outputs: list[Array] = []
        self._targets: list[Array] = []

    def update(self, outputs: Array, targets: Array) -> None:
        """Keep a batch."""
        self._outputs.append(np.array(outputs))
        self._targets.append(np.array(targets))

    def value(self) -> Any:
        """The function of what was seen; NaN over nothing."""
        if not self._outputs:
            return math.nan
        outputs, targets = np.concatenate(self._outputs), np.concatenate(self._targets)
        takes = self.takes
        if takes == "auto":
            takes = "classes" if targets.dtype.kind in "iub" else "values"
        if takes == "classes":
            predictions = predicted_classes(outputs)
        elif takes == "scores":
            predictions = _scores(outputs)
        else:
            predictions = outputs.reshape(targets.shape)
        result = self.function(targets, predictions)
        return result if isinstance(result, np.ndarray) and result.ndim else float(result)


def _scores(outputs: Array) -> Array:
    """One score a sample of two classes, probabilities of more."""
    if outputs.ndim == 1 or outputs.shape[1] == 1:
        return outputs.reshape(len(outputs))
    if outputs.shape[1] == 2:
        return np.asarray(outputs[:, 1] - outputs[:, 0])
    shifted = outputs.astype(np.float64) - outputs.max(1, keepdims=True)
    odds = np.exp(shifted)
    return np.asarray(odds / odds.sum(1, keepdims=True))


def _library(name: str) -> Callable[..., Any]:
    try:
        from sklearn import metrics
    except ImportError:
        raise ImportError(f"the metric {name} needs scikit-learn; run: pip install scikit-learn") from None
    found: Callable[..., Any] = getattr(metrics, name)
    return found


def _macro(name: str) -> Callable[[], Metric]:
    """A score of classes, averaged over them."""

    def make() -> Metric:
        function = _library(f"{name}_score")
        return Collected(
            name, lambda targets, predicted: function(targets, predicted, average="macro", zero_division=0), "classes"
        )

    return make


def _auc() -> Metric:
    function = _library("roc_auc_score")
    return Collected("auc", lambda targets, scores: function(targets, scores, multi_class="ovr"), "scores")


METRICS: dict[str, Callable[[], Metric]] = {
    "accuracy": Accuracy,
    "mae": MeanAbsoluteError,
    "precision": _macro("precision"),
    "recall": _macro("recall"),
    "f1": _macro("f1"),
    "auc": _auc,
    "r2": lambda: Collected("r2", _library("r2_score"), "values"),
    "mse": lambda: Collected("mse", _library("mean_squared_error"), "values"),
    "confusion_matrix": lambda: Collected("confusion_matrix", _library("confusion_matrix"), "classes"),
}


def metric(given: str | Metric | Callable[[Array, Array], Any]) -> Metric:
    """A metric by name (``"top5"`` for k of 5), or of a function of targets and predictions.

    Raises ValueError for a name that is unknown, ImportError where scikit-learn is needed and missing.
    """
    if isinstance(given, Metric):
        return given
    if callable(given):
        return Collected(getattr(given, "__name__", type(given).__name__), given)
    if not isinstance(given, str):
        raise TypeError(f"metrics: expected names or functions, got {given!r}")
    top = re.fullmatch(r"top-?(\d+)", given)
    if top:
        return TopK(int(top[1]))
    if given not in METRICS:
        raise ValueError(f"metrics: {given!r} is unknown; there are {', '.join(METRICS)}, topK")
    return METRICS[given]()


class Metrics:
    """Several metrics at once."""

    def __init__(self, given: Sequence[Any]) -> None:
        if isinstance(given, str) or callable(given) or isinstance(given, Metric):
            given = (given,)
        self.all = [metric(one) for one in given]
        names = [one.name for one in self.all]
        if len(set(names)) != len(names) or "loss" in names:
            raise ValueError(f"metrics: names must differ and not be 'loss', got {', '.join(names)}")

    def reset(self) -> None:
        """Begin anew."""
        for one in self.all:
            one.reset()

    def update(self, outputs: Any, targets: Any) -> None:
        """See a batch of Tensors or arrays."""
        if self.all:
            arrays = [x.array if isinstance(x, TensorBase) else np.asarray(x) for x in (outputs, targets)]
            for one in self.all:
                one.update(*arrays)

    def values(self, prefix: str = "") -> dict[str, Any]:
        """All values by name."""
        return {prefix + one.name: one.value() for one in self.all}


__all__ = ["METRICS", "Accuracy", "Collected", "MeanAbsoluteError", "Metric", "Metrics", "TopK", "metric"]
