"""Optimizers with a rate for each parameter: RMSprop, Adagrad, Adadelta, Rprop."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fastnn.ops import update
from fastnn.optim.checks import check_implementation, check_pair, check_range
from fastnn.optim.optimizer import Group, Optimizer
from fastnn.optim.state import full_state, scalar_state


class RMSprop(Optimizer):
    """RMSprop (Tieleman and Hinton, 2012); `centered` as in Graves (2013, arXiv:1308.0850).

    ``v = alpha v + (1 - alpha) g²;  p -= lr g / (sqrt(v) + eps)``

    Parameters
    ----------
    params, lr, alpha, eps, weight_decay, momentum, centered, maximize : as torch's.
    capturable, foreach, differentiable : accepted and ignored.
    """

    rule = update.rmsprop
    _scalars = ("step",)

    def __init__(
        self, params: Iterable[Any], lr: Any = 1e-2, alpha: float = 0.99, eps: float = 1e-8, weight_decay: float = 0,
        momentum: float = 0, centered: bool = False, capturable: bool = False, foreach: bool | None = None,
        maximize: bool = False, differentiable: bool = False,
    ) -> None:  # fmt: skip
        for what, value in (
            ("lr", lr), ("eps", eps), ("momentum", momentum), ("weight_decay", weight_decay), ("alpha", alpha)
        ):  # fmt: skip
            check_range(f"RMSprop: {what}", value, 0)
        super().__init__(
            params,
            {
                "lr": lr, "momentum": momentum, "alpha": alpha, "eps": eps, "centered": centered,
                "weight_decay": weight_decay, "capturable": capturable, "foreach": foreach, "maximize": maximize,
                "differentiable": differentiable,
            },
        )  # fmt: skip

    def _static(self, group: Group) -> dict[str, Any]:
        return {"momentum": group["momentum"] > 0, "centered": bool(group["centered"])}

    def _numbers(self, group: Group, fresh: bool, *scalars: float) -> Any:
        cells = (
            float(group["lr"]),
            float(group["alpha"]),
            float(group["eps"]),
            float(group["weight_decay"]),
            float(group["momentum"]),
        )
        return (int(group["maximize"]),), cells, (scalars[0] + 1,)


class Adagrad(Optimizer):
    """Adagrad (Duchi, Hazan and Singer, 2011).

    ``s += g²;  p -= lr / (1 + (t - 1) lr_decay) * g / (sqrt(s) + eps)``. The state is there from the start.

    Parameters
    ----------
    params, lr, lr_decay, weight_decay, initial_accumulator_value, eps, maximize : as torch's.
    foreach, differentiable, fused : accepted and ignored; the update is always fused.
    """

    rule = update.adagrad
    _scalars = ("step",)
    _begins = {"sum": "initial_accumulator_value"}  # noqa: RUF012 - declared in the base

    def __init__(
        self, params: Iterable[Any], lr: Any = 1e-2, lr_decay: float = 0, weight_decay: float = 0,
        initial_accumulator_value: float = 0, eps: float = 1e-10, foreach: bool | None = None, *,
        maximize: bool = False, differentiable: bool = False, fused: bool | None = None,
    ) -> None:  # fmt: skip
        for what, value in (
            ("lr", lr), ("lr_decay", lr_decay), ("weight_decay", weight_decay),
            ("initial_accumulator_value", initial_accumulator_value), ("eps", eps),
        ):  # fmt: skip
            check_range(f"Adagrad: {what}", value, 0)
        check_implementation("Adagrad", foreach, fused, differentiable)
        super().__init__(
            params,
            {
                "lr": lr, "lr_decay": lr_decay, "eps": eps, "weight_decay": weight_decay,
                "initial_accumulator_value": initial_accumulator_value, "foreach": foreach, "maximize": maximize,
                "differentiable": differentiable, "fused": fused,
            },
        )  # fmt: skip
        for group in self.param_groups:
            for p in group["params"]:
                start = float(self.defaults["initial_accumulator_value"])
                self.state[p] = {"step": scalar_state(0), "sum": full_state(p, start)}

    def share_memory(self) -> None:
        """Nothing: a process's memory is its own."""

    def _numbers(self, group: Group, fresh: bool, *scalars: float) -> Any:
        count = scalars[0] + 1
        cells = (
            float(group["lr"]),
            float(group["lr_decay"]),
            float(group["eps"]),
            float(group["weight_decay"]),
            count,
        )
        return (int(group["maximize"]),), cells, (count,)


