"""Pooling of images with their channels last: the largest element of each window and its place, or the windows' means.

args of all: result; places (int64, of `largest`, else 0); x (or the gradient); samples; channels; items; items a chunk
(or channels a block); the distance of samples and of three axes in x (elements, channels lie side by side); then the
geometry of each of three axes: extents of input and output, extent, step, zeros before and dilation of windows.
Adaptive windows follow from the extents alone: the o-th of O is from o I // O to the ceiling of (o + 1) I / O.

Forward, an item is a place of the output. Backward, an item is a block of channels of a sample, which owns all that is
added there, in the order of the outputs: any number of threads gives the same bits.
"""

from __future__ import annotations

from typing import Any

from fastnn._kernels.indexing import smaller
from fastnn._kernels.jit import inline, kernel
from fastnn._kernels.pointer import pointer

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


@kernel
def largest(dtype: str, adaptive: bool) -> Any:
    """The largest element of each window (a NaN if there is one), and its place among the input's places."""
    begin, end = _bounds(adaptive)

    def body(args: Any, first: Any, last: Any, scratch: Any) -> None:
        y, places, x = pointer(args[0], dtype), pointer(args[1], "int64"), pointer(args[2], dtype)
        channels = args[4]
        a_in, a_out, a_ext, a_step, a_pad, a_dil = args[11], args[12], args[13], args[14], args[15], args[16]
        b_in, b_out, b_ext, b_step, b_pad, b_dil = args[17], args[18], args[19], args[20], args[21], args[22]
        c_in, c_out, c_ext, c_step, c_pad, c_dil = args[23], args[24], args[25], args[26], args[27], args[28]
        for item in range(first * args[6], smaller(last * args[6], args[5])):
            c = item % c_out
            b = item // c_out % b_out
            a = item // (c_out * b_out) % a_out
            base = item // (c_out * b_out * a_out) * args[7]
            own = item * channels
            a_end = smaller(end(a, a_in, a_out, a_ext, a_step, a_pad, a_dil), a_in)
            b_end = smaller(end(b, b_in, b_out, b_ext, b_step, b_pad, b_dil), b_in)
            c_end = smaller(end(c, c_in, c_out, c_ext, c_step, c_pad, c_dil), c_in)
            started = False
            i = begin(a, a_in, a_out, a_ext, a_step, a_pad, a_dil)
            while i < a_end:
                j = begin(b, b_in, b_out, b_ext, b_step, b_pad, b_dil)
                while i >= 0 and j < b_end:
                    k = begin(c, c_in, c_out, c_ext, c_step, c_pad, c_dil)
                    while j >= 0 and k < c_end:
                        if k >= 0:
                            at = base + i * args[8] + j * args[9] + k * args[10]
                            place = (i * b_in + j) * c_in + k
                            if started:
                                for n in range(channels):
                                    value = x[at + n]
                                    if value > y[own + n] or value != value:
                                        y[own + n] = value
                                        places[own + n] = place
                            else:
                                for n in range(channels):
                                    y[own + n] = x[at + n]
                                    places[own + n] = place
                                started = True
                        k += c_dil
                    j += b_dil
                i += a_dil

    return body


@kernel
def largest_backward(dtype: str) -> Any:
    """Zeros, plus each output's gradient at its place. x is the gradient of the output; the result has no gaps."""

    def body(args: Any, first: Any, last: Any, scratch: Any) -> None:
        dx, places, dy = pointer(args[0], dtype), pointer(args[1], "int64"), pointer(args[2], dtype)
        channels, block = args[4], args[6]
        blocks = (channels + block - 1) // block
        inputs = args[11] * args[17] * args[23]
        outputs = args[12] * args[18] * args[24]
        for item in range(first, last):
            n0 = item % blocks * block
            n1 = smaller(n0 + block, channels)
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
            return smaller(stop, size + pad) - start
        return smaller(stop, size) - (start if start > 0 else 0)

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
            start_item, stop_item = first * block, smaller(last * block, args[5])
        for item in range(start_item, stop_item):
            if backward:
                n0 = item % blocks * block
                n1 = smaller(n0 + block, channels)
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
                a_end = smaller(end(a, a_in, a_out, a_ext, a_step, a_pad, a_dil), a_in)
                b_end = smaller(end(b, b_in, b_out, b_ext, b_step, b_pad, b_dil), b_in)
                c_end = smaller(end(c, c_in, c_out, c_ext, c_step, c_pad, c_dil), c_in)
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
