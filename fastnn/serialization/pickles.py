"""A reader of pickles that executes nothing.

It knows the few instructions that are needed for dicts, lists, tuples, numbers, strings and for calls of functions from
a table. It imports nothing and calls nothing else; what a pickle names beyond the table is an error.

Source: the `pickle` protocol as `pickletools` documents it, protocols 2 to 5.
"""

from __future__ import annotations

import struct
import sys
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from fastnn.errors import FormatError

STACK = 20_000  # values that wait at once; picklers write dicts and lists in parts of 1,000
DEPTH = 100
OBJECTS = 16 << 20  # bytes that the objects of a short pickle may take
TEXT = 16 << 20  # bytes of a string
INTEGERS = (1 << 61) - 1  # keys beyond share their hashes, and a dict of many such takes minutes


class Function:
    """A function of the table, under the name that pickles know it by."""

    __slots__ = ("call", "name")

    def __init__(self, name: str, call: Callable[..., Any]) -> None:
        self.name, self.call = name, call


class _Mark:
    """Where a tuple, or a part of a dict or a list, begins on the stack."""


_MARK = _Mark()


class Reader:
    """Reads one pickle.

    Parameters
    ----------
    data : the pickle.
    names : what the pickle's global names mean: a `Function`, or a value.
    persistent : turns a persistent id into the object that it stands for.
    budget : bytes that objects may take beyond `OBJECTS`: a few of them are made by a byte or two.
    """

    def __init__(
        self, data: bytes, names: Mapping[str, Any], persistent: Callable[[Any], Any], budget: int = 0
    ) -> None:
        self.data = data
        self.names = names
        self.persistent = persistent
        self.place = 0
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.left = OBJECTS + budget

    def read(self) -> Any:
        """The object."""
        data, steps = self.data, _STEPS
        try:
            while True:
                code = data[self.place]
                self.place += 1
                if code == 0x2E:  # STOP
                    result = self.pop()
                    check_depth(result)
                    return result
                step = steps[code]
                if step is None:
                    raise FormatError(
                        f"the pickle has an instruction {bytes([code])!r}, which is not needed for tensors"
                    )
                step(self)
                if len(self.stack) > STACK:
                    raise FormatError("the pickle is nested too deep")
        except (IndexError, struct.error):
            raise FormatError("the pickle is cut off or damaged") from None

    # -- pieces

    def take(self, count: int) -> bytes:
        """The next bytes."""
        end = self.place + count
        if count < 0 or end > len(self.data):
            raise FormatError("the pickle is cut off or damaged")
        part = self.data[self.place : end]
        self.place = end
        return part

    def number(self, count: int) -> int:
        """The next bytes as an unsigned number."""
        return int.from_bytes(self.take(count), "little")

    def line(self) -> str:
        """The next bytes up to the end of a line."""
        end = self.data.find(b"\n", self.place, self.place + 1000)
        if end < 0:
            raise FormatError("the pickle is cut off or damaged")
        return self.text(self.take(end + 1 - self.place)[:-1])

    def text(self, raw: bytes) -> str:
        """Bytes as a string."""
        if len(raw) > TEXT:
            raise FormatError(f"the pickle has a string of {len(raw):,} bytes; at most {TEXT:,} are read")
        try:
            return raw.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            raise FormatError("the pickle has a string that is no UTF-8") from None

    def push(self, value: Any) -> None:
        """Push a new number or string, and account for it."""
        self.spend(sys.getsizeof(value))
        self.stack.append(value)

    def pop(self) -> Any:
        """Take the top of the stack."""
        if not self.stack or self.stack[-1] is _MARK:
            raise FormatError("the pickle is damaged: a value is missing")
        return self.stack.pop()

    def top(self) -> Any:
        """Look at the top of the stack."""
        if not self.stack or self.stack[-1] is _MARK:
            raise FormatError("the pickle is damaged: a value is missing")
        return self.stack[-1]

    def since_mark(self) -> list[Any]:
        """Take what lies above the last mark, and the mark."""
        stack = self.stack
        for place in range(len(stack) - 1, -1, -1):
            if stack[place] is _MARK:
                found = stack[place + 1 :]
                del stack[place:]
                return found
        raise FormatError("the pickle is damaged: a mark is missing")

    def spend(self, count: int) -> None:
        """Account for bytes of objects."""
        self.left -= count
        if self.left < 0:
            raise FormatError("the pickle makes more objects than its length can mean")

    # -- instructions

    def put(self, index: int) -> None:
        """Remember the top of the stack."""
        self.spend(100)
        self.memo[index] = self.top()

    def get(self, index: int) -> None:
        """Push what was remembered."""
        if index not in self.memo:
            raise FormatError("the pickle is damaged: it refers to what it never made")
        self.stack.append(self.memo[index])

    def make(self, container: Any, size: int) -> None:
        """Push a new container."""
        self.spend(56 + 8 * size)
        self.stack.append(container)

    def tuple(self, count: int) -> None:
        """Join the top of the stack."""
        self.spend(48 + 8 * count)
        items = [self.pop() for _ in range(count)]
        self.stack.append((*reversed(items),))

    def name(self, module: Any, name: Any) -> None:
        """Push what a global name stands for."""
        full = f"{module}.{name}"
        if full not in self.names:
            raise FormatError(
                f"it holds a {full}; only tensors, numbers and strings in dicts, lists and tuples are read. Save a "
                "model's state_dict() rather than the model"
            )
        self.stack.append(self.names[full])

    def reduce(self) -> None:
        """Call a function of the table."""
        arguments, function = self.pop(), self.pop()
        if not isinstance(function, Function) or not isinstance(arguments, tuple):
            raise FormatError("the pickle calls what is no function")
        self.spend(500)
        try:
            made = function.call(*arguments)
        except FormatError:
            raise
        except (TypeError, ValueError, OverflowError) as error:
            raise FormatError(f"{function.name} cannot be called so: {error}") from None
        if isinstance(made, (tuple, bytes, dict)):
            self.spend(len(made) * (100 if isinstance(made, dict) else 8))
        self.stack.append(made)

    def build(self) -> None:
        """Set an object's attributes: only those of a state dict have a meaning."""
        state, made = self.pop(), self.top()
        if not isinstance(made, OrderedDict) or not isinstance(state, dict):
            raise FormatError(f"the pickle sets attributes of a {type(made).__name__}")
        if isinstance(state.get("_metadata"), dict):
            made._metadata = state["_metadata"]  # type: ignore[attr-defined]

    def set_items(self, items: list[Any]) -> None:
        """Put pairs into a dict."""
        made = self.top()
        if not isinstance(made, dict) or len(items) % 2:
            raise FormatError("the pickle is damaged: pairs for what is no dict")
        self.spend(50 * len(items))
        for key, value in zip(items[::2], items[1::2], strict=True):
            check_key(key)
            made[key] = value

    def append(self, items: list[Any]) -> None:
        """Put values into a list."""
        made = self.top()
        if not isinstance(made, list):
            raise FormatError("the pickle is damaged: elements for what is no list")
        self.spend(8 * len(items))
        made.extend(items)


