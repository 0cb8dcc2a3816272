"""Whole training steps, on compiled kernels and on the NumPy references."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

import fastnn
from benchmarks.peers.cases.steps import CASES


@pytest.mark.parametrize("backend", ["kernels", "numpy"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_step(benchmark: Any, case: Any, backend: str) -> None:
    benchmark.group = case.name
    expected = case.sides["numpy"].setup(0).verify()
    threads = fastnn.get_num_threads()
    benchmark.extra_info["threads"] = threads
    with fastnn.use_backend(backend), threadpool_limits(threads, user_api="blas"):
        work = case.sides["fastnn"].setup(0)
        for name, value in work.verify().items():
            np.testing.assert_allclose(value, expected[name], case.rtol, case.atol, err_msg=name)
        benchmark(work.run)
