"""Training steps of multi-layer perceptrons, recorded once for an architecture and repeated for every batch.

A `Trainer` owns the memory of weights, gradients' moments and the summed loss. Estimators get views of that memory, so
that what they show is what is trained. Plans refer to memory, therefore a trainer outlives its estimator: once nobody
holds a view any more, the next estimator of the same architecture takes it over, with the plans.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple

import numpy as np

import fastnn
from fastnn import ops
from fastnn._runtime.plan import Plan, replay_series
from fastnn.ops import update
from fastnn.optim import Adam
from fastnn.optim.optimizer import Group, Optimizer
from fastnn.tensor import Tensor, from_numpy

Array = np.ndarray[Any, Any]
Columns = list[list[Array]]

# scikit-learn's names of activations, by those of `fastnn.ops.dense`
HIDDEN = {"identity": None, "logistic": "sigmoid", "tanh": "tanh", "relu": "relu"}
ROWS = 512  # samples that go through a network at a time when it only predicts, while the caches hold them
NARROW = 8  # classes; the softmax of so few is taken across rows, if there are enough
KEPT = 64  # trainers, and plans of each
KEPT_BYTES = 1 << 28  # of all trainers' weights and states
ALIGNED = 64  # bytes


class Architecture(NamedTuple):
    """What a recorded step depends on.

    Attributes
    ----------
    units : inputs, hidden layers, outputs.
    activation, output, loss : scikit-learn's names; `output` is the last layer's activation.
    dtype : of weights, inputs and targets.
    solver : "adam", "sgd" or "lbfgs".
    nesterov : for "sgd".
    weighted : whether samples have weights.
    """

    units: tuple[int, ...]
    activation: str
    output: str
    loss: str
    dtype: str
    solver: str
    nesterov: bool
    weighted: bool

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Shapes of coefficients, then of intercepts."""
        return [*pairwise(self.units), *((n,) for n in self.units[1:])]


class _Adam(Adam):
    """Adam as scikit-learn has it: eps joins the root before that is corrected for its start at zero."""

    def _numbers(self, group: Group, fresh: bool, *scalars: float) -> Any:
        flags, (lr, beta1, beta2, eps, decay, first, second), counts = super()._numbers(group, fresh, *scalars)
        return flags, (lr, beta1, beta2, eps / second**0.5 if second else eps, decay, first, second), counts


class _Velocity(Optimizer):
    """SGD whose velocity has the learning rate in it: it stays when the rate falls."""

    rule = update.velocity

    def __init__(self, params: Any, nesterov: bool) -> None:
        self.nesterov = nesterov
        super().__init__(params, {"lr": 1.0, "momentum": 0.0, "weight_decay": 0.0})

    def _static(self, group: Group) -> dict[str, Any]:
        return {"nesterov": self.nesterov}

    def _numbers(self, group: Group, fresh: bool, *scalars: float) -> Any:
        return (), (float(group["lr"]), float(group["momentum"]), float(group["weight_decay"])), ()


def output_of(z: Any, name: str) -> Any:
    """The last layer's activation."""
    if name == "softmax":
        return ops.softmax(z, 1)
    if name == "logistic":
        return ops.sigmoid(z)
    return ops.exp(z) if name == "exp" else z


def predict(
    x: Array, coefs: Sequence[Array], intercepts: Sequence[Array], activation: str, output: str, watch: bool = False
) -> Array | None:
    """A network's outputs (N, M) for inputs (N, K), some rows at a time; all of one dtype.

    With `watch`, None where the inputs' sum is not finite: looking at rows just before they are used costs least.
    """
    y = np.empty((len(x), len(intercepts[-1])), x.dtype)
    for first in range(0, len(x), ROWS):
        h = x[first : first + ROWS]
        if watch and not np.isfinite(h.sum()):
            return None
        for w, b in zip(coefs[:-1], intercepts[:-1], strict=True):
            h = ops.dense(h, w.T, b, activation=HIDDEN[activation])
        y[first : first + ROWS] = output_of(ops.linear(h, coefs[-1].T, intercepts[-1]), output)
    return y