def check_key(key: Any) -> None:
    """Numbers, strings and short flat tuples of them may be keys: anything else is slow to hash, or is no key."""
    simple = (str, int, float, bytes, type(None))
    flat = isinstance(key, tuple) and len(key) <= 16 and all(isinstance(part, simple) for part in key)
    if not (isinstance(key, simple) or flat):
        raise FormatError(f"a dict has a key of type {type(key).__name__}")
    for part in key if flat else (key,):
        if isinstance(part, int) and abs(part) >= INTEGERS:
            raise FormatError("a dict has a key beyond 2**61")


def check_depth(tree: Any) -> None:
    """FormatError where containers lie in one another deeper than `DEPTH`, or in themselves."""
    heights: dict[int, int] = {}
    stack: list[tuple[Any, bool]] = [(tree, False)]
    open_: set[int] = set()
    while stack:
        value, done = stack.pop()
        if not isinstance(value, (dict, list, tuple)):
            continue
        items = list(value.values()) if isinstance(value, dict) else value
        if done:
            open_.discard(id(value))
            heights[id(value)] = 1 + max((heights.get(id(item), 0) for item in items), default=0)
            if heights[id(value)] > DEPTH:
                raise FormatError("the pickle is nested too deep")
        elif id(value) in open_:
            raise FormatError("the pickle has a container that contains itself")
        elif id(value) not in heights:
            open_.add(id(value))
            if len(open_) > DEPTH:
                raise FormatError("the pickle is nested too deep")
            stack.append((value, True))
            stack.extend((item, False) for item in items if isinstance(item, (dict, list, tuple)) and item)


