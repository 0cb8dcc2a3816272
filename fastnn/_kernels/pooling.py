"""Pooling of images with their channels last: the largest element of each window and its place, or the windows' means.

args of all: result; numbers of elements (of `largest` and its gradients, else 0); x (or the gradient); samples;
channels; items; items a chunk (or channels a block); the distance of samples and of three axes in x (elements, channels
lie side by side); then the geometry of each of three axes: extents of input and output, extent, step, zeros before and
dilation of windows. Adaptive windows follow from the extents alone: the o-th of O is from o I // O to the ceiling of
(o + 1) I / O; their extent is the largest that there is.

Forward, an item is a place of the output, or a row of places. Backward, an item is a block of channels of a sample,
which owns all that is added there, in the order of the outputs: any number of threads gives the same bits.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

from llvmlite import ir

from fastnn._kernels.control import Code, Local, Words, smaller, traced
from fastnn._kernels.indexing import smaller as least
from fastnn._kernels.jit import inline, kernel
from fastnn._kernels.pointer import pointer
from fastnn._kernels.vector import I32, I64, ITEMSIZES, VECTOR_BYTES, Lanes, Value, constant, in_steps, select

GEOMETRY = 11  # where the axes' geometry begins among args


def _bounds(adaptive: bool) -> Any:
    """Functions of a place of an axis: where its window begins and ends, not cut to the input."""
    if adaptive:
        begin = inline(lambda place, size, out, extent, step, pad, dilation: place * size // out)
        end = inline(lambda place, size, out, extent, step, pad, dilation: -((-(place + 1) * size) // out))
    else:
        begin = inline(lambda place, size, out, extent, step, pad, dilation: place * step - pad)
        end = inline(
            lambda place, size, out, extent, step, pad, dilation: place * step - pad + (extent - 1) * dilation + 1
        )
    return begin, end


class _Axis(NamedTuple):
    """The geometry of an axis."""

    input: Value
    output: Value
    extent: Value
    step: Value
    padding: Value
    dilation: Value


class _Windows:
    """Walks windows: rows of outputs, the outputs of a row, the elements of each."""

    def __init__(self, code: Code, args: Words, adaptive: bool) -> None:
        self.code, self.args, self.adaptive = code, args, adaptive
        self.axes = [_Axis(*(args[GEOMETRY + 6 * axis + k] for k in range(6))) for axis in range(3)]

    def row(self, number: Value) -> tuple[Value, Value, Value]:
        """Sample, and place along the first two axes, of a row of outputs."""
        a, b, _ = self.axes
        return number // (a.output * b.output), number // b.output % a.output, number % b.output

    def span(self, axis: int, place: Value) -> tuple[Value, Value, Value]:
        """The first element of a window that the input has, the one past the last, and how many are cut off before."""
        own, code = self.axes[axis], self.code
        if self.adaptive:
            end = (place * own.input + own.input + own.output - 1) // own.output
            return place * own.input // own.output, end, code.number(0)
        start, skipped = code.local(place * own.step - own.padding), code.local(0)
        end = smaller(start.now + (own.extent - 1) * own.dilation + 1, own.input)
        with code.when(start.now.compare("<", 0)):
            skipped.now = (own.dilation - start.now - 1) // own.dilation
            start.now = start.now + skipped.now * own.dilation
        return start.now, end, skipped.now

    def elements(self, spans: Sequence[tuple[Value, Value, Value]]) -> Iterator[tuple[list[Value], Value]]:
        """Emit a loop over the elements of a window: places along the axes, and the element's number in the window."""
        code = self.code
        with ExitStack() as stack:
            places, taps = [], []
            for own, (start, end, skipped) in zip(self.axes, spans, strict=True):
                place, tap = code.local(start), code.local(skipped)
                stack.enter_context(code.while_(functools.partial(self._inside, place, end)))
                stack.callback(self._advance, place, tap, own.dilation)
                places.append(place.now)
                taps.append(tap.now)
            yield places, self.number(*taps)

    def number(self, u: Value, v: Value, w: Value) -> Value:
        """The number of an element in its window."""
        _, b, c = self.axes
        return (u * b.extent + v) * c.extent + w

    def _inside(self, place: Local, end: Value) -> Value:
        return place.now.compare("<", end)

    def _advance(self, place: Local, tap: Local, dilation: Value) -> None:
        place.now, tap.now = place.now + dilation, tap.now + 1


