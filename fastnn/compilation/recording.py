"""What one call does, as the runtime tells it while the call runs."""

from __future__ import annotations

import bisect
import math
import sys
import types
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fastnn._runtime.capture import address_of, extent_of, holder, made_inside
from fastnn._runtime.tensor import TensorBase, Window, calls_now, is_grad_enabled, older
from fastnn.compilation.guards import same
from fastnn.errors import CompileError
from fastnn.ops.lowering import Operand

Array = np.ndarray[Any, Any]
ROOM = str(Path(__file__).parents[1])


@dataclass(eq=False)
class Buffer:
    """A stretch of memory of a call.

    Memory that is freed and handed out again in the same call is another buffer then.

    Attributes
    ----------
    low, nbytes : where it lay while the call was recorded.
    origin : what a slot's address stands for there: the first element, where strides may be negative.
    kind : "argument", "made" in the call, "constant", or a gradient that was "found".
    produced : whether something that has a place in the plan wrote to it.
    slot : where it may lie elsewhere in each call; -1 otherwise.
    address : where it lies in the plan, if it has no slot.
    first, last : the phases that need it, and what Python does between phases counts as one.
    """

    low: int
    nbytes: int
    kind: str
    produced: bool = False
    slot: int = -1
    address: int = 0
    first: int = 1 << 60
    last: int = -1
    origin: int = 0

    def __post_init__(self) -> None:
        self.origin = self.origin or self.low

    @property
    def high(self) -> int:
        """The first address past it."""
        return self.low + self.nbytes


class Place(NamedTuple):
    """An address of a recording: in a buffer, or (None, and the address itself) in memory that was there before."""

    buffer: Buffer | None
    offset: int


class Spot(NamedTuple):
    """Where an array lay.

    Attributes
    ----------
    outside : the array itself, if its memory was there before; what the call makes, it may free.
    """

    place: Place
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: Any
    outside: Array | None

    @property
    def nbytes(self) -> int:
        """Bytes of the elements."""
        return int(math.prod(self.shape) * self.dtype.itemsize)


class Step:
    """Something that a call did.

    Attributes
    ----------
    written : where it wrote, but temporaries; what Python computes is always new.
    places : where it read or wrote; of a `Run` its storages tell.
    """

    written: list[Place]
    places: list[Place]


@dataclass(eq=False)
class Run(Step):
    """A recipe that ran: its inputs (bytes for a number), where its storages lay (None: temporary), its cells.

    Attributes
    ----------
    phases : checks, and what comes after them.
    uses : of each storage the first and the last of these phases that need it.
    """

    recipe: Any
    inputs: list[Spot | bytes | None]
    storages: list[Place | None]
    cells: list[float]

    def __post_init__(self) -> None:
        lowering = self.recipe.lowering
        self.phases = [*lowering.checks, *lowering.phases]
        # a check that fails shows all inputs
        self.uses = {i: (0, len(lowering.checks) - 1) for i in range(len(self.inputs) if lowering.checks else 0)}
        written = set()
        for number, phase in enumerate(self.phases):
            for argument in phase.args:
                if isinstance(argument, Operand):
                    storage = argument.array.storage
                    first, _ = self.uses.get(storage, (number, number))
                    self.uses[storage] = first, number
                    if argument.mode != "r":
                        written.add(storage)
        self.written = [place for storage in written if (place := self.storages[storage]) is not None]


@dataclass(eq=False)
class Call(Step):
    """A function of arrays that has no kernel; it must depend on them alone, in shape and dtype on nothing."""

    function: Callable[..., Any]
    inputs: list[Spot | None]
    outputs: list[Spot | None]

    def __post_init__(self) -> None:
        self.places = [spot.place for spot in (*self.inputs, *self.outputs) if spot is not None]
        self.written = []


@dataclass(eq=False)
class Copy(Step):
    """Elements of one array put into another."""

    target: Spot
    source: Spot

    def __post_init__(self) -> None:
        self.places = [self.target.place, self.source.place]
        self.written = [self.target.place]


