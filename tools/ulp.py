"""Measure the error of functions of elements over all float32 numbers, in units in the last place.

    ulp.py [--every N] [--jobs N] [--write FILE] [FUNCTION ...]

Each function in `fastnn.testing.accuracy.STATED` is evaluated at every float32 (or every N-th bit pattern) and compared
with float64 arithmetic; the largest error and where it is found go into a table. float64 is measured too, over samples
of every exponent, where `numpy.longdouble` is wider. Fails if a function errs more than is stated.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

import fastnn
from fastnn import ops
from fastnn.testing.accuracy import STATED, errors, samples, truth

BLOCK = 1 << 20
HEAD = """# Accuracy of functions of elements

Largest errors found, in units in the last place (ULP) of the rounded exact result, subnormal results included. float32:
{coverage}, against float64 arithmetic. float64: samples of every exponent and sign, against the
platform's long double. No function may err more than stated; `make ulp` measures them all and writes this table.

| function | float32 | at | stated | float64 | at | stated |
|---|---|---|---|---|---|---|
"""


def worst(name: str, x: np.ndarray) -> tuple[float, float]:
    """The largest error of a function over an array, and the argument that has it."""
    found = errors(getattr(ops, name)(x), truth(name, x))
    at = int(found.argmax())
    return float(found[at]), float(x[at])


def stretch(task: tuple[str, int, int, int]) -> tuple[float, float]:
    """As `worst`, over every `step`-th bit pattern from `first` to `last`."""
    name, first, last, step = task
    fastnn.set_num_threads(1)
    result = (0.0, 0.0)
    for start in range(first, last, BLOCK * step):
        stop = min(last, start + BLOCK * step)
        bits = np.arange(start, stop, step, dtype=np.uint64).astype(np.uint32)
        result = max(result, worst(name, bits.view(np.float32)))
    return result


def main() -> int:
    """Run the measurement; 1 if a bound does not hold."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("functions", nargs="*", metavar="FUNCTION")
    parser.add_argument("--every", type=int, default=1, help="take every N-th bit pattern (default: all)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: one a CPU)")
    parser.add_argument("--write", type=Path, help="file for the table (Markdown)")
    options = parser.parse_args()
    names = options.functions or list(STATED)
    if unknown := [n for n in names if n not in STATED]:
        parser.error(f"no stated accuracy for {', '.join(unknown)}; there are {', '.join(STATED)}")
    rows, bad = [], []
    wide = np.finfo(np.longdouble).nmant > 60
    part = (1 << 32) // 64
    with ProcessPoolExecutor(options.jobs) as pool:
        for name in names:
            started = time.monotonic()
            tasks = [(name, k * part + (-k * part) % options.every, (k + 1) * part, options.every) for k in range(64)]
            single = max(pool.map(stretch, tasks))
            stated = STATED[name]
            row = f"| {name} | {single[0]:.3f} | {single[1]:.9g} | {stated.float32} |"
            if wide and stated.reference is not None:
                double = worst(name, samples(np.float64, 1_000_000))
                row += f" {double[0]:.3f} | {double[1]:.17g} | {stated.float64} |"
            else:
                double = (0.0, 0.0)
                row += f" | | {stated.float64} |"
            print(f"{row} {time.monotonic() - started:.0f} s", flush=True)
            rows.append(row)
            if single[0] > stated.float32 or double[0] > stated.float64:
                bad.append(name)
    if options.write:
        coverage = "all 2**32 arguments" if options.every == 1 else f"every {options.every}th of the 2**32 arguments"
        options.write.write_text(HEAD.format(coverage=coverage) + "\n".join(rows) + "\n")
    if bad:
        print(f"errs more than stated: {', '.join(bad)}", file=sys.stderr)
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
