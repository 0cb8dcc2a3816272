"""Walking along one axis: a line of elements for each index of the other axes, in arrays of any strides."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fastnn._kernels.control import Code, Words, smaller
from fastnn._kernels.reduction import offset
from fastnn._kernels.vector import ELEMENTS, ITEMSIZES, Lanes, Value


class Line:
    """Elements at even distances: read and written as ``line[k]``, in another format if asked.

    Attributes
    ----------
    address, step : of the first element and between elements, in bytes.
    wide : float32 elements are read as float64, and rounded when they are written.
    """

    def __init__(self, code: Code, dtype: str, address: Value, step: Value, wide: bool = False) -> None:
        self.lanes, self.address, self.step = Lanes(code.builder, dtype), address, step
        self.builder, self.convert = code.builder, wide and dtype == "float32"

    def _place(self, k: Value) -> object:
        return self.lanes.pointer((self.address + k * self.step).value)

    def __getitem__(self, k: Value) -> Value:
        value = self.builder.load(self._place(k))
        return Value(self.builder, self.builder.fpext(value, ELEMENTS["float64"]) if self.convert else value)

    def __setitem__(self, k: Value, value: Value) -> None:
        given = self.builder.fptrunc(value.value, ELEMENTS["float32"]) if self.convert else value.value
        self.builder.store(given, self._place(k))


class Lines:
    """The lines of some arrays, as a kernel's arguments describe them.

    args[at]: number of lines, lines a chunk, number of the other axes; each array's step along a line (elements); then
    for each array the extents of the other axes and its strides along them.
    """

    def __init__(self, code: Code, args: Words, at: int, dtypes: Sequence[str], wide: bool = False) -> None:
        self.code, self.args, self.at, self.dtypes, self.wide = code, args, at, tuple(dtypes), wide

    def line(self, number: Value) -> list[Line]:
        """One line of each array, their addresses first among the arguments."""
        code, args, at = self.code, self.args, self.at
        axes, found = args[at + 2], []
        for k, dtype in enumerate(self.dtypes):
            size = ITEMSIZES[dtype]
            table = axes * (2 * k) + (at + 3 + len(self.dtypes))
            address = args[k] + offset(code, args, table, axes, number) * size
            found.append(Line(code, dtype, address, args[at + 3 + k] * size, self.wide))
        return found

    def numbers(self, first: Value, last: Value) -> tuple[Value, Value]:
        """The lines of chunks."""
        group = self.args[self.at + 1]
        return first * group, smaller(last * group, self.args[self.at])

    def walk(self, first: Value, last: Value) -> Iterator[list[Line]]:
        """Emit a loop over the lines of chunks; the body is emitted once."""
        start, stop = self.numbers(first, last)
        with self.code.range(start, stop) as number:
            yield self.line(number)
