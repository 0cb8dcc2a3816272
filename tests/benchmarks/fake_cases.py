"""Cases whose sides take a known time, or go wrong in a known way."""

import os
import sys
import threading
import time
from dataclasses import replace
from functools import partial

import numpy as np

from benchmarks.peers.case import Case, Side, Unavailable, Work


def wait(seconds):
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def takes(seconds, value, seed):
    print("what a library prints must not disturb the protocol")
    result = np.random.default_rng(seed).standard_normal(4) + value
    return Work(run=lambda: time.sleep(seconds), verify=lambda: {"result": result})


def raises(seed):
    raise ValueError("no such kernel")


def lacks(seed):
    raise Unavailable("no such function")


def dies(seed):
    print("a last word", file=sys.stderr)
    os._exit(3)


def never_sleeps(seed):
    threading.Thread(target=wait, args=(60,), daemon=True).start()
    return takes(0.001, 0, seed)


def side(setup, threads=None):
    return Side(setup, ("numpy",), lambda asked: asked if threads is None else threads)


def weighs(nbytes, seed):
    return replace(takes(0.001, 0, seed), weigh=lambda: nbytes)


CASES = [
    Case(
        "weights",
        {"fastnn": side(partial(weighs, 2e6)), "twice": side(partial(weighs, 4e6))},
        bar={"twice": {1: 2.0, 2: 2.5}},
        quantity="bytes",
    ),
    Case(
        "pair",
        {"fastnn": side(partial(takes, 0.01, 0)), "alone": replace(side(partial(takes, 0.01, 0)), threads=1)},
        bar=0.1,
        neighbours=1,
    ),
    Case(
        "fake",
        {
            "fastnn": side(partial(takes, 0.02, 0)),
            "twice": side(partial(takes, 0.04, 0)),
            "also": side(partial(takes, 0.005, 0)),
            "wrong": side(partial(takes, 0.01, 1e-3)),
            "threads": side(partial(takes, 0.02, 0), threads=7),
            "raises": side(raises),
            "lacks": side(lacks),
            "dies": side(dies),
            "never-sleeps": side(never_sleeps),
        },
        bar=1.0,
        share=0.9,
        flops=2e6,
    ),
]
