"""Methods of Tensor whose arguments stand in another order than those of the function of the same name."""

from __future__ import annotations

from typing import Any

from fastnn.functions import comparison, gamma


def polygamma(self: Any, n: int) -> Any:
    """The `n`-th derivative of `digamma`."""
    return gamma.polygamma(n, self)


def where(self: Any, condition: Any, other: Any) -> Any:
    """The Tensor's own elements where the condition holds, else those of `other`."""
    return comparison.where(condition, self, other)


__all__ = [
    "polygamma",
    "where",
]
