"""Optimizer updates over a table of segments, as torch computes them; averages of weights.

args: address of the segment table, of the chunk table, flags (see each kernel), then addresses of float64 cells.
A segment's row (int64): addresses of the parameter, its gradient and its states, then its length. A chunk's row:
segment, first element, one past the last. All of a segment's arrays are contiguous, or lie alike in memory.
The arithmetic is done in the parameters' dtype; hyper-parameters are combined in float64 first, as torch does.

A kernel is two functions. ``numbers(*flags, *cells)`` combines hyper-parameters once a call; its parameters name them.
``step(parameter, gradient, *states, *numbers)`` gives the new parameter and states, element by element.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastnn._kernels.control import Code, Words, traced
from fastnn._kernels.jit import kernel
from fastnn._kernels.vector import ELEMENTS, ITEMSIZES, Value, absolute, fma, maximum, select, sqrt, sweep_loop

Step = Callable[..., Any]
Numbers = Callable[..., Sequence[Value]]


def update(
    dtype: str,
    step: Step,
    numbers: Numbers,
    columns: int,
    flags: int = 1,
    kept: int = 1,
    needed: Callable[..., Value] | None = None,
) -> Any:
    """A kernel that updates segments chunk by chunk.

    Parameters
    ----------
    columns : arrays of a segment.
    flags : how many of the parameters of `numbers` are flags (int64 in args); the others are cells.
    kept : the column that is only read, the gradient's; -1 for none. `step` gives all others anew, in order.
    needed : ``needed(*flags, *cells)`` says whether there is anything to do; without it there is.
    """
    results = [k for k in range(columns) if k != kept]
    arrays = len(results) + columns
    given = len(inspect.signature(numbers).parameters)

    def emit(code: Code, args: Words, first: Value, last: Value, scratch: Value) -> None:
        builder = code.builder

        def cell(index: int) -> Value:
            word = code.words(args[index])[0]
            return Value(builder, builder.bitcast(word.value, ELEMENTS["float64"]))

        hyper: list[Any] = [
            *(args[2 + k].compare("!=", 0) for k in range(flags)),
            *(cell(2 + k) for k in range(flags, given)),
        ]
        scalars = []
        for number in numbers(*hyper):
            value = number.value
            if dtype == "float32":
                value = builder.fptrunc(value, ELEMENTS["float32"])
            scalars.append(Value(builder, value))
        if needed is not None:
            last = select(needed(*hyper), last, first)
        with code.range(first, last) as chunk:
            row = code.words(args[1] + chunk * 24)
            segment = code.words(args[0] + row[0] * ((columns + 1) * 8))
            skip = row[1] * ITEMSIZES[dtype]
            own = [segment[k] + skip for k in range(columns)]
            entry = [v.value for v in (*(own[k] for k in results), *own)] + [code.number(1).value] * arrays
            sweep_loop(builder, step, [dtype] * arrays, len(results), entry, scalars, (row[2] - row[1]).value)

    return traced(emit)


def settled(x: Value) -> Value:
    """Zero where a running mean has sunk below the normal range.

    Without gradient it shrinks by a factor a step, sticks a few units above zero, and costs a hundred cycles at every
    touch from then on. What is dropped is less than any parameter's rounding.
    """
    return select(absolute(x).compare("<", float(np.finfo(x.dtype).tiny)), 0.0, x)


def signs(maximize: Value, like: Value) -> Value:
    """What the gradient is multiplied with: 1, or -1 to climb."""
    return select(maximize, like.number(-1.0), like.number(1.0))


@kernel
def sgd(dtype: str, momentum: bool, nesterov: bool) -> Any:
    """``g += weight_decay p;  b = momentum b + (1 - dampening) g;  p -= lr (g + momentum b  or  b)``.

    Flags: maximize. Cells: lr, momentum, dampening, weight_decay, started (0 at the first step, at which b = g).
    One state (b) with momentum, none without.
    """

    def step(p: Value, g: Value, *rest: Value) -> Any:
        if not momentum:
            lr, sign, decay = rest
            return fma(-lr, fma(p, decay, g * sign), p)
        b, lr, sign, decay, keep, gain, look = rest
        g = fma(p, decay, g * sign)
        b = settled(fma(b, keep, g * gain))
        return fma(-lr, fma(b, look, g) if nesterov else b, p), b

    def numbers(
        maximize: Value, lr: Value, look: Value, dampening: Value, decay: Value, started: Value
    ) -> Sequence[Value]:
        plain = [lr, signs(maximize, lr), decay]
        if not momentum:
            return plain
        first = started.compare("==", 0.0)
        return [*plain, select(first, 0.0, look), select(first, 1.0, 1.0 - dampening), look]

    return update(dtype, step, numbers, 3 if momentum else 2)


@kernel
def velocity(dtype: str, nesterov: bool) -> Any:
    """``g += weight_decay p;  v = momentum v - lr g;  p += momentum v - lr g  or  v``: the rate is in the velocity.

    No flags. Cells: lr, momentum, weight_decay. One state (v).
    """

    def step(p: Value, g: Value, v: Value, lr: Value, momentum: Value, decay: Value) -> Any:
        g = fma(p, decay, g)
        v = settled(fma(v, momentum, -lr * g))
        return p + (fma(v, momentum, -lr * g) if nesterov else v), v

    def numbers(lr: Value, momentum: Value, decay: Value) -> Sequence[Value]:
        return [lr, momentum, decay]

    return update(dtype, step, numbers, 3, flags=0)


@kernel
def adam(dtype: str, amsgrad: bool) -> Any:
    """Adam (Kingma and Ba, 2015), as ``torch.optim.Adam`` and ``AdamW`` compute it; eps outside the root.

    Flags: maximize, decoupled (weight decay of AdamW). Cells: lr, beta1, beta2, eps, weight_decay,
    ``1 - beta1**step``, ``1 - beta2**step``. States: mean, mean square, with amsgrad the largest mean square.
    """

    def step(p: Value, g: Value, m: Value, v: Value, *rest: Value) -> Any:
        sign, decay, shrink, new1, beta2, new2, rate, scale, eps = rest[-9:]
        g = fma(p, decay, g * sign)
        m = settled(fma(g - m, new1, m))
        v = fma(v, beta2, new2 * g * g)
        largest = maximum(rest[0], v) if amsgrad else v
        p = fma(-rate, m / fma(sqrt(largest), scale, eps), p * shrink)
        return (p, m, v, largest) if amsgrad else (p, m, v)

    def numbers(
        maximize: Value, decoupled: Value, lr: Value, beta1: Value, beta2: Value, eps: Value, decay: Value,
        correction1: Value, correction2: Value,
    ) -> Sequence[Value]:  # fmt: skip
        shared = moments(maximize, decoupled, lr, beta1, beta2, decay)
        return [*shared, lr / correction1, 1.0 / sqrt(correction2), eps]

    return update(dtype, step, numbers, 5 if amsgrad else 4, flags=2)


def moments(maximize: Value, decoupled: Value, lr: Value, beta1: Value, beta2: Value, decay: Value) -> list[Value]:
    """What Adam and its kin share: sign, decay of the gradient, of the parameter, 1 - beta1, beta2, 1 - beta2."""
    return [
        signs(maximize, lr),
        select(decoupled, 0.0, decay),
        select(decoupled, 1.0 - lr * decay, 1.0),
        1.0 - beta1,
        beta2,
        1.0 - beta2,
    ]


@kernel
def nadam(dtype: str) -> Any:
    """Adam with Nesterov momentum (Dozat, 2016).

    Flags: maximize, decoupled. Cells: lr, beta1, beta2, eps, weight_decay, ``1 - beta2**step``, this step's momentum,
    the next one's, the product of all momenta so far. States: mean, mean square.
    """

    def step(
        p: Value, g: Value, m: Value, v: Value, sign: Value, decay: Value, shrink: Value, new1: Value, beta2: Value,
        new2: Value, scale: Value, eps: Value, now: Value, ahead: Value,
    ) -> Any:  # fmt: skip
        g = fma(p, decay, g * sign)
        m = settled(fma(g - m, new1, m))
        v = fma(v, beta2, new2 * g * g)
        return p * shrink - fma(now, g, ahead * m) / fma(sqrt(v), scale, eps), m, v

    def numbers(
        maximize: Value, decoupled: Value, lr: Value, beta1: Value, beta2: Value, eps: Value, decay: Value,
        correction2: Value, momentum: Value, following: Value, product: Value,
    ) -> Sequence[Value]:  # fmt: skip
        return [
            *moments(maximize, decoupled, lr, beta1, beta2, decay),
            1.0 / sqrt(correction2),
            eps,
            lr * (1.0 - momentum) / (1.0 - product),
            lr * following / (1.0 - product * following),
        ]

    return update(dtype, step, numbers, 4, flags=2)


@kernel
def radam(dtype: str) -> Any:
    """Rectified Adam (Liu et al., 2020); while the variance is intractable, a step of plain momentum.

    Flags: maximize, decoupled. Cells: lr, beta1, beta2, eps, weight_decay, ``1 - beta1**step``, ``1 - beta2**step``,
    the rectification (0: intractable). States: mean, mean square.
    """

    def step(
        p: Value, g: Value, m: Value, v: Value, sign: Value, decay: Value, shrink: Value, new1: Value, beta2: Value,
        new2: Value, rate: Value, rectification: Value, eps: Value,
    ) -> Any:  # fmt: skip
        g = fma(p, decay, g * sign)
        m = settled(fma(g - m, new1, m))
        v = fma(v, beta2, new2 * g * g)
        divisor = select(rectification.compare("==", 0.0), 1.0, sqrt(v) + eps)
        return fma(-rate, m / divisor, p * shrink), m, v

    def numbers(
        maximize: Value, decoupled: Value, lr: Value, beta1: Value, beta2: Value, eps: Value, decay: Value,
        correction1: Value, correction2: Value, rectification: Value,
    ) -> Sequence[Value]:  # fmt: skip
        factor = select(rectification.compare("==", 0.0), 1.0, rectification * sqrt(correction2))
        shared = moments(maximize, decoupled, lr, beta1, beta2, decay)
        return [*shared, lr / correction1 * factor, rectification, eps]

    return update(dtype, step, numbers, 4, flags=2)


@kernel
def adamax(dtype: str) -> Any:
    """Adam with the infinity norm (Kingma and Ba, 2015, section 7.1), eps added to the gradient's size.

    Flags: maximize. Cells: lr, beta1, beta2, eps, weight_decay, ``1 - beta1**step``. States: mean, largest size.
    """

    def step(
        p: Value, g: Value, m: Value, u: Value, sign: Value, decay: Value, new1: Value, beta2: Value, rate: Value,
        eps: Value,
    ) -> Any:  # fmt: skip
        g = fma(p, decay, g * sign)
        m = settled(fma(g - m, new1, m))
        u = maximum(u * beta2, absolute(g) + eps)
        return fma(-rate, m / u, p), m, u

    def numbers(
        maximize: Value, lr: Value, beta1: Value, beta2: Value, eps: Value, decay: Value, correction1: Value
    ) -> Sequence[Value]:
        return [signs(maximize, lr), decay, 1.0 - beta1, beta2, lr / correction1, eps]

    return update(dtype, step, numbers, 4)


@kernel
def rmsprop(dtype: str, momentum: bool, centered: bool) -> Any:
    """RMSprop (Tieleman and Hinton, 2012), `centered` after Graves (2013), eps outside the root.

    Flags: maximize. Cells: lr, alpha, eps, weight_decay, momentum. States: mean square, with momentum its buffer, with
    `centered` the mean.
    """

    def step(p: Value, g: Value, v: Value, *rest: Value) -> Any:
        states, (sign, decay, alpha, new, rate, eps, keep) = list(rest[:-7]), rest[-7:]
        g = fma(p, decay, g * sign)
        v = fma(v, alpha, new * g * g)
        spread = v
        if centered:
            mean = states[-1] = settled(fma(g - states[-1], new, states[-1]))
            # rounding can make a variance near zero negative
            spread = fma(-mean, mean, v)
            spread = select(spread.compare("<", 0.0), 0.0, spread)
        move = g / (sqrt(spread) + eps)
        if momentum:
            move = states[0] = settled(fma(states[0], keep, move))
        return fma(-rate, move, p), v, *states

    def numbers(maximize: Value, lr: Value, alpha: Value, eps: Value, decay: Value, momentum: Value) -> Sequence[Value]:
        return [signs(maximize, lr), decay, alpha, 1.0 - alpha, lr, eps, momentum]

    return update(dtype, step, numbers, 3 + momentum + centered)


@kernel
def adagrad(dtype: str) -> Any:
    """Adagrad (Duchi, Hazan and Singer, 2011). Flags: maximize. Cells: lr, lr_decay, eps, weight_decay, step.

    State: the sum of squares.
    """

    def step(p: Value, g: Value, total: Value, sign: Value, decay: Value, rate: Value, eps: Value) -> Any:
        g = fma(p, decay, g * sign)
        total = fma(g, g, total)
        return fma(-rate, g / (sqrt(total) + eps), p), total

    def numbers(maximize: Value, lr: Value, lr_decay: Value, eps: Value, decay: Value, count: Value) -> Sequence[Value]:
        return [signs(maximize, lr), decay, lr / (1.0 + (count - 1.0) * lr_decay), eps]

    return update(dtype, step, numbers, 3)


@kernel
def adadelta(dtype: str) -> Any:
    """Adadelta (Zeiler, 2012, arXiv:1212.5701). Flags: maximize. Cells: lr, rho, eps, weight_decay.

    States: mean square of gradients, mean square of steps.
    """

    def step(
        p: Value, g: Value, v: Value, moved: Value, sign: Value, decay: Value, rho: Value, new: Value, lr: Value,
        eps: Value,
    ) -> Any:  # fmt: skip
        g = fma(p, decay, g * sign)
        v = fma(v, rho, new * g * g)
        delta = sqrt(moved + eps) / sqrt(v + eps) * g
        return fma(-lr, delta, p), v, fma(moved, rho, new * delta * delta)

    def numbers(maximize: Value, lr: Value, rho: Value, eps: Value, decay: Value) -> Sequence[Value]:
        return [signs(maximize, lr), decay, rho, 1.0 - rho, lr, eps]

    return update(dtype, step, numbers, 4)


@kernel
def rprop(dtype: str) -> Any:
    """Resilient backpropagation (Riedmiller and Braun, 1993). Flags: maximize. Cells: eta minus, eta plus, smallest and
    largest step.

    States: the gradient before (0 where the sign has turned), the step.
    """

    def step(
        p: Value, g: Value, before: Value, size: Value, sign: Value, less: Value, more: Value, low: Value, high: Value
    ) -> Any:
        g = g * sign
        agreement = g * before
        turned = agreement.compare("<", 0.0)
        # NaN stays
        same = select(agreement.compare("==", 0.0), 1.0, agreement)
        size = size * select(turned, less, select(agreement.compare(">", 0.0), more, same))
        size = select(size.compare("<", low), low, select(size.compare(">", high), high, size))
        g = select(turned, 0.0, g)
        direction = select(g.compare(">", 0.0), 1.0, select(g.compare("<", 0.0), -1.0, g))
        return fma(-direction, size, p), g, size

    def numbers(maximize: Value, less: Value, more: Value, low: Value, high: Value) -> Sequence[Value]:
        return [signs(maximize, less), less, more, low, high]

    return update(dtype, step, numbers, 4)


@kernel
def asgd(dtype: str) -> Any:
    """Averaged SGD (Polyak and Juditsky, 1992). Flags: maximize. Cells: eta, mu, lambd, weight_decay.

    State: the average, which is the parameter itself while mu is 1.
    """

    def step(p: Value, g: Value, mean: Value, sign: Value, decay: Value, shrink: Value, eta: Value, mu: Value) -> Any:
        p_new = fma(-eta, fma(p, decay, g * sign), p * shrink)
        return p_new, select(mu.compare("==", 1.0), p_new, fma(p_new - mean, mu, mean))

    def numbers(maximize: Value, eta: Value, mu: Value, lambd: Value, decay: Value) -> Sequence[Value]:
        return [signs(maximize, eta), decay, 1.0 - lambd * eta, eta, mu]

    return update(dtype, step, numbers, 3)


@kernel
def average(dtype: str) -> Any:
    """``mean += weight (p - mean)``, exact at both ends. Columns: mean, p. Cells: weight."""

    def step(mean: Value, p: Value, weight: Value, counter: Value, near: Value) -> Any:
        difference = p - mean
        return select(near.compare("!=", 0.0), fma(-counter, difference, p), fma(weight, difference, mean))

    def numbers(weight: Value) -> Sequence[Value]:
        return [weight, 1.0 - weight, select(weight.compare("<", 0.5), weight.number(0.0), weight.number(1.0))]

    return update(dtype, step, numbers, 2, flags=0)


@kernel
def shift(dtype: str) -> Any:
    """``p += length d``. Columns: p, d. Cells: length."""

    def step(p: Value, d: Value, length: Value) -> Any:
        return fma(length, d, p)

    def numbers(length: Value) -> Sequence[Value]:
        return [length]

    return update(dtype, step, numbers, 2, flags=0)