@dataclass
class Source:
    """Where the flags and cells of an optimizer's update come from."""

    optimizer: Any
    group: dict[str, Any]
    batch: Any
    static: dict[str, Any]


@dataclass
class Weight:
    """Where the only cell of an average comes from."""

    read: Callable[[], float]


@dataclass(eq=False)
class Segments(Step):
    """A kernel over segments: of each all columns, and how the chunks divide them."""

    columns: list[Spot]
    lengths: list[int]
    chunks: list[int]
    work: int

    def __post_init__(self) -> None:
        self.places = [spot.place for spot in self.columns]
        self.written = list(self.places)

    @property
    def width(self) -> int:
        """The number of columns."""
        return len(self.columns) // max(1, len(self.lengths))


@dataclass(eq=False)
class Update(Segments):
    """A kernel that changes segments; without a source its cells are constants."""

    address: int
    flags: tuple[int, ...]
    cells: tuple[float, ...]
    source: Source | Weight | None


@dataclass(eq=False)
class Norm(Segments):
    """The norm of all segments, which may scale them; `results` are arrays that hold it."""

    addresses: list[int]
    order: float
    limit: float
    scales: bool

    def __post_init__(self) -> None:
        super().__post_init__()
        self.results: list[Spot] = []


class Memory:
    """What the recorded call has made and not freed yet, by address.

    Buffers are told of the death of what holds their memory, whichever thread it dies in; until the list of the dead is
    looked at, nobody can have got their memory anew: `opened` looks first.
    """

    def __init__(self) -> None:
        self.buffers: list[Buffer] = []  # all that there were
        self._dead: list[_Holder] = []
        self._alive: dict[int, _Holder] = {}
        self._lows: list[int] = []

    def opened(self, low: int, nbytes: int, holder: Any) -> Buffer:
        """A new buffer, which lives as long as what holds its memory."""
        self._bury()
        buffer = Buffer(low, max(1, nbytes), "made")
        bisect.insort(self._lows, low)
        self._alive[low] = alive = _Holder(holder, self._dead.append)
        alive.buffer = buffer
        self.buffers.append(buffer)
        return buffer

    def at(self, address: int) -> Buffer | None:
        """The buffer that holds an address now."""
        self._bury()
        i = bisect.bisect_right(self._lows, address) - 1
        found = self._alive[self._lows[i]].buffer if i >= 0 else None
        return found if found is not None and address < found.high else None

    def place(self, address: int) -> Place:
        """An address, in what holds it now."""
        buffer = self.at(address)
        return Place(None, address) if buffer is None else Place(buffer, address - buffer.low)

    def spot(self, array: Array) -> Spot:
        """Where an array lies."""
        place = self.place(address_of(array))
        return Spot(place, array.shape, array.strides, array.dtype, array if place.buffer is None else None)

    def _bury(self) -> None:
        while self._dead:
            low = self._dead.pop().buffer.low
            del self._alive[low]
            del self._lows[bisect.bisect_left(self._lows, low)]


class _Holder(weakref.ref[Any]):
    """Refers to what holds a buffer's memory."""

    __slots__ = ("buffer",)
    buffer: Buffer


