"""What one call does, as the runtime tells it while the call runs."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from fastnn._runtime.capture import holder, made_inside
from fastnn._runtime.tensor import Window, calls_now, is_grad_enabled, older
from fastnn.compilation.guards import same
from fastnn.errors import CompileError

Array = np.ndarray[Any, Any]
ROOM = str(Path(__file__).parents[1])


def address_of(array: Array) -> int:
    """The address of an array's first element."""
    return int(array.__array_interface__["data"][0])


def extent_of(array: Array) -> tuple[int, int]:
    """The first byte that an array's elements take, and the one past the last."""
    low, high = np.lib.array_utils.byte_bounds(array) if array.size else (address_of(array),) * 2
    return int(low), int(high)


@dataclass
class Run:
    """A recipe that ran: its inputs (bytes for a number), where its storages lay (None: temporary), its cells."""

    recipe: Any
    inputs: list[Any]
    places: list[int | None]
    cells: list[float]


@dataclass
class Call:
    """A function of arrays that has no kernel; it must depend on them alone, in shape and dtype on nothing."""

    function: Callable[..., Any]
    inputs: list[Array | None]
    outputs: list[Array | None]


@dataclass
class Copy:
    """Elements of one array put into another."""

    target: Array
    source: Array


@dataclass
class Source:
    """Where the flags and cells of an optimizer's update come from."""

    optimizer: Any
    group: dict[str, Any]
    batch: Any
    static: dict[str, Any]


@dataclass
class Update:
    """A kernel over segments; without a source its cells are constants."""

    arrays: list[Array]
    table: list[int]
    chunks: list[int]
    width: int
    address: int
    flags: tuple[int, ...]
    cells: tuple[float, ...]
    work: int
    source: Source | None


@dataclass
class Norm:
    """The norm of all segments, which may scale them; `results` are arrays that hold it."""

    arrays: list[Array]
    table: list[int]
    chunks: list[int]
    width: int
    addresses: list[int]
    order: float
    limit: float
    scales: bool
    work: int
    results: list[Array] = field(default_factory=list)


