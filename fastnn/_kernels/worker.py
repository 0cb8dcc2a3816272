"""The helper process that compiles kernels: reads requests from standard input, answers on what was standard output.

Started by `helper` as ``python .../fastnn/_kernels/worker.py FOLDER`` (``python -m fastnn._kernels.worker`` works too).
FOLDER is that of the package ``fastnn``, of which only ``_kernels`` is imported here: neither the runtime nor the ops.
A message is four bytes of length, then JSON; an answer may carry object code after its JSON.

It ends when its standard input does, that is with the process that started it, or after `IDLE_SECONDS` without work.
It ignores SIGINT: Ctrl-C is the user's word to the main process. What kernels or compilers print goes to standard
error, which the main process keeps to explain a crash.
"""

from __future__ import annotations

import json
import os
import signal
import struct
import sys
import threading
import traceback
import types
from typing import IO, Any

IDLE_SECONDS = 60.0
LENGTH = struct.Struct("<I")


def read_exactly(stream: IO[bytes], count: int) -> bytes:
    """Read `count` bytes; EOFError if the stream ends before."""
    data = stream.read(count)
    if len(data) < count:
        raise EOFError
    return data


def read_message(stream: IO[bytes]) -> dict[str, Any]:
    """Read one length-prefixed JSON object; EOFError at the end of the stream."""
    (length,) = LENGTH.unpack(read_exactly(stream, LENGTH.size))
    message: dict[str, Any] = json.loads(read_exactly(stream, length))
    return message


def write_message(stream: IO[bytes], message: dict[str, Any], payload: bytes = b"") -> None:
    """Write one length-prefixed JSON object and the bytes that follow it."""
    text = json.dumps(message).encode()
    stream.write(LENGTH.pack(len(text)) + text + payload)
    stream.flush()


def _import_kernels_only(folder: str) -> None:
    """Stand in for the package ``fastnn``, so that its own ``__init__`` does not run."""
    if "fastnn" not in sys.modules:
        package = types.ModuleType("fastnn")
        package.__path__ = [folder]
        sys.modules["fastnn"] = package


def _channels() -> tuple[IO[bytes], IO[bytes]]:
    """Keep standard input and output for the protocol; reads of others see an empty file, prints go to stderr."""
    requests = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    return requests, answers


def main() -> None:
    """Serve requests until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    requests, answers = _channels()
    _import_kernels_only(sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.dirname(__file__)))
    setup = read_message(requests)
    sys.path[:] = [*sys.path, *(path for path in setup["path"] if path not in sys.path)]
    try:
        from fastnn._kernels import jit

        identity = jit.identity()
        jit.become_compiler()
    except Exception:
        write_message(answers, {"error": traceback.format_exc()})
        return
    write_message(answers, {"identity": identity})
    while True:
        idle = threading.Timer(IDLE_SECONDS, os._exit, (0,))
        idle.daemon = True
        idle.start()
        try:
            request = read_message(requests)
        except EOFError:
            # Numba's and LLVM's orderly end takes tens of milliseconds and serves nobody.
            os._exit(0)
        idle.cancel()
        try:
            code = jit.compile_request(request["name"], request["static"])
        except Exception as error:
            where = "".join(traceback.format_exception(error, limit=-3))
            write_message(answers, {"error": str(error), "trace": where})
        else:
            write_message(answers, {"size": len(code)}, code)


if __name__ == "__main__":
    main()
