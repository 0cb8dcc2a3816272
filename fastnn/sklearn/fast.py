"""Estimators with what multi-layer perceptrons of scikit-learn lack: any module, loss, optimizer and schedule."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import check_random_state, column_or_1d, compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

import fastnn
from fastnn import nn
from fastnn.nn import functional
from fastnn.sklearn._engine import Array
from fastnn.training.callbacks import EarlyStopping, TimeLimit
from fastnn.training.loop import loss_function, make_optimizer

ACTIVATIONS = {"identity": "Identity", "logistic": "Sigmoid", "tanh": "Tanh", "relu": "ReLU"}


class _Function(nn.Module):
    """A function as a layer."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Any) -> Any:
        """The function's value."""
        return self.function(x)


class _Weighing(nn.Module):
    """A module whose samples bring their weights, for the loss."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Any, weight: Any) -> Any:
        """The module's output, and the weights."""
        return self.module(x), weight


def _layer(activation: Any) -> nn.Module:
    """The activation as a layer: scikit-learn's name, one of `fastnn.nn` or `fastnn.nn.functional`, or a callable."""
    if isinstance(activation, nn.Module):
        return copy.deepcopy(activation)
    if isinstance(activation, type) and issubclass(activation, nn.Module):
        return activation()
    if callable(activation):
        return _Function(activation)
    if isinstance(activation, str):
        name = ACTIVATIONS.get(activation, activation)
        kind = getattr(nn, name, None)
        if isinstance(kind, type) and issubclass(kind, nn.Module):
            return kind()
        found = getattr(functional, name, None)
        if callable(found):
            return _Function(found)
    raise ValueError(
        f"activation must be {', '.join(ACTIVATIONS)}, a name in fastnn.nn or fastnn.nn.functional, or a callable, "
        f"got {activation!r}"
    )


