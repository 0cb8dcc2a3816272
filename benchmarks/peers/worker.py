"""One side of a comparison, in a process of its own. Started by the harness as a script.

Commands come as one JSON object a line on the standard input; each is answered by one on the standard output. Whatever
libraries print goes to the standard error.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

_EMPTY_CALLS = 2000


def _nothing() -> None:
    pass


def _seconds(run: Callable[[], Any], calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        run()
    return time.perf_counter() - start


class Worker:
    """Holds the side's work between commands."""

    def setup(self, module: str, case: str, side: str, threads: int, seed: int) -> dict[str, Any]:
        """Make the work; says which versions and how many threads it has."""
        path = Path(module)
        if path.suffix == ".py":
            spec = importlib.util.spec_from_file_location(path.stem, path)
            assert spec is not None
            assert spec.loader is not None
            loaded = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(loaded)
        else:
            loaded = importlib.import_module(module)
        chosen = next(c for c in loaded.CASES if c.name == case).sides[side]
        self.threads = chosen.set_threads(threads)
        self.work = chosen.setup(seed)
        return {
            "threads": self.threads,
            "versions": {name: importlib.metadata.version(name) for name in chosen.packages},
            "python": sys.version.split()[0],
        }

    def verify(self, path: str) -> dict[str, Any]:
        """Write the results of the call to a file."""
        import numpy as np

        np.savez(path, **self.work.verify())
        return {"pools": self._pools()}

    def weigh(self) -> dict[str, Any]:
        """Make the calls whose memory is compared; says how many bytes they needed."""
        return {"bytes": self.work.weigh()}

    def warm_up(self, seconds: float) -> dict[str, Any]:
        """Call for some time; says how long a call takes."""
        run, calls = self.work.run, 0
        start = now = time.perf_counter()
        while now - start < seconds:
            run()
            calls += 1
            now = time.perf_counter()
        return {"seconds": (now - start) / max(calls, 1)}

    def block(self, calls: int, warm_up: float) -> dict[str, Any]:
        """Warm up, then time a number of calls; what as many calls of an empty function take is taken off."""
        self.warm_up(warm_up)
        empty = min(_seconds(_nothing, _EMPTY_CALLS) for _ in range(5)) / _EMPTY_CALLS * calls
        busy = time.process_time()
        wall = _seconds(self.work.run, calls)
        busy = time.process_time() - busy
        return {"seconds": max(wall - empty, 1e-3 * wall), "wall": wall, "busy": busy}

    def _pools(self) -> list[dict[str, Any]]:
        """Which BLAS and OpenMP libraries are loaded, their threads, and the kernels that OpenBLAS chose."""
        try:
            from threadpoolctl import threadpool_info
        except ImportError:
            return []
        kept = ("user_api", "internal_api", "num_threads", "version", "architecture", "threading_layer")
        return [{k: pool[k] for k in kept if pool.get(k) is not None} for pool in threadpool_info()]


def main() -> None:
    """Answer commands until the input ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    # At the end, so that an installed fastnn comes before the unbuilt one of the checkout.
    sys.path.append(str(Path(__file__).parents[2]))
    from benchmarks.peers.case import Unavailable

    worker = Worker()
    for line in sys.stdin:
        command = json.loads(line)
        try:
            answer = getattr(worker, command.pop("do"))(**command)
        except Unavailable as error:
            answer = {"unavailable": str(error)}
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            answer = {"error": f"{type(error).__name__}: {error}", "where": f"{where.filename}:{where.lineno}"}
        answers.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
