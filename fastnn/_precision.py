"""How exact results must be where a faster method rounds more."""

from __future__ import annotations

from types import TracebackType

from fastnn._runtime.dispatch import get_precision_now, set_precision_now

PRECISIONS = ("default", "strict")


class set_precision:
    """Choose how exact convolutions are, for all threads, at once; as a context manager, until its end.

    Calls that were recorded under the other choice are not repeated: recipes and compiled steps belong to one.

    Parameters
    ----------
    name : ``"default"``: every method whose result differs from the exact one by at most 5e-6 of it (2-norm over
        2-norm, float32). ``"strict"``: only methods that err no more than adding up the products one by one, chosen
        without regard to the batch size, so that a sample alone gives the same bits as in its batch.

    Raises
    ------
    ValueError : another name.
    """

    def __init__(self, name: str) -> None:
        if name not in PRECISIONS:
            raise ValueError(f"set_precision: the precision must be one of {', '.join(PRECISIONS)}, got {name!r}")
        self._before = set_precision_now(PRECISIONS.index(name))

    def __enter__(self) -> set_precision:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        set_precision_now(self._before)


def get_precision() -> str:
    """Name of the present precision, ``"default"`` or ``"strict"``."""
    return PRECISIONS[get_precision_now()]