class FastEstimator(BaseEstimator):  # type: ignore[misc]
    """What `FastClassifier` and `FastRegressor` share."""

    module_: nn.Module
    history_: Any
    loss_curve_: list[float]
    validation_loss_curve_: list[float]

    def __init__(
        self, module: Any = None, *, hidden_layer_sizes: Any = (100,), activation: Any = "relu", dropout: Any = 0.0,
        batch_norm: bool = False, loss: Any = None, optimizer: Any = "adam", learning_rate: float | None = None,
        weight_decay: float | None = None, schedule: Any = None, batch_size: int = 32, max_iter: int = 200,
        shuffle: bool = True, tol: float = 1e-4, n_iter_no_change: int | None = 10, early_stopping: bool = False,
        validation_fraction: float = 0.1, validation_data: Any = None, callbacks: Any = (), max_time: Any = None,
        n_jobs: int | None = None, warm_start: bool = False, random_state: Any = None, verbose: bool = False,
    ) -> None:  # fmt: skip
        self.module = module
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.dropout = dropout
        self.batch_norm = batch_norm
        self.loss = loss
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.schedule = schedule
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.validation_data = validation_data
        self.callbacks = callbacks
        self.max_time = max_time
        self.n_jobs = n_jobs
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose

    # -- the network

    def _network(self, inputs: int, outputs: int, dtype: Any) -> nn.Module:
        """The module to train: a copy of the one given, what a given function makes, or layers by the parameters."""
        if isinstance(self.module, nn.Module):
            return copy.deepcopy(self.module)
        if self.module is not None:
            made = self.module(inputs, outputs)
            if not isinstance(made, nn.Module):
                raise TypeError(f"module(inputs, outputs) must give a Module, got {type(made).__name__}")
            return made
        sizes = np.atleast_1d(np.asarray(self.hidden_layer_sizes, int)).tolist()
        if any(size <= 0 for size in sizes):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {sizes}.")
        activations = self._each("activation", self.activation, len(sizes))
        dropouts = self._each("dropout", self.dropout, len(sizes))
        layers: list[nn.Module] = []
        before = inputs
        for size, activation, dropout in zip(sizes, activations, dropouts, strict=True):
            layers.append(nn.Linear(before, size, dtype=dtype))
            if self.batch_norm:
                layers.append(nn.BatchNorm1d(size, dtype=dtype))
            layers.append(_layer(activation))
            if dropout:
                layers.append(nn.Dropout(dropout))
            before = size
        return nn.Sequential(*layers, nn.Linear(before, outputs, dtype=dtype))

    @staticmethod
    def _each(name: str, given: Any, layers: int) -> list[Any]:
        if isinstance(given, str) or not isinstance(given, Sequence):
            return [given] * layers
        if len(given) != layers:
            raise ValueError(f"{name} must have one entry for each of {layers} hidden layers, got {len(given)}")
        return list(given)

    def _optimizer_of(self, model: nn.Module) -> Any:
        options = {
            name: value
            for name, value in (("lr", self.learning_rate), ("weight_decay", self.weight_decay))
            if value is not None
        }
        if not options:
            return make_optimizer(self.optimizer, model)
        kind = self.optimizer
        if isinstance(kind, str):
            kind = type(make_optimizer(kind, model))
        if not isinstance(kind, type):
            raise TypeError("learning_rate and weight_decay go with an optimizer's name or class; set them yourself")
        return kind(model.parameters(), **options)

    def _loss_of(self, weighted: bool) -> Any:
        given = self._default_loss() if self.loss is None else self.loss
        found = loss_function(given)
        if not weighted:
            return found
        if "reduction" not in inspect.signature(found).parameters:
            raise TypeError("weights of samples or classes need a loss with the parameter reduction, which this lacks")

        def mean(output: Any, target: Any) -> Any:
            y, weight = output
            each = found(y, target, reduction="none")
            if each.ndim > 1:
                each = each.reshape(len(each), -1).mean(1)
            return (each * weight).sum() / weight.sum()

        return mean

    # -- training

    def _dtype_of(self, X: Array) -> Any:
        """The dtype to compute in: that of a given module, or the samples'."""
        if isinstance(self.module, nn.Module):
            return next((p.dtype for p in self.module.parameters()), X.dtype)
        return X.dtype

    def _validated(self, X: Any, y: Any, reset: bool) -> tuple[Array, Any]:
        return validate_data(
            self, X, y, multi_output=True, allow_nd=True, ensure_min_features=1, dtype=(np.float64, np.float32),
            reset=reset, **self._target_checks(),
        )  # fmt: skip

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Train on samples (N, ...) and their targets, with weights of samples (N) if there are some."""
        return self._train(X, y, sample_weight, self.max_iter, self.warm_start and hasattr(self, "module_"), True)

    def _train(self, X: Any, y: Any, sample_weight: Any, epochs: int, goes_on: bool, stopping: bool) -> Any:
        X, y = self._validated(X, y, reset=not goes_on)
        target = self._encoded(y, goes_on)
        weight = self._weights(X, y, sample_weight)
        rng = check_random_state(self.random_state)
        seed = int(rng.randint(np.iinfo(np.int32).max))
        with nullcontext() if self.n_jobs is None else fastnn.threads(self.n_jobs), fastnn.random.fork_rng():
            fastnn.manual_seed(seed)
            if not goes_on:
                dtype = self._dtype_of(X)
                self.module_ = self._network(X.shape[-1], self._outputs(target), dtype)
                self._dtype = np.dtype(next((p.dtype for p in self.module_.parameters()), dtype)).name
                self._optimizer = self._optimizer_of(self.module_)
            data = self._data(X, target, weight)
            held_out = self._held_out()
            if held_out is None and self.early_stopping and stopping:
                order = rng.permutation(len(X))
                count = max(1, round(len(X) * self.validation_fraction))
                if count >= len(X):
                    raise ValueError(
                        "The validation set leaves no samples to train on. Decrease 'validation_fraction'."
                    )
                data, held_out = tuple(a[order[count:]] for a in data), tuple(a[order[:count]] for a in data)
            elif held_out is not None and weight is not None:
                held_out = (held_out[0], np.ones(len(held_out[0]), self._dtype), held_out[1])
            callbacks = [*(self.callbacks if isinstance(self.callbacks, Sequence) else [self.callbacks])]
            if stopping and self.n_iter_no_change is not None:
                monitor = "val_loss" if self.early_stopping else "loss"
                callbacks.append(
                    EarlyStopping(monitor, self.n_iter_no_change, self.tol, restore_best=self.early_stopping)
                )
            if self.max_time is not None:
                callbacks.append(TimeLimit(self.max_time))
            model = self.module_ if weight is None else _Weighing(self.module_)
            self.history_ = fastnn.fit(
                model, data, loss=self._loss_of(weight is not None), optimizer=self._optimizer, epochs=epochs,
                batch_size=min(self.batch_size, len(data[0])), validation=held_out, callbacks=callbacks, seed=seed,
                shuffle=self.shuffle, schedule=self.schedule, verbose=bool(self.verbose),
            )  # fmt: skip
        before = (self.loss_curve_, self.validation_loss_curve_) if goes_on else ([], [])
        self.loss_curve_ = [*before[0], *self.history_["loss"]]
        self.validation_loss_curve_ = [*before[1], *(self.history_["val_loss"] if held_out is not None else [])]
        self.n_iter_ = len(self.history_)
        self.loss_ = self.loss_curve_[-1]
        return self

    def _data(self, X: Any, target: Any, weight: Any) -> tuple[Any, ...]:
        parts = (X, target) if weight is None else (X, weight, target)
        return tuple(
            np.ascontiguousarray(a, self._dtype if a.dtype.kind == "f" else a.dtype) for a in map(np.asarray, parts)
        )

    def _held_out(self) -> Any:
        if self.validation_data is None:
            return None
        X, y = self.validation_data
        X, y = self._validated(X, y, reset=False)
        return self._data(X, self._encoded(y, True), None)

    def _raw(self, X: Any) -> Array:
        """The module's outputs for samples."""
        check_is_fitted(self, "module_")
        X = validate_data(self, X, allow_nd=True, dtype=(np.float64, np.float32), reset=False)
        with nullcontext() if self.n_jobs is None else fastnn.threads(self.n_jobs):
            return fastnn.predict(self.module_, np.ascontiguousarray(X, self._dtype))

    def _weights(self, X: Any, y: Any, sample_weight: Any) -> Array | None:
        return None if sample_weight is None else _check_sample_weight(sample_weight, X, dtype=X.dtype)

    def _target_checks(self) -> dict[str, Any]:
        return {}

    def _default_loss(self) -> str:
        raise NotImplementedError

    def _encoded(self, y: Array, known: bool) -> Array:
        raise NotImplementedError

    def _outputs(self, target: Array) -> int:
        raise NotImplementedError


