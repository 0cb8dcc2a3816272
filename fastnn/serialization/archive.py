"""Zip archives of stored (never compressed) records, read with every number checked.

Source: APPNOTE.TXT, the .ZIP file format specification, 4.3 and 4.5.3.
"""

from __future__ import annotations

import struct
from itertools import pairwise

from fastnn.serialization.source import Source

_END = struct.Struct("<4s4H2IH")
_LOCATOR = struct.Struct("<4sIQI")
_END64 = struct.Struct("<4sQ2H2I4Q")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_MOST = 1 << 18
_LOCAL = struct.Struct("<4s5H3I2H")


class Archive:
    """The records of a zip file.

    Attributes
    ----------
    records : for every name, where its local header lies, how many bytes it has, and where the next thing begins.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.records: dict[str, tuple[int, int, int]] = {}
        self._read_directory()

    def __contains__(self, name: str) -> bool:
        return name in self.records

    def find(self, name: str) -> tuple[int, int]:
        """Offset and number of bytes of a record."""
        if name not in self.records:
            raise self.source.fail(f"the record {name} is missing")
        offset, size, limit = self.records[name]
        head = self.source.read(offset, _LOCAL.size)
        fields = _LOCAL.unpack(head)
        names, extra = fields[9], fields[10]
        if fields[0] != b"PK\x03\x04" or self.source.read(offset + _LOCAL.size, names) != name.encode():
            raise self.source.fail(f"the record {name} is not where the archive says")
        start = offset + _LOCAL.size + names + extra
        if start + size > limit:
            raise self.source.fail(f"the record {name} overlaps what follows it")
        return start, size

    def read(self, name: str) -> bytes:
        """The bytes of a record."""
        return self.source.read(*self.find(name))

    def _end(self) -> tuple[int, int, int]:
        """Number of records, where the directory lies, and where it ends."""
        source = self.source
        count = min(source.size, _END.size + 0xFFFF)
        tail = source.read(source.size - count, count)
        place = tail.rfind(b"PK\x05\x06")
        while place >= 0 and place + _END.size + int.from_bytes(tail[place + 20 : place + 22], "little") != count:
            place = tail.rfind(b"PK\x05\x06", 0, place)
        if place < 0:
            raise source.fail("the archive's end is missing; the file was cut off")
        _, disk, first, here, records, size, offset, _ = _END.unpack_from(tail, place)
        end = source.size - count + place
        if end >= _LOCATOR.size:
            mark, _, where, _ = _LOCATOR.unpack(source.read(end - _LOCATOR.size, _LOCATOR.size))
            if mark == b"PK\x06\x07":
                end = where
                mark, _, _, _, disk, first, here, records, size, offset = _END64.unpack(source.read(where, _END64.size))
                if mark != b"PK\x06\x06":
                    raise source.fail("the archive's end is damaged")
        if disk or first or here != records or offset + size > end or records * _CENTRAL.size > size:
            raise source.fail(f"a directory of {records} records in {size} bytes at {offset} does not fit the archive")
        return records, offset, offset + size

    def _read_directory(self) -> None:
        source = self.source
        count, offset, end = self._end()
        directory = source.read(offset, end - offset)
        place = 0
        found: list[tuple[int, int, str]] = []
        if count > _MOST:
            raise source.fail(f"an archive of {count} records; at most {_MOST} are read")
        for _ in range(count):
            if place + _CENTRAL.size > len(directory):
                raise source.fail("the archive's directory is cut off")
            fields = _CENTRAL.unpack_from(directory, place)
            mark, flags, method, packed, size, start = fields[0], fields[3], fields[4], fields[8], fields[9], fields[16]
            names, extra, comment = fields[10:13]
            place += _CENTRAL.size
            raw, more = directory[place : place + names], directory[place + names : place + names + extra]
            place += names + extra + comment
            if mark != b"PK\x01\x02" or len(raw) != names or place > len(directory):
                raise source.fail("the archive's directory is damaged")
            try:
                name = raw.decode()
            except UnicodeDecodeError:
                raise source.fail("a record's name is no UTF-8") from None
            if flags & 1 or method != 0:
                raise source.fail(f"the record {name} is compressed or encrypted; torch stores plain bytes")
            size, packed, start = self._wide(more, size, packed, start)
            if size != packed or start + _LOCAL.size + names + size > offset:
                raise source.fail(f"the record {name} of {size} bytes at {start} does not fit the archive")
            if name in self.records:
                raise source.fail(f"the record {name} occurs twice")
            self.records[name] = (start, size, offset)
            found.append((start, size, name))
        found.sort()
        for (start, size, name), (following, _, other) in pairwise(found):
            if start + _LOCAL.size + len(name.encode()) + size > following:
                raise source.fail(f"the records {name} and {other} overlap")
            self.records[name] = (start, size, following)

    def _wide(self, extra: bytes, size: int, packed: int, start: int) -> tuple[int, int, int]:
        """The numbers that do not fit in 32 bits stand in an extra field, in this order."""
        numbers = [size, packed, start]
        place = 0
        while 0xFFFFFFFF in numbers and place + 4 <= len(extra):
            kind, length = struct.unpack_from("<2H", extra, place)
            if kind == 1:
                field = extra[place + 4 : place + 4 + length]
                for i, number in enumerate(numbers):
                    if number == 0xFFFFFFFF:
                        if len(field) < 8:
                            raise self.source.fail("a record's size is cut off")
                        numbers[i] = int.from_bytes(field[:8], "little")
                        field = field[8:]
                break
            place += 4 + length
        return numbers[0], numbers[1], numbers[2]


__all__ = ["Archive"]
