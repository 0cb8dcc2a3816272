"""Operators against PyTorch's: functions of a million elements, reductions, softmax and cross-entropy, calls on ten.

Functions of elements write into an output that both sides were given.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from benchmarks.peers.case import Case, Work
from benchmarks.peers.sides import fastnn_side, torch_side

MILLION, SQUARE, FEW = 1 << 20, (1024, 1024), 10


class Call(NamedTuple):
    """One row: ``call(library, *operands, out=out)``, or without `out`, on operands that are drawn.

    Attributes
    ----------
    shapes : of the operands; a name with ``positive`` ones, another with bools, are told by `kinds`.
    call : of a library (`torch`, or `fastnn`), its operands and, if `out`, an output of the result's shape.
    """

    shapes: tuple[tuple[int, ...], ...]
    call: Callable[..., Any]
    kinds: str = ""
    out: tuple[int, ...] | None = None
    bar: float = 1.0


def _operands(row: Call, seed: int) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    made = []
    for shape, kind in zip(row.shapes, row.kinds.ljust(len(row.shapes)), strict=True):
        x = random.standard_normal(shape, np.float32)
        made.append(np.abs(x) + np.float32(0.1) if kind == "+" else x > 0 if kind == "?" else x)
    return made


def _side(row: Call, library: Any, convert: Callable[[np.ndarray], Any], seed: int) -> Work:
    operands = [convert(x) for x in _operands(row, seed)]
    more = {} if row.out is None else {"out": convert(np.empty(row.out, np.float32))}

    def run() -> Any:
        return row.call(library, *operands, **more)

    return Work(run=run, verify=lambda: {"y": np.array(run().numpy())})


def _torch(row: Call, seed: int) -> Work:
    import torch

    return _side(row, torch, torch.from_numpy, seed)


def _fastnn(row: Call, seed: int) -> Work:
    import fastnn

    return _side(row, fastnn, fastnn.from_numpy, seed)


def _named(name: str, *options: Any, **named: Any) -> Callable[..., Any]:
    """A function of a library by its name, with options behind the operands."""

    def call(library: Any, *operands: Any, **more: Any) -> Any:
        return getattr(library, name)(*operands, *options, **named, **more)

    return call


def _unary(name: str, kinds: str = "") -> Call:
    return Call(((MILLION,),), _named(name), kinds, (MILLION,))


def _binary(name: str, kinds: str = "", *shapes: tuple[int, ...]) -> Call:
    return Call(shapes or ((MILLION,), (MILLION,)), _named(name), kinds, SQUARE if shapes else (MILLION,))


ROWS: dict[str, Call] = {
    **{f"elements-{n}": _unary(n) for n in ("exp", "tanh", "sigmoid", "sin", "erf", "expm1", "abs")},
    **{f"elements-{n}": _unary(n, "+") for n in ("log", "log1p", "sqrt", "rsqrt")},
    **{f"elements-{n}": _binary(n) for n in ("add", "mul", "div", "maximum")},
    "elements-pow": _binary("pow", "+ "),
    "elements-clamp": Call(((MILLION,),), _named("clamp", -1.0, 1.0), "", (MILLION,)),
    "elements-where": Call(((MILLION,),) * 3, _named("where"), "?", (MILLION,)),
    "broadcast-row": _binary("add", "", SQUARE, (1024,)),
    "broadcast-column": _binary("add", "", SQUARE, (1024, 1)),
    **{
        f"reduce-{n}-{what}": Call((SQUARE,), _named(n) if dim is None else _named(n, dim=dim))
        for n in ("sum", "mean", "var", "amax")
        for what, dim in (("columns", 0), ("rows", 1), ("all", None))
    },
}


# -- with gradients


def _differentiated(shape: tuple[int, ...], name: str, seed: int, library: Any, functional: Any, convert: Any) -> Work:
    """The forward and backward pass of softmax, log_softmax or cross-entropy over the last axis."""
    random = np.random.default_rng(seed)
    x = convert(random.standard_normal(shape, np.float32)).requires_grad_()
    dy, labels = convert(random.standard_normal(shape, np.float32)), convert(random.integers(0, shape[1], shape[0]))

    def run() -> Any:
        x.grad = None
        if name == "cross_entropy":
            functional.cross_entropy(x, labels).backward()
        else:
            getattr(functional, name)(x, 1).backward(dy)

    def verify() -> dict[str, np.ndarray]:
        run()
        return {"dx": np.array(x.grad.numpy())}

    return Work(run=run, verify=verify)


def _torch_differentiated(shape: tuple[int, ...], name: str, seed: int) -> Work:
    import torch

    return _differentiated(shape, name, seed, torch, torch.nn.functional, torch.from_numpy)


def _fastnn_differentiated(shape: tuple[int, ...], name: str, seed: int) -> Work:
    import fastnn

    return _differentiated(shape, name, seed, fastnn, fastnn.nn.functional, fastnn.from_numpy)


# -- calls on ten elements, recorded

CALLS: dict[str, Callable[[Any, Any], Any]] = {
    "exp": lambda library, x: library.exp(x),
    "relu": lambda library, x: library.relu(x),
    "add": lambda library, x: x + x,
    "scale": lambda library, x: x * 2.0,
    "sum": lambda library, x: x.sum(),
    "view": lambda library, x: x.view(2, 5),
    "cat": lambda library, x: library.cat([x, x]),
}


def _called(name: str, library: Any, convert: Callable[[np.ndarray], Any], seed: int) -> Work:
    call = CALLS[name]
    x = convert(np.random.default_rng(seed).standard_normal(FEW, np.float32)).requires_grad_()
    return Work(run=lambda: call(library, x), verify=lambda: {"y": np.array(call(library, x).detach().numpy())})


def _torch_called(name: str, seed: int) -> Work:
    import torch

    return _called(name, torch, torch.from_numpy, seed)


def _fastnn_called(name: str, seed: int) -> Work:
    import fastnn

    return _called(name, fastnn, fastnn.from_numpy, seed)


def _sides(ours: Callable[[int], Work], theirs: Callable[[int], Work]) -> dict[str, Any]:
    return {"fastnn": fastnn_side(ours), "torch": torch_side(theirs)}


CASES = [
    Case(
        name=name,
        sides=_sides(partial(_fastnn, row), partial(_torch, row)),
        bar=row.bar,
        note=" and ".join("x".join(map(str, shape)) for shape in dict.fromkeys(row.shapes)),
    )
    for name, row in ROWS.items()
]
CASES += [
    Case(
        name=f"gradient-{name}-{shape[0]}x{shape[1]}",
        sides=_sides(partial(_fastnn_differentiated, shape, name), partial(_torch_differentiated, shape, name)),
        bar=bar,
        note="forward and backward",
    )
    for shape, bar in (((128, 10), 2.0), ((1024, 1000), 1.2))
    for name in ("softmax", "log_softmax", "cross_entropy")
]
CASES += [
    Case(
        name=f"ten-{name}",
        sides=_sides(partial(_fastnn_called, name), partial(_torch_called, name)),
        bar=3.0,
        note="a call on ten elements, recorded",
    )
    for name in CALLS
]
