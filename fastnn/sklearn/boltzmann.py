"""A restricted Boltzmann machine with scikit-learn's parameters and attributes, on fastnn's kernels."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
from scipy import sparse
from sklearn import neural_network

import fastnn
from fastnn import ops
from fastnn.sklearn._engine import Array
from fastnn.tensor import Tensor, from_numpy

RECORDED_FROM = 3  # updates; a few calls of `partial_fit` are not worth recording


class _Update:
    """The updates of one machine, written to the very arrays that it shows.

    Parameters
    ----------
    weights, hidden, visible, particles : components (H, V), intercepts (H) and (V), samples of hidden units (S, H).
    rate : the learning rate.
    """

    def __init__(self, weights: Array, hidden: Array, visible: Array, particles: Array, rate: float) -> None:
        self.arrays, self.rate = (weights, hidden, visible, particles), rate
        self.weights, self.hidden, self.visible, self.particles = map(from_numpy, self.arrays)
        self.recorded = fastnn.compile(self.run, strict=False)
        self.calls = 0
        self.signs: dict[int, Any] = {}  # by the number of samples: how each row of `both` counts

    def __call__(self, v: Array, draws: Array) -> None:
        self.calls += 1
        if len(v) not in self.signs:
            many = len(self.particles)
            self.signs[len(v)] = from_numpy(np.repeat([1, -1], [len(v), many]).astype(v.dtype)[:, None])
        (self.run if self.calls < RECORDED_FROM else self.recorded)(v, draws)

    def run(self, v: Any, draws: Any) -> None:
        """Contrast samples (N, V) with what the machine makes of its own; `draws` (S * (V + H)) are from [0, 1)."""
        with fastnn.no_grad():
            v, draws = (x if isinstance(x, Tensor) else from_numpy(x) for x in (v, draws))
            weights, particles = self.weights, self.particles
            many, seen = len(particles), v.shape[1]
            chance = ops.dense(particles, weights.T, self.visible, activation="sigmoid")
            both = ops.concatenate([v, _happens(chance, draws[: many * seen])], 0)
            h = ops.dense(both, weights, self.hidden, activation="sigmoid")
            signs = self.signs[len(v)]
            rate = self.rate / len(v)
            weights.T.add_(ops.matmul((both * (signs * rate)).T, h))
            self.hidden.add_(ops.matmul(signs.T, h)[0], alpha=rate)
            # samples are counted, so scikit-learn has float64 here, whatever the dtype
            moved = ops.matmul(signs.T, both)[0].double() * rate
            self.visible.copy_(self.visible.double() + moved)
            particles.copy_(_happens(h[len(v) :], draws[many * seen :]))


def _happens(chance: Any, draws: Any) -> Any:
    """1 where a draw from [0, 1) is below the chance, else 0."""
    return ops.heaviside(chance - draws.reshape(chance.shape), chance.new_zeros(())).to(chance.dtype)


_updates: weakref.WeakKeyDictionary[Any, _Update] = weakref.WeakKeyDictionary()


class BernoulliRBM(neural_network.BernoulliRBM):  # type: ignore[misc]
    """Boltzmann machine of binary units: `sklearn.neural_network.BernoulliRBM`, faster.

    Parameters, attributes, methods and random numbers are scikit-learn's.
    """

    def _fit(self, v_pos: Any, rng: np.random.RandomState) -> None:
        v = v_pos.toarray() if sparse.issparse(v_pos) else v_pos
        arrays = (self.components_, self.intercept_hidden_, self.intercept_visible_, self.h_samples_)
        rate = float(self.learning_rate)
        update = _updates.get(self)
        if update is None or update.rate != rate or any(p is not q for p, q in zip(update.arrays, arrays, strict=True)):
            if any(p.dtype != arrays[0].dtype or not p.flags.writeable for p in arrays):
                super()._fit(v_pos, rng)
                return
            update = _updates[self] = _Update(*arrays, rate)
        particles = self.h_samples_
        draws = rng.random_sample(len(particles) * (particles.shape[1] + v.shape[1]))
        update(v.astype(particles.dtype, copy=False), draws)

    def _mean_hiddens(self, v: Any) -> Array:
        if sparse.issparse(v) or np.result_type(v, self.components_) != self.components_.dtype:
            return super()._mean_hiddens(v)
        v = np.asarray(v, self.components_.dtype)
        return ops.dense(v, self.components_, self.intercept_hidden_, activation="sigmoid")
