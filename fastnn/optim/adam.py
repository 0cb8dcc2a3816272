"""Adam and what descends from it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np

from fastnn.ops import update
from fastnn.optim.checks import check_betas, check_foreach, check_implementation, check_range
from fastnn.optim.optimizer import Group, Optimizer


class _Moments(Optimizer):
    """What Adam and its descendants share: betas, eps, decoupled weight decay, a count of steps."""

    _scalars: ClassVar[tuple[str, ...]] = ("step",)

    def _check(self, lr: Any, betas: Any, eps: float, weight_decay: float) -> tuple[float, float]:
        name = type(self).__name__
        check_range(f"{name}: lr", lr, 0)
        check_range(f"{name}: eps", eps, 0)
        check_range(f"{name}: weight_decay", weight_decay, 0)
        return check_betas(name, betas)

    @staticmethod
    def _shared(group: Group) -> tuple[tuple[int, int], tuple[float, float, float, float, float]]:
        """The flags, and the cells that all have."""
        beta1, beta2 = group["betas"]
        cells = (float(group["lr"]), float(beta1), float(beta2), float(group["eps"]), float(group["weight_decay"]))
        return (int(group["maximize"]), int(group["decoupled_weight_decay"])), cells


class Adam(_Moments):
    """Adam (Kingma and Ba, 2015, arXiv:1412.6980), AMSGrad (Reddi, Kale and Kumar, 2018) with `amsgrad`.

    ``m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g²;``
    ``p -= lr / (1 - beta1^t) * m / (sqrt(v / (1 - beta2^t)) + eps)``

    Parameters
    ----------
    params : Tensors, (name, Tensor) pairs, or dicts of ``params`` and hyper-parameters.
    lr, betas, eps, weight_decay, amsgrad, maximize : as torch's. `weight_decay` is added to the gradient, or with
        `decoupled_weight_decay` shrinks the parameter (AdamW; Loshchilov and Hutter, 2019).
    foreach, capturable, differentiable, fused : accepted and ignored; the update is always fused.
    """

    rule = update.adam

    def __init__(
        self, params: Iterable[Any], lr: Any = 1e-3, betas: tuple[Any, Any] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 0, amsgrad: bool = False, *, foreach: bool | None = None, maximize: bool = False,
        capturable: bool = False, differentiable: bool = False, fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:  # fmt: skip
        numbers = self._check(lr, betas, eps, weight_decay)
        name = type(self).__name__
        check_foreach(name, foreach, capturable, lr=lr, betas=betas[0])
        check_implementation(name, foreach, fused, differentiable)
        super().__init__(
            params,
            {
                "lr": lr, "betas": numbers, "eps": eps, "weight_decay": weight_decay, "amsgrad": amsgrad,
                "maximize": maximize, "foreach": foreach, "capturable": capturable, "differentiable": differentiable,
                "fused": fused, "decoupled_weight_decay": decoupled_weight_decay,
            },
        )  # fmt: skip

    def _static(self, group: Group) -> dict[str, Any]:
        return {"amsgrad": bool(group["amsgrad"])}

    def _numbers(self, group: Group, fresh: bool, *scalars: float) -> Any:
        count = scalars[0] + 1
        flags, cells = self._shared(group)
        return flags, (*cells, 1 - cells[1] ** count, 1 - cells[2] ** count), (count,)


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019, arXiv:1711.05101); see `Adam`."""

    def __init__(
        self, params: Iterable[Any], lr: Any = 1e-3, betas: tuple[Any, Any] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 1e-2, amsgrad: bool = False, *, maximize: bool = False, foreach: bool | None = None,
        capturable: bool = False, differentiable: bool = False, fused: bool | None = None,
    ) -> None:  # fmt: skip
        super().__init__(
            params, lr, betas, eps, weight_decay, amsgrad, foreach=foreach, maximize=maximize, capturable=capturable,
            differentiable=differentiable, fused=fused, decoupled_weight_decay=True,
        )  # fmt: skip


