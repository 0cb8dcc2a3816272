"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fastnn.ops.update import sgd
from fastnn.optim.optimizer import Optimizer, check_range, trained, zeros_state


class SGD(Optimizer):
    """``p -= lr * v`` with ``v = momentum * v + (1 - dampening) * g`` (Nesterov: ``g + momentum * v``).

    Parameters
    ----------
    params : Tensors, or dicts of ``params`` and hyper-parameters.
    lr : learning rate. momentum, dampening, weight_decay, nesterov, maximize : as torch's.
    foreach, differentiable, fused : accepted and ignored; the update is always fused.
    """

    def __init__(
        self, params: Iterable[Any], lr: float = 1e-3, momentum: float = 0, dampening: float = 0,
        weight_decay: float = 0, nesterov: bool = False, *, maximize: bool = False, foreach: bool | None = None,
        differentiable: bool = False, fused: bool | None = None,
    ) -> None:  # fmt: skip
        check_range("SGD: lr", lr, 0)
        check_range("SGD: momentum", momentum, 0)
        check_range("SGD: weight_decay", weight_decay, 0)
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

    def _kernels(self, dtype: str) -> list[tuple[str, dict[str, Any]]]:
        options = {"momentum": bool(self.defaults["momentum"]), "nesterov": bool(self.defaults["nesterov"])}
        return [("optimizer.sgd", {"dtype": dtype, **options})]

    def _update(self, group: dict[str, Any]) -> None:
        momentum = float(group["momentum"])
        cells = (float(group["lr"]), momentum, float(group["dampening"]), float(group["weight_decay"]))
        flags = (int(group["maximize"]),)
        # at its first step a parameter's momentum is its gradient, undampened
        batches: dict[tuple[Any, bool], list[Any]] = {}
        touched = []
        for p, gradient in trained(group):
            columns = [p.array, gradient]
            started = True
            if momentum:
                state = self.state[p]
                started = state.get("momentum_buffer") is not None
                if not started:
                    state["momentum_buffer"] = zeros_state(p)
                columns.append(state["momentum_buffer"].array)
            batches.setdefault((p.array.dtype, started), []).extend(columns)
            touched.append(p)
        for (dtype, started), arrays in batches.items():
            sgd(
                arrays, flags, (*cells, float(started)),
                dtype=dtype, momentum=bool(momentum), nesterov=bool(group["nesterov"]),
            )  # fmt: skip
        for p in touched:
            p._touch()


__all__ = ["SGD"]
