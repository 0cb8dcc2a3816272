"""What all optimizers share: parameter groups, state, and the walk over them."""

from __future__ import annotations

import copy
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

from fastnn._runtime.capture import active, listen, restore
from fastnn._runtime.segments import gather
from fastnn._runtime.tensor import TensorBase, set_grad_enabled_now
from fastnn.ops.prefetch import prefetch_training
from fastnn.ops.update import Update
from fastnn.optim.hooks import Hooked
from fastnn.optim.state import full_state, loaded, scalar_state
from fastnn.tensor import Tensor

Closure = Callable[[], Any]


class Group(dict[str, Any]):
    """Parameters and their hyper-parameters. Who records a call hears when one of these is set."""

    def __setitem__(self, name: str, value: Any) -> None:
        self._tell()
        super().__setitem__(name, value)

    def update(self, *args: Any, **kwargs: Any) -> None:
        """As of a dict."""
        self._tell()
        super().update(*args, **kwargs)

    def __ior__(self, other: Any) -> Group:  # type: ignore[override, misc]
        self.update(other)
        return self

    def _tell(self) -> None:
        recorder = active()
        if recorder is not None:
            recorder.regrouped(self)


class Optimizer(Hooked):
    """Base of the optimizers.

    An optimizer names its `rule` and the scalars that it keeps for each parameter, and turns hyper-parameters into the
    rule's flags and cells in `_numbers`; or it overrides `step`.

    Attributes
    ----------
    param_groups : dicts of ``params`` and hyper-parameters; they are read anew at every step.
    state : for each parameter, a dict of what the optimizer keeps.
    defaults : hyper-parameters of groups that do not give their own.
    """

    rule: ClassVar[Update | None] = None
    _scalars: ClassVar[tuple[str, ...]] = ()
    # the scalars and states that do not begin at zero: a number, or the name of the hyper-parameter to begin with
    _begins: ClassVar[Mapping[str, str | float]] = {}

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        super().__init__()
        if isinstance(params, TensorBase):
            raise TypeError("params must be an iterable of Tensors or of dicts, got a Tensor")
        if not isinstance(params, Iterable):
            raise TypeError(f"params must be an iterable of Tensors or of dicts, got {type(params).__name__}")
        self.defaults = defaults
        self.state: defaultdict[Any, dict[str, Any]] = defaultdict(dict)
        self.param_groups: list[Group] = []
        groups = list(params)
        if not groups:
            raise ValueError("the optimizer got an empty list of parameters")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)
        first = next((p for group in self.param_groups for p in group["params"]), None)
        if first is not None and self.rule is not None:
            static = self._static(Group(self.defaults))
            prefetch_training(first.dtype.name, (self.rule.kernel, {"dtype": first.dtype.name, **static}))

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters with hyper-parameters of their own; what is not given is the default.

        ``params`` is a Tensor, or a list of Tensors or of (name, Tensor).
        """
        if not isinstance(param_group, dict):
            raise TypeError(f"a parameter group must be a dict, got {type(param_group).__name__}")
        group = Group(param_group)
        given = group.get("params")
        if given is None:
            raise ValueError("a parameter group must have 'params'")
        if isinstance(given, (set, frozenset)):
            raise TypeError("params must be in an order that is the same in every run, got a set")
        given = [given] if isinstance(given, TensorBase) else list(given)
        params = [p[1] if isinstance(p, tuple) and len(p) == 2 else p for p in given]
        names = [p[0] for p in given if isinstance(p, tuple) and len(p) == 2]
        if names:
            if len(names) != len(params):
                raise ValueError("params must all have names or none, got some of each in a group")
            group["param_names"] = names
        for p in params:
            _check_parameter(p)
        named = "param_names" in group
        if any(("param_names" in other) != named for other in self.param_groups):
            raise ValueError("params must all have names or none, got groups of each")
        own = {id(p) for p in params}
        if any(id(p) in own for other in self.param_groups for p in other["params"]):
            raise ValueError("a parameter appears in more than one parameter group")
        if len(own) != len(params):
            warnings.warn("a parameter appears twice in a parameter group: every step updates it twice", stacklevel=2)
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
                    if p.grad.requires_grad:
                        p.grad = p.grad.detach()
                    p.grad.zero_()

    def step(self, closure: Closure | None = None) -> Any:
        """Update the parameters that have a gradient.

        `closure` computes the loss anew and returns it; gradients are recorded within it.
        """
        loss = None if closure is None else evaluated(closure)
        for group in self.param_groups:
            self._update(group)
        return loss

    # -- what an optimizer says of itself

    def _static(self, group: Group) -> dict[str, Any]:
        """The static parameters of the rule's kernel."""
        return {}

    def _numbers(self, group: Group, fresh: bool, *scalars: float) -> tuple[tuple[int, ...], tuple[float, ...], Any]:
        """Flags and cells of the rule, and the new scalars, for parameters whose scalars are as given.

        `fresh` says that this is their first step (with this state).
        """
        raise NotImplementedError

    def _update(self, group: Group) -> None:
        if self.rule is None:
            raise NotImplementedError(f"{type(self).__name__} has neither a rule nor a step of its own")
        params = group["params"]
        if len(params) != len(set(params)):
            for p in params:
                self._apply(group, [p])
        else:
            self._apply(group, params)

    def _apply(self, group: Group, params: list[Tensor]) -> None:
        rule = self.rule
        assert rule is not None
        static = self._static(group)
        states = rule.columns_for(static)[2:]
        recorder = active()
        if recorder is not None:
            recorder.stepping(self)

        def begin(p: Tensor) -> None:
            own = self.state[p]
            for name in self._scalars:
                value = own.get(name)
                if not isinstance(value, TensorBase):
                    own[name] = scalar_state(self._beginning(name, group) if value is None else value)
            for name in states:
                if own.get(name) is None:
                    own[name] = full_state(p, self._beginning(name, group))

        gathered = gather(params, self.state, self._scalars, states, begin)
        token = None if recorder is None else listen(None)  # a replay reads hyper-parameters anew, those in Tensors too
        try:
            numbers = [self._numbers(group, batch.fresh, *batch.scalars) for batch in gathered]
        finally:
            if token is not None:
                restore(token)
        for batch, (flags, cells, scalars) in zip(gathered, numbers, strict=True):
            if recorder is not None:
                recorder.updating(self, group, batch, static)
            rule(batch.arrays, flags, cells, dtype=batch.dtype, **static)
            batch.finish(*scalars)

    def _beginning(self, name: str, group: Group) -> float:
        value = self._begins.get(name, 0.0)
        return float(group[value]) if isinstance(value, str) else value

    # -- state

    def state_dict(self) -> dict[str, Any]:
        """State and hyper-parameters, with parameters replaced by their numbers, as torch's."""
        for hook in list(self._state_dict_pre_hooks.values()):
            hook(self)
        numbers: dict[int, int] = {}
        groups = []
        for group in self.param_groups:
            for p in group["params"]:
                numbers.setdefault(id(p), len(numbers))
            packed = {name: value for name, value in group.items() if name != "params"}
            packed["params"] = [numbers[id(p)] for p in group["params"]]
            groups.append(packed)
        state = {numbers[id(key)] if isinstance(key, TensorBase) else key: value for key, value in self.state.items()}
        made = {"state": state, "param_groups": groups}
        for hook in list(self._state_dict_post_hooks.values()):
            changed = hook(self, made)
            made = made if changed is None else changed
        return made

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over state and hyper-parameters from `state_dict`; nothing changes unless everything fits.

        The state may be in Tensors, arrays, or other libraries' tensors (torch's, by DLPack); it is copied.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"load_state_dict: expected a dict, got {type(state_dict).__name__}")
        state_dict = dict(state_dict)
        for hook in list(self._load_state_dict_pre_hooks.values()):
            changed = hook(self, state_dict)
            state_dict = state_dict if changed is None else changed
        if not {"state", "param_groups"} <= state_dict.keys():
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
        states = self.rule.columns[2:] if self.rule is not None else ()
        state: defaultdict[Any, dict[str, Any]] = defaultdict(dict)
        for number, values in state_dict["state"].items():
            p = by_number.get(number)
            if p is None:
                state[number] = values
            else:
                state[p] = {name: loaded(p, name, value, self._scalars, states) for name, value in values.items()}
        groups = [copy.deepcopy({name: v for name, v in group.items() if name != "params"}) for group in groups]
        for own, group in zip(self.param_groups, groups, strict=True):
            own.update(group)
        self.state = state
        for hook in list(self._load_state_dict_post_hooks.values()):
            hook(self)

    def __getstate__(self) -> dict[str, Any]:
        return {"defaults": self.defaults, "state": self.state, "param_groups": self.param_groups}

    def __setstate__(self, state: dict[str, Any]) -> None:
        Hooked.__init__(self)
        self.__dict__.update(state)

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for i, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {i}")
            lines += [f"    {name}: {group[name]}" for name in sorted(group) if name != "params"]
        return "\n".join([*lines, ")"])


def _check_parameter(p: Any) -> None:
    if not isinstance(p, Tensor):
        raise TypeError(f"an optimizer takes Tensors, got {type(p).__name__}")
    if p.dtype.kind != "f":
        raise TypeError(f"an optimizer takes floating-point Tensors, got dtype {p.dtype}")
    if not (p.is_leaf or p.retains_grad):
        raise ValueError("an optimizer takes leaf Tensors, not computed ones")


def evaluated(closure: Closure) -> Any:
    """What the closure returns, called with gradients on."""
    if not callable(closure):
        raise TypeError(f"step: closure must be a function, got {type(closure).__name__}")
    before = set_grad_enabled_now(True)
    try:
        return closure()
    finally:
        set_grad_enabled_now(before)


__all__ = ["Closure", "Group", "Optimizer", "evaluated"]
