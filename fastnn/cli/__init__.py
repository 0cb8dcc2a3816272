"""The ``fastnn`` command."""

from __future__ import annotations

import importlib.util
import sys


def main() -> None:
    """Run the command line and exit with its status: 0, 1 (failed), 2 (bad arguments) or 130 (interrupted)."""
    missing = [name for name in ("typer", "rich") if importlib.util.find_spec(name) is None]
    if missing:
        print(f"fastnn: {' and '.join(missing)} missing; run: pip install 'fastnn-cpu[all]'", file=sys.stderr)
        sys.exit(1)
    try:
        from fastnn.cli.app import run

        status = run(sys.argv[1:])
    except KeyboardInterrupt:  # while importing; what comes later is told by the command
        print("fastnn: interrupted", file=sys.stderr)
        status = 130
    sys.exit(status)
