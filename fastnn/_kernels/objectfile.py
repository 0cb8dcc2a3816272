"""The symbol tables of relocatable object files: which symbols does an object need from outside?

Sources: System V ABI (ELF-64), chapter 4; Apple's ``mach-o/loader.h`` and ``mach-o/nlist.h``. MCJIT takes ELF on
Windows too, so these two formats suffice. Only little-endian 64-bit objects are read.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

_MACHO_64 = b"\xcf\xfa\xed\xfe"
_SHT_SYMTAB = 2
_LC_SYMTAB = 2


class Symbols(NamedTuple):
    """Names, as C sees them.

    Attributes
    ----------
    defined : exported by the object (global or weak).
    undefined : to be found elsewhere.
    """

    defined: frozenset[str]
    undefined: frozenset[str]


def symbols(data: bytes) -> Symbols:
    """Read the symbol table of an object file; ValueError if it is not one that this machine could load."""
    try:
        if data[:6] == b"\x7fELF\x02\x01":
            return _elf(data)
        if data[:4] == _MACHO_64:
            return _macho(data)
    except (struct.error, IndexError) as error:
        raise ValueError(f"damaged object file: {error}") from error
    raise ValueError(f"not a little-endian 64-bit ELF or Mach-O object: it begins with {data[:6]!r}")


def _string(data: bytes, start: int) -> str:
    return data[start : data.index(b"\0", start)].decode("ascii", "replace")


def _elf(data: bytes) -> Symbols:
    (table,) = struct.unpack_from("<Q", data, 0x28)
    size, count = struct.unpack_from("<HH", data, 0x3A)
    defined: set[str] = set()
    undefined: set[str] = set()
    for index in range(count):
        header = table + index * size
        if struct.unpack_from("<I", data, header + 4)[0] != _SHT_SYMTAB:
            continue
        offset, length, link = struct.unpack_from("<QQI", data, header + 24)
        (strings,) = struct.unpack_from("<Q", data, table + link * size + 24)
        for at in range(offset + 24, offset + length, 24):  # the first entry is the null symbol
            name, info, _, section = struct.unpack_from("<IBBH", data, at)
            if name == 0 or info >> 4 == 0:  # sections and files have no name of their own; binding 0 is local
                continue
            (undefined if section == 0 else defined).add(_string(data, strings + name))
    return Symbols(frozenset(defined), frozenset(undefined))


def _macho(data: bytes) -> Symbols:
    (commands,) = struct.unpack_from("<I", data, 16)
    defined: set[str] = set()
    undefined: set[str] = set()
    at = 32
    for _ in range(commands):
        command, length = struct.unpack_from("<II", data, at)
        if command == _LC_SYMTAB:
            offset, count, strings = struct.unpack_from("<III", data, at + 8)
            for entry in range(offset, offset + 16 * count, 16):
                name, kind = struct.unpack_from("<IB", data, entry)
                if kind & 0xE0 or not kind & 0x01:  # debugger entries; local symbols
                    continue
                text = _string(data, strings + name).removeprefix("_")
                (undefined if kind & 0x0E == 0 else defined).add(text)
        at += length
    return Symbols(frozenset(defined), frozenset(undefined))
