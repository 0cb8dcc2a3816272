"""A training step by hand in NumPy, as a tuned NumPy user would write it: no copies, updates in place."""

from __future__ import annotations

import numpy as np


class NumpyStep:
    """A network of dense layers and ReLU with cross-entropy, trained by Adam.

    Parameters
    ----------
    weights : weight (out, in) and bias of each layer; copied.
    lr : Adam's learning rate; its other parameters are torch's defaults.
    """

    def __init__(self, weights: list[tuple[np.ndarray, np.ndarray]], lr: float) -> None:
        self.lr, self.steps = lr, 0
        self.layers = [(np.ascontiguousarray(w.T), b.copy()) for w, b in weights]
        flat = [array for layer in self.layers for array in layer]
        self.moments = [(array, np.zeros_like(array), np.zeros_like(array)) for array in flat]

    def torch_parameters(self) -> list[np.ndarray]:
        """Return the parameters in torch's shapes and order."""
        return [array for w, b in self.layers for array in (w.T, b)]

    def __call__(self, x: np.ndarray, labels: np.ndarray) -> float:
        """Take one step; returns the loss before it."""
        inputs = []
        for i, (w, b) in enumerate(self.layers):
            inputs.append(x)
            x = x @ w
            x += b
            if i < len(self.layers) - 1:
                np.maximum(x, 0, out=x)
        rows = np.arange(len(labels))
        x -= x.max(1, keepdims=True)
        picked = x[rows, labels].copy()
        np.exp(x, out=x)
        total = x.sum(1, keepdims=True)
        loss = float((np.log(total[:, 0]) - picked).mean())
        x /= total
        x[rows, labels] -= 1
        x /= len(labels)
        gradients = []
        for i in reversed(range(len(self.layers))):
            gradients += [x.sum(0), inputs[i].T @ x]
            if i:
                x = x @ self.layers[i][0].T
                x *= inputs[i] > 0
        self._update(gradients[::-1])
        return loss

    def _update(self, gradients: list[np.ndarray]) -> None:
        """Adam: D. P. Kingma, J. Ba, arXiv:1412.6980, algorithm 1."""
        self.steps += 1
        rate = self.lr / (1 - 0.9**self.steps)
        scale = (1 - 0.999**self.steps) ** -0.5
        for gradient, (parameter, mean, square) in zip(gradients, self.moments, strict=True):
            mean *= 0.9
            mean += 0.1 * gradient
            square *= 0.999
            np.multiply(gradient, gradient, out=gradient)
            gradient *= 0.001
            square += gradient
            np.sqrt(square, out=gradient)
            gradient *= scale
            gradient += 1e-8
            np.divide(mean, gradient, out=gradient)
            gradient *= rate
            parameter -= gradient
