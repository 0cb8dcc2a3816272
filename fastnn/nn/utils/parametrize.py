"""Parametrizations: a parameter that is computed from others whenever it is read."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

import numpy as np

from fastnn.autograd import no_grad
from fastnn.nn.container import ModuleDict, ModuleList
from fastnn.nn.module import Module
from fastnn.nn.parameter import Parameter
from fastnn.tensor import Tensor, from_numpy

_TABLE = "parametrizations"  # under which a module holds them

_depth = 0  # of `cached` blocks
_cache: dict[tuple[int, str], Any] = {}


@contextmanager
def cached() -> Iterator[None]:
    """Within this block, every parametrized tensor is computed once, when it is first read."""
    global _depth
    _depth += 1
    try:
        yield
    finally:
        _depth -= 1
        if not _depth:
            _cache.clear()


class ParametrizationList(ModuleList):
    """The parametrizations of one tensor, applied one after the other to the ``original`` (or ``original0``, ...).

    Parameters
    ----------
    modules : the parametrizations.
    original : the tensor as it was; it is what the parametrizations should give at first.
    unsafe : whether they may change its shape or dtype.
    """

    def __init__(self, modules: Any, original: Tensor, unsafe: bool = False) -> None:
        super().__init__(modules)
        if len(self) == 0:
            raise ValueError("ParametrizationList: expected one parametrization at least")
        self.unsafe = unsafe
        like = original.detach()
        new = self._inverted(original, required=False)
        self.is_tensor = isinstance(new, Tensor)
        if self.is_tensor:
            if not unsafe and new.dtype != like.dtype:
                raise ValueError(f"right_inverse must keep the dtype {like.dtype} (or unsafe=True), got {new.dtype}")
            if new is not original:
                with no_grad():
                    original.data = new.detach()
            self._register("original", original, original)
        else:
            if not isinstance(new, (tuple, list)) or not all(isinstance(tensor, Tensor) for tensor in new):
                raise ValueError(
                    f"right_inverse must return a Tensor or a sequence of Tensors, got {type(new).__name__}"
                )
            for i, tensor in enumerate(new):
                self._register(f"original{i}", tensor, original)
            self.ntensors = len(new)
        if not unsafe:
            _check_kept("a parametrization", self(), like)

    def _register(self, name: str, tensor: Tensor, like: Tensor) -> None:
        if isinstance(like, Parameter):
            kept = tensor if isinstance(tensor, Parameter) else Parameter(tensor.detach(), like.requires_grad)
            kept.requires_grad = like.requires_grad
            self.register_parameter(name, kept)
        else:
            self.register_buffer(name, tensor)

    def _inverted(self, value: Any, required: bool) -> Any:
        """`value` sent backwards through the parametrizations."""
        with no_grad():
            for module in reversed([*self]):
                if not hasattr(module, "right_inverse"):
                    if required:
                        raise RuntimeError(f"{type(module).__name__} has no right_inverse, so it cannot be assigned to")
                    continue
                try:
                    value = module.right_inverse(value)
                except NotImplementedError:
                    if required:
                        raise
        return value

    def right_inverse(self, value: Tensor) -> None:
        """Set the originals so that the parametrizations give `value`."""
        new = self._inverted(value, required=True)
        if self.is_tensor:
            new = [new]
        elif not isinstance(new, (tuple, list)) or len(new) != self.ntensors:
            raise ValueError(f"right_inverse must return {self.ntensors} Tensors")
        for own, tensor in zip(self._originals(), new, strict=True):
            if not isinstance(tensor, Tensor) or tensor.dtype != own.dtype:
                raise ValueError(f"right_inverse must return Tensors of dtype {own.dtype}, got {tensor}")
            own.data = tensor.detach().array.astype(own.dtype, order="K")

    def _originals(self) -> list[Tensor]:
        if self.is_tensor:
            return [self.__dict__["original"]]
        return [getattr(self, f"original{i}") for i in range(self.ntensors)]

    def forward(self) -> Any:
        """The tensor."""
        first, *others = self
        value = first(*self._originals())
        for module in others:
            value = module(value)
        return value


def _check_kept(what: str, made: Any, like: Tensor) -> None:
    if not isinstance(made, Tensor):
        raise ValueError(f"{what} must return a Tensor (or unsafe=True), got {type(made).__name__}")
    if made.shape != like.shape or made.dtype != like.dtype:
        raise ValueError(
            f"{what} must keep shape {like.shape} and dtype {like.dtype} (or unsafe=True), "
            f"got {made.shape} and {made.dtype}"
        )


def _parametrized_class(cls: type) -> type:
    """A class of its own for a module, whose class it derives from, so that properties can be put on it."""

    def no_pickle(self: Any, protocol: Any) -> NoReturn:
        raise RuntimeError("parametrized modules are not pickled; save their state_dict()")

    def deep_copy(self: Any, memo: dict[int, Any]) -> Any:
        made: Any = cls.__new__(cls)  # type: ignore[call-overload]
        memo[id(self)] = made
        made.__dict__.update({name: copy.deepcopy(value, memo) for name, value in self.__dict__.items()})
        made.__class__ = _parametrized_class(cls)
        for name in self.parametrizations:
            _add_property(type(made), name)
        return made

    made: Any = type(f"Parametrized{cls.__name__}", (cls,), {"__reduce_ex__": no_pickle, "__deepcopy__": deep_copy})
    return made


def _add_property(cls: type, name: str) -> None:
    def read(self: Any) -> Any:
        if not _depth:
            return self.parametrizations[name]()
        key = (id(self), name)
        if key not in _cache:
            _cache[key] = self.parametrizations[name]()
        return _cache[key]

    def write(self: Any, value: Tensor) -> None:
        _cache.pop((id(self), name), None)
        self.parametrizations[name].right_inverse(value)

    setattr(cls, name, property(read, write))


def register_parametrization(
    module: Module, tensor_name: str, parametrization: Module, *, unsafe: bool = False
) -> Module:
    """Let a parameter or buffer be computed by `parametrization` whenever it is read; returns the module.

    Parameters
    ----------
    parametrization : a module that maps a tensor to the one that is read. Its ``right_inverse``, if it has one, gives
        the tensor (or tensors) that are kept, at first and where the parameter is assigned to.
    unsafe : whether it may change shape or dtype.

    What is kept is ``module.parametrizations.<name>.original``, and that is what is trained and saved. Several
    parametrizations of one tensor are applied in the order of their registration.
    """
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        steps = _table(module)[tensor_name]
        if not unsafe:
            value = getattr(module, tensor_name)
            _check_kept("a parametrization", parametrization(value), value)
            if hasattr(parametrization, "right_inverse"):
                with suppress(NotImplementedError):
                    _check_kept("right_inverse", parametrization.right_inverse(value), value)
        steps.append(parametrization)
        steps.unsafe |= unsafe
        return module
    if tensor_name not in module._parameters and tensor_name not in module._buffers:
        raise ValueError(
            f"{type(module).__name__} has no parameter, buffer or parametrized tensor with name {tensor_name!r}"
        )
    original = getattr(module, tensor_name)
    steps = ParametrizationList([parametrization], original, unsafe)
    delattr(module, tensor_name)
    if not is_parametrized(module):
        module.__class__ = _parametrized_class(type(module))
        module.add_module(_TABLE, ModuleDict())
    _add_property(type(module), tensor_name)
    _table(module)[tensor_name] = steps
    return module


def _table(module: Module) -> Any:
    """The parametrizations of a module, a `ModuleDict` of `ParametrizationList`."""
    return module._modules[_TABLE]


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """Whether a module has a parametrized tensor, or one of this name."""
    table = module._modules.get(_TABLE)
    if not isinstance(table, ModuleDict):
        return False
    return len(table) > 0 if tensor_name is None else tensor_name in table


def type_before_parametrizations(module: Module) -> type:
    """The module's class as it was written."""
    return type(module).__bases__[0] if is_parametrized(module) else type(module)