class Recording:
    """Hears of everything that a call does in this thread.

    Of what the call makes itself nothing is held, so that the call frees it as it would without being recorded.

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
        self.memory = Memory()  # of what was made and has a place in the plan
        self.constants: list[tuple[Spot, Array]] = []  # with what they hold
        self.tensors: dict[int, Any] = {}
        self.gradients: dict[int, tuple[Any, Any, bool]] = {}  # a tensor, its gradient before, whether that counts
        self.written: set[Place] = set()
        self.targets: dict[int, Array] = {}  # arrays of before that were written, by id
        self.switches: dict[int, tuple[Any, bool]] = {}  # tensors, and whether they required gradients before
        self.groups: dict[int, tuple[Any, dict[str, Any]]] = {}  # optimizers' groups, and what they held before
        self.optimizers: dict[int, Any] = {}
        self.touches: dict[int, Any] = {}
        self.modules: dict[int, Any] = {}
        self.draws: list[tuple[Any, tuple[float, float, float]]] = []
        self.schedules: list[Any] = []
        self.conditions: list[Callable[[], bool]] = []  # what must be true before the call
        self.counts: set[int] = set()
        self.fresh = False  # whether an optimizer or an average has begun its state, which no later call does
        self.updated_once: set[Any] = set()
        self._source: Source | Weight | None = None

    def refuse(self, why: str) -> None:
        """Say that the call cannot be recorded."""
        if self.strict:
            raise CompileError(why)
        if self.failure is None:
            self.failure = f"{why} (at {_place()})"

    # -- told by the runtime

    def made(self, address: int, nbytes: int, block: Any) -> None:
        """An array was made in pooled memory."""
        self.memory.opened(address, nbytes, block)

    def met(self, tensor: Any) -> None:
        """An op got a tensor."""
        if self._is_outside(tensor):
            self.tensors[id(tensor)] = tensor

    def ran(self, recipe: Any, inputs: list[Any], places: list[int | None], cells: list[float]) -> None:
        """A recipe has run its phases."""
        for given in inputs:
            if isinstance(given, np.ndarray):
                self.check(given)
        storages = [None if place is None else self.memory.place(place) for place in places]
        for storage in storages[len(inputs) :]:
            if storage is not None and storage.buffer is not None:
                storage.buffer.produced = True
        spots = [self.memory.spot(given) if isinstance(given, np.ndarray) else given for given in inputs]
        self.steps.append(Run(recipe, spots, storages, cells))

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

    def constant(self, array: Array, content: Array | None = None) -> None:
        """An array was made that holds the same in every call: `content`, or what it holds now."""
        self._has_place(array)
        spot = self.memory.spot(array)
        if spot.place.buffer is not None:
            spot.place.buffer.kind = "constant"
            self.constants.append((spot, array.copy() if content is None else content))

    def blank(self, array: Array) -> None:
        """An array was made that is to be written before it is read."""
        self._has_place(array)

    def copied(self, target: Array, source: Array) -> None:
        """Elements of `source` were put into `target`."""
        self.check(source)
        self._has_place(target)
        self.steps.append(Copy(self.memory.spot(target), self.memory.spot(source)))
        self.wrote(target)

    def wrote(self, target: Array) -> None:
        """An op wrote into an array that was there before."""
        place = self.memory.place(address_of(target))
        self.written.add(place)
        if place.buffer is None:
            self.targets[id(target)] = target

    def touched(self, tensor: Any) -> None:
        """A tensor's elements were changed; by whom was told before, if it was an op."""
        place = self.memory.place(address_of(tensor.array))
        if place not in self.written:
            self.refuse("a Tensor was changed in place by other means than fastnn's ops")
        self.written.discard(place)
        if place.buffer is None:
            self.touches[id(tensor)] = tensor

    def rebound(self, tensor: Any) -> None:
        """A tensor gets another array."""
        if tensor.array.size:
            self.refuse("a Tensor was given another array (`data = ...`), which a replay would not do")

    def switched(self, tensor: Any) -> None:
        """It is set whether a tensor requires gradients."""
        if tensor._base is None and self._is_outside(tensor) and not self.is_new(tensor.array):
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
        source, self._source = self._source, None
        self.steps.append(Update(*self._segments(arrays, tables), work, addresses[0], flags, cells, source))

    def measured(
        self, arrays: list[Array], tables: tuple[list[int], list[int], int], addresses: list[int], order: float,
        limit: float, scales: bool, work: int,
    ) -> None:  # fmt: skip
        """The norm of segments was taken."""
        for array in arrays:
            self.check(array)
            if scales:
                self.wrote(array)
        self.steps.append(Norm(*self._segments(arrays, tables), work, addresses, order, limit, scales))

    # -- told by the layers above

    def norm_is(self, array: Array) -> None:
        """An array was made that holds the norm taken last."""
        last = self.steps[-1] if self.steps else None
        if not isinstance(last, Norm):
            self.refuse("a norm that has no kernel cannot be replayed")
            return
        self._has_place(array)
        spot = self.memory.spot(array)
        last.results.append(spot)
        last.places.append(spot.place)

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

    def rereading(self, weight: Callable[[], float]) -> None:
        """An average is about to be taken, with a weight that a later call reads anew."""
        self._source = Weight(weight)

    def averaging(self, count: Any, begun: Callable[[], bool]) -> None:
        """An average over calls takes in what there is; `begun` tells whether it has taken in anything before."""
        if id(count) in self.counts:
            self.refuse("an average that is updated twice in a call cannot be replayed")
        self.counts.add(id(count))
        self.fresh = self.fresh or not begun()
        self.conditions.append(begun)

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
            if id(tensor) not in self.given and tensor.requires_grad != before:
                self.refuse("the call has left a Tensor whose requires_grad it had set, which a replay would not do")
        groups = [group for optimizer in self.optimizers.values() for group in optimizer.param_groups]
        values = [value for group in groups for name, value in group.items() if name != "params"]
        rates = [rate for value in values for rate in (value if isinstance(value, (list, tuple)) else (value,))]
        if any(isinstance(rate, TensorBase) and self._changed(rate) for rate in rates):
            self.refuse(
                "a Tensor that is a hyper-parameter of an optimizer was made or changed during the call, but a replay "
                "reads it before it begins. Change it between calls, or use a schedule of fastnn.optim.lr_scheduler"
            )
        for group, former in self.groups.values():
            if group.keys() != former.keys() or not all(same(value, group[name]) for name, value in former.items()):
                self.refuse(
                    "a hyper-parameter of an optimizer was set during the call, which a replay would not do. Set it "
                    "between calls, or use a schedule of fastnn.optim.lr_scheduler"
                )

    def _changed(self, tensor: Any) -> bool:
        """Whether a Tensor was made by the call, or something in its memory was written."""
        if self.is_new(tensor.array) or not self._is_outside(tensor):
            return True
        low, high = extent_of(tensor.array)
        return any(low < other[1] and other[0] < high for other in map(extent_of, self.targets.values()))

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
                others += [extent_of(spot.outside) for spot in step.columns if spot.outside is not None]
        own = [extent_of(array) for array in self.arguments]
        return {
            i for i, (low, high) in enumerate(own) if any(low < other[1] and other[0] < high for other in others)
        }  # fmt: skip

    def is_new(self, array: Array) -> bool:
        """Whether an array's memory is the call's, and was not filled by anything that has a place in the plan."""
        if array.size == 0:
            return False
        found = self.memory.at(address_of(holder(array)))
        if made_inside(array):
            return found is None
        return found is not None and not found.produced

    def _is_outside(self, tensor: Any) -> bool:
        """Whether a tensor's memory was there before the call, or was made in ways that have no place in the plan."""
        return self.memory.at(address_of(tensor.array)) is None

    def _has_place(self, array: Array) -> None:
        root = holder(array)
        found = self.memory.at(address_of(root))
        if found is None and made_inside(array):
            low, high = extent_of(root)
            found = self.memory.opened(low, high - low, root)
        if found is not None:
            found.produced = True

    def _segments(
        self, arrays: list[Array], tables: tuple[list[int], list[int], int]
    ) -> tuple[list[Spot], list[int], list[int]]:
        """Where the columns of segments lie, the segments' lengths, and their chunks."""
        table, chunks, width = tables
        return [self.memory.spot(array) for array in arrays], table[width :: width + 1], chunks

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
        for array in new:
            if array is not None:
                self._has_place(array)
        spots = [[None if a is None else self.memory.spot(a) for a in arrays] for arrays in (inputs, new)]
        self.steps.append(Call(function, *spots))


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
    "Buffer", "Call", "Copy", "Norm", "Place", "Recording", "Run", "Source", "Spot", "Step", "Update", "Weight",
    "is_pure", "place_of",
]  # fmt: skip
