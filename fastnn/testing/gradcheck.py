"""Gradients against finite differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastnn import autograd
from fastnn.tensor import Tensor, from_numpy


class GradcheckError(AssertionError, RuntimeError):
    """A gradient that does not agree with finite differences."""


def gradcheck(
    func: Callable[..., Any],
    inputs: Tensor | Sequence[Any],
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    samples: int = 200,
    seed: int = 0,
) -> bool:
    """Compare the gradients that backward gives with central finite differences.

    The outputs are weighed with random numbers and added up; the derivative of that sum by each input element is
    computed both ways.

    Parameters
    ----------
    func : function of the inputs, a Module for example, that gives a Tensor or several.
    inputs : its arguments; those that are Tensors with ``requires_grad`` are checked and should be float64.
    eps : half the distance of the two evaluations.
    atol, rtol : the gradients must agree within ``atol + rtol * abs(finite difference)``.
    raise_exception : False to return False instead.
    samples : at most this many elements of an input are checked, drawn at random.
    seed : of the weights and of the drawing.

    Raises
    ------
    GradcheckError : naming the input, the index and both numbers.
    ValueError : if no input requires grad.
    """
    arguments = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    checked = [i for i, x in enumerate(arguments) if isinstance(x, Tensor) and x.requires_grad]
    if not checked:
        raise ValueError("gradcheck: no input requires grad")
    rng = np.random.default_rng(seed)
    weights: list[np.ndarray] = []

    def outputs(values: Sequence[Any]) -> list[Tensor]:
        result = func(*values)
        found = [result] if isinstance(result, Tensor) else list(result)
        return [y for y in found if isinstance(y, Tensor) and y.dtype.kind == "f"]

    leaves = [
        from_numpy(x.array.copy(order="K")).requires_grad_() if i in checked else x for i, x in enumerate(arguments)
    ]
    results = [y for y in outputs(leaves) if y.requires_grad]
    weights = [rng.uniform(0.5, 1.5, y.shape) * rng.choice([-1.0, 1.0], y.shape) for y in results]
    found = autograd.grad(
        results,
        [leaves[i] for i in checked],
        [from_numpy(np.asarray(w, y.dtype)) for w, y in zip(weights, results, strict=True)],
        allow_unused=True,
    )

    def weighed(values: Sequence[Any]) -> float:
        with autograd.no_grad():
            ys = outputs(values)
        return float(sum((w * y.array.astype(np.float64)).sum() for w, y in zip(weights, ys, strict=False)))

    for i, gradient in zip(checked, found, strict=True):
        base = leaves[i].array
        given = np.zeros(base.shape) if gradient is None else gradient.array
        places = rng.permutation(base.size)[:samples]
        for place in places:
            index = tuple(int(k) for k in np.unravel_index(place, base.shape))
            values = list(leaves)
            ends = []
            for step in (eps, -eps):
                moved = base.copy(order="K")
                moved[index] += step
                values[i] = from_numpy(moved)
                ends.append(weighed(values))
            expected = (ends[0] - ends[1]) / (2 * eps)
            got = float(given[index])
            if not abs(got - expected) <= atol + rtol * abs(expected):
                if not raise_exception:
                    return False
                raise GradcheckError(
                    f"gradcheck: input {i} at {list(index)}: backward gives {got:.9g}, "
                    f"finite differences give {expected:.9g}"
                )
    return True
