"""Matrix products of arrays, into an array that is there.

``matmul-<dtype>-<layout>-<size>``: the size is rows x columns x k of the product, or one number for all three; the
layout says of either operand whether it lies as it is (n) or is the transpose of an array that does (t).
``bmm-...`` are batches of products, ``call-...`` what a call from Python costs where there is next to no arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from benchmarks.peers.case import Case, Work
from benchmarks.peers.sides import fastnn_side, numpy_side, torch_side

DTYPES = {"f32": "float32", "f64": "float64"}
LAYOUTS = ("nn", "nt", "tn", "tt")


class Size(NamedTuple):
    """Extents of a product (rows, columns, k) of `batch` pairs of matrices; no batch axis where that is None."""

    rows: int
    columns: int
    k: int
    batch: int | None = None

    def __str__(self) -> str:
        own = (self.rows, self.columns, self.k)
        extents = own[:1] if self.batch is None and len(set(own)) == 1 else own
        return "x".join(map(str, extents if self.batch is None else (self.batch, *extents)))

    @property
    def flops(self) -> int:
        """Additions and multiplications."""
        return 2 * (self.batch or 1) * self.rows * self.columns * self.k


# What float32 products of arrays as they lie must reach against the better peer.
BARS = {
    **dict.fromkeys([Size(64, 64, 64), Size(128, 128, 128), Size(256, 256, 256), Size(128, 10, 128)], 1.10),
    **dict.fromkeys([Size(512, 512, 512), Size(1024, 1024, 1024), Size(2048, 2048, 2048), Size(1024, 512, 784)], 1.03),
    **dict.fromkeys(
        [Size(32, 128, 784), Size(128, 128, 784), Size(1, 128, 784), Size(4096, 16, 64), Size(16, 4096, 64)], 1.15
    ),
    **dict.fromkeys([Size(1023, 1021, 1025), Size(97, 101, 89)], 1.0),
}
BATCHED = {Size(32, 32, 32, batch=64): 1.5, Size(128, 128, 128, batch=8): 1.1}
# What one core must reach of its multiply-add peak.
SHARES = {Size(1024, 1024, 1024): 0.92}


def bar(size: Size, dtype: str, layout: str) -> float:
    """What a product must reach: the tables above, and what may be less."""
    if size.rows == 1 and layout[1] == "t":
        return 0.9  # its bits are those of the same row in a larger product, so it cannot run in lanes
    if dtype == "float64":
        return 0.9 if size.columns < 16 else 1.0
    return {**BARS, **BATCHED}[size] if layout == "nn" else 1.0


def operands(size: Size, dtype: str, layout: str, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Both operands and the array for the result."""
    random = np.random.default_rng(seed)
    batch = () if size.batch is None else (size.batch,)

    def operand(rows: int, columns: int, which: str) -> np.ndarray:
        shape = (columns, rows) if which == "t" else (rows, columns)
        values = random.standard_normal((*batch, *shape), dtype)
        return values.swapaxes(-1, -2) if which == "t" else values

    a, b = operand(size.rows, size.k, layout[0]), operand(size.k, size.columns, layout[1])
    return a, b, np.zeros((*batch, size.rows, size.columns), dtype)


def _work(call: Callable[..., Any], a: Any, b: Any, c: Any) -> Work:
    return Work(run=lambda: call(a, b, out=c), verify=lambda: {"c": np.asarray(call(a, b, out=c))})


def _numpy(function: str, size: Size, dtype: str, layout: str, seed: int) -> Work:
    return _work(getattr(np, function), *operands(size, dtype, layout, seed))


def _torch(size: Size, dtype: str, layout: str, seed: int) -> Work:
    import torch

    call = torch.mm if size.batch is None else torch.bmm
    return _work(call, *map(torch.from_numpy, operands(size, dtype, layout, seed)))


def _fastnn(size: Size, dtype: str, layout: str, seed: int) -> Work:
    from fastnn import ops

    return _work(ops.matmul, *operands(size, dtype, layout, seed))


def case(
    name: str,
    size: Size,
    dtype: str = "float32",
    layout: str = "nn",
    *,
    bar: float | Mapping[str, float] | None = None,
    share: float | None = None,
    function: str = "matmul",
    note: str = "",
) -> Case:
    """Declare a product; `function` is NumPy's, and without torch where it is not ``"matmul"``."""
    given = (size, dtype, layout)
    sides = {
        "fastnn": fastnn_side(partial(_fastnn, *given)),
        "numpy": numpy_side(partial(_numpy, function, *given)),
    }
    if function == "matmul":
        sides["torch"] = torch_side(partial(_torch, *given))
    unit = float(np.finfo(dtype).eps)
    return Case(
        name=name,
        sides=sides,
        bar=bar,
        share=share,
        flops=size.flops,
        dtype=dtype,
        # Elements are sums of k products of unit variance, which any order of additions gives within about k units.
        rtol=100 * unit,
        atol=8 * size.k * unit,
        note=note,
    )


def _products() -> list[Case]:
    found = []
    for (short, dtype), layout, size in product(DTYPES.items(), LAYOUTS, BARS):
        if size.rows == 1 and layout[0] == "t":
            continue  # a single row lies the same either way
        share = SHARES.get(size) if (dtype, layout) == ("float32", "nn") else None
        name = f"matmul-{short}-{layout}-{size}"
        found.append(case(name, size, dtype, layout, bar=bar(size, dtype, layout), share=share))
    for (short, dtype), size in product(DTYPES.items(), BATCHED):
        found.append(case(f"bmm-{short}-nn-{size}", size, dtype, bar=bar(size, dtype, "nn")))
    return found


CASES = [
    *_products(),
    case("call-dot-4", Size(4, 4, 4), bar=3.0, function="dot", note="np.dot with out"),
    case("call-matmul-4", Size(4, 4, 4), bar={"numpy": 5.0, "torch": 6.0}, note="np.matmul, torch.mm with out"),
]
