"""What a call would run, and why: `fastnn.explain`.

The op is lowered as in a call, over symbolic arrays, and then nothing is run, allocated or compiled.
"""

from __future__ import annotations

import difflib
import math
import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fastnn._backend import backend
from fastnn._kernels import cpu
from fastnn._runtime.tensor import TensorBase
from fastnn._text import aligned, amount, duration
from fastnn.errors import DTypeError
from fastnn.ops import every
from fastnn.ops.lowering import Array, Candidate, Cell, Considered, Lowering, Operand, Phase, Storage, dense_strides
from fastnn.ops.op import KERNEL_DTYPES, Op

_MODES = {"r": "reads", "w": "writes", "rw": "updates"}


def explain(
    op: Op | str,
    /,
    *args: Any,
    dtype: npt.DTypeLike = "float32",
    backward: bool = False,
    transposed: str | Sequence[str] = (),
    **options: Any,
) -> Explanation:
    """What a call of an op would run, and why, without running or compiling it; print the result.

        print(fastnn.explain("matmul", (128, 784), (784, 128), transposed="y"))

    Parameters
    ----------
    op : an op such as ``fastnn.ops.matmul``, or its name.
    args, options : as in the call, by place or by name: inputs, then attributes. An input is a tuple of extents (a
        shape, C-contiguous), an array or Tensor (whose shape, strides and dtype count, not its values), a number, or
        None for one that is left out.
    dtype : of the inputs that are given as shapes; those that hold indices are int64.
    backward : explain the backward pass too: to those Tensors that require grad, or to all inputs that can have a
        gradient if none does. Incoming gradients lie as the results do.
    transposed : names of inputs, given as shapes, whose last two axes lie in memory the other way round.

    Returns
    -------
    An `Explanation`; for each pass its phases: kernel, compile-time parameters, chunks, estimated time of one core,
    FLOPs, what is read and written, and between what the planner chose.

    Raises
    ------
    ValueError, TypeError : as the call would, and for a name that is no op or no input.
    """
    op = _find(op)
    given, attributes = _bind(op, args, options)
    names = op.input_names
    inputs = [_input(op, n, value, i, dtype) for i, (n, value) in enumerate(zip(names, given, strict=True))]
    for name in (transposed,) if isinstance(transposed, str) else transposed:
        place = names.index(name) if name in names else -1
        if place < 0:
            raise ValueError(f"explain: transposed must name inputs of {op.name} ({', '.join(names)}), got {name!r}")
        inputs[place] = _transposed(name, given[place], inputs[place])
    tensors = any(isinstance(value, TensorBase) for value in given)
    inputs = _same_dtype(op, given, inputs, tensors)
    arrays = [None if x is None else x.array for x in inputs]
    shapes, floats = op.bind(arrays, attributes)
    present = {n: x for n, x in zip(names, inputs, strict=True) if x is not None}
    explained = Explanation(op.name, present)
    lowered = op.lower_forward(arrays, attributes, shapes, floats, explaining=True)
    flops = op.count_flops(shapes, attributes)
    if lowered is None:
        explained.passes.append(Pass("forward", reference=_why_reference(op, floats), flops=flops))
    else:
        low, outputs = lowered
        explained.results = {place.name: y for place, y in zip(op.spec.returned, outputs, strict=False)}
        stored = [*names, *_named_outputs(low, [place.name for place in op.spec.outputs], outputs)]
        explained.passes.append(_pass("forward", low, stored, flops))
    if backward:
        needs = _needs(op, given, inputs, floats)
        if lowered is None:
            explained.passes.append(Pass("backward", reference="as in the forward pass"))
        else:
            explained.passes.append(_backward(op, arrays, outputs, attributes, shapes, needs))
    return explained


# -- the arguments


def _find(op: Op | str) -> Op:
    known: Mapping[str, Op] = every()
    if isinstance(op, Op):
        return op
    if not isinstance(op, str):
        raise TypeError(f"explain: op must be an op or its name, got {type(op).__name__}")
    if op not in known:
        near = difflib.get_close_matches(op, known) or sorted(known)
        raise ValueError(f"explain: there is no op {op!r}; did you mean {', '.join(near)}?")
    return known[op]


