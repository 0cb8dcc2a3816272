"""The grammar of einsum's subscripts, and which extents they allow.

    equation = term {"," term} ["->" term]          term = letters, at most one "..." among them; spaces do not count

As `np.einsum` and `torch.einsum` have it. Without an arrow the result has the axes of ``...``, then the letters that
occur once, in the order of their codes (capitals first). An arrow whose result has no ``...`` sums those axes.

What comes out is plain: a label for each axis of each operand and of the result. Axes of ``...`` get `axis_labels`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastnn.errors import ShapeError
from fastnn.ops.contraction import axis_labels
from fastnn.ops.op import Shape

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def named(label: str) -> str:
    """A label as errors call it."""
    return repr(label) if label in LETTERS else f"'...' (its axis {-1 - ord(label) % 0x100})"


def from_lists(operands: Sequence[Any]) -> tuple[str, list[Any]]:
    """The equation and the operands of a call ``einsum(x, [0, 1], y, [1, 2], [0, 2])``."""
    count = len(operands) // 2
    terms = [_letters(operands[2 * i + 1], f"operand {i}") for i in range(count)]
    equation = ",".join(terms)
    if len(operands) % 2:
        equation += "->" + _letters(operands[-1], "the result")
    return equation, [operands[2 * i] for i in range(count)]


def _letters(subscripts: Any, whose: str) -> str:
    """A list of subscripts as letters; their order is that of the numbers."""
    if not isinstance(subscripts, (list, tuple)):
        raise TypeError(
            f"einsum: subscripts of {whose} must be a list of integers from 0 to 51 and Ellipsis, "
            f"got {type(subscripts).__name__}"
        )
    term = ""
    for one in subscripts:
        if one is Ellipsis:
            term += "..."
        elif hasattr(one, "__index__") and not isinstance(one, bool) and 0 <= one < len(LETTERS):
            term += LETTERS[one]
        else:
            raise ShapeError(f"einsum: subscripts of {whose} must be integers from 0 to 51 or Ellipsis, got {one!r}")
    return term


def _checked(term: str, whose: str) -> str:
    """A term without its ``...``, which becomes one dot."""
    short = term.replace("...", ".", 1)
    for letter in short:
        if letter != "." and letter not in LETTERS:
            raise ShapeError(f"einsum: subscripts of {whose} must be letters and at most one '...', got {term!r}")
    if short.count(".") > 1 or ("." in short and "..." not in term):
        raise ShapeError(f"einsum: subscripts of {whose} must have dots as one '...' alone, got {term!r}")
    return short


def parse(equation: str, ndims: Sequence[int]) -> tuple[tuple[str, ...], str]:
    """The labels of each operand's axes and of the result's.

    Parameters
    ----------
    equation : subscripts as a string.
    ndims : number of axes of each operand.

    Raises
    ------
    ShapeError : naming the subscript and the operand.
    """
    left, arrow, right = equation.replace(" ", "").partition("->")
    if any(sign in left + right for sign in "->"):
        raise ShapeError(f"einsum: subscripts must have at most one '->', got {equation!r}")
    terms = left.split(",")
    if len(terms) != len(ndims):
        raise ShapeError(f"einsum: {equation!r} has subscripts for {len(terms)} operands, got {len(ndims)}")
    short = [_checked(term, f"operand {i}") for i, term in enumerate(terms)]
    dots = [0] * len(terms)
    for i, (term, own, ndim) in enumerate(zip(terms, short, ndims, strict=True)):
        count = len(own) - ("." in own)
        if count > ndim or (count < ndim and "." not in own):
            wanted = f"at least {count}" if "." in own else str(count)
            raise ShapeError(
                f"einsum: operand {i} must have {wanted} axes to match its subscripts {term!r}, got {ndim}"
            )
        dots[i] = ndim - count
    broadcast = axis_labels(max(dots))
    inputs = tuple(own.replace(".", broadcast[len(broadcast) - d :]) for own, d in zip(short, dots, strict=True))
    every = "".join(short)
    if not arrow:
        return inputs, broadcast + "".join(sorted(n for n in set(every) if n != "." and every.count(n) == 1))
    result = _checked(right, "the result")
    for label in result:
        if label != "." and result.count(label) > 1:
            raise ShapeError(f"einsum: the result must have each subscript once, got {label!r} twice in {right!r}")
        if label != "." and label not in every:
            raise ShapeError(f"einsum: subscript {label!r} of the result must occur in an operand, got {equation!r}")
    return inputs, result.replace(".", broadcast)


def sizes(inputs: Sequence[str], shapes: Sequence[Shape]) -> dict[str, int]:
    """The extent of each label; axes of length 1 broadcast.

    Raises ShapeError, naming the subscript and both operands, where extents do not go together.
    """
    found: dict[str, int] = {}
    source: dict[str, int] = {}
    for i, (term, shape) in enumerate(zip(inputs, shapes, strict=True)):
        if len(set(term)) < len(term):
            _diagonals(i, term, shape)
        for label, extent in zip(term, shape, strict=True):
            known = found.get(label, 1)
            if known == 1:
                found[label] = extent
                source[label] = i
            elif extent not in (1, known):
                raise ShapeError(
                    f"einsum: subscript {named(label)} of operand {i} must have extent {known} or 1 to match operand "
                    f"{source[label]} {tuple(shapes[source[label]])}, got {tuple(shape)}"
                )
    return found


def _diagonals(operand: int, term: str, shape: Shape) -> None:
    """Axes of one operand that share a subscript must be equally long."""
    first: dict[str, int] = {}
    for label, extent in zip(term, shape, strict=True):
        if first.setdefault(label, extent) != extent:
            raise ShapeError(
                f"einsum: subscript {named(label)} is repeated in operand {operand}, so both axes must have extent "
                f"{first[label]}, got {tuple(shape)}"
            )
