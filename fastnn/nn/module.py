"""Module: parameters, buffers and submodules by attribute, as in torch."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from fastnn._runtime.tensor import TensorBase
from fastnn.nn.parameter import Parameter
from fastnn.tensor import Tensor, from_numpy

T = TypeVar("T", bound="Module")


class Registry(MutableMapping[str, Any]):
    """The names under which a module holds parameters (or buffers, or submodules).

    The values lie in the module's own attributes, so that reading ``self.weight`` costs a dictionary look-up; this
    mapping reads and writes them there.
    """

    __slots__ = ("names", "owner")

    def __init__(self, owner: Module) -> None:
        self.owner = owner
        self.names: dict[str, None] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self.names:
            raise KeyError(name)
        return self.owner.__dict__[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self.names[name] = None
        self.owner.__dict__[name] = value

    def __delitem__(self, name: str) -> None:
        del self.names[name]
        del self.owner.__dict__[name]

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self.names))

    def __len__(self) -> int:
        return len(self.names)

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def __repr__(self) -> str:
        return repr(dict(self))


class LoadResult(NamedTuple):
    """Keys that `load_state_dict` did not find, and keys that it had no use for."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class HookHandle:
    """Removes a hook again."""

    def __init__(self, hooks: dict[object, Any], hook: Callable[..., Any]) -> None:
        self._hooks, self._key = hooks, object()
        hooks[self._key] = hook

    def remove(self) -> None:
        """Take the hook off; doing so twice is harmless."""
        self._hooks.pop(self._key, None)