def _bind(op: Op, args: tuple[Any, ...], options: dict[str, Any]) -> tuple[list[Any], tuple[Any, ...]]:
    """The inputs in order, None where left out, and the attributes in their normal form."""
    names = (*op.input_names, *op.attribute_names, *op.cell_names)
    if len(args) > len(names):
        raise TypeError(f"{op.name}: takes at most {len(names)} arguments, got {len(args)}")
    values = dict.fromkeys(op.input_names) | dict(zip(op.attribute_names, op.attribute_defaults, strict=True))
    values |= dict(zip(names, args, strict=False))
    for key, value in options.items():
        if key not in names:
            raise TypeError(f"{op.name}: got an unexpected argument {key!r}; it takes {', '.join(names)}")
        if key in names[: len(args)]:
            raise TypeError(f"{op.name}: got {key!r} twice")
        values[key] = value
    for place in op.spec.inputs:
        if values[place.name] is None and not place.optional:
            raise TypeError(f"{op.name}: {place.name} is missing")
    return [values[n] for n in op.input_names], op._check_attributes(tuple(values[n] for n in op.attribute_names))


@dataclass(frozen=True)
class Input:
    """An input of a call.

    Attributes
    ----------
    array : as the kernels see it.
    remark : what is done to it first.
    number : whether it came as a Python number, which takes the dtype of the arrays beside it.
    came : the dtype in which it came.
    """

    array: Array
    remark: str = ""
    number: bool = False
    came: str = ""


