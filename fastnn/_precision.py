"""How exact results must be where a faster method rounds more."""

from __future__ import annotations

from fastnn._runtime.dispatch import get_precision_now, set_precision_now
from fastnn._setting import Setting

PRECISIONS = ("default", "strict")


class set_precision(Setting):
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

    what, names, choose = "precision", PRECISIONS, set_precision_now


def get_precision() -> str:
    """Name of the present precision, ``"default"`` or ``"strict"``."""
    return PRECISIONS[get_precision_now()]
