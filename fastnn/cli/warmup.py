"""``fastnn warmup``: kernels compiled ahead of their first use."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

import fastnn
from fastnn.cli.failure import Failure
from fastnn.cli.networks import NETWORKS
from fastnn.cli.subjects import Description, build_model, model_by_factory
from fastnn.ops import every
from fastnn.testing.samples import sample

# Ops of which a training step of dense layers is made.
USUAL = ("linear", "dense", "matmul", "relu", "tanh", "sigmoid", "gelu", "softmax", "cross_entropy", "add", "multiply")


def run_warmup(everything: bool) -> None:
    """Run samples of ops once, forward and backward, in float32; what was compiled stays in the user's cache."""
    start = time.perf_counter()
    ops = every()
    names = sorted(ops) if everything else [name for name in USUAL if name in ops]
    for place, name in enumerate(names):
        op = ops[name]
        for case in op.cases:
            inputs, attributes = sample(op, case, "float32")
            apart = op.apart + op.constant
            leaves = [
                None if x is None else fastnn.tensor(x, requires_grad=n not in apart)
                for n, x in zip(op.input_names, inputs, strict=True)
            ]
            found = op(*leaves, **attributes)
            outputs = [y for y in (found if isinstance(found, tuple) else (found,)) if y.requires_grad]
            if outputs:
                fastnn.autograd.backward(outputs, [fastnn.tensor(y.detach().array) for y in outputs])
        print(f"{place + 1:>4}/{len(names)}  {name}", flush=True)
    weight = fastnn.nn.Parameter(fastnn.tensor([1.0, 2.0]))
    for kind in (fastnn.optim.SGD, fastnn.optim.Adam):
        weight.grad = fastnn.tensor([1.0, 1.0])
        kind([weight], lr=1e-3).step()
    print(f"{len(names)} ops and 2 optimizers ready after {time.perf_counter() - start:.1f} s")


def run_model_warmup(text: str, batch: int, shape: list[int] | None, loss: str, optimizer: str) -> None:
    """Train the model of a name or factory for some updates on nothing, and predict; Failure where it cannot.

    Networks that have a name are those of 28 x 28 images and 10 classes.
    """
    start = time.perf_counter()
    if text in NETWORKS:
        described = Description(text, [128], "", 784, 10, image=[1, 28, 28])
        model, shape = build_model(described), shape or ([784] if text == "mlp" else described.image)
    else:
        model = model_by_factory(text)
    x = _sample(model, batch, shape)
    try:
        with fastnn.no_grad():
            output = model(fastnn.from_numpy(x))
        target = np.zeros(output.shape[:1] + output.shape[2:] if loss == "cross_entropy" else output.shape)
        y = target.astype(np.int64 if "cross_entropy" in loss or loss == "nll" else output.dtype)
        # three batches: the optimizer begins its state, the step is recorded, the step is repeated
        data = np.concatenate([x] * 3), np.concatenate([y] * 3)
        fastnn.fit(
            model, data, loss=loss, optimizer=optimizer, batch_size=batch, validation=(x, y), verbose=False
        )  # fmt: skip
        model.eval()
        fastnn.predict(model, x)
        fastnn.compile(model, strict=False)(x)
    except (ValueError, TypeError, IndexError) as error:
        raise Failure(f"{text} cannot be trained on a batch of shape {x.shape}: {error}") from None
    print(f"{text} ready after {time.perf_counter() - start:.1f} s")


def _sample(model: Any, batch: int, shape: list[int] | None) -> np.ndarray:
    """A batch of zeros of a shape; by default of what the model's first layer takes."""
    for module in model.modules():
        if isinstance(module, fastnn.nn.Embedding):
            return np.zeros((batch, *(shape or (1,))), np.int64)
        if shape is None and isinstance(module, fastnn.nn.Linear) and not isinstance(module, fastnn.nn.LazyLinear):
            shape = [module.in_features]
        if shape is not None:
            break
    if shape is None:
        raise Failure("the shape of a sample does not follow from the model's layers; give it by --shape")
    return np.zeros((batch, *shape), np.float32)
