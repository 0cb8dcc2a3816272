"""From a recording to a plan: where every buffer lies, what may move from call to call, what surrounds the phases."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterable, Sequence, Set
from typing import Any

import numpy as np

from fastnn._kernels import jit
from fastnn._runtime.capture import address_of, extent_of
from fastnn._runtime.memory import empty, trim
from fastnn._runtime.plan import Plan, View, fixed
from fastnn._runtime.segments import same_items
from fastnn.compilation.arena import Life, pack, rounded
from fastnn.compilation.recording import (
    Array,
    Buffer,
    Call,
    Copy,
    Norm,
    Place,
    Recording,
    Run,
    Segments,
    Source,
    Spot,
    Update,
    Weight,
    place_of,
)
from fastnn.compilation.report import Part, Report, Row
from fastnn.ops.lowering import Cell, Operand, Routine
from fastnn.random import Generator, default_generator

# Work, in estimated nanoseconds, after which a replay looks for signals.
POLL = 20_000_000
# Bytes of an arena from which what the recorded call has freed goes back to the system first: it takes a millisecond.
TRIM_FROM = 1 << 20


class Membership:
    """Notices before a replay that an optimizer has other groups or hooks, or a group other parameters."""

    first = 0
    batch = stretch = None

    def __init__(self, optimizer: Any) -> None:
        self.optimizer = optimizer
        self.hooks = optimizer._step_hooks()
        self.groups = [(group, group["params"], tuple(group["params"])) for group in optimizer.param_groups]

    def prepare(self) -> tuple[float, ...] | None:
        """No cells; None where the groups, or the hooks around a step, are not those of the recorded call."""
        groups = self.optimizer.param_groups
        if len(groups) != len(self.groups) or self.optimizer._step_hooks() != self.hooks:
            return None
        for group, (known, params, members) in zip(groups, self.groups, strict=True):
            if group is not known or group["params"] is not params or not same_items(params, members):
                return None
        return ()


class Condition:
    """Something that must be true before a replay."""

    first = 0
    batch = stretch = None

    def __init__(self, holds: Callable[[], bool]) -> None:
        self.holds = holds

    def prepare(self) -> tuple[float, ...] | None:
        """No cells; None where it is not."""
        return () if self.holds() else None


class PreparedWeight:
    """Reads the weight of an average before a replay."""

    batch = stretch = None

    def __init__(self, read: Callable[[], float], first: int) -> None:
        self.read, self.first = read, first

    def prepare(self) -> tuple[float, ...]:
        """The cell."""
        return (self.read(),)


class PreparedUpdate:
    """Reads an optimizer's hyper-parameters before a replay.

    Attributes
    ----------
    batch, after : what is to be finished with these values, once the stretch of phases with the number `stretch` has
        run: the count of steps is written, and the parameters are marked as changed.
    """

    def __init__(self, source: Source, flags: tuple[int, ...], first: int, stretch: int) -> None:
        self.source, self.flags, self.first, self.stretch = source, flags, first, stretch
        self.batch = source.batch
        optimizer = source.optimizer
        self.states = optimizer.rule.columns_for(source.static)[2:]
        self.scalars = optimizer._scalars
        self.after: tuple[float, ...] = ()

    def prepare(self) -> tuple[float, ...] | None:
        """The cells of the next step; None where the recorded one does not serve."""
        source = self.source
        optimizer, group = source.optimizer, source.group
        if optimizer._static(group) != source.static:
            return None
        scalars = self.batch.reread(optimizer.state, self.scalars, self.states)
        if scalars is None:
            return None
        flags, cells, self.after = optimizer._numbers(group, False, *scalars)
        return cells if flags == self.flags else None


class Builder:
    """Turns a recording into a plan.

    Parameters
    ----------
    recording : of a call that went well.
    results : the arrays that the call returned.
    guard : function that tells whether modules are as they were.
    generator : what replays draw from where the recorded call drew from the default generator.
    bound : places of arguments that are the same arrays in every replay.
    """

    def __init__(
        self, recording: Recording, results: Sequence[Array], guard: Callable[[], bool],
        generator: Generator | None = None, bound: Set[int] = frozenset(),
    ) -> None:  # fmt: skip
        self.bound = bound
        self.recording, self.results, self.guard = recording, list(results), guard
        self.steps = recording.steps
        self.buffers: list[Buffer] = []
        self.keep: list[Any] = []
        self.cells: list[float] = []
        self.draws: list[tuple[Any, list[int]]] = [
            (own if generator is None or own is not default_generator else generator, []) for own, _ in recording.draws
        ]
        self.phases: list[tuple[int, list[Any], int, int]] = []
        self.tables: list[tuple[Array, list[tuple[int, int, int]]]] = []
        self.stretches: list[tuple[int, int, Any, list[Any]]] = []
        self.updates: list[Condition | Membership | PreparedUpdate | PreparedWeight] = [
            *map(Membership, recording.optimizers.values()), *map(Condition, recording.conditions)
        ]  # fmt: skip
        self._writes = False  # whether parameters are being changed: from then on a replay is not broken off
        self.rows: list[Row] = []
        self.names: dict[int, str] = {}  # of memory that was there before the call, by address
        self.slot_names: dict[int, str] = {}
        self._unpolled = 0

    def build(self) -> Plan:
        """The plan."""
        self._find_buffers()
        self._find_lives()
        entries = self._entries()
        grads, dropped = self._gradients()
        results, result_bytes = self._results(grads)
        n_args, n_grads = len(self.recording.arguments), len(grads)
        first_grad = n_args + len(result_bytes)
        first_entry = first_grad + n_grads
        for i, (_, buffer) in enumerate(grads):
            buffer.slot = first_grad + i
        found = [buffer for buffer in self.buffers if buffer.kind == "found"]
        for i, buffer in enumerate(found):
            buffer.slot = first_entry + i
        known = self.recording.known_tensors()
        self._parameters = {address_of(t.array) for t in known if t.requires_grad and t.is_leaf}
        arena_bytes = self._allocate()
        self._name_slots(grads, found)
        for i, step in enumerate(self.steps):
            self._lower(i, step)
        if len(self.phases) > (self.stretches[-1][0] if self.stretches else 0) or not self.stretches:
            self._cut(0, None, [])
        externals, touched = self._tensors()
        outside = self._outside_arrays()
        plan = Plan(
            phases=self.phases,
            tables=self.tables,
            cells=self.cells,
            stretches=self.stretches,
            counts=(n_args, len(result_bytes), n_grads, len(found)),
            bound=[(slot, self.recording.arguments[slot]) for slot in sorted(self.bound)],
            outside=_merged(extent_of(a) for a in [*outside, *(t.array for t in (*externals, *touched))]),
            written=self._written_arguments(),
            externals=externals,
            entries=[(t, None if before is None else self._view_of(before.array)) for t, before in entries],
            updates=self.updates,
            draws=self.draws,
            after=[schedule.step for schedule in self.recording.schedules],
            touched=touched,
            grads=[(tensor, self._view_of(tensor.grad.array), buffer.nbytes) for tensor, buffer in grads],
            dropped=dropped,
            results=[self._view_of(array) for array in results],
            result_bytes=result_bytes,
            guard=self.guard,
            keep=(self.keep, outside),
            report=Report(
                self.rows,
                arena_bytes,
                self._buffer_bytes,
                self._constant_bytes,
                sum(result_bytes),
                sum(b.nbytes for _, b in grads),
            ),
            arena_bytes=arena_bytes,
        )
        self._forget_gradients()
        return plan

    # -- buffers

    def _find_buffers(self) -> None:
        recording = self.recording
        by_low: dict[int, Buffer] = {}
        for slot, array in enumerate(recording.arguments):
            low, high = extent_of(array)
            if slot not in self.bound and high > low and low not in by_low:
                by_low[low] = Buffer(low, high - low, "argument", slot=slot, origin=address_of(array))
        gradients = [before for _, before, counts in recording.gradients.values() if counts and before is not None]
        for gradient in gradients:
            low, high = extent_of(gradient.array)
            if high > low and low not in by_low:
                by_low[low] = Buffer(low, high - low, "found", origin=address_of(gradient.array))
        self._lows = sorted(by_low)
        self._moving = [by_low[low] for low in self._lows]
        self.buffers = recording.memory.buffers + self._moving
        self._check_found(gradients)

    def _check_found(self, gradients: list[Any]) -> None:
        """Refuse gradients that were there before the call, and share their memory with something else."""
        others = [extent_of(array) for array in self.recording.arguments]
        others += [extent_of(t.array) for t in self.recording.known_tensors() if all(t is not g for g in gradients)]
        for gradient in gradients:
            own = extent_of(gradient.array)
            if any(own[0] < high and low < own[1] for low, high in others):
                self.recording.refuse("a gradient that was there before the call shares its memory with something else")
            others.append(own)

    def _written_arguments(self) -> list[int]:
        """Slots of arguments that the call writes."""
        written = {place for step in self.steps for place in step.written}
        buffers = [self.place(place).buffer for place in written]
        slots = {buffer.slot for buffer in buffers if buffer is not None and buffer.kind == "argument"}
        for slot in self.bound:
            low, high = extent_of(self.recording.arguments[slot])
            if any(place.buffer is None and low <= place.offset < high for place in written):
                slots.add(slot)
        return sorted(slots)

    def place(self, place: Place) -> Place:
        """A place of the recording, among arguments and gradients that may lie elsewhere in each call, too."""
        if place.buffer is not None:
            return place
        address = place.offset
        at = bisect.bisect_right(self._lows, address) - 1
        # arguments may overlap one another: the nearest one that still holds the address
        while at >= 0:
            buffer = self._moving[at]
            if address < buffer.high:
                return Place(buffer, address - buffer.origin)
            if buffer.kind != "argument":
                break
            at -= 1
        return place

    def place_of(self, array: Array) -> Place:
        """Where an array lies that is there when the call has ended."""
        return self.place(self.recording.memory.place(address_of(array)))

    def _find_lives(self) -> None:
        """Find from which phase to which each buffer, and each temporary of a step, is needed."""
        self._temporary_lives: dict[tuple[int, int], Life] = {}  # by step and storage
        now = 0
        for i, step in enumerate(self.steps):
            if not isinstance(step, Run):
                for place in step.places:
                    self._need(place, now, now)
                now += 1
                continue
            for storage, where in enumerate(step.storages):
                first, last = step.uses.get(storage, (0, len(step.phases)))
                if where is not None:
                    self._need(where, now + first, now + last)
                elif storage >= len(step.inputs):
                    nbytes = step.recipe.lowering.storages[storage].nbytes
                    self._temporary_lives[i, storage] = Life(nbytes, now + first, now + last)
            now += len(step.phases) + 1

    def _need(self, place: Place, first: int, last: int) -> None:
        buffer = self.place(place).buffer
        if buffer is not None:
            buffer.first, buffer.last = min(buffer.first, first), max(buffer.last, last)

    def _entries(self) -> list[tuple[Any, Any]]:
        return [(t, before) for t, before, counts in self.recording.gradients.values() if counts]

    def _name_slots(self, grads: list[tuple[Any, Buffer]], found: list[Buffer]) -> None:
        """Find names for the report: parameters and buffers as the outermost module that was called names them."""
        for module in self.recording.modules.values():
            for name, tensor in (*module.named_parameters(), *module.named_buffers()):
                self.names.setdefault(address_of(tensor.array), name)
        slots = [(buffer, tensor) for tensor, buffer in grads]
        for tensor, before, _ in self.recording.gradients.values():
            buffer = None if before is None else self.place_of(before.array).buffer
            if buffer is not None and buffer in found:
                slots.append((buffer, tensor))
        for i, (buffer, tensor) in enumerate(slots):
            owner = self.names.get(address_of(tensor.array))
            self.slot_names[buffer.slot] = f"gradient {i}" if owner is None else f"{owner}.grad"
        for buffer in self.buffers:
            if buffer.slot >= 0 and buffer.slot not in self.slot_names:
                number = buffer.slot - len(self.recording.arguments)
                self.slot_names[buffer.slot] = f"argument {buffer.slot}" if number < 0 else f"result {number}"

    def _name(self, place: Place) -> str:
        """What a place of the recording is, for the report."""
        buffer = self.place(place).buffer
        if buffer is None:
            return self.names.get(place.offset, "outside")
        if buffer.slot >= 0:
            return self.slot_names[buffer.slot]
        return "constant" if buffer.kind == "constant" else f"@{buffer.address - self._arena}"

    def _parts(self, spots: Sequence[Spot | None], mode: str) -> list[Part]:
        return [Part(self._name(s.place), s.shape, mode, s.nbytes) for s in spots if s is not None]

    def _gradients(self) -> tuple[list[tuple[Any, Buffer]], list[Any]]:
        """The gradients that the call leaves in memory of its own, and the tensors that have none any more."""
        left, dropped = [], []
        taken: set[int] = set()
        given = {address_of(a) for slot, a in enumerate(self.recording.arguments) if slot not in self.bound}
        for tensor, before, counts in self.recording.gradients.values():
            now = tensor.grad
            if not self._is_outside(tensor):
                if now is not None and address_of(tensor.array) in given:
                    self.recording.refuse("a gradient of one of the call's arguments was left in its `grad`")
                continue
            if now is None:
                if not counts or before is not None:
                    dropped.append(tensor)
                continue
            if now is before:
                continue
            buffer = self.place_of(now.array).buffer
            if buffer is None or buffer.kind != "made" or id(buffer) in taken:
                self.recording.refuse("a gradient was left that shares its memory with something else")
                continue
            taken.add(id(buffer))
            left.append((tensor, buffer))
        return left, dropped

    def _results(self, grads: list[tuple[Any, Buffer]]) -> tuple[list[Array], list[int]]:
        """Give the memory of results slots."""
        sizes: list[int] = []
        left = {id(buffer) for _, buffer in grads}
        for array in self.results:
            buffer = self.place_of(array).buffer
            self.recording.check(array)
            if buffer is None or buffer.kind == "argument" or buffer.slot >= 0 or id(buffer) in left:
                continue
            buffer.slot = len(self.recording.arguments) + len(sizes)
            sizes.append(buffer.nbytes)
        return self.results, sizes

    def _allocate(self) -> int:
        """Put what lives within the call into the arena, constants into memory of their own."""
        lives: list[Life] = []
        owners: list[Buffer] = []
        self._constant_bytes = 0
        for buffer in self.buffers:
            if buffer.last < 0 and buffer.slot < 0:
                continue
            if buffer.kind == "constant" and buffer.slot < 0:
                memory = empty((rounded(buffer.nbytes),), np.uint8)
                self.keep.append(memory)
                self._constant_bytes += memory.nbytes
                buffer.address = address_of(memory)
            elif buffer.kind == "made" and buffer.slot < 0:
                lives.append(Life(buffer.nbytes, buffer.first, buffer.last))
                owners.append(buffer)
        lives += self._temporary_lives.values()
        offsets, size = pack(lives)
        if size >= TRIM_FROM:
            trim()
        arena = empty((max(size, 64),), np.uint8)
        self.keep.append(arena)
        self._arena = start = address_of(arena)
        self._buffer_bytes = sum(rounded(life.nbytes) for life in lives)
        for buffer, offset in zip(owners, offsets, strict=False):
            buffer.address = start + offset
        self._temporaries = {
            key: start + offset for key, offset in zip(self._temporary_lives, offsets[len(owners) :], strict=True)
        }
        self._fill_constants()
        return size

    def _fill_constants(self) -> None:
        written = {place.buffer for step in self.steps for place in step.written}
        for spot, content in self.recording.constants:
            buffer = spot.place.buffer
            if buffer is None or (buffer.last < 0 and buffer.slot < 0):
                continue
            view = self._view(spot)
            if buffer in written or view.slot >= 0:
                self._cut(0, _filling(content), [view])
            else:
                np.copyto(fixed(view), content)

    def _view(self, spot: Spot) -> View:
        """What an array of the recording is in the plan."""
        place = self.place(spot.place)
        if place.buffer is None:
            return View(-1, place.offset, spot.shape, spot.strides, spot.dtype, spot.outside)
        if place.buffer.slot >= 0:
            return View(place.buffer.slot, place.offset, spot.shape, spot.strides, spot.dtype)
        return View(-1, place.buffer.address + place.offset, spot.shape, spot.strides, spot.dtype, self.keep)

    def _view_of(self, array: Array) -> View:
        """What an array that is there when the call has ended is in the plan."""
        return self._view(self.recording.memory.spot(array))

    def _operand(self, place: Place, offset: int = 0) -> Any:
        """A phase's argument for a place of the recording and an offset from it."""
        place = self.place(place)
        if place.buffer is None:
            return place.offset + offset
        if place.buffer.slot >= 0:
            return ("slot", place.buffer.slot, place.offset + offset)
        return place.buffer.address + place.offset + offset

    def _is_outside(self, tensor: Any) -> bool:
        """Whether a tensor's memory was there before the call, and is no argument's."""
        buffer = self.place_of(tensor.array).buffer
        return buffer is None or buffer.kind == "found"

    def _tensors(self) -> tuple[list[Any], list[Any]]:
        """Tensors that were there before the call, and those of them (and of the arguments) that it writes."""
        updated = {id(p): p for u in self.updates if u.batch is not None for p in u.batch.params}
        # a gradient that was found is looked up through its tensor; views made in the call follow their base
        found = {id(before) for _, before, _ in self.recording.gradients.values() if before is not None}
        externals = {
            id(t): t for t in self.recording.known_tensors() if id(t) not in found and self._is_outside(t)
        } | updated  # fmt: skip
        touched = [
            t for key, t in self.recording.touches.items()
            if key not in updated and key not in found and self._is_outside(t)
        ]  # fmt: skip
        return list(externals.values()), touched

    def _outside_arrays(self) -> list[Array]:
        """Arrays of others whose addresses stand in the plan."""
        arrays: list[Any] = list(self.recording.targets.values())
        for step in self.steps:
            if isinstance(step, Run):
                arrays += [s.outside for s in step.inputs if isinstance(s, Spot) and s.outside is not None]
            elif isinstance(step, Segments):
                arrays += [s.outside for s in step.columns if s.outside is not None]
        return list({id(a): a for a in arrays if self.place_of(a).buffer is None}.values())

    def _forget_gradients(self) -> None:
        """Let go of the gradients that the recorded call made: the plan has memory of its own for them."""
        for update in self.updates:
            if isinstance(update, PreparedUpdate):
                arrays = update.batch.arrays
                width = 2 + len(update.states)
                arrays[1::width] = [None] * len(arrays[1::width])

    # -- phases

    def _cut(self, status: int, action: Any, views: list[Any]) -> None:
        self.stretches.append((len(self.phases), status, action, views))
        self._unpolled = 0

    def _phase(self, kernel: int, arguments: list[Any], chunks: int, work: int) -> None:
        if self._unpolled > POLL and not self._writes:
            self._cut(0, None, [])
        self._unpolled += work
        self.phases.append((kernel, arguments, chunks, work))

    def _cells(self, values: Sequence[float]) -> int:
        first = len(self.cells)
        self.cells.extend(values)
        for i, (_, draw) in enumerate(self.recording.draws):
            at = place_of(draw, values)
            if at is not None:
                self.draws[i][1].append(first + at)
        return first

    def _lower(self, index: int, step: Any) -> None:
        if isinstance(step, Run):
            self._lower_run(index, step)
        elif isinstance(step, Call):
            self._lower_call(step)
        elif isinstance(step, Copy):
            self._cut(0, _copying, [self._view(step.target), self._view(step.source)])
            parts = (*self._parts([step.source], "r"), *self._parts([step.target], "w"))
            self.rows.append(Row("copy", "(NumPy)", parts=parts))
        elif isinstance(step, Update):
            self._lower_update(step)
        else:
            self._lower_norm(step)

    def _lower_run(self, index: int, step: Run) -> None:
        lowering = step.recipe.lowering
        self._writes = self._writes or any(p.buffer is None and p.offset in self._parameters for p in step.written)
        numbers = set()
        bases: list[Place] = []
        for storage, where in enumerate(step.storages):
            given = step.inputs[storage] if storage < len(step.inputs) else None
            if isinstance(given, bytes):
                numbers.add(storage)
                memory = empty((64,), np.uint8)
                memory[: len(given)] = np.frombuffer(given, np.uint8)
                self.keep.append(memory)
                bases.append(Place(None, address_of(memory)))
            else:
                bases.append(where or Place(None, self._temporaries.get((index, storage), 0)))
        first_cell = self._cells(step.cells)

        def argument(value: Any) -> Any:
            if isinstance(value, Operand):
                return self._operand(bases[value.array.storage], value.array.offset)
            if isinstance(value, Routine):
                return jit.address(value.kernel, **dict(value.static))
            if isinstance(value, Cell):
                return ("cell", first_cell + step.recipe.cell_names.index(value.name))
            return value

        def part(operand: Operand) -> Part:
            array = operand.array
            if array.storage in numbers:
                return Part("number", None, operand.mode, array.touched)
            if step.storages[array.storage] is None:
                name = f"@{bases[array.storage].offset + array.offset - self._arena}"
            else:
                name = self._name(bases[array.storage])
            return Part(name, array.shape, operand.mode, array.touched)

        for number, phase in enumerate(step.phases):
            kernel = jit.address(phase.kernel, **dict(phase.static))
            self._phase(kernel, [argument(value) for value in phase.args], phase.chunks, phase.work)
            parts = tuple(part(value) for value in phase.args if isinstance(value, Operand))
            self.rows.append(
                Row(
                    lowering.title,
                    phase.kernel,
                    dict(phase.static),
                    phase.chunks,
                    phase.work,
                    parts,
                    phase.flops,
                    lowering,
                    number,
                )
            )
            if phase.check is not None:
                status = argument(Operand(phase.check.status, "w"))
                views = [self._view(given) if isinstance(given, Spot) else None for given in step.inputs]
                self._cut(status, phase.check.error, views)

    def _lower_call(self, step: Call) -> None:
        inputs = [None if a is None else self._view(a) for a in step.inputs]
        outputs = [None if a is None else self._view(a) for a in step.outputs]
        self._cut(0, _calling(step.function, len(inputs)), inputs + outputs)
        self.rows.append(
            Row("function", "(Python)", parts=(*self._parts(step.inputs, "r"), *self._parts(step.outputs, "w")))
        )

    def _table(self, step: Segments) -> Array:
        """The table of segments, whose rows end with a length, with the plan's addresses."""
        columns, width = [self._operand(spot.place) for spot in step.columns], step.width
        made = np.empty((len(step.lengths), width + 1), np.int64)
        patches = []
        for i, where in enumerate(columns):
            row, column = divmod(i, width)
            if isinstance(where, tuple):
                patches.append((row * (width + 1) + column, where[1], where[2]))
            else:
                made[row, column] = where
        made[:, width] = step.lengths
        self.tables.append((made, patches))
        return made

    def _lower_update(self, step: Update) -> None:
        table = self._table(step)
        chunks = np.array(step.chunks, np.int64)
        self.keep.append(chunks)
        first = self._cells(step.cells)
        if isinstance(step.source, Weight):
            self.updates.append(PreparedWeight(step.source.read, first))
        elif step.source is not None:
            self.updates.append(PreparedUpdate(step.source, step.flags, first, len(self.stretches)))
        self._writes = True
        arguments: list[Any] = [address_of(table), address_of(chunks), *step.flags]
        arguments += [("cell", first + i) for i in range(len(step.cells))]
        self._phase(step.address, arguments, len(chunks) // 3, step.work)
        self.rows.append(self._update_row(step, len(chunks) // 3))

    def _update_row(self, step: Update, chunks: int) -> Row:
        sizes = [sum(spot.nbytes for spot in step.columns[column :: step.width]) for column in range(step.width)]
        count = len(step.lengths)
        if not isinstance(step.source, Source):
            what = [Part(f"{len(step.columns)} arrays", None, "rw", sum(sizes))]
            return Row("update", "segments", {}, chunks, step.work, tuple(what))
        what = [Part(f"{count} parameters", None, "rw", sizes[0]), Part("their gradients", None, "r", sizes[1])]
        if step.width > 2:
            what.append(Part(f"{step.width - 2} states of each", None, "rw", sum(sizes[2:])))
        return Row(type(step.source.optimizer).__name__, "segments", step.source.static, chunks, step.work, tuple(what))

    def _lower_norm(self, step: Norm) -> None:
        table = self._table(step)
        chunks = np.array(step.chunks, np.int64)
        count = len(chunks) // 3
        parts, result = np.zeros(max(1, count)), np.zeros(2)
        self.keep += [chunks, parts, result]
        order, limit = (("cell", self._cells([value])) for value in (step.order, step.limit))
        measure, total, scale = step.addresses
        if count:
            self._phase(measure, [address_of(table), address_of(chunks), address_of(parts), order], count, step.work)
        self._phase(total, [address_of(parts), count, address_of(result), order, limit], 1, 0)
        if step.scales and count:
            self._phase(scale, [address_of(table), address_of(chunks), address_of(result) + 8], count, step.work)
        mode, nbytes = "rw" if step.scales else "r", sum(spot.nbytes for spot in step.columns)
        what = Part(f"{len(step.columns)} arrays", None, mode, nbytes)
        self.rows.append(Row("norm", "segments", {}, count, step.work * (1 + step.scales), (what,)))
        for spot in step.results:
            norm = View(-1, address_of(result), (), (), np.float64, result)
            self._cut(0, _copying, [self._view(spot), norm])


def _merged(extents: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Stretches of bytes in order, those that meet made one."""
    made: list[tuple[int, int]] = []
    for low, high in sorted(extents):
        if made and low <= made[-1][1]:
            made[-1] = made[-1][0], max(high, made[-1][1])
        elif high > low:
            made.append((low, high))
    return made


def _copying(arrays: list[Array]) -> None:
    np.copyto(arrays[0], arrays[1], casting="unsafe")


def _filling(content: Array) -> Callable[[list[Array]], None]:
    return lambda arrays: np.copyto(arrays[0], content)


def _calling(function: Callable[..., Any], count: int) -> Callable[[list[Any]], None]:
    def call(arrays: list[Any]) -> None:
        for target, found in zip(arrays[count:], function(*arrays[:count]), strict=True):
            if target is None:
                continue
            if target.shape != np.shape(found):
                raise ValueError(f"a result of shape {np.shape(found)} where {target.shape} was recorded")
            np.copyto(target, found)

    return call


__all__ = ["Builder"]