class Module:
    """Base of all layers and networks.

    A subclass calls ``super().__init__()``, assigns `Parameter`s and Modules to attributes, and defines ``forward``.
    """

    training: bool
    _parameters: Registry
    _buffers: Registry
    _modules: Registry
    _transient: set[str]
    _forward_hooks: dict[object, Any]
    _forward_pre_hooks: dict[object, Any]

    def __init__(self) -> None:
        own = self.__dict__
        own["training"] = True
        own["_parameters"] = Registry(self)
        own["_buffers"] = Registry(self)
        own["_modules"] = Registry(self)
        own["_transient"] = set()
        own["_forward_hooks"] = {}
        own["_forward_pre_hooks"] = {}

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the output; every subclass defines it."""
        raise NotImplementedError(f"{type(self).__name__} defines no forward")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run forward, between the hooks."""
        if not self._forward_pre_hooks and not self._forward_hooks:
            return self.forward(*args, **kwargs)
        for hook in tuple(self._forward_pre_hooks.values()):
            changed = hook(self, args)
            if changed is not None:
                args = changed if isinstance(changed, tuple) else (changed,)
        result = self.forward(*args, **kwargs)
        for hook in tuple(self._forward_hooks.values()):
            changed = hook(self, args, result)
            if changed is not None:
                result = changed
        return result

    # -- attributes

    def __setattr__(self, name: str, value: Any) -> None:
        own = self.__dict__
        kind = "_parameters" if isinstance(value, Parameter) else "_modules" if isinstance(value, Module) else None
        if kind is None:
            registry = self._holder(name)
            if registry is None:
                object.__setattr__(self, name, value)
            elif value is None or (registry is own["_buffers"] and isinstance(value, Tensor)):
                registry[name] = value
            else:
                expected = {"_parameters": "a Parameter", "_modules": "a Module", "_buffers": "a Tensor"}
                what = next(v for k, v in expected.items() if registry is own[k])
                raise TypeError(f"attribute {name!r} must be {what} or None, got {type(value).__name__}")
            return
        if "_parameters" not in own:
            raise AttributeError(f"call super().__init__() before assigning {name!r} in {type(self).__name__}")
        holder = self._holder(name)
        if holder is not None and holder is not own[kind]:
            del holder[name]
        own[kind][name] = value

    def _holder(self, name: str) -> Registry | None:
        """The registry that holds `name`, if any does."""
        own = self.__dict__
        for kind in ("_parameters", "_buffers", "_modules"):
            if kind in own and name in own[kind].names:
                found: Registry = own[kind]
                return found
        return None

    def __delattr__(self, name: str) -> None:
        holder = self._holder(name)
        if holder is None:
            object.__delattr__(self, name)
        else:
            del holder[name]
            self._transient.discard(name)

    def _new_name(self, name: str) -> str:
        if not isinstance(name, str) or not name or "." in name:
            raise KeyError(f"a name must be a non-empty string without dots, got {name!r}")
        if hasattr(self, name) and self._holder(name) is None:
            raise KeyError(f"attribute {name!r} exists already")
        return name

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Hold `param` (or the place for one) under `name`."""
        if param is not None and not isinstance(param, Parameter):
            raise TypeError(f"parameter {name!r} must be a Parameter or None, got {type(param).__name__}")
        self._parameters[self._new_name(name)] = param

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Hold a Tensor that is not trained; with `persistent` it belongs to ``state_dict``."""
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(f"buffer {name!r} must be a Tensor or None, got {type(tensor).__name__}")
        self._buffers[self._new_name(name)] = tensor
        if persistent:
            self._transient.discard(name)
        else:
            self._transient.add(name)

    def add_module(self, name: str, module: Module | None) -> None:
        """Hold a submodule under `name`."""
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"submodule {name!r} must be a Module or None, got {type(module).__name__}")
        self._modules[self._new_name(name)] = module

    register_module = add_module

    def register_forward_hook(self, hook: Callable[..., Any]) -> HookHandle:
        """Call ``hook(module, args, output)`` after each forward; what it returns replaces the output."""
        return HookHandle(self._forward_hooks, hook)

    def register_forward_pre_hook(self, hook: Callable[..., Any]) -> HookHandle:
        """Call ``hook(module, args)`` before each forward; what it returns replaces the arguments."""
        return HookHandle(self._forward_pre_hooks, hook)

    # -- walking

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Direct submodules with their names, each once."""
        seen: set[int] = set()
        for name, module in self._modules.items():
            if module is not None and id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def children(self) -> Iterator[Module]:
        """Direct submodules."""
        return (module for _, module in self.named_children())

    def named_modules(
        self, memo: set[int] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """This module and all below it, with dotted names."""
        memo = set() if memo is None else memo
        if remove_duplicate and id(self) in memo:
            return
        memo.add(id(self))
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                yield from module.named_modules(memo, f"{prefix}.{name}" if prefix else name, remove_duplicate)

    def modules(self) -> Iterator[Module]:
        """This module and all below it."""
        return (module for _, module in self.named_modules())

    def _named_members(
        self, kind: str, prefix: str, recurse: bool, remove_duplicate: bool
    ) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        modules = self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate) if recurse else [(prefix, self)]
        for place, module in modules:
            for name, member in module.__dict__[kind].items():
                if member is None or (remove_duplicate and id(member) in seen):
                    continue
                seen.add(id(member))
                yield f"{place}.{name}" if place else name, member

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """Parameters with dotted names."""
        return self._named_members("_parameters", prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """Parameters, each once."""
        return (parameter for _, parameter in self.named_parameters(recurse=recurse))

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """Buffers with dotted names."""
        return self._named_members("_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """Buffers, each once."""
        return (buffer for _, buffer in self.named_buffers(recurse=recurse))

    def get_submodule(self, target: str) -> Module:
        """The submodule with a dotted name."""
        module: Module = self
        for name in target.split(".") if target else ():
            if name not in module._modules or module._modules[name] is None:
                raise AttributeError(f"{type(module).__name__} has no submodule {name!r}")
            module = module._modules[name]
        return module

    def get_parameter(self, target: str) -> Parameter:
        """The parameter with a dotted name."""
        place, _, name = target.rpartition(".")
        module = self.get_submodule(place)
        if name not in module._parameters:
            raise AttributeError(f"{type(module).__name__} has no parameter {name!r}")
        return module._parameters[name]

    # -- changing all of it

    def apply(self: T, function: Callable[[Module], Any]) -> T:
        """Call `function` on every module, children first; returns self."""
        for child in self.children():
            child.apply(function)
        function(self)
        return self

    def train(self: T, mode: bool = True) -> T:
        """Set training mode here and below; returns self."""
        if not isinstance(mode, bool):
            raise ValueError(f"train: mode must be True or False, got {mode!r}")
        for module in self.modules():
            module.training = mode
        return self

    def eval(self: T) -> T:
        """Set evaluation mode here and below; returns self."""
        return self.train(False)

    def requires_grad_(self: T, requires_grad: bool = True) -> T:
        """Set ``requires_grad`` of every parameter; returns self."""
        for parameter in self.parameters():
            parameter.requires_grad = requires_grad
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop every parameter's gradient, or set it to zeros."""
        for parameter in self.parameters():
            if set_to_none:
                parameter.grad = None
            elif parameter.grad is not None:
                parameter.grad.zero_()

    def to(self: T, *args: Any, dtype: npt.DTypeLike | None = None, **_: Any) -> T:
        """Convert floating parameters and buffers to a dtype; a device may be named and must be the CPU."""
        for arg in args:
            if isinstance(arg, str) and arg.split(":")[0] in ("cpu", "cuda", "mps", "meta"):
                if not arg.startswith("cpu"):
                    raise ValueError(f"to: the only device is cpu, got {arg!r}")
            elif arg is not None and not isinstance(arg, bool):
                dtype = arg
        if dtype is not None:
            wanted = np.dtype(dtype)
            if wanted.kind != "f":
                raise TypeError(f"to: the dtype must be a floating one, got {wanted}")
            for member in [*self.parameters(), *self.buffers()]:
                if member.dtype.kind == "f":
                    gradient = member.grad
                    member.grad = None
                    member.data = member.array.astype(wanted, order="K")
                    if gradient is not None:
                        member.grad = from_numpy(gradient.array.astype(wanted, order="K"))
        return self

    def float(self: T) -> T:
        """Convert to float32."""
        return self.to(np.float32)

    def double(self: T) -> T:
        """Convert to float64."""
        return self.to(np.float64)

    def cpu(self: T) -> T:
        """Self: there is no other device."""
        return self

    # -- state

    def state_dict(self, *, prefix: str = "", keep_vars: bool = False) -> OrderedDict[str, Tensor]:
        """Parameters and persistent buffers by dotted name, with torch's keys and shapes; they share memory."""
        state: OrderedDict[str, Tensor] = OrderedDict()
        for place, module in self.named_modules(remove_duplicate=False):
            for registry in (module._parameters, module._buffers):
                for name, member in registry.items():
                    if member is not None and not (registry is module._buffers and name in module._transient):
                        key = f"{prefix}{place}.{name}" if place else prefix + name
                        state[key] = member if keep_vars else member.detach()
        return state

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> LoadResult:
        """Copy values into parameters and buffers by name.

        Nothing is written unless everything fits: with `strict` the keys must be the module's own, and every shape
        must agree. Values may be Tensors, arrays, or anything that NumPy takes.

        Raises
        ------
        RuntimeError : keys missing or unexpected (with `strict`), or a shape that does not agree.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"load_state_dict: expected a mapping, got {type(state_dict).__name__}")
        for key in state_dict:
            if not isinstance(key, str):
                raise TypeError(f"load_state_dict: keys must be names, got {key!r}")
        own = self.state_dict(keep_vars=True)
        missing = [key for key in own if key not in state_dict]
        unexpected = [key for key in state_dict if key not in own]
        errors = []
        if strict and missing:
            errors.append(f"missing keys: {', '.join(missing)}")
        if strict and unexpected:
            errors.append(f"unexpected keys: {', '.join(unexpected)}")
        values = {}
        for key, member in own.items():
            if key in state_dict:
                value = state_dict[key]
                array = value.array if isinstance(value, TensorBase) else np.asarray(value)
                if array.shape != member.shape:
                    errors.append(f"{key} must have shape {member.shape}, got {array.shape}")
                elif not assign and not member.array.flags.writeable:
                    errors.append(f"{key} is read-only")
                elif array.dtype.kind not in "biuf":
                    errors.append(f"{key} must hold numbers, got dtype {array.dtype}")
                values[key] = array
        if errors:
            raise RuntimeError(f"load_state_dict of {type(self).__name__}: " + "; ".join(errors))
        for key, array in values.items():
            if assign:
                own[key].data = array
            else:
                np.copyto(own[key].array, array, casting="unsafe")
                own[key]._touch()
        return LoadResult(missing, unexpected)

    # -- words

    def extra_repr(self) -> str:
        """What ``repr`` says about this module beside its submodules."""
        return ""

    def _get_name(self) -> str:
        return type(self).__name__

    def __repr__(self) -> str:
        extra = self.extra_repr()
        lines = [f"({name}): " + repr(module).replace("\n", "\n  ") for name, module in self._modules.items()]
        if not lines:
            return f"{self._get_name()}({extra})"
        return "\n  ".join([f"{self._get_name()}({extra}", *lines]) + "\n)"


__all__ = ["HookHandle", "LoadResult", "Module"]