def remove_parametrizations(module: Module, tensor_name: str, leave_parametrized: bool = True) -> Module:
    """Make a plain parameter or buffer again of a parametrized tensor; returns the module.

    Parameters
    ----------
    leave_parametrized : keep the value that the parametrizations give now; False keeps the original's, which is
        possible where there is only one.
    """
    if not is_parametrized(module, tensor_name):
        raise ValueError(f"{type(module).__name__} has no parametrized tensor {tensor_name!r}")
    steps = _table(module)[tensor_name]
    originals = steps._originals()
    kept = originals[0]
    if leave_parametrized:
        with no_grad():
            value = getattr(module, tensor_name).detach().array
        if steps.is_tensor:
            kept.data = np.array(value, order="K")  # the same object: optimizers hold it
        else:
            value = value.copy(order="K")
            kept = Parameter(value, kept.requires_grad) if isinstance(kept, Parameter) else from_numpy(value)
    elif not steps.is_tensor:
        raise ValueError("leave_parametrized=False needs a parametrization of a single tensor")
    table = _table(module)
    del table[tensor_name]
    delattr(type(module), tensor_name)
    if len(table) == 0:
        delattr(module, _TABLE)
        module.__class__ = type(module).__bases__[0]
    if isinstance(kept, Parameter):
        module.register_parameter(tensor_name, kept)
    else:
        module.register_buffer(tensor_name, kept)
    return module


__all__ = [
    "ParametrizationList",
    "cached",
    "is_parametrized",
    "register_parametrization",
    "remove_parametrizations",
    "type_before_parametrizations",
]