class Adadelta(Optimizer):
    """Adadelta (Zeiler, 2012, arXiv:1212.5701).

    ``v = rho v + (1 - rho) g²;  d = sqrt(u + eps) / sqrt(v + eps) * g;  u = rho u + (1 - rho) d²;  p -= lr d``

    Parameters
    ----------
    params, lr, rho, eps, weight_decay, maximize : as torch's.
    foreach, capturable, differentiable : accepted and ignored.
    """

    rule = update.adadelta
    _scalars = ("step",)

    def __init__(
        self, params: Iterable[Any], lr: Any = 1.0, rho: float = 0.9, eps: float = 1e-6, weight_decay: float = 0,
        foreach: bool | None = None, *, capturable: bool = False, maximize: bool = False,
        differentiable: bool = False,
    ) -> None:  # fmt: skip
        check_range("Adadelta: lr", lr, 0)
        check_range("Adadelta: rho", rho, 0, 1, closed=True)
        check_range("Adadelta: eps", eps, 0)
        check_range("Adadelta: weight_decay", weight_decay, 0)
        super().__init__(
            params,
            {
                "lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay, "maximize": maximize,
                "capturable": capturable, "foreach": foreach, "differentiable": differentiable,
            },
        )  # fmt: skip

    def _numbers(self, group: Group, fresh: bool, *scalars: float) -> Any:
        cells = (float(group["lr"]), float(group["rho"]), float(group["eps"]), float(group["weight_decay"]))
        return (int(group["maximize"]),), cells, (scalars[0] + 1,)


class Rprop(Optimizer):
    """Resilient backpropagation (Riedmiller and Braun, 1993).

    Each parameter steps by a length of its own against its gradient's sign; the length, `lr` at first, grows by
    ``etas[1]`` while the sign stays, and shrinks by ``etas[0]`` when it turns (that step is left out).

    Parameters
    ----------
    params, lr, etas, step_sizes, maximize : as torch's; `step_sizes` bounds the length.
    capturable, foreach, differentiable : accepted and ignored.
    """

    rule = update.rprop
    _scalars = ("step",)
    _begins = {"step_size": "lr"}  # noqa: RUF012 - declared in the base

    def __init__(
        self, params: Iterable[Any], lr: Any = 1e-2, etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50), *, capturable: bool = False, foreach: bool | None = None,
        maximize: bool = False, differentiable: bool = False,
    ) -> None:  # fmt: skip
        check_range("Rprop: lr", lr, 0)
        check_pair("Rprop: etas", etas)
        check_pair("Rprop: step_sizes", step_sizes)
        if not 0 < etas[0] < 1 < etas[1]:
            raise ValueError(f"Rprop: etas must be a number between 0 and 1 and one above 1, got {etas}")
        super().__init__(
            params,
            {
                "lr": lr, "etas": etas, "step_sizes": step_sizes, "foreach": foreach, "maximize": maximize,
                "differentiable": differentiable, "capturable": capturable,
            },
        )  # fmt: skip

    def _numbers(self, group: Group, fresh: bool, *scalars: float) -> Any:
        cells = (*map(float, group["etas"]), *map(float, group["step_sizes"]))
        return (int(group["maximize"]),), cells, (scalars[0] + 1,)


__all__ = ["Adadelta", "Adagrad", "RMSprop", "Rprop"]
