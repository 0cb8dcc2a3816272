"""Adam."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from fastnn.ops.update import adam
from fastnn.optim.optimizer import Optimizer, check_range, zeros_state


class Adam(Optimizer):
    """Adam (Kingma and Ba, 2015, arXiv:1412.6980), AMSGrad (Reddi, Kale and Kumar, 2018) with `amsgrad`.

    ``m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g²;``
    ``p -= lr / (1 - beta1^t) * m / (sqrt(v / (1 - beta2^t)) + eps)``

    Parameters
    ----------
    params : Tensors, or dicts of ``params`` and hyper-parameters.
    lr, betas, eps, weight_decay, amsgrad, maximize : as torch's. `weight_decay` is added to the gradient, or with
        `decoupled_weight_decay` shrinks the parameter (AdamW; Loshchilov and Hutter, 2019).
    foreach, capturable, differentiable, fused : accepted and ignored; the update is always fused.
    """

    def __init__(
        self, params: Iterable[Any], lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 0, amsgrad: bool = False, *, foreach: bool | None = None, maximize: bool = False,
        capturable: bool = False, differentiable: bool = False, fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:  # fmt: skip
        name = type(self).__name__
        check_range(f"{name}: lr", lr, 0)
        check_range(f"{name}: eps", eps, 0)
        if not isinstance(betas, Sequence) or len(betas) != 2:
            raise TypeError(f"{name}: betas must be two numbers, got {betas!r}")
        check_range(f"{name}: betas[0]", betas[0], 0, 1)
        check_range(f"{name}: betas[1]", betas[1], 0, 1)
        check_range(f"{name}: weight_decay", weight_decay, 0)
        super().__init__(
            params,
            {
                "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "amsgrad": amsgrad,
                "maximize": maximize, "foreach": foreach, "capturable": capturable, "differentiable": differentiable,
                "fused": fused, "decoupled_weight_decay": decoupled_weight_decay,
            },
        )  # fmt: skip

    def _kernels(self, dtype: str) -> list[tuple[str, dict[str, Any]]]:
        return [("optimizer.adam", {"dtype": dtype, "amsgrad": bool(self.defaults["amsgrad"])})]

    def _update(self, group: dict[str, Any]) -> None:
        amsgrad = bool(group["amsgrad"])
        beta1, beta2 = (float(beta) for beta in group["betas"])
        flags = (int(group["maximize"]), int(group["decoupled_weight_decay"]))
        cells = (float(group["lr"]), beta1, beta2, float(group["eps"]), float(group["weight_decay"]))
        # parameters that were skipped at times (no gradient) are at another step than the rest
        batches: dict[tuple[Any, int], list[Any]] = {}
        touched = []
        for p in group["params"]:
            gradient = p.grad
            if gradient is None:
                continue
            state = self.state[p]
            if not state:
                state["step"] = 0
                state["exp_avg"] = zeros_state(p)
                state["exp_avg_sq"] = zeros_state(p)
            if amsgrad and "max_exp_avg_sq" not in state:
                state["max_exp_avg_sq"] = zeros_state(p)
            array = p.array
            key = (array.dtype, state["step"] + 1)
            columns = batches.get(key)
            if columns is None:
                columns = batches[key] = []
            columns += (array, gradient.array, state["exp_avg"].array, state["exp_avg_sq"].array)
            if amsgrad:
                columns.append(state["max_exp_avg_sq"].array)
            touched.append((p, state))
        for (dtype, step), arrays in batches.items():
            corrections = (1 - beta1**step, 1 - beta2**step)
            adam(arrays, flags, (*cells, *corrections), dtype=dtype, amsgrad=amsgrad)
        for p, state in touched:
            state["step"] += 1
            p._touch()


__all__ = ["Adam"]