class Recording:
    """Hears of everything that a call does in this thread.

    Parameters
    ----------
    arguments : the call's Tensors. Whatever else lies in their memory was there before the call.
    strict : raise CompileError where something cannot be recorded; else note the first such thing in `failure`, and
        let the call go on.
    """

    def __init__(self, arguments: Sequence[Any], strict: bool) -> None:
        self.arguments, self.strict = [t.array for t in arguments], strict
        self.given = {id(t): t for t in arguments}
        self.calls, self.grad_enabled = calls_now(), is_grad_enabled()
        self.failure: str | None = None
        self.steps: list[Run | Call | Copy | Update | Norm] = []
        self.blocks: dict[int, tuple[int, Any]] = {}  # by address: size, and what holds it
        self.computed: dict[int, Array] = {}  # arrays of NumPy's that have a place in the plan, by id
        self.produced: set[int] = set()  # addresses of blocks that hold something
        self.constants: list[tuple[Array, Array]] = []
        self.tensors: dict[int, Any] = {}
        self.gradients: dict[int, tuple[Any, Any, bool]] = {}  # a tensor, its gradient before, whether that counts
        self.written: set[int] = set()
        self.targets: dict[int, Array] = {}  # arrays that were written, by id
        self.switches: dict[int, tuple[Any, bool]] = {}  # tensors, and whether they required gradients before
        self.groups: dict[int, tuple[Any, dict[str, Any]]] = {}  # optimizers' groups, and what they held before
        self.optimizers: dict[int, Any] = {}
        self.touches: dict[int, Any] = {}
        self.modules: dict[int, Any] = {}
        self.draws: list[tuple[Any, tuple[float, float, float]]] = []
        self.schedules: list[Any] = []
        self.fresh = False  # whether an optimizer has begun its state, which no later call does
        self.updated_once: set[Any] = set()
        self._source: Source | None = None

    def refuse(self, why: str) -> None:
        """Say that the call cannot be recorded."""
        if self.strict:
            raise CompileError(why)
        if self.failure is None:
            self.failure = f"{why} (at {_place()})"

    # -- told by the runtime

    def made(self, address: int, nbytes: int, block: Any) -> None:
        """An array was made in pooled memory."""
        self.blocks[address] = max(1, nbytes), block

    def met(self, tensor: Any) -> None:
        """An op got a tensor."""
        self.tensors[id(tensor)] = tensor

    def ran(self, recipe: Any, inputs: list[Any], places: list[int | None], cells: list[float]) -> None:
        """A recipe has run its phases."""
        for given in inputs:
            if isinstance(given, np.ndarray):
                self.check(given)
        self.produced.update(place for place in places[len(inputs) :] if place is not None)
        self.steps.append(Run(recipe, inputs, places, cells))

    def referred(self, recipe: Any, inputs: list[Any], cells: tuple[float, ...], outputs: list[Any]) -> None:
        """A recipe has run its reference."""
        if any(place_of(draw, cells) is not None for _, draw in self.draws):
            self.refuse("random numbers without a kernel for them cannot be drawn anew by a replay")
        reference, extra = recipe.reference, (*recipe.attrs, *cells)
        self._computed(lambda *arrays: reference(*arrays, *extra), inputs, outputs)

    def applied(self, function: Any, gradients: Any, outputs: list[Any]) -> None:
        """A function has turned the gradient of a view, or a list of gradients, into those of its inputs."""
        given = gradients if isinstance(gradients, list) else [gradients]
        if not any(array is not None and self.is_new(array) for array in outputs):
            return
        if not is_pure(function):
            self.refuse("the gradient of a call that was given indices cannot be replayed yet")
            return
        single = not isinstance(gradients, list)
        self._computed(lambda *arrays: [function(arrays[0])] if single else function(list(arrays)), given, outputs)

    def constant(self, array: Array) -> None:
        """An array was made that holds the same in every call."""
        self.constants.append((array, array.copy()))
        self._has_place(array)

    def blank(self, array: Array) -> None:
        """An array was made that is to be written before it is read."""
        self._has_place(array)

    def copied(self, target: Array, source: Array) -> None:
        """Elements of `source` were put into `target`."""
        self.check(source)
        self.steps.append(Copy(target, source))
        self._has_place(target)
        self.wrote(target)

    def wrote(self, target: Array) -> None:
        """An op wrote into an array that was there before."""
        self.written.add(address_of(target))
        self.targets[id(target)] = target

    def touched(self, tensor: Any) -> None:
        """A tensor's elements were changed; by whom was told before, if it was an op."""
        place = address_of(tensor.array)
        if place not in self.written:
            self.refuse("a Tensor was changed in place by other means than fastnn's ops")
        self.written.discard(place)
        self.touches[id(tensor)] = tensor

    def rebound(self, tensor: Any) -> None:
        """A tensor gets another array."""
        if tensor.array.size:
            self.refuse("a Tensor was given another array (`data = ...`), which a replay would not do")

    def switched(self, tensor: Any) -> None:
        """It is set whether a tensor requires gradients."""
        self.switches.setdefault(id(tensor), (tensor, tensor.requires_grad))

    def grad_read(self, tensor: Any) -> None:
        """A tensor's gradient was looked at."""
        if id(tensor) not in self.gradients:
            self.gradients[id(tensor)] = tensor, None, True
            self.gradients[id(tensor)] = tensor, tensor.grad, True

    def grad_set(self, tensor: Any) -> None:
        """A tensor's gradient is replaced."""
        self.gradients.setdefault(id(tensor), (tensor, None, False))

    def updated(
        self, arrays: list[Array], tables: tuple[list[int], list[int], int], addresses: list[int],
        flags: tuple[int, ...], cells: tuple[float, ...], work: int,
    ) -> None:  # fmt: skip
        """A kernel ran over segments."""
        for array in arrays:
            self.check(array)
            self.wrote(array)
        table, chunks, width = tables
        source, self._source = self._source, None
        self.steps.append(Update(arrays, table, chunks, width, addresses[0], flags, cells, work, source))

    def measured(
        self, arrays: list[Array], tables: tuple[list[int], list[int], int], addresses: list[int], order: float,
        limit: float, scales: bool, work: int,
    ) -> None:  # fmt: skip
        """The norm of segments was taken."""
        for array in arrays:
            self.check(array)
            if scales:
                self.wrote(array)
        self.steps.append(Norm(arrays, *tables, addresses, order, limit, scales, work))

    # -- told by the layers above

    def norm_is(self, array: Array) -> None:
        """An array was made that holds the norm taken last."""
        last = self.steps[-1] if self.steps else None
        if not isinstance(last, Norm):
            self.refuse("a norm that has no kernel cannot be replayed")
            return
        last.results.append(array)
        self._has_place(array)

    def stepping(self, optimizer: Any) -> None:
        """An optimizer makes a step; perhaps no parameter has a gradient."""
        self.optimizers[id(optimizer)] = optimizer

    def regrouped(self, group: dict[str, Any]) -> None:
        """A hyper-parameter of an optimizer's group is about to be set."""
        self.groups.setdefault(id(group), (group, dict(group)))

    def seeded(self) -> None:
        """A generator is made or started anew."""
        self.refuse("a random generator was seeded during the call, which a replay would not do. Seed it before")

    def updating(self, optimizer: Any, group: dict[str, Any], batch: Any, static: dict[str, Any]) -> None:
        """An optimizer is about to update a batch of parameters."""
        self.fresh = self.fresh or batch.fresh
        if any(p in self.updated_once for p in batch.params):
            self.refuse("a parameter that is updated twice in a call cannot be replayed yet")
        self.updated_once.update(batch.params)
        if self.schedules:
            self.refuse("an optimizer's step() after a schedule's step() cannot be replayed in one go")
        self._source = Source(optimizer, group, batch, static)

    def scheduled(self, schedule: Any) -> None:
        """A learning-rate schedule has made a step."""
        self.schedules.append(schedule)

    def drew(self, generator: Any, cells: tuple[float, float, float]) -> None:
        """A generator has given a draw."""
        self.draws.append((generator, cells))

    def entered(self, module: Any) -> None:
        """A module is called."""
        self.modules[id(module)] = module

    def restructured(self, module: Any, name: str) -> None:
        """A module's attribute was set; modules that are made in the call are not called before."""
        if name != "training" and id(module) in self.modules:
            self.refuse(
                f"the attribute {name!r} of a {type(module).__name__} was set during the call, which a replay would "
                "not do. Keep what changes from call to call in a Tensor (a buffer) and change that in place"
            )

    def computed_by(self, function: Callable[..., Any], sources: Sequence[Array], made: Array) -> None:
        """An array was computed from others by a function of them alone."""
        self._computed(lambda *arrays: [function(*arrays)], list(sources), [made])

    def promoted(self, source: Array | None, made: Array) -> None:
        """An argument of an op was converted; without a source it is a Python number."""
        if source is None:
            self.constant(made)
        elif self.is_new(made):
            dtype = made.dtype
            self.computed_by(lambda array: array.astype(dtype), [source], made)

    def read(self, what: str) -> None:
        """A value was read on the host."""
        self.refuse(
            f"{what} reads a value while the call is recorded; a replay would not do so. Return the Tensor and read it "
            "outside of the compiled function"
        )

    # -- what is known

    def conclude(self) -> None:
        """Refuse what a replay would leave otherwise than the call did, now that it has ended."""
        if is_grad_enabled() != self.grad_enabled:
            self.refuse("gradients were switched on or off by the call, which a replay would not do. Use a with block")
        for tensor, before in self.switches.values():
            known = (
                tensor._base is None and not self.is_new(tensor.array) and address_of(tensor.array) not in self.blocks
            )
            if known and id(tensor) not in self.given and tensor.requires_grad != before:
                self.refuse("the call has left a Tensor whose requires_grad it had set, which a replay would not do")
        for group, former in self.groups.values():
            if group.keys() != former.keys() or not all(same(value, group[name]) for name, value in former.items()):
                self.refuse(
                    "a hyper-parameter of an optimizer was set during the call, which a replay would not do. Set it "
                    "between calls, or use a schedule of fastnn.optim.lr_scheduler"
                )

    def known_tensors(self) -> list[Any]:
        """Tensors that the call has met and that were there before it, but its arguments and views of them."""
        found = {id(t): t for own in self.tensors.values() for t in (own, own._base) if t is not None}
        for module in self.modules.values():
            found |= {id(t): t for t in (*module.parameters(), *module.buffers())}
        own = {id(array) for array in self.arguments}  # detached ones share the array itself
        return [
            t
            for t in found.values()
            if id(t.array) not in own
            and (t._base is None or id(t._base.array) not in own)
            and t.array.size
            and older(t, self.calls)
        ]

    def held_arguments(self) -> set[int]:
        """Places of arguments whose memory the call reaches by other ways as well."""
        others = [extent_of(t.array) for t in self.known_tensors()]
        for step in self.steps:
            if isinstance(step, Update):
                others += [extent_of(array) for array in step.arrays]
        own = [extent_of(array) for array in self.arguments]
        return {
            i for i, (low, high) in enumerate(own) if any(low < other[1] and other[0] < high for other in others)
        }  # fmt: skip

    def is_new(self, array: Array) -> bool:
        """Whether an array's memory is the call's, and was not filled by anything that has a place in the plan."""
        if array.size == 0:
            return False
        root = holder(array)
        if made_inside(array):
            return id(root) not in self.computed
        place = address_of(root)
        return place in self.blocks and place not in self.produced

    def _has_place(self, array: Array) -> None:
        root = holder(array)
        self.produced.add(address_of(root))
        if made_inside(array):
            self.computed[id(root)] = root

    def check(self, array: Array) -> None:
        """Refuse an array that a replay could not compute."""
        if self.is_new(array):
            self.refuse(
                f"an array of shape {array.shape} that was computed in NumPy, or from Python numbers, during the call "
                "reaches an op: a replay would use the same numbers for ever. Pass it as an argument, make it before "
                "the call, or compute it with fastnn's functions"
            )

    def _computed(self, function: Callable[..., Any], inputs: list[Any], outputs: list[Any]) -> None:
        for array in inputs:
            if isinstance(array, np.ndarray):
                self.check(array)
        new = [array if array is not None and self.is_new(array) else None for array in outputs]
        self.steps.append(Call(function, inputs, new))
        for array in new:
            if array is not None:
                self._has_place(array)


