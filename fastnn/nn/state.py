"""State of modules: ``state_dict`` and ``load_state_dict``."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastnn._runtime.tensor import TensorBase
from fastnn.nn.hooks import HookHandle, add_hook
from fastnn.nn.parameter import Parameter, UninitializedBuffer, UninitializedParameter
from fastnn.tensor import Tensor, as_tensor

if TYPE_CHECKING:
    from fastnn.nn.registry import Registry

EXTRA = "_extra_state"


class LoadResult(NamedTuple):
    """Keys that `load_state_dict` did not find, and keys that it had no use for."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return f"LoadResult(missing_keys={self.missing_keys}, unexpected_keys={self.unexpected_keys})"


class Loading(OrderedDict[str, Any]):
    """A state dict on its way into a module, with the writes to make when all of it has been checked."""

    writes: list[Callable[[], None]]


def _values(key: str, value: Any) -> np.ndarray:
    """What a state dict holds under `key`, as an array."""
    if isinstance(value, TensorBase):
        return value.array
    if not isinstance(value, np.ndarray) and hasattr(value, "detach"):  # another library's tensor
        value = value.detach()
        if "bfloat16" in str(getattr(value, "dtype", "")):
            value = value.float()  # exact, and NumPy has no such type
    array = np.asarray(value)
    if array.dtype.kind not in "biufc":
        raise TypeError(f"{key} must hold numbers, got {type(value).__name__} of dtype {array.dtype}")
    return array


def _first_names(state: Mapping[str, Any], prefix: str) -> dict[str, Loading]:
    """The entries below `prefix`, sorted by the name that follows it."""
    groups: dict[str, Loading] = {}
    for key, value in state.items():
        if key.startswith(prefix):
            groups.setdefault(key[len(prefix) :].partition(".")[0], Loading())[key] = value
    return groups


