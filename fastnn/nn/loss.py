"""Losses as modules."""

from __future__ import annotations

from typing import Any

from fastnn.nn import functional as F
from fastnn.nn.functional.loss import legacy_reduction
from fastnn.nn.module import Module
from fastnn.tensor import Tensor

REDUCTIONS = ("none", "mean", "sum")


class CrossEntropyLoss(Module):
    """Cross-entropy of softmax(input) against class labels; see `fastnn.nn.functional.cross_entropy`."""

    weight: Tensor | None

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        ignore_index: int = -100,
        reduce: bool | None = None,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.ignore_index = ignore_index
        self.reduction = legacy_reduction(reduction, size_average, reduce)
        if self.reduction not in REDUCTIONS:
            raise ValueError(f"CrossEntropyLoss: reduction must be one of {', '.join(REDUCTIONS)}, got {reduction!r}")
        self.label_smoothing = label_smoothing

    def forward(self, input: Tensor, target: Any) -> Tensor:
        """The loss of logits (N, C) and labels (N)."""
        return F.cross_entropy(
            input,
            target,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )


__all__ = ["CrossEntropyLoss"]
