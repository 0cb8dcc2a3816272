"""What a comparison declares."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass
class Work:
    """A side of a comparison, set up and ready to be timed.

    Attributes
    ----------
    run : one call, with all its inputs and outputs allocated before.
    verify : makes the call (or a few) anew from the seed and gives its results by name.
    """

    run: Callable[[], Any]
    verify: Callable[[], dict[str, np.ndarray]]


@dataclass
class Side:
    """A library in a comparison.

    Attributes
    ----------
    setup : makes the work from a seed; imports what it needs itself, so that other sides need not have it.
    packages : distributions whose versions are recorded.
    set_threads : asks the library for a number of compute threads; returns what the library then says it uses.
    peer_python : run by the interpreter that FASTNN_PEER_PYTHON names, where it is set.
    """

    setup: Callable[[int], Work]
    packages: Sequence[str]
    set_threads: Callable[[int], int]
    peer_python: bool = False


@dataclass
class Case:
    """One comparison: our side's time against that of each peer.

    Attributes
    ----------
    name : what the command line and the table call it.
    sides : by name; ``"fastnn"`` is ours.
    bar : what the ratio of the peer's time to ours must reach (None: nothing is asked).
    judged : the peers that the bar is for (None: every one); the others are shown beside them.
    flops : floating-point operations of a call; None where they say nothing.
    rtol, atol : how far results may differ from our side's.
    """

    name: str
    sides: dict[str, Side]
    bar: float | None = None
    judged: Sequence[str] | None = None
    flops: float | None = None
    rtol: float = 1e-4
    atol: float = 1e-5
    note: str = ""

    def bar_against(self, peer: str) -> float | None:
        """The bar for a peer."""
        return self.bar if self.judged is None or peer in self.judged else None


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
