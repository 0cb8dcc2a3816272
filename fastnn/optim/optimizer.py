"""What all optimizers share: parameter groups, state, and the walk over them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from fastnn._runtime.tensor import TensorBase, dense_zeros, set_grad_enabled_now
from fastnn.ops.prefetch import prefetch_training
from fastnn.tensor import Tensor, from_numpy, tensor

Closure = Callable[[], Any]


class Optimizer:
    """Base of the optimizers.

    Attributes
    ----------
    param_groups : dicts of ``params`` and hyper-parameters; they are read anew at every step.
    state : for each parameter, a dict of what the optimizer keeps.
    """

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        if isinstance(params, TensorBase):
            raise TypeError("params must be an iterable of Tensors or of dicts, got a Tensor")
        if not isinstance(params, Iterable):
            raise TypeError(f"params must be an iterable of Tensors or of dicts, got {type(params).__name__}")
        self.defaults = defaults
        self.state: defaultdict[Any, dict[str, Any]] = defaultdict(dict)
        self.param_groups: list[dict[str, Any]] = []
        groups = list(params)
        if not groups:
            raise ValueError("the optimizer got an empty list of parameters")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)
        first = next((p for group in self.param_groups for p in group["params"]), None)
        if first is not None:
            prefetch_training(first.dtype.name, *self._kernels(first.dtype.name))

    def _kernels(self, dtype: str) -> list[tuple[str, dict[str, Any]]]:
        """The kernels that `step` will need for parameters of a dtype, with their static parameters."""
        return []

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters with hyper-parameters of their own; what is not given is the default."""
        if not isinstance(param_group, dict):
            raise TypeError(f"a parameter group must be a dict, got {type(param_group).__name__}")
        group = dict(param_group)
        given = group.get("params")
        if given is None:
            raise ValueError("a parameter group must have 'params'")
        params = [given] if isinstance(given, TensorBase) else list(given)
        params = [p[1] if isinstance(p, tuple) and len(p) == 2 else p for p in params]
        known = {id(p) for g in self.param_groups for p in g["params"]}
        for p in params:
            if not isinstance(p, Tensor):
                raise TypeError(f"an optimizer takes Tensors, got {type(p).__name__}")
            if p.dtype.kind != "f":
                raise TypeError(f"an optimizer takes floating-point Tensors, got dtype {p.dtype}")
            if not p.is_leaf:
                raise ValueError("an optimizer takes leaf Tensors, not computed ones")
            if id(p) in known:
                raise ValueError("a parameter appears in more than one parameter group")
        if len({id(p) for p in params}) != len(params):
            raise ValueError("a parameter appears twice in a parameter group")
        group["params"] = params
        for name, value in self.defaults.items():
            group.setdefault(name, value)
        self.param_groups.append(group)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop every parameter's gradient, or set it to zeros."""
        for group in self.param_groups:
            for p in group["params"]:
                if set_to_none:
                    p.grad = None
                elif p.grad is not None:
                    p.grad.zero_()

    def step(self, closure: Closure | None = None) -> Any:
        """Update the parameters that have a gradient.

        `closure` computes the loss anew and returns it; gradients are recorded within it.
        """
        loss = None
        if closure is not None:
            if not callable(closure):
                raise TypeError(f"step: closure must be a function, got {type(closure).__name__}")
            before = set_grad_enabled_now(True)
            try:
                loss = closure()
            finally:
                set_grad_enabled_now(before)
        for group in self.param_groups:
            self._update(group)
        return loss

    def _update(self, group: dict[str, Any]) -> None:
        raise NotImplementedError

    # -- state

    def state_dict(self) -> dict[str, Any]:
        """State and hyper-parameters, with parameters replaced by their numbers, as torch's."""
        numbers: dict[int, int] = {}
        groups = []
        for group in self.param_groups:
            for p in group["params"]:
                numbers.setdefault(id(p), len(numbers))
            packed = {name: value for name, value in group.items() if name != "params"}
            packed["params"] = [numbers[id(p)] for p in group["params"]]
            groups.append(packed)
        state = {
            numbers[id(p)]: {
                name: tensor(float(value)) if name == "step" and not isinstance(value, TensorBase) else value
                for name, value in own.items()
            }
            for p, own in self.state.items()
        }
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over state and hyper-parameters from `state_dict`; nothing changes unless everything fits."""
        if not isinstance(state_dict, Mapping) or not {"state", "param_groups"} <= state_dict.keys():
            raise ValueError("load_state_dict: expected a dict with 'state' and 'param_groups'")
        groups = [dict(group) for group in state_dict["param_groups"]]
        if len(groups) != len(self.param_groups):
            raise ValueError(f"load_state_dict: expected {len(self.param_groups)} parameter groups, got {len(groups)}")
        by_number: dict[Any, Tensor] = {}
        for own, group in zip(self.param_groups, groups, strict=True):
            if len(own["params"]) != len(group["params"]):
                raise ValueError(
                    f"load_state_dict: a group must have {len(own['params'])} parameters, got {len(group['params'])}"
                )
            by_number.update(zip(group["params"], own["params"], strict=True))
        state: defaultdict[Any, dict[str, Any]] = defaultdict(dict)
        for number, values in state_dict["state"].items():
            p = by_number.get(number)
            if p is not None:
                state[p] = {name: _load_value(p, name, value) for name, value in values.items()}
        for own, group in zip(self.param_groups, groups, strict=True):
            own.update({name: value for name, value in group.items() if name != "params"})
        self.state = state

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for i, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {i}")
            lines += [f"    {name}: {group[name]}" for name in sorted(group) if name != "params"]
        return "\n".join([*lines, ")"])


def _load_value(p: Tensor, name: str, value: Any) -> Any:
    """A state value in our form: step counts as ints, arrays in the parameter's layout and dtype."""
    if name == "step":
        return int(float(value))
    if value is None or isinstance(value, (int, float, str)):
        return value
    array = value.array if isinstance(value, TensorBase) else np.asarray(value)
    if array.shape != p.shape:
        raise ValueError(f"load_state_dict: {name} must have the parameter's shape {p.shape}, got {array.shape}")
    own = dense_zeros(p.array)
    np.copyto(own, array, casting="unsafe")
    return from_numpy(own)


def zeros_state(p: Tensor) -> Tensor:
    """Zeros that lie in memory as the parameter does."""
    return from_numpy(dense_zeros(p.array))


def trained(group: dict[str, Any]) -> Iterator[tuple[Tensor, np.ndarray]]:
    """The group's parameters that have a gradient, with it."""
    for p in group["params"]:
        if p.grad is not None:
            yield p, p.grad.array


def check_range(name: str, value: Any, low: float, high: float = np.inf) -> None:
    """ValueError unless ``low <= value < high`` (no upper bound: ``low <= value``)."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a number, got {value!r}") from None
    if not (low <= number and (number < high or high == np.inf)):
        wanted = f"at least {low}" if high == np.inf else f"from {low} to below {high}"
        raise ValueError(f"{name} must be {wanted}, got {value}")


__all__ = ["Optimizer", "check_range", "trained", "zeros_state"]