class _Lease:
    """Memory that is lent out: every view of it keeps the array alive that is made of this object."""

    def __init__(self, buffer: Array) -> None:
        self.buffer = buffer
        self.__array_interface__ = buffer.__array_interface__


class Trainer:
    """The recorded steps of one architecture over weights of their own.

    Attributes
    ----------
    total : the losses of the batches so far, each times its samples, shape ().
    """

    STATES: ClassVar[dict[str, int]] = {"adam": 2, "sgd": 1, "lbfgs": 0}

    def __init__(self, architecture: Architecture) -> None:
        self.architecture = architecture
        self.dtype = np.dtype(architecture.dtype)
        step = ALIGNED // self.dtype.itemsize if architecture.solver != "lbfgs" else 1  # one packed vector for scipy
        self.places: list[int] = []
        end = 0
        for shape in architecture.shapes:
            self.places.append(end)
            end += -(-int(np.prod(shape)) // step) * step
        self.stride = end
        self.depth = len(architecture.units) - 1
        self.buffer = np.zeros((1 + self.STATES[architecture.solver]) * end, self.dtype)
        self.weights_end = self.places[self.depth]
        columns = self._views(self.buffer)
        self.parameters = [from_numpy(p.T).requires_grad_() for p in columns[0]]
        self.coefs, self.intercepts = self.parameters[: self.depth], self.parameters[self.depth :]
        self.flat = from_numpy(self.buffer[: self.weights_end])
        self.penalty = from_numpy(np.zeros((), self.dtype))
        self.total = from_numpy(np.zeros((), self.dtype))
        self.optimizer = self._optimizer(columns)
        self.update: Any = fastnn.compile(self._update, strict=False)
        self.evaluate = fastnn.compile(self._evaluate, strict=False)
        self.lent: Callable[[], Any] = lambda: None
        self.busy = False
        self.alpha, self.steps = 0.0, 0
        self.plans: dict[tuple[tuple[int, ...], int], Plan] = {}  # by the shape of all samples and the size of a batch

    def _optimizer(self, columns: Columns) -> Any:
        solver = self.architecture.solver
        groups = [{"params": self.coefs}, {"params": self.intercepts}]
        if solver == "lbfgs":
            return None
        optimizer = _Adam(groups) if solver == "adam" else _Velocity(groups, self.architecture.nesterov)
        for i, p in enumerate(self.parameters):
            if solver == "adam":
                kept = {"step": np.zeros(()), "exp_avg": columns[1][i], "exp_avg_sq": columns[2][i]}
            else:
                kept = {"velocity": columns[1][i]}
            optimizer.state[p] = {k: from_numpy(v.T) if isinstance(v, np.ndarray) else v for k, v in kept.items()}
        return optimizer

    def _views(self, buffer: Array) -> Columns:
        """Arrays of the architecture's shapes: parameters, then each state."""
        shapes, columns = self.architecture.shapes, len(buffer) // self.stride
        return [
            [
                buffer[k * self.stride + at : k * self.stride + at + int(np.prod(shape))].reshape(shape)
                for at, shape in zip(self.places, shapes, strict=True)
            ]
            for k in range(columns)
        ]

    # -- memory that estimators see

    def holds(self, columns: Columns) -> bool:
        """Whether an estimator's parameters are this trainer's."""
        lent = self.lent()
        if lent is None:
            return False
        pairs = (
            pair
            for own, given in zip(self._views(lent), columns, strict=False)
            for pair in zip(own, given, strict=True)
        )
        return all(mine.ctypes.data == other.ctypes.data for mine, other in pairs)

    def adopt(self, columns: Columns) -> Columns:
        """Take over the values of an estimator's parameters and states; returns what it is to hold instead."""
        lent = self.lent()
        if lent is None:
            lent = np.asarray(_Lease(self.buffer))
            self.lent = weakref.ref(lent)
        views = self._views(lent)
        for own, given in zip(views, columns, strict=True):
            for mine, other in zip(own, given, strict=True):
                if other.__array_interface__["data"][0] != mine.__array_interface__["data"][0]:
                    np.copyto(mine, other)
        return views

    # -- hyper-parameters

    def set(self, alpha: float, steps: int = 0, **hyper: Any) -> None:
        """Set the penalty, the optimizer's count of steps, and its hyper-parameters."""
        self.alpha, self.steps = alpha, steps
        self.penalty.array[...] = 0.5 * alpha
        if self.optimizer is not None:
            for group in self.optimizer.param_groups:
                group.update(hyper)

    def _cells(self, totals: Array) -> Array:
        """The cells of the following updates (len(totals), cells): those of coefficients, then those of intercepts."""
        group = self.optimizer.param_groups[0]
        many = len(totals)
        if self.architecture.solver == "sgd":
            own = [group["lr"], group["momentum"], self.alpha / totals]
            decay = 2
        else:
            steps = np.arange(self.steps + 1, self.steps + many + 1)
            beta1, beta2 = group["betas"]
            first, second = 1 - beta1**steps, 1 - beta2**steps
            own = [group["lr"], beta1, beta2, group["eps"] / np.sqrt(second), self.alpha / totals, first, second]
            decay = 4
        cells = np.empty((many, 2 * len(own)))
        for i, values in enumerate(own):
            cells[:, i] = values
            cells[:, len(own) + i] = 0.0 if i == decay else values
        return cells

    # -- updates

    def series(self, data: list[Array], rows: Array, totals: Array) -> Any:
        """What `replay_series` takes to make an update of each row's samples; None before such a step is recorded."""
        plan = self.plans.get((data[0].shape, rows.shape[1]))
        return None if plan is None else (plan, [*data[:2], rows[0], *data[2:]], 2, rows, self._cells(totals))

    def single(self, data: list[Array], row: Array, total: float) -> None:
        """Make an update of a row's samples, and record it if it is the first of its kind."""
        if self.architecture.solver == "adam":
            for p in self.parameters:
                self.optimizer.state[p]["step"].array[...] = self.steps
        self.optimizer.param_groups[0]["weight_decay"] = self.alpha / total
        self.update.plan = None
        self.update(data[0], data[1], row, *data[2:])
        self.steps += 1
        if self.update.plan is not None and self.update.failure is None:
            self.plans[data[0].shape, len(row)] = self.update.plan
            while len(self.plans) > KEPT:
                del self.plans[next(iter(self.plans))]

    def gradients(self) -> list[Array]:
        """The parameters' gradients, which an evaluation has left."""
        return [p.grad.array for p in self.parameters if p.grad is not None]

    # -- what is recorded

    def _forward(self, x: Tensor) -> Tensor:
        for w, b in zip(self.coefs[:-1], self.intercepts[:-1], strict=True):
            x = ops.dense(x, w, b, activation=HIDDEN[self.architecture.activation])
        return ops.linear(x, self.coefs[-1], self.intercepts[-1])

    def _differentiate(self, x: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
        """Put the loss's gradients into the parameters; returns the loss with the penalty, a mean over samples.

        The gradient at the last layer's sums is ``output - target`` for every pair of output and loss: each loss is
        minus the log-likelihood of which that output is the mean, by the canonical link.
        """
        own = self.architecture
        z = self._forward(x)
        with fastnn.no_grad():
            if own.output == "softmax" and z.shape[1] < NARROW <= len(z):
                y = ops.softmax(z.T.contiguous(), 0).T.contiguous()  # classes by classes: 31 us for 63 at (1728, 4)
            else:
                y = output_of(z, own.output)
            inverse: Any = 1.0 / len(x) if weight is None else 1.0 / weight.sum()
            share = inverse if weight is None else (weight * inverse).reshape(-1, 1)
            if own.loss == "log_loss" and weight is None:  # the usual case, in fewer passes
                loss = ops.dot(target.reshape(-1), _kept(y).log().reshape(-1)) * -inverse
            else:
                each = _losses(own.loss, y, target)
                loss = each.sum() * inverse if weight is None else (each * share).sum()
            loss = loss + self.penalty * inverse * ops.dot(self.flat, self.flat)
            delta = (y - target) * share
        for p in self.parameters:
            p.grad = None
        z.backward(delta)
        return loss

    def _update(self, x: Tensor, target: Tensor, index: Tensor, weight: Tensor | None = None) -> None:
        with fastnn.no_grad():
            x, target = ops.take(x, index, 0), ops.take(target, index, 0)
            weight = None if weight is None else ops.take(weight, index, 0)
        loss = self._differentiate(x, target, weight)
        with fastnn.no_grad():
            self.total.add_(loss * len(index))
        self.optimizer.step()

    def _evaluate(self, x: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        return self._differentiate(x, target, weight)


def _kept(y: Tensor) -> Tensor:
    """Probabilities that have a logarithm."""
    eps = float(np.finfo(y.dtype).eps)
    return y.clamp(eps, 1 - eps)


def _losses(name: str, y: Tensor, target: Tensor) -> Tensor:
    """What each output adds to the loss; the sum is that of scikit-learn's loss over samples."""
    if name == "squared_error":
        return ops.square(y - target) * (0.5 / max(1, y.shape[1]))
    if name == "poisson":
        return ops.xlogy(target, target / y) - target + y
    kept = _kept(y)
    if name == "log_loss":
        return target * -kept.log()
    return -(target * kept.log() + (1 - target) * (1 - kept).log())


_lock = threading.Lock()
_trainers: list[Trainer] = []  # the one used last comes last


def acquire(architecture: Architecture, columns: Columns) -> Trainer:
    """A trainer that nobody else uses: the one that holds these parameters, one that is free, or a new one."""
    with _lock:
        fitting = [t for t in reversed(_trainers) if t.architecture == architecture and not t.busy]
        found = next((t for t in fitting if t.holds(columns)), None)
        if found is None:
            found = next((t for t in fitting if t.lent() is None), None)
        if found is None:
            found = Trainer(architecture)
        else:
            _trainers.remove(found)
        _trainers.append(found)
        while len(_trainers) > KEPT or (len(_trainers) > 1 and sum(t.buffer.nbytes for t in _trainers) > KEPT_BYTES):
            del _trainers[0]
        found.busy = True
        return found


@dataclass
class Updates:
    """Updates of one trainer that are to be made one after the other.

    Attributes
    ----------
    data : inputs (N, K), targets (N, M), and weights (N) if samples have some.
    rows : the samples of each update, int64 (updates, batch).
    totals : the weight of each update's samples.
    """

    trainer: Trainer
    data: list[Array]
    rows: Array
    totals: Array


def make(several: Sequence[Updates]) -> None:
    """Make the updates of several trainers, side by side where they are recorded."""
    jobs, ready = [], []
    for u in several:
        job = u.trainer.series(u.data, u.rows, u.totals)
        if job is None:
            u.trainer.single(u.data, u.rows[0], u.totals[0])
            u.rows, u.totals = u.rows[1:], u.totals[1:]
            job = u.trainer.series(u.data, u.rows, u.totals) if len(u.rows) else None
        if job is not None:
            jobs.append(job)
            ready.append(u)
    served = bool(jobs) and replay_series(jobs) is None
    for u in several:
        if served and any(u is own for own in ready):
            u.trainer.steps += len(u.rows)
            continue
        # a plan that no longer serves, or none (the NumPy backend)
        for row, total in zip(u.rows, u.totals, strict=True):
            u.trainer.single(u.data, row, total)
