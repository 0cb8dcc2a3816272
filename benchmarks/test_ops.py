"""Every op at the sizes its declaration names, forward and backward: compiled kernels and NumPy reference side by side.

Results are compared before anything is timed; a group of pytest-benchmark's table is one op at one size.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

import fastnn
from fastnn.ops import every
from fastnn.testing.samples import sample

CALLS = [
    pytest.param(op, case, id=f"{op.name}-{'-'.join(f'{key}={value}' for key, value in case.items())}")
    for op in every().values()
    for case in op.bench
]
DIFFERENTIABLE = [call for call in CALLS if call.values[0].reference[1] is not None]
BACKENDS = ["kernels", "numpy"]


def _tuple(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def _results(call: Callable[[], Any], backend: str) -> list[np.ndarray]:
    with fastnn.use_backend(backend):
        return [np.array(value.detach() if isinstance(value, fastnn.Tensor) else value) for value in _tuple(call())]


def _measure(benchmark: Any, call: Callable[[], Any], backend: str) -> None:
    for ours, theirs in zip(*(_results(call, name) for name in BACKENDS), strict=True):
        scale = np.abs(theirs).max(initial=1)
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4 * scale)
    threads = fastnn.get_num_threads()
    benchmark.extra_info["threads"] = threads
    with fastnn.use_backend(backend), threadpool_limits(threads, user_api="blas"):
        benchmark(call)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("op", "case"), CALLS)
def test_forward(benchmark: Any, op: Any, case: dict[str, Any], backend: str) -> None:
    benchmark.group = f"{op.name} forward {case}"
    inputs, attributes = sample(op, case, "float32")
    _measure(benchmark, lambda: op(*inputs, **attributes), backend)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("op", "case"), DIFFERENTIABLE)
def test_backward(benchmark: Any, op: Any, case: dict[str, Any], backend: str) -> None:
    benchmark.group = f"{op.name} backward {case}"
    inputs, attributes = sample(op, case, "float32")
    leaves = [
        None if x is None else fastnn.tensor(x, requires_grad=name not in op.apart + op.constant)
        for name, x in zip(op.input_names, inputs, strict=True)
    ]
    wanted = [leaf for leaf in leaves if leaf is not None and leaf.requires_grad]
    with fastnn.use_backend(backend):
        outputs = _tuple(op(*leaves, **attributes))
    weights = [fastnn.from_numpy(np.full(y.shape, 0.5, y.dtype)) for y in outputs]

    def backward() -> tuple[Any, ...]:
        return tuple(fastnn.autograd.grad(outputs, wanted, weights, retain_graph=True))

    benchmark.extra_info["threads"] = fastnn.get_num_threads()
    with fastnn.use_backend(backend), threadpool_limits(fastnn.get_num_threads(), user_api="blas"):
        benchmark(backward)
