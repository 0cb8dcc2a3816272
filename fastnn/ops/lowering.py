"""How an op's call becomes phases: symbolic arrays, cells, and the list of phases that a recipe repeats.

An op is lowered once for each signature (dtypes, shapes, strides, attributes). Lowering sees `Array`s, which name a
storage and a place in it but no address; the runtime fills in the addresses at every call. So nothing here runs in
the steady state, and a plan can move a phase's operands or see which phases read what another wrote.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

ALIGNMENT = 64
MAX_CHUNKS = 65_535
# Nanoseconds that the work of a phase is said to take at most, 52 days: those of all phases add up in 64 bits.
MAX_WORK = 1 << 52


@dataclass(frozen=True, slots=True)
class Array:
    """An array as a phase sees it.

    Attributes
    ----------
    storage : index of the storage in the recipe: inputs first, then outputs and temporaries.
    shape : extents.
    strides : distances between neighbours along each axis, in elements; may be zero or negative.
    dtype : NumPy's name of the element type, such as ``"float32"``.
    offset : distance of the first element from the storage's address, in bytes.
    """

    storage: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: str
    offset: int = 0

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def itemsize(self) -> int:
        """Bytes of an element."""
        return np.dtype(self.dtype).itemsize

    @property
    def contiguous(self) -> bool:
        """Whether the elements lie side by side in C order (axes of length 1 do not count)."""
        expected = 1
        for extent, stride in zip(reversed(self.shape), reversed(self.strides), strict=True):
            if extent != 1 and stride != expected:
                return self.size == 0
            expected *= extent
        return True

    @property
    def overlaps_itself(self) -> bool:
        """Whether two elements may share memory; False where each axis steps over all that lies within it."""
        reach = 1
        for stride, extent in sorted((abs(s), n) for s, n in zip(self.strides, self.shape, strict=True) if n > 1):
            if stride < reach:
                return self.size > 0
            reach += (extent - 1) * stride
        return False

    @property
    def touched(self) -> int:
        """Bytes of the elements, each counted once however often it is repeated."""
        extents = (n for n, s in zip(self.shape, self.strides, strict=True) if s or not n)
        return math.prod(extents) * self.itemsize

    def lies_as(self, other: Array) -> bool:
        """Whether another array has the same shape, dtype and strides (those of axes of length 1 do not count)."""
        return (self.shape, self.dtype) == (other.shape, other.dtype) and all(
            own == its for own, its, n in zip(self.strides, other.strides, self.shape, strict=True) if n != 1
        )

    @property
    def T(self) -> Array:
        """The axes reversed, without a copy."""
        return replace(self, shape=self.shape[::-1], strides=self.strides[::-1])

    def permuted(self, axes: Sequence[int]) -> Array:
        """Put the axes in the given order, without a copy."""
        return replace(self, shape=tuple(self.shape[a] for a in axes), strides=tuple(self.strides[a] for a in axes))

    def broadcast_to(self, shape: tuple[int, ...]) -> Array:
        """Repeat along new axes and axes of length 1 by stride 0, as NumPy's broadcasting does."""
        lead = len(shape) - self.ndim
        strides = [0] * lead
        for own, wanted, stride in zip(self.shape, shape[lead:], self.strides, strict=True):
            if own not in (1, wanted):
                raise ValueError(f"cannot broadcast {self.shape} to {shape}")
            strides.append(stride if own == wanted and own != 1 else 0)
        return replace(self, shape=tuple(shape), strides=tuple(strides))

    def rows(self) -> Array | None:
        """All axes but the last joined into one, without a copy; None where the strides do not allow it."""
        last = (self.shape[-1:], self.strides[-1:]) if self.ndim else ((1,), (1,))
        if self.size == 0:
            return replace(self, shape=(math.prod(self.shape[:-1]), *last[0]), strides=(last[0][0], 1))
        joined = join_axes(self.shape[:-1], [self.strides[:-1]])
        if len(joined[0]) > 1:
            return None
        extent, stride = (joined[0][0], joined[1][0][0]) if joined[0] else (1, last[0][0])
        return replace(self, shape=(extent, *last[0]), strides=(stride, *last[1]))


