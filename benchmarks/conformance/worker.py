"""Checks names for another process: a request a line on standard input, answers a line on standard output."""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
import warnings
from pathlib import Path
from typing import Any


def main(which: str) -> None:
    """Answer requests until the input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not come between the answers

    def say(**words: Any) -> None:
        answers.write(json.dumps(words) + "\n")
        answers.flush()

    warnings.simplefilter("ignore")
    import torch

    torch.set_num_threads(1)
    from benchmarks.conformance.options import Options
    from benchmarks.conformance.outcome import Outcome

    table = importlib.import_module(f"benchmarks.conformance.{which}")
    known = table.table()
    say(names=list(known))
    for line in sys.stdin:
        request = json.loads(line)
        options = Options(**request["options"])
        try:
            outcome = table.check(known[request["name"]], options, lambda what: say(at=what))
        except Exception as error:  # in the table's own functions, or a mistake here: the other names go on
            outcome = Outcome(request["name"])
            outcome.failures.append(f"not checked: {type(error).__name__}: {error}")
            outcome.notes.append(traceback.format_exc())
        say(done=outcome.record())


if __name__ == "__main__":
    # Last in the path: the checkout's own fastnn may not be built.
    sys.path.append(str(Path(__file__).parents[2]))
    main(sys.argv[1])
