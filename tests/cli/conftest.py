"""A stand-in for layers and optimizers until they exist: softmax regression in NumPy."""

import contextlib
import importlib

import numpy as np
import pytest

from fastnn.data import ImageData, ImageSplits, sources
from fastnn.data.published import MNIST


class Loss:
    def __init__(self, model, outputs, labels):
        self.model, self.labels = model, np.asarray(labels)
        shifted = outputs - outputs.max(1, keepdims=True)
        self.p = np.exp(shifted) / np.exp(shifted).sum(1, keepdims=True)

    def item(self):
        return float(-np.log(self.p[np.arange(len(self.labels)), self.labels] + 1e-30).mean())

    def backward(self):
        wrong = self.p - np.eye(10, dtype=self.p.dtype)[self.labels]
        self.model.grad = self.model.inputs.T @ wrong / len(self.labels)


class Model:
    def __init__(self, sizes):
        self.weight, self.grad = np.zeros((sizes[0], sizes[-1]), np.float32), None
        self.param_groups = [{"lr": 0.0}]

    def __call__(self, inputs):
        self.inputs = np.asarray(inputs)
        return self.inputs @ self.weight

    def parameters(self):
        return []

    def state_dict(self):
        return {"0.weight": self.weight.T}

    def zero_grad(self):
        self.grad = None

    def step(self):
        self.weight -= 20 * self.param_groups[0]["lr"] * self.grad


@pytest.fixture(autouse=True)
def engine(monkeypatch):
    with contextlib.suppress(ImportError):
        importlib.import_module("fastnn.optim")

        return

    def build(sizes, settings):
        model = Model(sizes)
        model.param_groups[0]["lr"] = settings.lr
        return model, lambda outputs, labels: Loss(model, outputs, labels), model

    monkeypatch.setattr("fastnn.cli.train.build", build)


@pytest.fixture(scope="session")
def digits():
    parts = sources.packaged_digits()
    return ImageSplits(*(ImageData(*parts[s], MNIST.classes, "mnist", s, "a test") for s in ("train", "test")))


@pytest.fixture
def on_digits(monkeypatch, digits):
    """Train on the packaged digits, whatever the machine holds."""
    monkeypatch.setattr("fastnn.data.datasets.mnist", lambda: digits)