def dense_strides(shape: Sequence[int], order: Sequence[int] | None = None) -> tuple[int, ...]:
    """Strides, in elements, of an array without gaps; `order` lists the axes from the outermost in (default: C)."""
    strides = [0] * len(shape)
    step = 1
    for axis in reversed(range(len(shape)) if order is None else order):
        strides[axis] = step
        step *= max(1, shape[axis])
    return tuple(strides)


def join_axes(shape: Sequence[int], strides: Sequence[Sequence[int]]) -> tuple[tuple[int, ...], list[tuple[int, ...]]]:
    """Drop axes of length 1 and join neighbouring axes that every operand steps through evenly.

    Parameters
    ----------
    shape : the common extents.
    strides : for each operand, its stride along each axis, in elements.

    Returns
    -------
    The shorter shape and, for each operand, its strides in it. A single element has no axes left.
    """
    extents: list[int] = []
    steps: list[list[int]] = [[] for _ in strides]
    for axis, extent in enumerate(shape):
        if extent == 1:
            continue
        if extents and all(s[-1] == own[axis] * extent for s, own in zip(steps, strides, strict=True)):
            extents[-1] *= extent
            for s, own in zip(steps, strides, strict=True):
                s[-1] = own[axis]
        else:
            extents.append(extent)
            for s, own in zip(steps, strides, strict=True):
                s.append(own[axis])
    return tuple(extents), [tuple(s) for s in steps]