_PLAIN = (int, float, complex, str, bytes, bool, type(None), slice, type(Ellipsis), np.dtype, type, Window, np.generic)


def is_pure(function: Any, depth: int = 0) -> bool:
    """Whether a function holds nothing but plain values, so that its result depends on its arguments alone."""
    if depth > 8:
        return False
    if isinstance(function, partial):
        held = [function.func, *function.args, *function.keywords.values()]
    elif isinstance(function, types.FunctionType):
        held = [cell.cell_contents for cell in function.__closure__ or ()] + list(function.__defaults__ or ())
    elif isinstance(function, (tuple, list)):
        held = list(function)
    elif isinstance(function, dict):
        held = [*function.keys(), *function.values()]
    else:
        return isinstance(function, (*_PLAIN, types.BuiltinFunctionType, np.ufunc, types.ModuleType)) or _is_compiled(
            function
        )
    return all(is_pure(value, depth + 1) for value in held)


def _is_compiled(function: Any) -> bool:
    """Whether a function is one of the runtime's own."""
    return type(function).__name__ in ("cython_function_or_method", "builtin_function_or_method")


def place_of(draw: tuple[float, float, float], cells: Sequence[float]) -> int | None:
    """Where among cells a draw stands."""
    for first in range(len(cells) - 2):
        if tuple(cells[first : first + 3]) == draw:
            return first
    return None


def _place() -> str:
    """The line of the user's that is being run."""
    frame: Any = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(ROOM):
        frame = frame.f_back
    return "an unknown place" if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno}"


__all__ = [
    "Call", "Copy", "Norm", "Recording", "Run", "Source", "Update", "address_of", "extent_of", "is_pure", "place_of"
]  # fmt: skip
