"""Measure the error of functions of elements over all float32 numbers, in units in the last place.

    ulp.py [--every N] [--jobs N] [--write FILE] [--keep FILE] [FUNCTION ...]

Each function in `fastnn.testing.accuracy.STATED` is evaluated at every float32 (or every N-th bit pattern) and compared
with float64 arithmetic; the largest error and where it is found go into a table. float64 is measured too, over samples
of every exponent, where `numpy.longdouble` is wider, and so are derivatives. Fails if a function errs more than is
stated. With --keep, rows that a file already holds are taken from there, and new ones are added to it: a run that was
stopped goes on.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numba
import numpy as np

import fastnn
from fastnn.testing.accuracy import STATED, STATED_SLOPES, errors, evaluate, samples, slope_errors, truth

BLOCK = 1 << 15  # arguments at a time: their float64 values stay in the second-level cache
PARTS = 64
HEAD = """# Accuracy of functions of elements

Largest errors found, in units in the last place (ULP) of the rounded exact result, subnormal results included, for the
functions' default hyper-parameters. float32: the arguments that the second column names, against our own float64
kernels. float64: samples of every exponent and sign, against the platform's long double. No function may err more than
stated; `make ulp` measures them all and writes this file.

What [matrix products and convolutions](errors.md#stated-errors) may err stands with the other promises.

| function | arguments | float32 | at | stated | float64 | at | stated |
|---|---|---|---|---|---|---|---|
"""
SLOPES = """
Derivatives of activations, over samples of every exponent and sign, in units of epsilon (1.2e-7, 2.2e-16) times the sum
of the magnitudes of their terms: ``P(X <= x)`` and ``x p(x)`` for gelu, the gate and x times its slope for silu and
mish, the derivative itself where there is one term. For gelu's tanh form the unit is ``1 + w`` times that below zero, w
the magnitude of the exponent.

| derivative | float32 | at | float64 | at | stated |
|---|---|---|---|---|---|
"""


@numba.njit(error_model="numpy")  # type: ignore[untyped-decorator]
def worst_of(y: np.ndarray, exact: np.ndarray, rounded: np.ndarray) -> tuple[float, int]:
    """The largest of `fastnn.testing.accuracy.errors` and its place, in one pass over float32 results.

    `rounded` holds the bits of the exact values in float32.
    """
    largest, at = -1.0, 0
    for i in range(len(y)):
        power = max(rounded[i] & 0x7F800000, 0x00800000)
        error = abs(exact[i] - np.float64(y[i])) * 2.0**23 / np.float64(np.uint32(power).view(np.float32))
        if not error <= largest:
            if power == 0x7F800000 or not np.isfinite(y[i]):
                value = np.float32(exact[i])
                error = 0.0 if y[i] == value or (y[i] != y[i] and value != value) else np.inf
            if error > largest:
                largest, at = error, i
    return largest, at


def worst(name: str, x: np.ndarray) -> tuple[float, float]:
    """The largest error of a function over an array, and the argument that has it."""
    y, exact = evaluate(name, x), truth(name, x, own=True)
    if x.dtype == np.float32:
        with np.errstate(over="ignore"):
            largest, at = worst_of(y, exact, exact.astype(np.float32).view(np.uint32))
        return float(largest), float(x[at])
    found = errors(y, exact)
    at = int(found.argmax())
    return float(found[at]), float(x[at])


def stretch(task: tuple[str, int, int, int]) -> tuple[float, float]:
    """As `worst`, over every `step`-th bit pattern from `first` to `last`."""
    name, first, last, step = task
    fastnn.set_num_threads(1)
    result = (0.0, 0.0)
    for start in range(first, last, BLOCK * step):
        stop = min(last, start + BLOCK * step)
        bits = np.arange(start, stop, step, dtype=np.uint32)
        result = max(result, worst(name, bits.view(np.float32)))
    return result


def worst_slope(name: str, dtype: type) -> tuple[float, float]:
    """The largest error of a derivative over samples, and where it is."""
    x = samples(dtype)
    found = slope_errors(name, x)
    at = int(found.argmax())
    return float(found[at]), float(x[at])


def measured(name: str, pool: ProcessPoolExecutor, every: int, wide: bool) -> tuple[str, bool]:
    """A function's row, and whether it keeps to what is stated."""
    part = (1 << 32) // PARTS
    tasks = [(name, k * part + (-k * part) % every, (k + 1) * part, every) for k in range(PARTS)]
    single = max(pool.map(stretch, tasks))
    stated = STATED[name]
    arguments = "all" if every == 1 else f"every {every}th"
    row = f"| {name} | {arguments} | {single[0]:.3f} | {single[1]:.9g} | {stated.float32} |"
    if wide and stated.reference is not None:
        double = worst(name, samples(np.float64, 1_000_000))
        row += f" {double[0]:.3f} | {double[1]:.17g} | {stated.float64} |"
    else:
        double = (0.0, 0.0)
        row += f" | | {stated.float64} |"
    return row, single[0] <= stated.float32 and double[0] <= stated.float64


def measured_slope(name: str, wide: bool) -> tuple[str, bool]:
    """A derivative's row, and whether it keeps to what is stated."""
    bound = STATED_SLOPES[name].bound
    single, double = worst_slope(name, np.float32), worst_slope(name, np.float64) if wide else (0.0, 0.0)
    row = f"| {name} | {single[0]:.2f} | {single[1]:.9g} |"
    row += f" {double[0]:.2f} | {double[1]:.17g} | {bound} |" if wide else f" | | {bound} |"
    return row, single[0] <= bound and double[0] <= bound


def main() -> int:
    """Run the measurement; 1 if a bound does not hold."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("functions", nargs="*", metavar="FUNCTION")
    parser.add_argument("--every", type=int, default=1, help="take every N-th bit pattern (default: all)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: one a CPU)")
    parser.add_argument("--write", type=Path, help="file for the table (Markdown)")
    parser.add_argument("--keep", type=Path, help="file of rows measured before; takes new ones")
    options = parser.parse_args()
    names = options.functions or list(STATED)
    if unknown := [n for n in names if n not in STATED]:
        parser.error(f"no stated accuracy for {', '.join(unknown)}; there are {', '.join(STATED)}")
    kept = options.keep.read_text().splitlines() if options.keep and options.keep.exists() else []
    known = {row.split(" | ")[0].removeprefix("| "): row for row in kept}
    rows, bad = [], []
    wide = bool(np.finfo(np.longdouble).nmant > 60)
    with ProcessPoolExecutor(options.jobs) as pool:
        for name in names:
            if name in known:
                rows.append(known[name])
                continue
            started = time.monotonic()
            row, holds = measured(name, pool, options.every, wide)
            print(f"{row} {time.monotonic() - started:.0f} s", flush=True)
            rows.append(row)
            if not holds:
                bad.append(name)
            elif options.keep:
                with options.keep.open("a") as file:
                    file.write(row + "\n")
    slopes = []
    for name in [n for n in names if n in STATED_SLOPES]:
        row, holds = measured_slope(name, wide)
        print(row, flush=True)
        slopes.append(row)
        if not holds:
            bad.append(f"the derivative of {name}")
    if options.write:
        text = HEAD + "\n".join(rows) + "\n"
        options.write.write_text(text + (SLOPES + "\n".join(slopes) + "\n" if slopes else ""))
    if bad:
        print(f"errs more than stated: {', '.join(bad)}", file=sys.stderr)
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