def _numbered(lanes: Lanes, number: Value) -> Any:
    """An integer in as many lanes, and as wide, as elements."""
    kind = I32 if lanes.itemsize == 4 else I64
    return Value(lanes.builder, lanes.builder.trunc(number.value, kind) if kind is I32 else number.value)


def _over_channels(code: Code, channels: Value, size: int, body: Callable[[Any, Any | None, int], None]) -> None:
    """Emit ``body(index, mask, lanes)`` for pairs of vectors, for whole ones, and under a mask for what is left."""
    in_steps(code.builder, channels.value, (2 * VECTOR_BYTES // size, VECTOR_BYTES // size), body)


@kernel
def largest(dtype: str, adaptive: bool, number: str, whole: bool) -> Any:
    """The largest element of each window (the last NaN if there is one), and its number, as an integer type.

    The number is counted within the window, by its extents, or (`whole`) among the places of the input. An item is a
    row of outputs. Where no element of the input lies in a window, minus infinity.
    """

    def emit(code: Code, args: Words, first: Value, last: Value, scratch: Value) -> None:
        windows = _Windows(code, args, adaptive)
        _, b_axis, c_axis = windows.axes
        channels, size, wide = args[4], ITEMSIZES[dtype], ITEMSIZES[number]

        def flat(i: Value, j: Value, k: Value) -> Value:
            return (i * b_axis.input + j) * c_axis.input + k

        def output(sample: Value, spans: list[Any], own: Value) -> None:
            start = args[2] + sample * args[7] * size
            (i0, _, u), (j0, _, v), (k0, _, w) = spans
            # of a window without an element the first place lies beyond the input
            inside = (smaller(p, axis.input - 1) for p, axis in zip((i0, j0, k0), windows.axes, strict=True))
            lowest = flat(*inside) if whole else windows.number(u, v, w)

            def tile(index: Any, mask: Any | None, count: int) -> None:
                lanes, numbers = Lanes(code.builder, dtype, count), Lanes(code.builder, number, count)
                best = code.local(Value(code.builder, constant(lanes.kind, float("-inf"))))
                at = code.local(_numbered(lanes, lowest).splat(count))
                for (i, j, k), tap in windows.elements(spans):
                    place = start + (i * args[8] + j * args[9] + k * args[10]) * size
                    x = lanes.load(lanes.pointer(place.value, index), mask, float("-inf"))
                    mark = flat(i, j, k) if whole else tap
                    taken = x.compare(">", best.now) | x.compare("!=", x)
                    best.now = select(taken, x, best.now)
                    at.now = select(taken, _numbered(lanes, mark).splat(count), at.now)
                lanes.store(best.now, lanes.pointer((args[0] + own * size).value, index), mask)
                kept = at.now.value
                if wide < size:
                    kept = code.builder.trunc(kept, numbers.kind)
                elif wide > size:
                    kept = code.builder.sext(kept, numbers.kind)
                target = numbers.pointer((args[1] + own * wide).value, index)
                numbers.store(Value(code.builder, kept), target, mask)

            _over_channels(code, channels, size, tile)

        with code.range(first * args[6], smaller(last * args[6], args[5])) as item:
            sample, a, b = windows.row(item)
            outer = [windows.span(0, a), windows.span(1, b)]
            with code.range(0, c_axis.output) as c:
                output(sample, [*outer, windows.span(2, c)], (item * c_axis.output + c) * channels)

    return traced(emit)


@kernel
def largest_backward(dtype: str, adaptive: bool, number: str) -> Any:
    """Zeros, plus each output's gradient at the element of its window that has the number that `largest` gave.

    x is the gradient of the output; neither it nor the result have gaps. Rows (or planes, of three axes) of the result
    are cleared when the first window comes to them, while they go into the cache anyway.
    """

    def emit(code: Code, args: Words, first: Value, last: Value, scratch: Value) -> None:
        windows = _Windows(code, args, adaptive)
        a_axis, b_axis, c_axis = windows.axes
        channels, size, wide = args[4], ITEMSIZES[dtype], ITEMSIZES[number]
        planes = a_axis.input.compare(">", 1)
        places = select(planes, b_axis.input, code.number(1)) * c_axis.input  # of what is cleared at once

        with code.range(first, last) as item:
            blocks = (channels + args[6] - 1) // args[6]
            sample, n0 = item // blocks, item % blocks * args[6]
            own = smaller(channels - n0, args[6])
            base = args[0] + (sample * (a_axis.input * b_axis.input * c_axis.input) * channels + n0) * size
            cleared = code.local(0)

            def clear(until: Value) -> None:
                def zero(index: Any, mask: Any | None, count: int) -> None:
                    lanes = Lanes(code.builder, dtype, count)
                    lanes.store(lanes.zero(), lanes.pointer(target.value, index), mask)

                with code.range(cleared.now * places, until * places) as place:
                    target = base + place * channels * size
                    _over_channels(code, own, size, zero)
                with code.when(cleared.now.compare("<", until)):
                    cleared.now = until

            def output(spans: list[Any], place: Value) -> None:
                def tile(index: Any, mask: Any | None, count: int) -> None:
                    lanes, numbers = Lanes(code.builder, dtype, count), Lanes(code.builder, number, count)
                    integers = ir.VectorType(I32 if size == 4 else I64, count)
                    dy = lanes.load(lanes.pointer((args[2] + place * size).value, index), mask)
                    kept = numbers.load(numbers.pointer((args[1] + place * wide).value, index), mask).value
                    if wide < size:
                        kept = code.builder.sext(kept, integers)
                    elif wide > size:
                        kept = code.builder.trunc(kept, integers)
                    at = Value(code.builder, kept)
                    for (i, j, k), tap in windows.elements(spans):
                        element = base + ((i * b_axis.input + j) * c_axis.input + k) * channels * size
                        dx = lanes.pointer(element.value, index)
                        hit = at.compare("==", _numbered(lanes, tap).splat(count))
                        lanes.store(lanes.load(dx, mask) + select(hit, dy, 0.0), dx, mask)

                _over_channels(code, own, size, tile)

            with code.range(0, a_axis.output * b_axis.output) as row:
                a, b = row // b_axis.output, row % b_axis.output
                outer = [windows.span(0, a), windows.span(1, b)]
                clear(select(planes, outer[0][1], outer[1][1]))
                with code.range(0, c_axis.output) as c:
                    place = ((sample * a_axis.output * b_axis.output + row) * c_axis.output + c) * channels + n0
                    output([*outer, windows.span(2, c)], place)
            clear(select(planes, a_axis.input, b_axis.input))

    return traced(emit)


@kernel
def scatter(dtype: str) -> Any:
    """Zeros, plus each output's gradient at its place. x is the gradient of the output; the result has no gaps."""

    def body(args: Any, first: Any, last: Any, scratch: Any) -> None:
        dx, places, dy = pointer(args[0], dtype), pointer(args[1], "int64"), pointer(args[2], dtype)
        channels, block = args[4], args[6]
        blocks = (channels + block - 1) // block
        inputs = args[11] * args[17] * args[23]
        outputs = args[12] * args[18] * args[24]
        for item in range(first, last):
            n0 = item % blocks * block
            n1 = least(n0 + block, channels)
            sample = item // blocks
            base = sample * inputs * channels
            for place in range(inputs):
                for n in range(n0, n1):
                    dx[base + place * channels + n] = 0
            for place in range(outputs):
                own = (sample * outputs + place) * channels
                for n in range(n0, n1):
                    dx[base + places[own + n] * channels + n] += dy[own + n]

    return body


@kernel
def mean(dtype: str, adaptive: bool, padded: bool, backward: bool) -> Any:
    """The sum of each window over its number of elements, or (`backward`) the gradient for the input.

    args[29] : the divisor, or 0 for the number of elements; `padded` counts those of the padding too.
    """
    begin, end = _bounds(adaptive)

    @inline
    def counted(place: int, size: int, out: int, extent: int, step: int, pad: int, dilation: int) -> int:
        """Elements of a window along an axis, as they count for the divisor."""
        start = begin(place, size, out, extent, step, pad, dilation)
        stop = end(place, size, out, extent, step, pad, dilation)
        if padded:
            return least(stop, size + pad) - start
        return least(stop, size) - (start if start > 0 else 0)

    def body(args: Any, first: Any, last: Any, scratch: Any) -> None:
        y, x = pointer(args[0], dtype), pointer(args[2], dtype)
        channels, block = args[4], args[6]
        a_in, a_out, a_ext, a_step, a_pad, a_dil = args[11], args[12], args[13], args[14], args[15], args[16]
        b_in, b_out, b_ext, b_step, b_pad, b_dil = args[17], args[18], args[19], args[20], args[21], args[22]
        c_in, c_out, c_ext, c_step, c_pad, c_dil = args[23], args[24], args[25], args[26], args[27], args[28]
        outputs, inputs = a_out * b_out * c_out, a_in * b_in * c_in
        blocks = (channels + block - 1) // block
        if backward:
            start_item, stop_item = first, last
        else:
            start_item, stop_item = first * block, least(last * block, args[5])
        for item in range(start_item, stop_item):
            if backward:
                n0 = item % blocks * block
                n1 = least(n0 + block, channels)
                sample = item // blocks
                place0, place1 = 0, outputs
                for place in range(inputs):
                    for n in range(n0, n1):
                        y[(sample * inputs + place) * channels + n] = 0
            else:
                n0, n1 = 0, channels
                sample = item // outputs
                place0 = item % outputs
                place1 = place0 + 1
            for place in range(place0, place1):
                c = place % c_out
                b = place // c_out % b_out
                a = place // (c_out * b_out)
                count = args[29]
                if count == 0:
                    count = (
                        counted(a, a_in, a_out, a_ext, a_step, a_pad, a_dil)
                        * counted(b, b_in, b_out, b_ext, b_step, b_pad, b_dil)
                        * counted(c, c_in, c_out, c_ext, c_step, c_pad, c_dil)
                    )
                out = (sample * outputs + place) * channels
                if not backward:
                    for n in range(n0, n1):
                        y[out + n] = 0
                a_end = least(end(a, a_in, a_out, a_ext, a_step, a_pad, a_dil), a_in)
                b_end = least(end(b, b_in, b_out, b_ext, b_step, b_pad, b_dil), b_in)
                c_end = least(end(c, c_in, c_out, c_ext, c_step, c_pad, c_dil), c_in)
                i0 = begin(a, a_in, a_out, a_ext, a_step, a_pad, a_dil)
                j0 = begin(b, b_in, b_out, b_ext, b_step, b_pad, b_dil)
                k0 = begin(c, c_in, c_out, c_ext, c_step, c_pad, c_dil)
                for i in range(i0 if i0 > 0 else 0, a_end):
                    for j in range(j0 if j0 > 0 else 0, b_end):
                        for k in range(k0 if k0 > 0 else 0, c_end):
                            if backward:
                                at = (sample * inputs + (i * b_in + j) * c_in + k) * channels
                                for n in range(n0, n1):
                                    y[at + n] += x[out + n] / count
                            else:
                                at = sample * args[7] + i * args[8] + j * args[9] + k * args[10]
                                for n in range(n0, n1):
                                    y[out + n] += x[at + n]
                if not backward:
                    for n in range(n0, n1):
                        y[out + n] = y[out + n] / count

    return body