class NAdam(_Moments):
    """Adam with Nesterov momentum (Dozat, 2016).

    The momentum grows with the steps: ``mu_t = beta1 (1 - 0.96^(t momentum_decay) / 2)``.

    Parameters
    ----------
    params, lr, betas, eps, weight_decay, momentum_decay, decoupled_weight_decay, maximize : as torch's.
    foreach, capturable, differentiable : accepted and ignored.
    """

    rule = update.nadam
    _scalars = ("step", "mu_product")
    _begins = {"mu_product": 1.0}  # noqa: RUF012 - declared in the base

    def __init__(
        self, params: Iterable[Any], lr: Any = 2e-3, betas: tuple[Any, Any] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 0, momentum_decay: float = 4e-3, decoupled_weight_decay: bool = False, *,
        foreach: bool | None = None, maximize: bool = False, capturable: bool = False, differentiable: bool = False,
    ) -> None:  # fmt: skip
        numbers = self._check(lr, betas, eps, weight_decay)
        check_range("NAdam: momentum_decay", momentum_decay, 0)
        super().__init__(
            params,
            {
                "lr": lr, "betas": numbers, "eps": eps, "weight_decay": weight_decay, "momentum_decay": momentum_decay,
                "decoupled_weight_decay": decoupled_weight_decay, "maximize": maximize, "foreach": foreach,
                "capturable": capturable, "differentiable": differentiable,
            },
        )  # fmt: skip

    def _numbers(self, group: Group, fresh: bool, *scalars: float) -> Any:
        count, product = scalars
        count += 1
        flags, cells = self._shared(group)
        _, beta1, beta2, *_ = cells
        decay = float(group["momentum_decay"])
        now, following = (beta1 * (1 - 0.5 * 0.96 ** (t * decay)) for t in (count, count + 1))
        # the product is kept in float32, so that is what the step is made with
        product = float(np.float32(product) * np.float32(now))
        return flags, (*cells, 1 - beta2**count, now, following, product), (count, product)


class RAdam(_Moments):
    """Rectified Adam (Liu et al., 2020, arXiv:1908.03265).

    Parameters
    ----------
    params, lr, betas, eps, weight_decay, decoupled_weight_decay, maximize : as torch's.
    foreach, capturable, differentiable : accepted and ignored.
    """

    rule = update.radam

    def __init__(
        self, params: Iterable[Any], lr: Any = 1e-3, betas: tuple[Any, Any] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 0, decoupled_weight_decay: bool = False, *, foreach: bool | None = None,
        maximize: bool = False, capturable: bool = False, differentiable: bool = False,
    ) -> None:  # fmt: skip
        numbers = self._check(lr, betas, eps, weight_decay)
        super().__init__(
            params,
            {
                "lr": lr, "betas": numbers, "eps": eps, "weight_decay": weight_decay, "maximize": maximize,
                "foreach": foreach, "capturable": capturable, "decoupled_weight_decay": decoupled_weight_decay,
                "differentiable": differentiable,
            },
        )  # fmt: skip

    def _numbers(self, group: Group, fresh: bool, *scalars: float) -> Any:
        count = scalars[0] + 1
        flags, cells = self._shared(group)
        _, beta1, beta2, *_ = cells
        correction2 = 1 - beta2**count
        longest = 2 / (1 - beta2) - 1
        length = longest - 2 * count * beta2**count / correction2
        rectification = 0.0
        if length > 5:
            rectification = math.sqrt((length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length))
        return flags, (*cells, 1 - beta1**count, correction2, rectification), (count,)


class Adamax(_Moments):
    """Adam with the infinity norm (Kingma and Ba, 2015, section 7.1).

    Parameters
    ----------
    params, lr, betas, eps, weight_decay, maximize : as torch's.
    foreach, capturable, differentiable : accepted and ignored.
    """

    rule = update.adamax

    def __init__(
        self, params: Iterable[Any], lr: Any = 2e-3, betas: tuple[Any, Any] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 0, foreach: bool | None = None, *, maximize: bool = False, differentiable: bool = False,
        capturable: bool = False,
    ) -> None:  # fmt: skip
        numbers = self._check(lr, betas, eps, weight_decay)
        super().__init__(
            params,
            {
                "lr": lr, "betas": numbers, "eps": eps, "weight_decay": weight_decay, "maximize": maximize,
                "foreach": foreach, "capturable": capturable, "differentiable": differentiable,
            },
        )  # fmt: skip

    def _numbers(self, group: Group, fresh: bool, *scalars: float) -> Any:
        count = scalars[0] + 1
        beta1, beta2 = (float(beta) for beta in group["betas"])
        cells = (
            float(group["lr"]),
            beta1,
            beta2,
            float(group["eps"]),
            float(group["weight_decay"]),
            1 - beta1**count,
        )
        return (int(group["maximize"]),), cells, (count,)


__all__ = ["Adam", "AdamW", "Adamax", "NAdam", "RAdam"]