def _long(reader: Reader, count: int) -> None:
    if count > 1000:
        raise FormatError(f"the pickle has a number of {count} bytes")
    reader.push(int.from_bytes(reader.take(count), "little", signed=True))


def _frame(reader: Reader) -> None:
    if reader.number(8) > len(reader.data) - reader.place:
        raise FormatError("the pickle is cut off or damaged")


def _protocol(reader: Reader) -> None:
    version = reader.number(1)
    if not 2 <= version <= 5:
        raise FormatError(f"the pickle has protocol {version}; 2 to 5 are read")


def _pop_mark(reader: Reader) -> None:
    reader.since_mark()


def _items(reader: Reader) -> None:
    items = reader.since_mark()
    reader.set_items(items)


def _elements(reader: Reader) -> None:
    items = reader.since_mark()
    reader.append(items)


def _item(reader: Reader) -> None:
    value, key = reader.pop(), reader.pop()
    reader.set_items([key, value])


def _marked_tuple(reader: Reader) -> None:
    items = reader.since_mark()
    reader.make(tuple(items), len(items))


def _global(reader: Reader) -> None:
    module = reader.line()
    reader.name(module, reader.line())


def _stack_global(reader: Reader) -> None:
    name, module = reader.pop(), reader.pop()
    reader.name(module, name)


def _element(reader: Reader) -> None:
    reader.append([reader.pop()])


def _text(size: int) -> Callable[[Reader], None]:
    return lambda r: r.push(r.text(r.take(r.number(size))))


def _bytes(size: int) -> Callable[[Reader], None]:
    return lambda r: r.push(r.take(r.number(size)))


_STEPS: list[Callable[[Reader], Any] | None] = [None] * 256
for _code, _step in {
    b"\x80": _protocol,
    b"\x95": _frame,
    b"(": lambda r: r.stack.append(_MARK),
    b"0": lambda r: r.pop(),
    b"1": _pop_mark,
    b"N": lambda r: r.stack.append(None),
    b"\x88": lambda r: r.stack.append(True),
    b"\x89": lambda r: r.stack.append(False),
    b"J": lambda r: r.push(int.from_bytes(r.take(4), "little", signed=True)),
    b"K": lambda r: r.stack.append(r.number(1)),
    b"M": lambda r: r.push(r.number(2)),
    b"\x8a": lambda r: _long(r, r.number(1)),
    b"\x8b": lambda r: _long(r, r.number(4)),
    b"G": lambda r: r.push(struct.unpack(">d", r.take(8))[0]),
    b"X": _text(4),
    b"\x8c": _text(1),
    b"\x8d": _text(8),
    b"B": _bytes(4),
    b"C": _bytes(1),
    b"\x8e": _bytes(8),
    b"}": lambda r: r.make({}, 1),
    b"]": lambda r: r.make([], 0),
    b")": lambda r: r.stack.append(()),
    b"t": _marked_tuple,
    b"\x85": lambda r: r.tuple(1),
    b"\x86": lambda r: r.tuple(2),
    b"\x87": lambda r: r.tuple(3),
    b"s": _item,
    b"u": _items,
    b"a": _element,
    b"e": _elements,
    b"c": _global,
    b"\x93": _stack_global,
    b"R": lambda r: r.reduce(),
    b"b": lambda r: r.build(),
    b"Q": lambda r: r.stack.append(r.persistent(r.pop())),
    b"q": lambda r: r.put(r.number(1)),
    b"r": lambda r: r.put(r.number(4)),
    b"\x94": lambda r: r.put(len(r.memo)),
    b"h": lambda r: r.get(r.number(1)),
    b"j": lambda r: r.get(r.number(4)),
}.items():
    _STEPS[_code[0]] = _step


__all__ = ["Function", "Reader"]
