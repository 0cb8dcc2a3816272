"""What a comparison declares."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np


class Unavailable(Exception):
    """Raised by a side's setup where its library has no such call (yet): the case is left out, and that is no fault."""


# What a ratio must reach: the same for every number of threads, or for some of them.
Bar = float | Mapping[int, float]


@dataclass
class Work:
    """A side of a comparison, set up and ready to be measured.

    Attributes
    ----------
    run : one call, with all its inputs and outputs allocated before. What calling an empty function costs is taken off
        its time, so a function that calls the library with arguments at hand is as good as the bare call.
    verify : makes the call (or a few) anew from the seed and gives its results by name.
    weigh : where memory is compared: makes its calls and gives the bytes that they needed. It is called once, in a
        process that has done nothing but `setup`.
    """

    run: Callable[[], Any]
    verify: Callable[[], dict[str, np.ndarray]]
    weigh: Callable[[], float] | None = None


@dataclass
class Side:
    """A library in a comparison.

    Attributes
    ----------
    setup : makes the work from a seed; imports what it needs itself, so that other sides need not have it.
    packages : distributions whose versions are recorded.
    set_threads : asks the library for a number of compute threads; returns what the library then says it uses.
    peer_python : run by the interpreter that FASTNN_PEER_PYTHON names, where it is set.
    threads : the number that it always has, whatever is asked of the others; None: as many as they.
    """

    setup: Callable[[int], Work]
    packages: Sequence[str]
    set_threads: Callable[[int], int]
    peer_python: bool = False
    threads: int | None = None


@dataclass
class Case:
    """One comparison: our side's time (or memory) against that of each peer.

    Attributes
    ----------
    name : what the command line and the table call it.
    sides : by name; ``"fastnn"`` is ours.
    bar : what the ratio of the peer's time to ours must reach: a number, or numbers by threads, for every peer; or
        either for single peers by name, where the others are shown beside them. None: nothing is asked.
    share : what our share of the FMA peak must reach on one thread (None: nothing is asked).
    flops : floating-point operations of a call; None where they say nothing.
    dtype : the element type whose FMA peak counts.
    rtol, atol : how far results may differ from our side's.
    quantity : ``"seconds"`` of a call, or ``"bytes"`` that calls need (`Work.weigh`).
    neighbours : processes that keep a CPU busy each while a side is timed.
    threads : the numbers of threads that it says something of; None: all.
    retries : how often it is measured again where its bar is missed. For rows of many cases that ask for a ratio of
        almost 1, among which a disturbed one is to be expected; all ratios are recorded.
    """

    name: str
    sides: dict[str, Side]
    bar: Bar | Mapping[str, Bar] | None = None
    share: float | None = None
    flops: float | None = None
    dtype: str = "float32"
    rtol: float = 1e-4
    atol: float = 1e-5
    note: str = ""
    quantity: Literal["seconds", "bytes"] = "seconds"
    neighbours: int = 0
    threads: Sequence[int] | None = None
    retries: int = 0

    def bar_against(self, peer: str, threads: int = 1) -> float | None:
        """The bar for a peer at a number of threads."""
        bar: Any = self.bar
        if isinstance(bar, Mapping) and any(isinstance(key, str) for key in bar):
            bar = bar.get(peer)
        return bar.get(threads) if isinstance(bar, Mapping) else bar


@dataclass
class StartCase:
    """A start-up time: of a program's start to the line it prints when it is there, less that of another one.

    Attributes
    ----------
    code : Python source; prints one line at the moment that ends the time.
    minus : source of a program whose time is taken off, measured in turn with the first.
    bar : seconds that the median must stay under.
    environment : set for the program; ``"{fresh}"`` becomes an empty folder for each run, ``"{kept}"`` one that all
        runs of the case share after a first run that does not count.
    """

    name: str
    code: str
    bar: float
    minus: str | None = None
    environment: dict[str, str] = field(default_factory=dict)
    note: str = ""
