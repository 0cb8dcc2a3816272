"""Module: parameters, buffers and submodules by attribute, as in torch."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from fastnn._runtime.capture import active, restructure
from fastnn.nn.conversion import ModuleConversion
from fastnn.nn.hooks import HookHandle, ModuleHooks, call_hooked
from fastnn.nn.parameter import Buffer, Parameter
from fastnn.nn.registry import Registry
from fastnn.nn.state import LoadResult, ModuleState
from fastnn.tensor import Tensor

if TYPE_CHECKING:
    from fastnn.inspection.table import Summary

T = TypeVar("T", bound="Module")


# Methods that torch's Module does not have: a model that comes from there may hold something of the name.
_FREE = ("summary",)
_HOOKS = (
    "_forward_pre_hooks",
    "_forward_hooks",
    "_backward_pre_hooks",
    "_backward_hooks",
    "_state_dict_pre_hooks",
    "_state_dict_hooks",
    "_load_state_dict_pre_hooks",
    "_load_state_dict_post_hooks",
)


class Module(ModuleHooks, ModuleState, ModuleConversion):
    """Base of all layers and networks.

    A subclass calls ``super().__init__()``, assigns `Parameter`s and Modules to attributes, and defines ``forward``.
    """

    training: bool
    call_super_init: bool = False  # whether __init__ calls that of the next class, which another base may be

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if not self.call_super_init and (args or kwargs):
            raise TypeError(f"{type(self).__name__}: Module.__init__ takes no arguments, got {args or kwargs}")
        own = self.__dict__
        own["training"] = True
        own["_parameters"] = Registry(self)
        own["_buffers"] = Registry(self)
        own["_modules"] = Registry(self)
        own["_non_persistent_buffers_set"] = set()
        for hooks in _HOOKS:
            own[hooks] = OrderedDict()
        if self.call_super_init:
            super().__init__(*args, **kwargs)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the output; every subclass defines it."""
        raise NotImplementedError(f'Module [{type(self).__name__}] is missing the required "forward" function')

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run forward, between the hooks."""
        recorder = active()
        if recorder is not None:
            recorder.entered(self)
        if self._hooked:
            return call_hooked(self, args, kwargs)
        return self.forward(*args, **kwargs)

    # -- attributes

    def __setattr__(self, name: str, value: Any) -> None:
        own = self.__dict__
        kind = "_parameters" if isinstance(value, Parameter) else "_modules" if isinstance(value, Module) else None
        holder = self._holder(name)
        if kind is None:
            if isinstance(value, Buffer) and holder is None:
                self._require_init(name)
                own.pop(name, None)
                self.register_buffer(name, value, value.persistent)
            elif holder is None:
                object.__setattr__(self, name, value)
                restructure(self, name)
            elif value is None or (holder is own["_buffers"] and isinstance(value, Tensor)):
                holder[name] = value
                if isinstance(value, Buffer):
                    self._persist(name, value.persistent)
            else:
                expected = {"_parameters": "a Parameter", "_modules": "a Module", "_buffers": "a Tensor"}
                what = next(v for k, v in expected.items() if holder is own[k])
                raise TypeError(f"attribute {name!r} must be {what} or None, got {type(value).__name__}")
            return
        self._require_init(name)
        if kind == "_modules" and holder is self._parameters:
            raise TypeError(f"attribute {name!r} must be a Parameter or None, got {type(value).__name__}")
        if holder is None and kind == "_parameters" and hasattr(type(self), name) and name not in _FREE:
            raise KeyError(f"attribute {name!r} exists already")
        if holder is not None and holder is not own[kind]:
            del holder[name]
            self._non_persistent_buffers_set.discard(name)
        own[kind][name] = value

    def _require_init(self, name: str) -> None:
        if "_parameters" not in self.__dict__:
            raise AttributeError(f"call super().__init__() before assigning {name!r} in {type(self).__name__}")

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
            restructure(self, name)
        else:
            del holder[name]
            self._non_persistent_buffers_set.discard(name)

    def __dir__(self) -> list[str]:
        # "0" and its like, names of a Sequential's modules, are no attributes one could write
        return sorted(name for name in {*super().__dir__()} if not name[:1].isdigit())

    def _new_name(self, what: str, name: str, registry: Registry) -> str:
        if not isinstance(name, str):
            raise TypeError(f"{what}: the name must be a string, got {type(name).__name__}")
        if not name or "." in name:
            raise KeyError(f"{what}: the name must be a non-empty string without dots, got {name!r}")
        if name not in registry and hasattr(self, name) and (name not in _FREE or name in self.__dict__):
            raise KeyError(f"attribute {name!r} exists already")
        return name

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Hold `param` (or the place for one) under `name`."""
        self._require_init(name)
        if param is not None and not isinstance(param, Parameter):
            raise TypeError(f"parameter {name!r} must be a Parameter or None, got {type(param).__name__}")
        if param is not None and param.grad_fn is not None:
            raise ValueError(f"parameter {name!r} must be a leaf, got one that was computed; use detach()")
        self._parameters[self._new_name("register_parameter", name, self._parameters)] = param

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Hold a Tensor that is not trained; with `persistent` it belongs to ``state_dict``."""
        self._require_init(name)
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(f"buffer {name!r} must be a Tensor or None, got {type(tensor).__name__}")
        self._buffers[self._new_name("register_buffer", name, self._buffers)] = tensor
        self._persist(name, persistent)

    def _persist(self, name: str, persistent: bool) -> None:
        if persistent:
            self._non_persistent_buffers_set.discard(name)
        else:
            self._non_persistent_buffers_set.add(name)

    def add_module(self, name: str, module: Module | None) -> None:
        """Hold a submodule under `name`."""
        self._require_init(name)
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"submodule {name!r} must be a Module or None, got {type(module).__name__}")
        self._modules[self._new_name("add_module", name, self._modules)] = module

    def register_module(self, name: str, module: Module | None) -> None:
        """As `add_module`."""
        self.add_module(name, module)

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
        self, memo: set[Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """This module and all below it, with dotted names."""
        memo = set() if memo is None else memo
        if remove_duplicate and self in memo:
            return
        memo.add(self)
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                yield from module.named_modules(memo, f"{prefix}.{name}" if prefix else name, remove_duplicate)

    def modules(self, remove_duplicate: bool = True) -> Iterator[Module]:
        """This module and all below it."""
        return (module for _, module in self.named_modules(remove_duplicate=remove_duplicate))

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
        """The submodule with a dotted name; the module itself for an empty one."""
        module: Module = self
        for name in target.split(".") if target else ():
            if not isinstance(getattr(module, name, None), Module):
                raise AttributeError(f"{module._get_name()} has no submodule {name!r}")
            module = getattr(module, name)
        return module

    def set_submodule(self, target: str, module: Module, strict: bool = False) -> None:
        """Put `module` under a dotted name whose parent exists; with `strict` it must replace a submodule."""
        place, _, name = target.rpartition(".")
        if not name:
            raise ValueError("set_submodule: the target must not be empty")
        if not isinstance(module, Module):
            raise ValueError(f"set_submodule: module must be a Module, got {type(module).__name__}")
        parent = self.get_submodule(place)
        if strict and not hasattr(parent, name):
            raise AttributeError(f"{parent._get_name()} has no submodule {name!r}")
        if hasattr(parent, name) and not isinstance(getattr(parent, name), Module):
            raise AttributeError(f"{name!r} of {parent._get_name()} is not a Module")
        setattr(parent, name, module)

    def get_parameter(self, target: str) -> Parameter:
        """The parameter with a dotted name."""
        found: Parameter = self._get_member("parameter", "_parameters", target)
        return found

    def get_buffer(self, target: str) -> Tensor:
        """The buffer with a dotted name."""
        found: Tensor = self._get_member("buffer", "_buffers", target)
        return found

    def _get_member(self, what: str, kind: str, target: str) -> Any:
        place, _, name = target.rpartition(".")
        module = self.get_submodule(place)
        registry: Registry = module.__dict__[kind]
        if name not in registry:
            raise AttributeError(f"{module._get_name()} has no {what} {name!r}")
        return registry[name]

    # -- changing all of it

    def apply(self: T, fn: Callable[[Module], Any]) -> T:
        """Call `fn` on every module, children first; returns self."""
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    def train(self: T, mode: bool = True) -> T:
        """Set training mode here and below; returns self."""
        if not isinstance(mode, bool):
            raise ValueError(f"train: mode must be True or False, got {mode!r}")
        self.training = mode
        for child in self.children():
            child.train(mode)
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

    # -- words

    def summary(self, input: Any = None, **options: Any) -> Summary:
        """List the layers with output shapes, parameters, FLOPs of both passes, and memory, as one pass measures them.

        Parameters
        ----------
        input : the shape of the input, batch axis included, such as ``(32, 784)``; a sequence of shapes for several;
            or the inputs themselves. Without it only parameters are listed, and nothing is run.
        options : ``dtypes``, ``mode``, ``depth``, ``backward``: see `fastnn.inspection.summary`, which also says what
            is raised.

        Returns
        -------
        An object whose ``str`` is a table, with ``rows`` and totals for programs; notebooks and rich show it as well.
        """
        from fastnn.inspection.table import summary

        return summary(self, input, **options)

    def extra_repr(self) -> str:
        """What ``repr`` says about this module beside its submodules."""
        return ""

    def _get_name(self) -> str:
        return type(self).__name__

    def __repr__(self) -> str:
        extra = self.extra_repr()
        words = extra.split("\n") if extra else []
        children = [f"({name}): " + indented(repr(module)) for name, module in self._modules.items()]
        if not children and len(words) <= 1:
            return f"{self._get_name()}({extra})"
        return "\n  ".join([f"{self._get_name()}(", *words, *children]) + "\n)"


def indented(text: str) -> str:
    """Lines after the first moved in, as part of what holds them."""
    return text.replace("\n", "\n  ")


__all__ = ["HookHandle", "LoadResult", "Module"]
