"""Stochastic gradient descent, and its averaged form."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fastnn.ops import update
from fastnn.optim.checks import check_implementation, check_range
from fastnn.optim.optimizer import Group, Optimizer


class SGD(Optimizer):
    """``p -= lr * v`` with ``v = momentum * v + (1 - dampening) * g`` (Nesterov: ``g + momentum * v``).

    Parameters
    ----------
    params : Tensors, (name, Tensor) pairs, or dicts of ``params`` and hyper-parameters.
    lr : learning rate, a number or a Tensor of one. momentum, dampening, weight_decay, nesterov, maximize : as torch's.
    foreach, differentiable, fused : accepted and ignored; the update is always fused.
    """

    rule = update.sgd

    def __init__(
        self, params: Iterable[Any], lr: Any = 1e-3, momentum: float = 0, dampening: float = 0,
        weight_decay: float = 0, nesterov: bool = False, *, maximize: bool = False, foreach: bool | None = None,
        differentiable: bool = False, fused: bool | None = None,
    ) -> None:  # fmt: skip
        check_range("SGD: lr", lr, 0)
        check_range("SGD: momentum", momentum, 0)
        check_range("SGD: weight_decay", weight_decay, 0)
        check_implementation("SGD", foreach, fused, differentiable)
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("SGD: nesterov needs a momentum above 0 and no dampening")
        super().__init__(
            params,
            {
                "lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay,
                "nesterov": nesterov, "maximize": maximize, "foreach": foreach, "differentiable": differentiable,
                "fused": fused,
            },
        )  # fmt: skip

    def _static(self, group: Group) -> dict[str, Any]:
        momentum = group["momentum"] != 0
        return {"momentum": momentum, "nesterov": momentum and bool(group["nesterov"])}

    def _numbers(self, group: Group, fresh: bool, *scalars: float) -> Any:
        # at its first step a parameter's momentum is its gradient, undampened
        cells = (
            float(group["lr"]),
            float(group["momentum"]),
            float(group["dampening"]),
            float(group["weight_decay"]),
            float(not fresh),
        )
        return (int(group["maximize"]),), cells, ()


class ASGD(Optimizer):
    """Averaged SGD (Polyak and Juditsky, 1992): SGD with a rate that falls, and in the state the average ``ax``.

    ``p -= eta * g + lambd * eta * p`` with ``eta = lr / (1 + lambd * lr * t)^alpha``; from step `t0` on the average is
    taken.

    Parameters
    ----------
    params, lr, lambd, alpha, t0, weight_decay, maximize : as torch's.
    foreach, differentiable, capturable : accepted and ignored.
    """

    rule = update.asgd
    _scalars = ("step", "eta", "mu")
    _begins = {"eta": "lr", "mu": 1.0}  # noqa: RUF012 - declared in the base

    def __init__(
        self, params: Iterable[Any], lr: Any = 1e-2, lambd: float = 1e-4, alpha: float = 0.75, t0: float = 1e6,
        weight_decay: float = 0, foreach: bool | None = None, maximize: bool = False, differentiable: bool = False,
        capturable: bool = False,
    ) -> None:  # fmt: skip
        check_range("ASGD: lr", lr, 0)
        check_range("ASGD: weight_decay", weight_decay, 0)
        super().__init__(
            params,
            {
                "lr": lr, "lambd": lambd, "alpha": alpha, "t0": t0, "weight_decay": weight_decay, "foreach": foreach,
                "maximize": maximize, "differentiable": differentiable, "capturable": capturable,
            },
        )  # fmt: skip

    def _numbers(self, group: Group, fresh: bool, *scalars: float) -> Any:
        count, eta, mu = scalars
        lr, lambd = float(group["lr"]), float(group["lambd"])
        count += 1
        following = (
            count,
            lr / (1 + lambd * lr * count) ** float(group["alpha"]),
            1 / max(1, count - float(group["t0"])),
        )
        return (int(group["maximize"]),), (eta, mu, lambd, float(group["weight_decay"])), following


__all__ = ["ASGD", "SGD"]
