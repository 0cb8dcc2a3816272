"""How multi-layer perceptrons are fitted and asked: scikit-learn's procedure over the steps of `_engine`."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Generator, Iterator
from contextlib import nullcontext
from typing import Any

import numpy as np
import scipy.optimize
from scipy import sparse
from sklearn.base import is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.neural_network._multilayer_perceptron import BaseMultilayerPerceptron
from sklearn.neural_network._stochastic_optimizers import AdamOptimizer, SGDOptimizer
from sklearn.utils.fixes import _get_additional_lbfgs_options_dict
from sklearn.utils.optimize import _check_optimize_result
from sklearn.utils.validation import check_is_fitted, validate_data
from threadpoolctl import ThreadpoolController

from fastnn.sklearn._engine import Architecture, Array, Trainer, Updates, acquire, make, predict
from fastnn.sklearn._meeting import current

DENSE_BYTES = 1 << 29  # sparse samples are made dense up to this size
BLAS_FROM = 100_000  # parameters from which L-BFGS may use several threads
# what a subclass may have changed that the recorded steps would not notice
NUMERIC = ("_forward_pass", "_backprop", "_compute_loss_grad", "_loss_grad_lbfgs", "_unpack")

Run = Generator[Updates, None, None]


def drive(run: Run) -> None:
    """Make the updates that a run asks for, together with those of other fits where these meet."""
    place = current()
    with nullcontext() if place is None else place.joined():
        for updates in run:
            try:
                if place is None:
                    make([updates])
                else:
                    place.make(updates)
            except KeyboardInterrupt as interrupt:
                try:
                    run.throw(interrupt)
                except StopIteration:
                    return


@functools.cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()  # looks through all libraries, which takes milliseconds


def _one_blas_thread() -> Any:
    """Within it, scipy's own products of short vectors are not shared among threads, which wait for each other."""
    return _controller().limit(limits=1, user_api="blas")


_told: set[str] = set()


def _tell(why: str) -> None:
    """Say once that scikit-learn's own arithmetic serves."""
    if why not in _told:
        _told.add(why)
        warnings.warn(f"scikit-learn's own arithmetic serves: {why}", RuntimeWarning, stacklevel=4)


def _passes(trainer: Trainer, data: list[Array], order: Array, size: int) -> Iterator[Updates]:
    """An epoch's updates: those of whole batches, then that of the samples which remain."""
    whole = len(order) // size * size
    for rows in (order[:whole].reshape(-1, size), order[whole:].reshape(1, -1)):
        if rows.size == 0:
            continue
        totals = np.full(len(rows), float(rows.shape[1]))
        if len(data) == 3:
            totals = data[2][rows].sum(1, dtype=np.float64)
            if not totals.all():
                raise ZeroDivisionError("Weights sum to zero, can't be normalized")
        yield Updates(trainer, data, rows, totals)


