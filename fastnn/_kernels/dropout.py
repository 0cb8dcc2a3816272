"""Dropout: elements fall by Philox's words, which the backward pass draws again. See `philox` for arguments."""

from __future__ import annotations

from typing import Any

from fastnn._kernels.control import Code, Words, traced
from fastnn._kernels.jit import kernel
from fastnn._kernels.philox import OWN, over_tiles, stream, words32
from fastnn._kernels.sampling import Coin
from fastnn._kernels.vector import ELEMENTS, Value, select, sqrt

# What a self-normalising network's activations fall to: that of selu far below zero.
SATURATION = 1.7580993408473766


@kernel
def map(dtype: str, alpha: bool, form: str) -> Any:
    """Elements, multiplied by a factor where they stand and by 0 where they fall; with `alpha`, shifted too.

    Without `alpha` the factor is ``1 / (1 - p)``. With it (Klambauer et al., "Self-Normalizing Neural Networks", 2017)
    factor and shifts keep mean and variance, where what falls falls to ``-SATURATION``. At p = 1 all is 0 times x.

    Parameters
    ----------
    form : what is written: "apply", the result; "scale", x times the factor; or the "factor" or "shift" alone.

    Own arguments: cell p; for "apply" and "scale", the address of x.
    """

    def emit(code: Code, args: Words, first: Value, last: Value, scratch: Value) -> None:
        source = stream(code, args)
        coin = Coin(code, args[OWN])
        p = Value(code.builder, code.builder.bitcast(code.words(args[OWN])[0].value, ELEMENTS["float64"]))
        inner = p.compare("<", 1.0)
        if alpha:
            factor = select(inner, 1.0 / sqrt((SATURATION**2 * p + 1.0) * (1.0 - p)), p.number(0.0))
        else:
            factor = select(inner, 1.0 / (1.0 - p), p.number(0.0))
        standing = factor * SATURATION * p
        fallen = standing - factor * SATURATION

        def rounded(number: Value) -> Value:
            value = number.value
            return Value(code.builder, code.builder.fptrunc(value, ELEMENTS[dtype]) if dtype == "float32" else value)

        def chosen(mask: Value, fall: Value, stand: Value) -> Value:
            count = mask.kind.count
            return select(mask, rounded(fall).splat(count), rounded(stand).splat(count))

        def body(tile: Value, *operands: list[Value]) -> list[Value]:
            results = []
            for half, word in enumerate(source.tile(tile)):
                mask = coin.falls(words32(word))
                if form == "shift":
                    results.append(chosen(mask, fallen, standing))
                    continue
                result = chosen(mask, p.number(0.0), factor)
                if operands:
                    # not one FMA: where x lies otherwise, factor and shift are applied one after the other
                    result = operands[0][half] * result
                results.append(result + chosen(mask, fallen, standing) if alpha and form == "apply" else result)
            return results

        reads = form in ("apply", "scale")
        dtypes, places = ([dtype, dtype], [args[OWN + 1]]) if reads else ([dtype], [])
        over_tiles(code, args, first, last, dtypes, places, body, width=4)

    return traced(emit)