def _input(op: Op, name: str, value: Any, place: int, dtype: npt.DTypeLike) -> Input | None:
    if value is None:
        return None
    if isinstance(value, (tuple, list)):
        shape = _extents(op, name, value)
        kind = np.dtype(op.dtype_of(name, str(dtype)))
        return Input(Array(place, shape, dense_strides(shape), str(kind)), came=str(kind))
    if type(value) in (bool, int, float):
        return Input(Array(place, (), (), str(np.asarray(value).dtype)), "a number", number=True)
    array = value.array if isinstance(value, TensorBase) else np.asarray(value)
    size, native = array.itemsize or 1, array.dtype.newbyteorder("=")
    if array.flags.aligned and array.dtype.isnative and not any(s % size for s in array.strides):
        strides = tuple(s // size for s in array.strides)
        return Input(Array(place, array.shape, strides, str(native)), came=str(native))
    return Input(
        Array(place, array.shape, dense_strides(array.shape), str(native)),
        "copied first: misaligned, byte-swapped, or its strides are no whole elements",
        came=str(native),
    )


def _extents(op: Op, name: str, value: Sequence[Any]) -> tuple[int, ...]:
    try:
        shape = tuple(operator.index(extent) for extent in value)
    except TypeError:
        shape = (-1,)
    if min(shape, default=0) < 0:
        raise ValueError(
            f"{op.name}: the shape of {name} must hold integers from 0 up (values come as an array), got {value}"
        )
    return shape


def _transposed(name: str, value: Any, given: Input | None) -> Input:
    if given is None or not isinstance(value, (tuple, list)):
        raise ValueError(f"explain: transposed names {name}, which must be given as a shape; an array says how it lies")
    array = given.array
    if array.ndim < 2:
        raise ValueError(f"explain: transposed names {name}, which must have at least 2 axes, got {array.shape}")
    *lead, rows, columns = range(array.ndim)
    strides = dense_strides(array.shape, (*lead, columns, rows))
    return replace(given, array=replace(array, strides=strides))


def _same_dtype(op: Op, given: list[Any], inputs: list[Input | None], tensors: bool) -> list[Input | None]:
    """Convert inputs as the call would: the dtype follows from stand-ins without elements."""
    shared = [x for n, x in zip(op.input_names, inputs, strict=True) if x is not None and n not in op.apart]
    arrays = {x.array.dtype for x in shared if not x.number}
    if len(arrays) == 1 and arrays <= set(KERNEL_DTYPES):
        dtypes = [next(iter(arrays))] * len(inputs)
    else:
        standing = [None if x is None or x.number else np.empty((0,) * x.array.ndim, x.array.dtype) for x in inputs]
        came = [value if array is None else array for value, array in zip(given, standing, strict=True)]
        promoted = op._promote(came, standing, tensors)
        dtypes = ["" if a is None else str(a.dtype) for a in promoted]
    ready: list[Input | None] = []
    for name, dtype, x in zip(op.input_names, dtypes, inputs, strict=True):
        if x is None or name in op.apart or x.array.dtype == dtype:
            ready.append(x)
        elif x.number:
            ready.append(replace(x, array=replace(x.array, dtype=dtype)))
        else:
            ready.append(replace(x, array=_converted(x.array, dtype), remark=f"converted from {x.came} first"))
    return ready


def _converted(array: Array, dtype: str) -> Array:
    """Where the copy lies that NumPy's conversion makes: without gaps, in the order of the original's axes."""
    order = sorted(range(array.ndim), key=lambda axis: -abs(array.strides[axis]))
    return replace(array, dtype=dtype, strides=dense_strides(array.shape, order))


def _why_reference(op: Op, floats: Sequence[str]) -> str:
    if backend() == "numpy":
        return "the backend is NumPy"
    if not floats or floats[0] not in KERNEL_DTYPES:
        return f"kernels take {' and '.join(KERNEL_DTYPES)}, not {floats[0] if floats else 'integers'}"
    return f"no kernel of {op.name} takes these shapes, strides or options"


def _needs(op: Op, given: list[Any], inputs: list[Input | None], floats: Sequence[str]) -> list[bool]:
    """Which inputs' gradients are wanted."""
    if op.reference[1] is None:
        raise ValueError(f"explain: {op.name} has no backward pass")
    if not floats or np.dtype(floats[0]).kind != "f":
        raise DTypeError(f"explain: a backward pass of {op.name} needs floats, got {floats[0] if floats else 'none'}")
    asked = [isinstance(value, TensorBase) and value.requires_grad for value in given]
    able = [
        x is not None and not x.number and np.dtype(x.came).kind == "f" and n not in op.apart + op.constant
        for n, x in zip(op.input_names, inputs, strict=True)
    ]
    return asked if any(asked) else able


# -- the passes


@dataclass(frozen=True)
class Pass:
    """One pass of an explained call.

    Attributes
    ----------
    name : ``"forward"`` or ``"backward"``.
    phases : in order, those that check the inputs first; empty where a reference serves.
    names : for each storage, what it is: an input's or output's name, or ``"t0"`` and so on for working memory.
    storages : what the phases' operands lie in.
    reference : why the NumPy reference serves; None where kernels do.
    flops : as the op declares them, else the sum of the phases'; None if unknown.
    notes : what a planner said that belongs to no phase.
    """

    name: str
    phases: tuple[Phase, ...] = ()
    names: tuple[str, ...] = ()
    storages: tuple[Storage, ...] = ()
    reference: str | None = None
    flops: float | None = None
    notes: tuple[Considered | str, ...] = ()

    @property
    def work(self) -> int:
        """Estimated time of one core, in nanoseconds."""
        return sum(phase.work for phase in self.phases)

    @property
    def temporary(self) -> int:
        """Bytes of working memory."""
        return sum(storage.nbytes for storage in self.storages if storage.kind == "temporary")


def _named_outputs(low: Lowering, names: Sequence[str], outputs: Sequence[Array | None]) -> list[str]:
    """What the storages after the inputs are called."""
    count = len(low.inputs)
    found = {y.storage: n for n, y in zip(names, outputs, strict=False) if y is not None}
    rest = iter(range(len(low.storages)))
    return [found.get(i) or f"t{next(rest)}" for i in range(count, len(low.storages))]


def _pass(name: str, low: Lowering, stored: Sequence[str], flops: float | None) -> Pass:
    phases = (*low.checks, *low.phases)
    stated = [phase.flops for phase in low.phases]
    if flops is None and None not in stated:
        flops = math.fsum(f for f in stated if f is not None)
    return Pass(name, phases, tuple(stored), tuple(low.storages), flops=flops, notes=low.take_notes())


def _backward(
    op: Op,
    arrays: Sequence[Array | None],
    outputs: Sequence[Array],
    attributes: tuple[Any, ...],
    shapes: dict[str, Any],
    needs: Sequence[bool],
) -> Pass:
    lowered = op.lower_gradients(arrays, outputs, attributes, shapes, needs, explaining=True)
    if lowered is None:
        return Pass("backward", reference=f"no kernel of {op.name} takes these shapes, strides or options")
    low, results = lowered
    stored = [*(f"d{place.name}" for place in op.spec.returned), *op.saves]
    flops = op.count_backward_flops(shapes, attributes, needs)
    return _pass("backward", low, [*stored, *_named_outputs(low, [f"d{n}" for n in op.input_names], results)], flops)


# -- the text


@dataclass
class Explanation:
    """What a call would run; `str` gives it as text.

    Attributes
    ----------
    op : the op's name.
    inputs : by name.
    results : symbolic arrays of the outputs by name, where kernels serve.
    passes : forward and, if asked for, backward.
    """

    op: str
    inputs: dict[str, Input]
    results: dict[str, Array] = field(default_factory=dict)
    passes: list[Pass] = field(default_factory=list)

    def __str__(self) -> str:
        return "\n".join(self._lines())

    __repr__ = __str__

    def _lines(self) -> Iterator[str]:
        serves = any(one.reference is None for one in self.passes)
        yield f"{self.op}, for {cpu.target().level}" if serves else self.op
        rows = [
            ["takes", n, *_described(x.array), x.array.dtype + (f"  ({x.remark})" if x.remark else "")]
            for n, x in self.inputs.items()
        ]
        rows += [["gives", n, *_described(y), y.dtype] for n, y in self.results.items()]
        yield from aligned(rows, "   ")
        for one in self.passes:
            yield ""
            yield from _pass_lines(one)


def _pass_lines(one: Pass) -> Iterator[str]:
    if one.reference is not None:
        yield f"{one.name}: the NumPy reference serves ({one.reference})"
        return
    count = len(one.phases)
    if not count:
        yield f"{one.name}: nothing to compute"
        yield from _note_lines(one.notes)
        return
    facts = [f"{count} phase{'' if count == 1 else 's'}", f"estimated {duration(one.work)} of one core"]
    if one.flops is not None:
        facts.append(amount(one.flops, "FLOP"))
    if one.temporary:
        facts.append(f"{amount(one.temporary, 'B')} of working memory")
    yield f"{one.name}: {', '.join(facts)}"
    for number, phase in enumerate(one.phases, 1):
        yield f"{number:2} {phase.kernel}  {' '.join(f'{n}={v}' for n, v in phase.static)}".rstrip()
        yield f"   {_phase_facts(phase)}"
        yield from aligned(list(_operand_rows(phase, one.names)), "   ", right=(4,))
        yield from _note_lines(phase.notes)
    yield from _note_lines(one.notes)


def _phase_facts(phase: Phase) -> str:
    facts = [f"{phase.chunks} chunk{'' if phase.chunks == 1 else 's'}", duration(phase.work)]
    if phase.flops is not None:
        facts.append(amount(phase.flops, "FLOP"))
        if phase.flops and phase.nbytes:
            facts.append(f"{phase.flops / phase.nbytes:.3g} FLOP/B")
    if phase.check is not None:
        facts.append("a check, before anything is written")
    return ", ".join(facts)


def _operand_rows(phase: Phase, names: Sequence[str]) -> Iterator[list[str]]:
    for argument in phase.args:
        if isinstance(argument, Operand):
            array = argument.array
            yield [_MODES[argument.mode], names[array.storage], *_described(array), amount(array.touched, "B")]
        elif isinstance(argument, Cell):
            yield ["reads", argument.name, "number", "", "8 B"]


def _note_lines(notes: Sequence[Considered | str]) -> Iterator[str]:
    for note in notes:
        if isinstance(note, str):
            yield f"   {note}"
            continue
        rows = [["  " + note.what, "estimate", ""], *(_candidate_row(c) for c in note.candidates)]
        yield from aligned(rows, "   ", right=(1,))


def _candidate_row(candidate: Candidate) -> list[str]:
    estimate = duration(candidate.nanoseconds) if math.isfinite(candidate.nanoseconds) else "-"
    return [f"{'*' if candidate.chosen else ' '} {candidate.name}", estimate, candidate.why]


def _described(array: Array) -> tuple[str, str]:
    return str(array.shape), f"strides {array.strides}" if array.ndim else ""