class FastClassifier(ClassifierMixin, FastEstimator):  # type: ignore[misc]
    """A classifier of classes, or of several labels a sample, around any module, trained by `fastnn.fit`.

    Parameters
    ----------
    module : a Module (a copy of it is trained), or ``module(inputs, outputs)`` that makes one; it gives logits. None
        for dense layers by the parameters that follow.
    hidden_layer_sizes, activation, dropout, batch_norm : the dense layers. An activation is scikit-learn's name, one in
        `fastnn.nn` or `fastnn.nn.functional`, or any callable; activation and dropout may be lists, an entry a layer.
    loss : as for `fastnn.fit`; by default cross-entropy.
    optimizer, learning_rate, weight_decay : name or class of an optimizer of `fastnn.optim` with its options, or a
        function of parameters.
    schedule, callbacks : as for `fastnn.fit`.
    batch_size, max_iter, shuffle, verbose, warm_start, random_state : as scikit-learn's.
    tol, n_iter_no_change : end when the loss is no longer better by `tol` for so many epochs; None for never.
    early_stopping, validation_fraction : watch the loss of samples held out instead, and keep the best weights.
    validation_data : ``(X, y)`` to evaluate after every epoch.
    max_time : seconds after which training ends.
    n_jobs : threads to compute with, in place of fastnn's number.
    class_weight : ``"balanced"``, or weights by class.

    Attributes
    ----------
    module_, history_ : the trained module, and what `fastnn.fit` returned.
    classes_ : the classes.
    loss_, loss_curve_, validation_loss_curve_, n_iter_ : of training.
    """

    def __init__(
        self, module: Any = None, *, hidden_layer_sizes: Any = (100,), activation: Any = "relu", dropout: Any = 0.0,
        batch_norm: bool = False, loss: Any = None, optimizer: Any = "adam", learning_rate: float | None = None,
        weight_decay: float | None = None, schedule: Any = None, batch_size: int = 32, max_iter: int = 200,
        shuffle: bool = True, tol: float = 1e-4, n_iter_no_change: int | None = 10, early_stopping: bool = False,
        validation_fraction: float = 0.1, validation_data: Any = None, callbacks: Any = (), max_time: Any = None,
        n_jobs: int | None = None, warm_start: bool = False, random_state: Any = None, verbose: bool = False,
        class_weight: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(
            module, hidden_layer_sizes=hidden_layer_sizes, activation=activation, dropout=dropout,
            batch_norm=batch_norm, loss=loss, optimizer=optimizer, learning_rate=learning_rate,
            weight_decay=weight_decay, schedule=schedule, batch_size=batch_size, max_iter=max_iter, shuffle=shuffle,
            tol=tol, n_iter_no_change=n_iter_no_change, early_stopping=early_stopping,
            validation_fraction=validation_fraction, validation_data=validation_data, callbacks=callbacks,
            max_time=max_time, n_jobs=n_jobs, warm_start=warm_start, random_state=random_state, verbose=verbose,
        )  # fmt: skip
        self.class_weight = class_weight

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Any:
        """Train for one epoch more; the first call needs `classes` where `y` does not hold them all."""
        known = hasattr(self, "module_")
        if not known and classes is not None:
            self._label_binarizer, self._classes_given = LabelBinarizer().fit(classes), True
        try:
            return self._train(X, y, sample_weight, 1, known, False)
        finally:
            self.__dict__.pop("_classes_given", None)

    def _encoded(self, y: Array, known: bool) -> Array:
        check_classification_targets(y)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        if not known and not hasattr(self, "_classes_given"):  # what a fit that failed has left does not count
            self._label_binarizer = LabelBinarizer().fit(y)
        self.classes_ = self._label_binarizer.classes_
        if self._label_binarizer.y_type_.startswith("multilabel"):
            return np.asarray(self._label_binarizer.transform(y), np.float64)
        unknown = np.setdiff1d(y, self.classes_)
        if len(unknown):
            raise ValueError(f"`y` has classes not in `self.classes_`: {unknown}")
        return np.searchsorted(self.classes_, y).astype(np.int64)

    def _outputs(self, target: Array) -> int:
        return len(self.classes_)

    def _several(self) -> bool:
        return bool(self._label_binarizer.y_type_.startswith("multilabel"))

    def _default_loss(self) -> str:
        return "binary_cross_entropy_with_logits" if self._several() else "cross_entropy"

    def _weights(self, X: Any, y: Any, sample_weight: Any) -> Array | None:
        weight = super()._weights(X, y, sample_weight)
        if self.class_weight is None:
            return weight
        own = compute_sample_weight(self.class_weight, y)
        return own if weight is None else own * weight

    def predict_proba(self, X: Any) -> Array:
        """Probabilities (N, classes), in the order of `classes_`."""
        logits = fastnn.from_numpy(self._raw(X))
        return np.asarray(functional.sigmoid(logits) if self._several() else functional.softmax(logits, 1))

    def predict(self, X: Any) -> Array:
        """Classes (N), or labels (N, classes) as 0 and 1."""
        y = self._raw(X)
        if self._several():
            return (y > 0).astype(int)
        return np.asarray(self.classes_[y.argmax(1)])

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        tags.non_deterministic = False
        return tags


class FastRegressor(RegressorMixin, FastEstimator):  # type: ignore[misc]
    """A regressor of one or several values a sample around any module; parameters as `FastClassifier`'s.

    The loss is by default the mean squared error. There is no `class_weight`.
    """

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Train for one epoch more."""
        return self._train(X, y, sample_weight, 1, hasattr(self, "module_"), False)

    def _target_checks(self) -> dict[str, Any]:
        return {"y_numeric": True}

    def _encoded(self, y: Array, known: bool) -> Array:
        if not known:
            self._flat = y.ndim == 1
        y = np.asarray(y, np.float64)
        return y.reshape(-1, 1) if y.ndim == 1 else y

    def _outputs(self, target: Array) -> int:
        return int(target.shape[1])

    def _default_loss(self) -> str:
        return "mse"

    def predict(self, X: Any) -> Array:
        """Values (N) or (N, outputs), as they were given to `fit`."""
        y = self._raw(X)
        return y.ravel() if self._flat else y

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


__all__ = ["FastClassifier", "FastRegressor"]
