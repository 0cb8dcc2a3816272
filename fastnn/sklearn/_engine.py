"""Training steps of multi-layer perceptrons, recorded once for an architecture and repeated for every batch.

A `Trainer` owns the memory of weights, gradients' moments and the summed loss. Estimators get views of that memory, so
that what they show is what is trained. Plans refer to memory, therefore a trainer outlives its estimator: once nobody
holds a view any more, the next estimator of the same architecture takes it over, with the plans.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple

import numpy as np

import fastnn
from fastnn import ops
from fastnn.ops import update
from fastnn.optim import Adam
from fastnn.optim.optimizer import Group, Optimizer
from fastnn.optim.state import scalar_state
from fastnn.tensor import Tensor, from_numpy

Array = np.ndarray[Any, Any]
Columns = list[list[Array]]

# scikit-learn's names of activations, by those of `fastnn.ops.dense`
HIDDEN = {"identity": None, "logistic": "sigmoid", "tanh": "tanh", "relu": "relu"}
ROWS = 4096  # samples that go through a network at a time when it only predicts: what the caches of a core hold
KEPT = 16  # trainers
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


def predict(x: Array, coefs: Sequence[Array], intercepts: Sequence[Array], activation: str, output: str) -> Array:
    """A network's outputs (N, M) for inputs (N, K), some rows at a time; all of one dtype."""

    def through(h: Array) -> Any:
        for w, b in zip(coefs[:-1], intercepts[:-1], strict=True):
            h = ops.dense(h, w.T, b, activation=HIDDEN[activation])
        return output_of(ops.linear(h, coefs[-1].T, intercepts[-1]), output)

    if len(x) <= ROWS:
        return through(x)
    y = np.empty((len(x), len(intercepts[-1])), x.dtype)
    for first in range(0, len(x), ROWS):
        y[first : first + ROWS] = through(x[first : first + ROWS])
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
        self.update = fastnn.compile(self._update, strict=False)
        self.evaluate = fastnn.compile(self._evaluate, strict=False)
        self.lent: Callable[[], Any] = lambda: None
        self.busy = False
        self.alpha = 0.0

    def _optimizer(self, columns: Columns) -> Any:
        solver = self.architecture.solver
        groups = [{"params": self.coefs}, {"params": self.intercepts}]
        if solver == "lbfgs":
            return None
        optimizer = _Adam(groups) if solver == "adam" else _Velocity(groups, self.architecture.nesterov)
        for i, p in enumerate(self.parameters):
            if solver == "adam":
                kept = {"step": scalar_state(0), "exp_avg": columns[1][i], "exp_avg_sq": columns[2][i]}
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
        return lent is not None and columns[0][0].__array_interface__["data"][0] == self.buffer.ctypes.data

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
        self.alpha = alpha
        self.penalty.array[...] = 0.5 * alpha
        if self.optimizer is None:
            return
        for group in self.optimizer.param_groups:
            group.update(hyper)
        if self.architecture.solver == "adam":
            for p in self.parameters:
                self.optimizer.state[p]["step"] = from_numpy(np.array(float(steps)))

    def weigh(self, total: float) -> None:
        """Set the sum of the next batch's weights, by which the penalty is divided."""
        self.optimizer.param_groups[0]["weight_decay"] = self.alpha / total

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
            y = output_of(z, own.output)
            inverse: Any = 1.0 / len(x) if weight is None else 1.0 / weight.sum()
            share = inverse if weight is None else (weight * inverse).reshape(-1, 1)
            each = _losses(own.loss, y, target)
            loss = (each if weight is None else each * share).sum()
            loss = loss * inverse if weight is None else loss
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


def _losses(name: str, y: Tensor, target: Tensor) -> Tensor:
    """What each output adds to the loss; the sum is that of scikit-learn's loss over samples."""
    if name == "squared_error":
        return ops.square(y - target) * (0.5 / max(1, y.shape[1]))
    if name == "poisson":
        return ops.xlogy(target, target / y) - target + y
    eps = float(np.finfo(y.dtype).eps)
    kept = y.clamp(eps, 1 - eps)
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
        del _trainers[:-KEPT]
        found.busy = True
        return found


def batches(order: Array, size: int) -> Iterator[Array]:
    """Slices of `order`, `size` at a time."""
    for first in range(0, len(order), size):
        yield order[first : first + size]
