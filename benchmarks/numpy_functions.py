"""NumPy's functions against fastnn.numpy's: ``python -m benchmarks.numpy_functions [name ...] --threads 1,2``.

Both run in this process by turns, with the same arrays and the same number of threads. A ratio is NumPy's time over
ours, each in its best block: other work on the machine only ever makes a block longer. With ``--open`` every size goes
to fastnn's kernels, which shows from which size on that pays. ``--markdown`` prints the tables of docs/numpy.md.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy
from threadpoolctl import threadpool_limits

import fastnn
import fastnn.numpy
from fastnn._runtime.gate import FUNCTION, INNER, PRODUCT
from fastnn.numpy._table import TABLE, WITHOUT_END, Row, gate

SIZES = (16, 128, 1024, 1 << 13, 1 << 16, 1 << 20)
PRODUCTS = ("einsum", "tensordot")
EXTENTS = (4, 16, 64, 128, 256, 512)
ROUNDS = 15
BLOCK_SECONDS = 1e-3


def arguments_of(name: str, row: Row, size: int, dtype: str) -> tuple[Any, ...]:
    """Arrays for a call of a function; `size` is of elements, or the extent of square matrices."""
    numbers = numpy.random.default_rng(0)
    if row.kind in (PRODUCT, INNER):
        return tuple(numbers.standard_normal((size, size)).astype(dtype) for _ in range(2))
    if row.kind == FUNCTION and name in PRODUCTS:
        matrices = tuple(numbers.standard_normal((size, size)).astype(dtype) for _ in range(2))
        return ("ij,jk->ik", *matrices) if name == "einsum" else (*matrices, 1)
    low = 1.1 if name == "arccosh" else 0.1
    arrays = tuple(numbers.uniform(low, low + 0.8, size).astype(dtype) for _ in range(row.arity))
    return (*arrays, 0.3, 0.6) if name == "clip" else arrays


def ratio(ours: Callable[[], Any], theirs: Callable[[], Any]) -> tuple[float, float, float]:
    """Seconds a call of ours and of theirs in the best of some blocks, and theirs over ours."""
    ours()
    theirs()
    counts = [max(1, round(BLOCK_SECONDS / max(seconds(call, 3), 1e-8))) for call in (ours, theirs)]
    pairs = [(seconds(ours, counts[0]), seconds(theirs, counts[1])) for _ in range(ROUNDS)]
    best = [min(side) for side in zip(*pairs, strict=True)]
    return best[0], best[1], best[1] / best[0]


def seconds(call: Callable[[], Any], count: int) -> float:
    """Seconds a call."""
    began = time.perf_counter()
    for _ in range(count):
        call()
    return (time.perf_counter() - began) / count


def measure(name: str, row: Row, dtype: str, threads: int, opened: bool) -> list[dict[str, Any]]:
    """All sizes of one function."""
    function = getattr(fastnn.numpy, name)
    if opened:
        function = gate(name, replace(row, least=(1, 1), most=(WITHOUT_END, WITHOUT_END), freely=1))
    found = []
    for size in EXTENTS if row.kind in (PRODUCT, INNER) or name in PRODUCTS else SIZES:
        given = arguments_of(name, row, size, dtype)
        original = getattr(numpy, name)
        ours, theirs, gain = ratio(lambda: function(*given), lambda: original(*given))  # noqa: B023
        found.append(
            {
                "name": name,
                "dtype": dtype,
                "threads": threads,
                "size": size,
                "ours": ours,
                "numpy": theirs,
                "gain": gain,
            }
        )
    return found


def markdown(results: list[dict[str, Any]]) -> None:
    """A row a function: the gain at each size, float32 / float64."""
    names = list(dict.fromkeys(result["name"] for result in results))
    for threads in dict.fromkeys(result["threads"] for result in results):
        for sizes in (SIZES, EXTENTS):
            chosen = {
                (r["name"], r["size"], r["dtype"]): r["gain"]
                for r in results
                if r["threads"] == threads and r["size"] in sizes
            }
            shown = [n for n in names if all((n, size, "float64") in chosen for size in sizes)]
            if not shown:
                continue
            print(f"\n| {threads} thread{'s' * (threads > 1)} | " + " | ".join(f"{size:,}" for size in sizes) + " |")
            print("|---" * (len(sizes) + 1) + "|")
            for name in shown:
                cells = [
                    " / ".join(
                        f"{chosen[name, size, d]:.1f}" for d in ("float32", "float64") if (name, size, d) in chosen
                    )
                    for size in sizes
                ]
                print(f"| `{name}` | " + " | ".join(cells) + " |")


def main() -> None:
    """Measure and show."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.numpy_functions", description=__doc__)
    parser.add_argument("name", nargs="*", help="functions or patterns (default: all)")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--dtype", default="float32,float64")
    parser.add_argument("--open", action="store_true", help="let every size go to fastnn's kernels")
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    known = [name for name in TABLE if name in fastnn.numpy.accelerated and name not in ("amax", "amin")]
    names = [n for n in known if not chosen.name or any(fnmatchcase(n, pattern) for pattern in chosen.name)]
    results = []
    for threads in map(int, chosen.threads.split(",")):
        fastnn.set_num_threads(threads)
        with threadpool_limits(threads, user_api="blas"):
            for name in names:
                for dtype in chosen.dtype.split(","):
                    found = measure(name, TABLE[name], dtype, threads, chosen.open)
                    results += found
                    if not chosen.markdown:
                        gains = "  ".join(f"{r['size']}: {r['gain']:.2f} ({r['numpy'] * 1e6:.1f})" for r in found)
                        print(f"{threads} {name:14s} {dtype}  {gains}", flush=True)
    if chosen.markdown:
        markdown(results)
    if chosen.json is not None:
        chosen.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