class FastPerceptron(BaseMultilayerPerceptron):  # type: ignore[misc]
    """What replaces the arithmetic of scikit-learn's multi-layer perceptrons."""

    coefs_: list[Array]
    intercepts_: list[Array]
    _no_improvement_count: int

    def _architecture(self, X: Any, units: list[int], weighted: bool, dtype: Any) -> Architecture | None:
        """What a step depends on; None where scikit-learn's own arithmetic has to serve."""
        for name in NUMERIC:
            if getattr(type(self), name) is not getattr(BaseMultilayerPerceptron, name):
                _tell(f"{type(self).__name__} has a {name} of its own")
                return None
        if sparse.issparse(X) and X.shape[0] * X.shape[1] * X.dtype.itemsize > DENSE_BYTES:
            _tell(f"sparse samples of shape {X.shape} are too large to be made dense")
            return None
        several = self.loss == "log_loss" and self.out_activation_ == "logistic"  # labels that do not exclude others
        made = Architecture(
            tuple(units), self.activation, self.out_activation_, "binary_log_loss" if several else self.loss,
            np.dtype(dtype).name, self.solver,
            bool(self.nesterovs_momentum) if self.solver == "sgd" else False, weighted,
        )  # fmt: skip
        arrays = [*self.coefs_, *self.intercepts_]
        fits = [getattr(p, "shape", None) for p in arrays] == made.shapes
        return made if fits and all(p.dtype.kind == "f" for p in arrays) else None

    # -- adam and sgd

    def _fit_stochastic(
        self, X: Any, y: Array, sample_weight: Array | None, activations: Any, deltas: Any, coef_grads: Any,
        intercept_grads: Any, layer_units: list[int], incremental: bool,
    ) -> None:  # fmt: skip
        dtype = self.coefs_[0].dtype
        own = self._architecture(X, layer_units, sample_weight is not None, dtype)
        if own is None or any(p.dtype != dtype for p in (*self.coefs_, *self.intercepts_)) or X.dtype > dtype:
            super()._fit_stochastic(
                X, y, sample_weight, activations, deltas, coef_grads, intercept_grads, layer_units, incremental
            )
            return
        drive(self._run(X, y, sample_weight, own, incremental))

    def _begin(self, own: Architecture, incremental: bool) -> Trainer:
        """The optimizer, and a trainer with its values and the parameters'."""
        parameters = [*self.coefs_, *self.intercepts_]
        if not incremental or not hasattr(self, "_optimizer"):
            if self.solver == "sgd":
                self._optimizer = SGDOptimizer(
                    parameters, self.learning_rate_init, self.learning_rate, self.momentum, self.nesterovs_momentum,
                    self.power_t,
                )  # fmt: skip
            else:
                self._optimizer = AdamOptimizer(
                    parameters, self.learning_rate_init, self.beta_1, self.beta_2, self.epsilon
                )
        optimizer = self._optimizer
        states = [optimizer.velocities] if self.solver == "sgd" else [optimizer.ms, optimizer.vs]
        columns = [parameters, *states]
        trainer = acquire(own, columns)
        try:
            held = trainer.adopt(columns)
            self.coefs_, self.intercepts_ = held[0][: trainer.depth], held[0][trainer.depth :]
            if self.solver == "sgd":
                (optimizer.velocities,) = held[1:]
                trainer.set(self.alpha, lr=optimizer.learning_rate, momentum=optimizer.momentum)
            else:
                optimizer.ms, optimizer.vs = held[1:]
                betas = (optimizer.beta_1, optimizer.beta_2)
                trainer.set(
                    self.alpha, optimizer.t, lr=optimizer.learning_rate_init, betas=betas, eps=optimizer.epsilon
                )
        except BaseException:
            trainer.busy = False
            raise
        return trainer

    def _split(self, X: Any, y: Array, sample_weight: Array | None) -> tuple[list[Any], list[Any]]:
        """Training and validation samples: inputs, targets, weights."""
        arrays = [X, y] if sample_weight is None else [X, y, sample_weight]
        labelled = is_classifier(self) and self.n_outputs_ == 1  # several labels a sample make no strata
        parts = train_test_split(
            *arrays,
            random_state=self._random_state,
            test_size=self.validation_fraction,
            stratify=y if labelled else None,
        )
        training, held_out = parts[::2], parts[1::2]
        if held_out[0].shape[0] < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
            )
        if is_classifier(self):
            held_out[1] = self._label_binarizer.inverse_transform(held_out[1])
        if sample_weight is None:
            training.append(None)
            held_out.append(None)
        return training, held_out

    def _size_of_batches(self, samples: int) -> int:
        if self.batch_size == "auto":
            return min(200, samples)
        if self.batch_size > samples:
            warnings.warn(
                "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped", stacklevel=2
            )
        return int(np.clip(self.batch_size, 1, samples))

    def _run(self, X: Any, y: Array, sample_weight: Array | None, own: Architecture, incremental: bool) -> Run:
        """The updates of a fit, each with its arguments, to be done as they come."""
        trainer = self._begin(own, incremental)
        try:
            yield from self._epochs(X, y, sample_weight, trainer, incremental)
        finally:
            trainer.busy = False
        if self.early_stopping:
            self.coefs_, self.intercepts_ = self._best_coefs, self._best_intercepts

    def _epochs(self, X: Any, y: Array, sample_weight: Array | None, trainer: Trainer, incremental: bool) -> Run:
        if self.early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")
        held_out: list[Any] = [None, None, None]
        weight = sample_weight
        if self.early_stopping:
            (X, y, weight), held_out = self._split(X, y, sample_weight)
        dense = X.toarray() if sparse.issparse(X) else X
        data = [np.ascontiguousarray(a, trainer.dtype) for a in (dense, y)]
        if weight is not None:
            data.append(np.ascontiguousarray(weight, trainer.dtype))
        samples = len(data[0])
        size = self._size_of_batches(samples)
        order = np.arange(samples)
        optimizer, adam = self._optimizer, self.solver == "adam"
        try:
            self.n_iter_ = 0
            for _ in range(self.max_iter):
                if self.shuffle:
                    # the very draws of sklearn.utils.shuffle
                    places = np.arange(samples)
                    self._random_state.shuffle(places)
                    order = order[places]
                trainer.total.array[...] = 0
                yield from _passes(trainer, data, order, size)
                if adam:
                    optimizer.t += -(-samples // size)
                    optimizer.learning_rate = (
                        optimizer.learning_rate_init
                        * np.sqrt(1 - optimizer.beta_2**optimizer.t)
                        / (1 - optimizer.beta_1**optimizer.t)
                    )
                if self._epoch_ends(np.float64(trainer.total.array) / samples, samples, held_out) or incremental:
                    break
                if not adam:
                    trainer.set(self.alpha, lr=optimizer.learning_rate, momentum=optimizer.momentum)
            else:
                warnings.warn(
                    f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the optimization hasn't "
                    "converged yet.",
                    ConvergenceWarning,
                    stacklevel=2,
                )
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user.", stacklevel=2)

    def _epoch_ends(self, loss: Any, samples: int, held_out: list[Any]) -> bool:
        """Note the loss, look whether it still improves, change the learning rate; says whether training stops."""
        self.n_iter_ += 1
        self.loss_ = loss
        self.t_ += samples
        self.loss_curve_.append(loss)
        if self.verbose:
            print(f"Iteration {self.n_iter_}, loss = {loss:.8f}")
        self._update_no_improvement_count(self.early_stopping, *held_out)
        self._optimizer.iteration_ends(self.t_)
        if self._no_improvement_count <= self.n_iter_no_change:
            return False
        what = "Validation score" if self.early_stopping else "Training loss"
        message = f"{what} did not improve more than tol={self.tol:f} for {self.n_iter_no_change} consecutive epochs."
        if self._optimizer.trigger_stopping(message, self.verbose):
            return True
        self._no_improvement_count = 0
        return False

    # -- lbfgs

    def _fit_lbfgs(
        self, X: Any, y: Array, sample_weight: Array | None, activations: Any, deltas: Any, coef_grads: Any,
        intercept_grads: Any, layer_units: list[int],
    ) -> None:  # fmt: skip
        # scipy's vector is float64, whatever the samples are
        own = self._architecture(X, layer_units, sample_weight is not None, np.float64)
        if own is None:
            super()._fit_lbfgs(X, y, sample_weight, activations, deltas, coef_grads, intercept_grads, layer_units)
            return
        columns = [[*self.coefs_, *self.intercepts_]]
        trainer = acquire(own, columns)
        try:
            held = trainer.adopt(columns)[0]
            self.coefs_, self.intercepts_ = held[: trainer.depth], held[trainer.depth :]
            self._note_places(trainer)
            self._minimize(trainer, X, y, sample_weight)
        finally:
            trainer.busy = False

    def _note_places(self, trainer: Trainer) -> None:
        """Where coefficients and intercepts lie in the packed vector."""
        shapes = trainer.architecture.shapes
        ends = [at + int(np.prod(shape)) for at, shape in zip(trainer.places, shapes, strict=True)]
        spans = list(zip(trainer.places, ends, shapes, strict=True))
        self._coef_indptr = spans[: trainer.depth]
        self._intercept_indptr = [span[:2] for span in spans[trainer.depth :]]

    def _minimize(self, trainer: Trainer, X: Any, y: Array, sample_weight: Array | None) -> None:
        dense = X.toarray() if sparse.issparse(X) else X
        data = [np.ascontiguousarray(a, np.float64) for a in (dense, y)]
        total = float(len(data[0]))
        if sample_weight is not None:
            data.append(np.ascontiguousarray(sample_weight, np.float64))
            total = data[2].sum()
        trainer.set(self.alpha)
        vector, end = trainer.buffer, trainer.weights_end
        decay = self.alpha / total

        def evaluate(parameters: Array) -> tuple[float, Array]:
            vector[...] = parameters
            loss = trainer.evaluate(*data).item()
            gradient = np.concatenate([g.T.reshape(-1) for g in trainer.gradients()])
            gradient[:end] += decay * parameters[:end]
            return loss, gradient

        with _one_blas_thread() if vector.size < BLAS_FROM else nullcontext():
            found = scipy.optimize.minimize(
                evaluate,
                vector.copy(),
                method="L-BFGS-B",
                jac=True,
                options={
                    "maxfun": self.max_fun,
                    "maxiter": self.max_iter,
                    "gtol": self.tol,
                    **_get_additional_lbfgs_options_dict("iprint", 1 if self.verbose else -1),
                },
            )
        self.n_iter_ = _check_optimize_result("lbfgs", found, self.max_iter)
        self.loss_ = np.float64(found.fun)
        vector[...] = found.x

    # -- predictions

    def _forward_pass_fast(self, X: Any, check_input: bool = True) -> Array:
        if check_input and self._is_plain(X):
            y = self._predicted(X, watch=True)
            if y is not None:
                return y
        if check_input:
            X = validate_data(self, X, accept_sparse=["csr", "csc"], reset=False)
        y = self._predicted(X, watch=False)
        return super()._forward_pass_fast(X, check_input=False) if y is None else y

    def _predicted(self, X: Any, watch: bool) -> Array | None:
        """The network's outputs; None where the samples are not what it takes, or need to be looked at."""
        if not isinstance(X, np.ndarray):
            return None
        dtype = np.result_type(X.dtype, self.coefs_[0].dtype)
        if dtype not in (np.float32, np.float64):
            return None
        coefs, intercepts = ([np.asarray(p, dtype) for p in own] for own in (self.coefs_, self.intercepts_))
        return predict(np.asarray(X, dtype), coefs, intercepts, self.activation, self.out_activation_, watch)

    def _is_plain(self, X: Any) -> bool:
        """Whether samples need no validation but for their values: it would cost more than a small network."""
        return (
            type(X) is np.ndarray
            and X.ndim == 2
            and X.dtype in (np.float32, np.float64)
            and X.shape[0] > 0
            and X.shape[1] == self.n_features_in_
            and not hasattr(self, "feature_names_in_")
        )

    def _check_fitted(self) -> None:
        if "coefs_" not in vars(self):
            check_is_fitted(self)

    def predict(self, X: Any) -> Array:
        """Predict classes, or values, of samples (N, K)."""
        self._check_fitted()
        return self._predict(X)
