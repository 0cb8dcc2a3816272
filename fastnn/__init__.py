"""Neural networks at the speed of the CPU.

fastnn trains and runs neural networks on multicore CPUs, from NumPy. See README.md for the four ways in.
"""

try:
    from fastnn._runtime import _fastnn_team  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "fastnn._runtime._fastnn_team":
        raise
    raise ImportError(
        f"fastnn in {__path__[0]} is the unbuilt source tree: its compiled runtime is missing. Build and install it "
        "with `make install` (then use .venv/bin/python, outside this folder) or with `pip install .`"
    ) from None

__version__ = "0.1.0"
