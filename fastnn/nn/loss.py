"""Losses as modules, with torch's arguments; the functions of `fastnn.nn.functional` say what they compute."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from fastnn.nn import functional as F
from fastnn.nn.distance import PairwiseDistance
from fastnn.nn.functional.loss import legacy_reduction
from fastnn.nn.module import Module
from fastnn.tensor import Tensor


class Loss(Module):
    """A loss with its options, which are attributes and the function's keyword arguments of the same names."""

    _function: ClassVar[Callable[..., Tensor]]
    _options: ClassVar[tuple[str, ...]] = ()
    _reductions: ClassVar[tuple[str, ...]] = ("none", "mean", "sum")
    weight: Tensor | None
    pos_weight: Tensor | None

    def __init__(self, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean") -> None:
        super().__init__()
        self.reduction = legacy_reduction(reduction, size_average, reduce)
        if self.reduction not in self._reductions:
            raise ValueError(
                f"{type(self).__name__}: reduction must be one of {', '.join(self._reductions)}, got {reduction!r}"
            )

    def forward(self, *inputs: Any) -> Tensor:
        """The loss of the function's first arguments."""
        options = {name: getattr(self, name) for name in self._options}
        return type(self)._function(*inputs, reduction=self.reduction, **options)


# -- classes and probabilities


class CrossEntropyLoss(Loss):
    """Cross-entropy of softmax(input) against class labels, or probabilities of classes."""

    _function = F.cross_entropy
    _options = ("weight", "ignore_index", "label_smoothing")

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        ignore_index: int = -100,
        reduce: bool | None = None,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.register_buffer("weight", weight)
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing

    def forward(self, input: Any, target: Any) -> Tensor:
        """The loss of logits (N, C) and labels (N)."""
        return F.cross_entropy(
            input, target, self.weight, None, self.ignore_index, None, self.reduction, self.label_smoothing
        )


class NLLLoss(Loss):
    """Negative log likelihood of class labels, from log-probabilities."""

    _function = F.nll_loss
    _options = ("weight", "ignore_index")

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        ignore_index: int = -100,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.register_buffer("weight", weight)
        self.ignore_index = ignore_index


class BCELoss(Loss):
    """Binary cross-entropy of probabilities."""

    _function = F.binary_cross_entropy
    _options = ("weight",)

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.register_buffer("weight", weight)


class BCEWithLogitsLoss(Loss):
    """Binary cross-entropy of ``sigmoid(input)``."""

    _function = F.binary_cross_entropy_with_logits
    _options = ("weight", "pos_weight")

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        pos_weight: Tensor | None = None,
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.register_buffer("weight", weight)
        self.register_buffer("pos_weight", pos_weight)


class KLDivLoss(Loss):
    """Kullback-Leibler divergence of the target from the input, logarithms of probabilities."""

    _function = F.kl_div
    _options = ("log_target",)
    _reductions = ("none", "mean", "batchmean", "sum")

    def __init__(
        self,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        log_target: bool = False,
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.log_target = log_target


class MultiLabelSoftMarginLoss(BCELoss):
    """Binary cross-entropy of ``sigmoid(input)``, its mean over the classes."""

    _function = F.multilabel_soft_margin_loss


# -- numbers


class MSELoss(Loss):
    """``(input - target)**2``."""

    _function = F.mse_loss


class L1Loss(Loss):
    """``abs(input - target)``."""

    _function = F.l1_loss


class SmoothL1Loss(Loss):
    """`MSELoss` over ``2 beta`` where input and target are closer than `beta`, `L1Loss` elsewhere."""

    _function = F.smooth_l1_loss
    _options = ("beta",)

    def __init__(
        self,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        beta: float = 1.0,
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.beta = beta


class HuberLoss(Loss):
    """Half of `MSELoss` where input and target are closer than `delta`, `delta` times `L1Loss` elsewhere."""

    _function = F.huber_loss
    _options = ("delta",)

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction=reduction)
        self.delta = delta


class PoissonNLLLoss(Loss):
    """Negative log likelihood of counts of a Poisson distribution."""

    _function = F.poisson_nll_loss
    _options = ("log_input", "full", "eps")

    def __init__(
        self,
        log_input: bool = True,
        full: bool = False,
        size_average: bool | None = None,
        eps: float = 1e-8,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.log_input = log_input
        self.full = full
        self.eps = eps


class GaussianNLLLoss(Loss):
    """Negative log likelihood of normal distributions, of input, target and variance."""

    _function = F.gaussian_nll_loss
    _options = ("full", "eps")

    def __init__(self, *, full: bool = False, eps: float = 1e-6, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.full = full
        self.eps = eps


# -- margins


class _WithMargin(Loss):
    """A loss whose only option is a margin."""

    _options = ("margin",)

    def __init__(
        self,
        margin: float = 0.0,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.margin = margin


class MarginRankingLoss(_WithMargin):
    """``max(margin - target * (input1 - input2), 0)``."""

    _function = F.margin_ranking_loss


class CosineEmbeddingLoss(_WithMargin):
    """One less the cosine of two vectors where the target is 1, ``max(cosine - margin, 0)`` where it is -1."""

    _function = F.cosine_embedding_loss


class HingeEmbeddingLoss(_WithMargin):
    """The input where the target is 1, ``max(margin - input, 0)`` where it is -1."""

    _function = F.hinge_embedding_loss

    def __init__(
        self,
        margin: float = 1.0,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(margin, size_average, reduce, reduction)


class SoftMarginLoss(Loss):
    """``log(1 + exp(-target * input))``."""

    _function = F.soft_margin_loss


class MultiLabelMarginLoss(Loss):
    """How far each right class does not lie above each wrong one by 1."""

    _function = F.multilabel_margin_loss


class MultiMarginLoss(Loss):
    """How far the right class does not lie above each wrong one by `margin`, to the power of p."""

    _function = F.multi_margin_loss
    _options = ("p", "margin", "weight")

    def __init__(
        self,
        p: int = 1,
        margin: float = 1.0,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        if p not in (1, 2):
            raise ValueError(f"MultiMarginLoss: p must be 1 or 2, got {p}")
        if weight is not None and weight.ndim != 1:
            raise ValueError(f"MultiMarginLoss: weight must have 1 axis, got {weight.shape}")
        self.register_buffer("weight", weight)
        self.p = p
        self.margin = margin


class TripletMarginLoss(Loss):
    """How far the negative does not lie farther from the anchor than the positive by `margin`."""

    _function = F.triplet_margin_loss
    _options = ("margin", "p", "eps", "swap")

    def __init__(
        self,
        margin: float = 1.0,
        p: float = 2.0,
        eps: float = 1e-6,
        swap: bool = False,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        if margin <= 0:
            raise ValueError(f"TripletMarginLoss: margin must be above 0, got {margin}")
        self.margin = margin
        self.p = p
        self.eps = eps
        self.swap = swap


class TripletMarginWithDistanceLoss(Loss):
    """As `TripletMarginLoss`, with any distance: a function of two Tensors."""

    _function = F.triplet_margin_with_distance_loss
    _options = ("distance_function", "margin", "swap")

    def __init__(
        self,
        *,
        distance_function: Callable[[Any, Any], Any] | None = None,
        margin: float = 1.0,
        swap: bool = False,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction=reduction)
        if margin <= 0:
            raise ValueError(f"TripletMarginWithDistanceLoss: margin must be above 0, got {margin}")
        self.distance_function = PairwiseDistance() if distance_function is None else distance_function
        self.margin = margin
        self.swap = swap


__all__ = [
    "BCELoss",
    "BCEWithLogitsLoss",
    "CosineEmbeddingLoss",
    "CrossEntropyLoss",
    "GaussianNLLLoss",
    "HingeEmbeddingLoss",
    "HuberLoss",
    "KLDivLoss",
    "L1Loss",
    "MSELoss",
    "MarginRankingLoss",
    "MultiLabelMarginLoss",
    "MultiLabelSoftMarginLoss",
    "MultiMarginLoss",
    "NLLLoss",
    "PoissonNLLLoss",
    "SmoothL1Loss",
    "SoftMarginLoss",
    "TripletMarginLoss",
    "TripletMarginWithDistanceLoss",
]
