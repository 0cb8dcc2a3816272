"""``python -m fastnn.sklearn script.py arguments``: a program with fastnn's estimators for scikit-learn's.

``-m module`` runs a module in place of a script.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

from fastnn.sklearn import patch

USAGE = "usage: python -m fastnn.sklearn [-m MODULE | SCRIPT] [ARGUMENT ...]"


def main() -> None:
    """Run the program that the command line names."""
    given = sys.argv[1:]
    module = given[:1] == ["-m"]
    if given[:1] in (["-h"], ["--help"]):
        print(USAGE)
        return
    target, rest = (given[1:2], given[2:]) if module else (given[:1], given[1:])
    if not target or (not module and target[0].startswith("-")):
        sys.exit(USAGE)
    patch()
    if module:
        sys.argv = [target[0], *rest]
        runpy.run_module(target[0], run_name="__main__", alter_sys=True)
        return
    if not Path(target[0]).exists():
        sys.exit(f"python -m fastnn.sklearn: there is no file {target[0]}")
    sys.argv = [target[0], *rest]
    sys.path[0] = str(Path(target[0]).resolve().parent)
    runpy.run_path(target[0], run_name="__main__")


if __name__ == "__main__":
    main()
