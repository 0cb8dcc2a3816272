"""What a row of the elementwise table is."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from fastnn._kernels.vector import Value


class Formula(NamedTuple):
    """One function of elements.

    Attributes
    ----------
    operands : how many there are.
    expression : of the operands (a bool is an integer, 0 or 1), then of the cells' numbers.
    cells : how many float64 cells it takes.
    result : dtype of the result, if it is not that of the operands.
    bools : how many of the operands, the first ones, are bools.
    """

    operands: int
    expression: Callable[..., Value]
    cells: int = 0
    result: str = ""
    bools: int = 0