class ModuleState:
    """What `Module` inherits: its state as a flat mapping of dotted names to Tensors, and back."""

    _parameters: Registry
    _buffers: Registry
    _modules: Registry
    _non_persistent_buffers_set: set[str]
    _state_dict_hooks: OrderedDict[int, Any]
    _state_dict_pre_hooks: OrderedDict[int, Any]
    _load_state_dict_pre_hooks: OrderedDict[int, Any]
    _load_state_dict_post_hooks: OrderedDict[int, Any]
    _version: int = 1

    # -- saving

    def state_dict(
        self,
        *args: Any,
        destination: Any = None,
        prefix: str = "",
        keep_vars: bool = False,
    ) -> OrderedDict[str, Any]:
        """Parameters and persistent buffers by dotted name, with torch's keys and shapes; they share memory.

        Parameters
        ----------
        destination : a mapping to fill; a new OrderedDict by default.
        prefix : what every key begins with.
        keep_vars : give the Parameters and buffers themselves rather than detached views.
        """
        if args:  # torch's older form
            destination = args[0]
            prefix = args[1] if len(args) > 1 else prefix
            keep_vars = args[2] if len(args) > 2 else keep_vars
        if destination is None:
            destination = OrderedDict()
            destination._metadata = OrderedDict()
        metadata = {"version": self._version}
        if hasattr(destination, "_metadata"):
            destination._metadata[prefix[:-1]] = metadata
        for hook in tuple(self._state_dict_pre_hooks.values()):
            hook(self, prefix, keep_vars)
        self._save_to_state_dict(destination, prefix, keep_vars)
        for name, module in self._modules.items():
            if module is not None:
                module.state_dict(destination=destination, prefix=f"{prefix}{name}.", keep_vars=keep_vars)
        for key, hook in tuple(self._state_dict_hooks.items()):
            changed = hook(self, destination, prefix, metadata)
            if changed is None:
                continue
            if getattr(key, "with_kwargs", False):  # a public hook, which changes the mapping in place
                raise RuntimeError("a state_dict post-hook must return None")
            destination = changed
        return destination

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        """Put this module's own parameters and buffers, not those below, into `destination`."""
        for name, member in self._parameters.items():
            if member is not None:
                destination[prefix + name] = member if keep_vars else member.detach()
        for name, member in self._buffers.items():
            if member is not None and name not in self._non_persistent_buffers_set:
                destination[prefix + name] = member if keep_vars else member.detach()
        if type(self).get_extra_state is not ModuleState.get_extra_state:
            destination[prefix + EXTRA] = self.get_extra_state()

    def get_extra_state(self) -> Any:
        """What belongs into ``state_dict`` beside Tensors; a subclass that has such a thing defines this."""
        raise NotImplementedError(f"{type(self).__name__} defines no get_extra_state")

    def set_extra_state(self, state: Any) -> None:
        """Take over what `get_extra_state` gave; a subclass that defines one defines both."""
        raise NotImplementedError(f"{type(self).__name__} defines no set_extra_state")

    # -- loading

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> LoadResult:
        """Copy values into parameters and buffers by name.

        Nothing is written unless everything fits: with `strict` the keys must be the module's own, and every shape
        must agree. (Where hooks follow the loading, they see the values, so those are written before keys are judged.)

        Parameters
        ----------
        state_dict : Tensors, arrays, or another library's tensors on the CPU, by dotted name.
        strict : whether missing and unexpected keys are an error.
        assign : take over the Tensors of `state_dict`, their dtype included, in place of copying the values.

        Raises
        ------
        RuntimeError : keys missing or unexpected (with `strict`), or values that do not fit; it names all of them.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"load_state_dict: expected a mapping, got {type(state_dict).__name__}")
        for key in state_dict:
            if not isinstance(key, str):
                raise TypeError(f"load_state_dict: keys must be names, got {key!r}")
        missing: list[str] = []
        unexpected: list[str] = []
        errors: list[str] = []
        metadata = getattr(state_dict, "_metadata", None) or {}
        writes: list[Callable[[], None]] = []
        after: list[Callable[[], None]] = []
        whole = Loading(state_dict)

        def load(module: Any, state: Loading, prefix: str) -> None:
            state.writes = writes
            local = dict(metadata.get(prefix[:-1], {}))
            if assign:
                local["assign_to_params_buffers"] = True
            module._load_from_state_dict(state, prefix, local, True, missing, unexpected, errors)
            below = _first_names(state, prefix)
            for name, child in module._modules.items():
                if child is not None:
                    # names with dots of their own do not exist: the first name decides
                    load(child, below.get(name, Loading()), f"{prefix}{name}.")
            result = LoadResult(missing, unexpected)
            after.extend(
                partial(_post_hook, hook, module, result) for hook in module._load_state_dict_post_hooks.values()
            )

        load(self, whole, "")
        if after and not errors:
            for step in (*writes, *after):
                step()
            writes = []
        if strict:
            for what, keys in (("Unexpected", unexpected), ("Missing", missing)):
                if keys:
                    errors.insert(0, f"{what} key(s) in state_dict: {', '.join(map(_quoted, keys))}. ")
        if errors:
            raise RuntimeError("\n\t".join([f"Error(s) in loading state_dict for {type(self).__name__}:", *errors]))
        for step in writes:
            step()
        return LoadResult(missing, unexpected)

    def _load_from_state_dict(
        self,
        state_dict: Any,
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Load this module's own entries, those under `prefix`; problems are added to the lists.

        A subclass may extend this to take older states. Values are written when all modules' have been checked.
        """
        for hook in tuple(self._load_state_dict_pre_hooks.values()):
            hook(state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs)
        assign = local_metadata.get("assign_to_params_buffers", False)
        writes: list[Callable[[], None]] = []
        buffers = {k: v for k, v in self._buffers.items() if k not in self._non_persistent_buffers_set}
        own = {name: member for name, member in {**self._parameters, **buffers}.items() if member is not None}
        for name, member in own.items():
            key = prefix + name
            if key in state_dict:
                try:
                    writes.append(self._loader(name, member, key, state_dict[key], assign))
                except (TypeError, ValueError) as error:
                    error_msgs.append(str(error))
            elif strict:
                missing_keys.append(key)
        extra = prefix + EXTRA
        if type(self).set_extra_state is not ModuleState.set_extra_state:
            if extra in state_dict:
                state = state_dict[extra]
                writes.append(lambda: self.set_extra_state(state))
            elif strict:
                missing_keys.append(extra)
        elif strict and extra in state_dict:
            unexpected_keys.append(extra)
        if strict:
            for key in state_dict:
                if key.startswith(prefix) and key != extra:
                    name, dot, _ = key[len(prefix) :].partition(".")
                    if name not in (self._modules if dot else own):
                        unexpected_keys.append(key)
        later = getattr(state_dict, "writes", None)
        if later is not None:
            later.extend(writes)
            return
        for write in writes:
            write()

    def _loader(self, name: str, member: Tensor, key: str, value: Any, assign: bool) -> Callable[[], None]:
        """The write of one entry, checked."""
        array = _values(key, value)
        if isinstance(member, (UninitializedParameter, UninitializedBuffer)):
            lazy = member

            def make() -> None:
                lazy.materialize(array.shape, transposed=array.ndim == 2)
                np.copyto(lazy.array, array, casting="unsafe")

            return make
        if member.shape == () and array.shape == (1,):
            array = array.reshape(())
        if array.shape != member.shape:
            raise ValueError(
                f"size mismatch for {key}: copying a param with shape {array.shape} from checkpoint, "
                f"the shape in current model is {member.shape}."
            )
        if assign:
            made: Tensor = value if isinstance(value, Tensor) and value.shape == member.shape else as_tensor(array)
            trained = member.requires_grad
            if isinstance(member, Parameter) and not isinstance(made, Parameter):
                made = Parameter(made, trained)
            return lambda: setattr(self, name, made.requires_grad_(trained))
        if not member.array.flags.writeable:
            raise ValueError(f"{key} is read-only")
        if array.dtype.kind == "c" and member.dtype.kind != "c":
            raise TypeError(f"{key} must hold real numbers, got dtype {array.dtype}")

        def write() -> None:
            np.copyto(member.array, array, casting="unsafe")
            member._touch()

        return write

    # -- hooks

    def register_state_dict_pre_hook(self, hook: Callable[..., Any]) -> HookHandle:
        """Call ``hook(module, prefix, keep_vars)`` before ``state_dict`` collects."""
        return add_hook(self._state_dict_pre_hooks, hook)

    def register_state_dict_post_hook(self, hook: Callable[..., Any]) -> HookHandle:
        """Call ``hook(module, state_dict, prefix, local_metadata)`` after ``state_dict`` has collected."""
        return add_hook(self._state_dict_hooks, hook, with_kwargs=True)

    def _register_state_dict_hook(self, hook: Callable[..., Any]) -> HookHandle:
        """As `register_state_dict_post_hook`, but what the hook returns replaces the state dict."""
        return add_hook(self._state_dict_hooks, hook)

    def register_load_state_dict_pre_hook(self, hook: Callable[..., Any]) -> HookHandle:
        """Call `hook` with the module and the arguments of `_load_from_state_dict` before entries are loaded."""
        return self._register_load_state_dict_pre_hook(hook, with_module=True)

    def _register_load_state_dict_pre_hook(self, hook: Callable[..., Any], with_module: bool = False) -> HookHandle:
        return add_hook(self._load_state_dict_pre_hooks, _WithModule(hook, self) if with_module else hook)

    def register_load_state_dict_post_hook(self, hook: Callable[..., Any]) -> HookHandle:
        """Call ``hook(module, incompatible_keys)`` after loading; it may change the lists of keys."""
        return add_hook(self._load_state_dict_post_hooks, hook)


class _WithModule:
    """A hook that is called with its module first; a class, so that modules can be pickled and copied with it."""

    def __init__(self, hook: Callable[..., Any], module: Any) -> None:
        if not callable(hook):
            raise TypeError(f"a hook must be callable, got {type(hook).__name__}")
        self.hook, self.module = hook, module

    def __call__(self, *args: Any) -> Any:
        return self.hook(self.module, *args)


def _post_hook(hook: Callable[..., Any], module: Any, result: LoadResult) -> None:
    if hook(module, result) is not None:
        raise RuntimeError("a load_state_dict post-hook must return None; it may change the lists in place")


def _quoted(key: str) -> str:
    return f'"{key}"'


__all__ = ["LoadResult", "ModuleState"]