def symbolic(array: np.ndarray[Any, Any], storage: int) -> Array:
    """The symbolic array for a NumPy array whose first element lies at the address of its storage."""
    size = array.itemsize
    return Array(storage, array.shape, tuple(s // size if size else 0 for s in array.strides), str(array.dtype))


class Cell(NamedTuple):
    """A float64 that may change from call to call (a hyper-parameter); the kernel gets its address."""

    name: str


class Routine(NamedTuple):
    """Another kernel that a phase's kernel calls; it gets the address.

    Attributes
    ----------
    kernel, static : as for a `Phase`.
    """

    kernel: str
    static: tuple[tuple[str, Any], ...]


class Operand(NamedTuple):
    """An array among a phase's arguments, with what the phase does to it."""

    array: Array
    mode: str  # "r" read, "w" written without being read, "rw" updated


def reads(array: Array) -> Operand:
    """Mark an argument that the phase only reads."""
    return Operand(array, "r")


def writes(array: Array) -> Operand:
    """Mark an argument that the phase writes and does not read."""
    return Operand(array, "w")


def updates(array: Array) -> Operand:
    """Mark an argument that the phase reads and writes."""
    return Operand(array, "rw")


class Candidate(NamedTuple):
    """One of the ways that a planner weighed against each other.

    Attributes
    ----------
    name : as the field calls it: ``"9 x 3"``, ``"block by block"``.
    nanoseconds : estimated, on one core; infinite or NaN where it was ruled out without an estimate.
    chosen : whether the planner took it.
    why : what decided, in a few words.
    """

    name: str
    nanoseconds: float
    chosen: bool
    why: str = ""


class Considered(NamedTuple):
    """A choice that a planner made, with all its candidates."""

    what: str
    candidates: tuple[Candidate, ...]


class Phase(NamedTuple):
    """A kernel, its arguments and its number of chunks.

    Attributes
    ----------
    kernel : ``"module.function"`` below ``fastnn._kernels``.
    static : the kernel's compile-time parameters; they belong to the architecture, never to a batch.
    args : what the kernel's ``args`` will hold, in order: addresses (`Operand`, `Cell`, `Routine`), sizes (int).
    chunks : fixed by the shapes, never by the number of threads; at most 65,535.
    work : estimated nanoseconds on one thread; decides whether sharing pays.
    block : elements of the first written operand (in its memory order) that each chunk writes; 0 where
        chunks do not write consecutive blocks.
    check : for a phase that only looks at the inputs, what to do with the int64 status that it leaves.
    flops : arithmetic operations on elements, where an exponential or a division counts as one; None if not stated.
    notes : what led to the phase; only where the lowering was asked to explain.
    """

    kernel: str
    static: tuple[tuple[str, Any], ...]
    args: tuple[Operand | Cell | Routine | int, ...]
    chunks: int
    work: int
    block: int = 0
    check: Check | None = None
    flops: float | None = None
    notes: tuple[Considered | str, ...] = ()

    @property
    def nbytes(self) -> int:
        """Bytes that the operands name, those of an updated one twice."""
        return sum(a.array.touched * (2 if a.mode == "rw" else 1) for a in self.args if isinstance(a, Operand))


class Check(NamedTuple):
    """What makes a phase a check: it runs before all others, so an error leaves nothing half written.

    Attributes
    ----------
    status : where the status is written, zero where all is well.
    error : function of the status and the list of input arrays that gives the exception to raise.
    """

    status: Array
    error: Callable[[int, list[np.ndarray]], Exception]


class Storage(NamedTuple):
    """What the runtime allocates for a call."""

    nbytes: int
    kind: str  # "input", "output", "temporary", or "out": the caller's, in place of an output


class Lowering:
    """Collects the phases of one call of an op (or of its backward pass) for one signature.

    Attributes
    ----------
    inputs : the arrays that the call brings; None for an argument that was left out.
    attrs : the op's attributes, by name.
    saved : backward only: the arrays that the forward pass kept, by the names in the op's ``saves``.
    shapes : backward only: the shape of every input and output of the forward pass, by name.
    needs : backward only: for each input's name, whether its gradient is wanted.
    explaining : whether somebody will read why (`fastnn.explain`); planners that would have to work for their
        candidates look here first.
    out : forward only: where the caller wants the first output, if that is given and memory that kernels can write.
    title : the op's name, and the pass if it is the backward one; empty where no op is lowered.
    again : lowers the same call once more and lets planners explain; None where no op is lowered.
    phases, checks, storages : what was collected.
    """

    def __init__(
        self,
        inputs: tuple[Array | None, ...],
        attrs: dict[str, Any] | None = None,
        *,
        saved: dict[str, Array] | None = None,
        shapes: dict[str, Any] | None = None,
        needs: dict[str, bool] | None = None,
        explaining: bool = False,
        out: Array | None = None,
        title: str = "",
        again: Callable[[], tuple[Lowering, Any] | None] | None = None,
    ) -> None:
        self.inputs = inputs
        self.attrs = attrs or {}
        self.saved = saved or {}
        self.shapes = {} if shapes is None else shapes
        self.needs = needs or {}
        self.explaining = explaining
        self._notes: list[Considered | str] = []
        self.out = out
        self.title, self.again = title, again
        self.phases: list[Phase] = []
        self.checks: list[Phase] = []
        self.storages = [Storage(0, "input") for _ in inputs]

    def _allocate(self, shape: Sequence[int], dtype: str, order: Sequence[int] | None, kind: str) -> Array:
        shape = tuple(int(extent) for extent in shape)
        nbytes = math.prod(shape) * np.dtype(dtype).itemsize
        self.storages.append(Storage(nbytes, kind))
        return Array(len(self.storages) - 1, shape, dense_strides(shape, order), str(np.dtype(dtype)))

    def output(
        self,
        shape: Sequence[int],
        dtype: str,
        order: Sequence[int] | None = None,
        *,
        into: Callable[[Array], bool] | None = None,
    ) -> Array:
        """Declare a result.

        Parameters
        ----------
        shape, dtype : what it holds.
        order : the axes from the outermost in memory to the innermost (default: C).
        into : for an op's first output, whether the phases can write it where a caller's `out` lies, given that
            array. The result then has the strides of `out`, none of whose elements share memory. Without it, or where
            it says no, the result is laid out in the given order, and copied to an `out` that is laid out otherwise.
        """
        shape = tuple(int(extent) for extent in shape)
        dtype = str(np.dtype(dtype))
        out = self.out
        agrees = out is not None and (out.shape, out.dtype) == (shape, dtype) and not out.overlaps_itself
        if out is not None and agrees and into is not None and into(out):
            self.storages.append(Storage(0, "out"))
            return replace(out, storage=len(self.storages) - 1)
        return self._allocate(shape, dtype, order, "output")

    def lies_in_out(self, output: Array) -> bool:
        """Whether the phases can write the first output where `out` lies: it was laid out so, or lies so anyway.

        Raises ValueError where something else than the first output was laid out like `out`.
        """
        lies_so = self.out is not None and output.offset == 0 and output.lies_as(self.out)
        for storage in (i for i, s in enumerate(self.storages) if s.kind == "out"):
            if storage != output.storage or not lies_so:
                raise ValueError("output: `into` is for the first output of an op, and that must be returned as it is")
        return lies_so and self.storages[output.storage].kind in ("out", "output")

    def temporary(self, shape: Sequence[int], dtype: str) -> Array:
        """Declare working memory that lives as long as the call."""
        return self._allocate(shape, dtype, None, "temporary")

    def cell(self, name: str) -> Cell:
        """The address of a hyper-parameter's present value."""
        return Cell(name)

    def note(self, text: str) -> None:
        """Say something of the phase that is appended next, to whoever asked for an explanation."""
        if self.explaining:
            self._notes.append(text)

    def consider(self, what: str, candidates: Sequence[Candidate]) -> None:
        """Say between what a planner chose, for the phase that is appended next.

        ValueError unless one candidate is the chosen one. Without `explaining` nothing is kept.
        """
        if not self.explaining:
            return
        chosen = sum(candidate.chosen for candidate in candidates)
        if chosen != 1:
            raise ValueError(f"{what}: one candidate must be chosen, got {chosen} of {len(candidates)}")
        self._notes.append(Considered(what, tuple(candidates)))

    def take_notes(self) -> tuple[Considered | str, ...]:
        """Give what was said since the last phase, and forget it."""
        notes, self._notes = tuple(self._notes), []
        return notes

    def phase(
        self,
        kernel: str,
        args: Sequence[Operand | Cell | Routine | int],
        *,
        chunks: int = 1,
        work: float = 0,
        block: int = 0,
        flops: float | None = None,
        **static: Any,
    ) -> None:
        """Append a phase. A phase without chunks (an empty result) is left out."""
        notes = self.take_notes()
        if chunks == 0:
            return
        if not 0 < chunks <= MAX_CHUNKS:
            raise ValueError(f"{kernel}: chunks must be 0 to {MAX_CHUNKS}, got {chunks}")
        self.phases.append(
            Phase(
                kernel,
                tuple(sorted(static.items())),
                tuple(args),
                int(chunks),
                int(min(work, MAX_WORK)),
                int(block),
                flops=flops,
                notes=notes,
            )
        )

    def check(
        self,
        kernel: str,
        args: Sequence[Operand | Cell | int],
        error: Callable[[int, list[np.ndarray]], Exception],
        *,
        work: float = 0,
        **static: Any,
    ) -> None:
        """Append a check of one chunk. The address of its status follows `args` as the kernel's last argument."""
        status = self.temporary((1,), "int64")
        every = (*args, writes(status))
        check = Check(status, error)
        self.checks.append(
            Phase(kernel, tuple(sorted(static.items())), every, 1, int(work), check=check, notes=self.take_notes())
        )
