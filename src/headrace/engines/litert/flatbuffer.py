"""Reads a FlatBuffer by its layout, whole, and no byte outside it.

What reads such files at run time follows their offsets unchecked. So every table, vector and text is followed here
first; what no layout knows is refused.
"""

import struct
from typing import Any

from headrace.engines.litert.layout import LAYOUTS, OPTIONS
from headrace.errors import IntegrityError, Refused

_NUMBERS = {"1": "<B", "2": "<H", "4": "<I", "8": "<Q", "i1": "<b", "i4": "<i"}
_HEAD = 4  # of a table's own table: two sizes
_MOST = 300_000


class FlatBuffer:
    """A file, read once.

    Args:
        content: The whole file.
    """

    def __init__(self, content: bytes) -> None:
        self._content, self._left = memoryview(content), _MOST

    def root(self, kind: str) -> dict[str, Any]:
        """Its outermost table: fields by name, the absent ones left out.

        Numbers are int, vectors of ``i4`` tuples, of other numbers the bytes, of tables lists; tables are as this one.

        Raises:
            IntegrityError: It lies partly outside the file, or is too large a maze to be followed.
            Refused: It has a field that its layout does not know.
        """
        return self._table(self._number("4", 0), kind)

    def _table(self, at: int, kind: str) -> dict[str, Any]:
        self._spend(1)
        fields = LAYOUTS.get(kind)
        if fields is None:
            raise Refused("the model has options that are not known", where=kind)
        slots = at - self._number("i4", at)
        size, extent = self._number("2", slots), self._number("2", slots + 2)
        self._inside(at, extent)
        found: dict[str, Any] = {}
        for slot in range((size - _HEAD) // 2):
            offset = self._number("2", slots + _HEAD + 2 * slot)
            if offset == 0:
                continue
            name, what = fields[slot] if slot < len(fields) else ("", "-")
            if what == "-":
                raise Refused("the model holds more than is read here", where=kind, why=f"its field {slot}")
            if offset + _width(what) > extent:
                raise IntegrityError("the model cannot be loaded", where=kind, why=f"its field {slot} lies outside it")
            found[name] = self._value(at + offset, f"{OPTIONS} {found.get('kind', 0)}" if what == OPTIONS else what)
        return found

    def _value(self, at: int, what: str) -> Any:
        if what in _NUMBERS:
            return self._number(what, at)
        start = at + self._number("4", at)
        if what == "text":
            return self._text(start)
        return self._vector(start, what[1:-1]) if what.startswith("[") else self._table(start, what)

    def _vector(self, at: int, item: str) -> Any:
        count, first = self._number("4", at), at + 4
        self._inside(first, count * _width(item))
        if item not in _NUMBERS:
            return [self._value(first + 4 * i, item) for i in range(count)]
        if item != "i4":
            return self._content[first : first + count * _width(item)]
        self._spend(count)
        return struct.unpack_from(f"<{count}i", self._content, first)

    def _text(self, at: int) -> str:
        end = at + 4 + self._number("4", at)
        self._inside(at, end + 1 - at)
        self._spend(end - at)
        if self._content[end]:
            raise IntegrityError("the model cannot be loaded", why="a text in it has no end")
        return str(self._content[at + 4 : end], "utf-8", "replace")

    def _number(self, kind: str, at: int) -> int:
        self._inside(at, _width(kind))
        (number,) = struct.unpack_from(_NUMBERS[kind], self._content, at)
        return int(number)

    def _inside(self, at: int, size: int) -> None:
        if at < 0 or at + size > len(self._content):
            raise IntegrityError("the model cannot be loaded", why=f"it points to byte {at + size} outside its file")

    def _spend(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise IntegrityError("the model cannot be loaded", why=f"it has more than {_MOST} parts")


def _width(kind: str) -> int:
    """Bytes of a field; what is no number is kept as an offset of four."""
    return struct.calcsize(_NUMBERS.get(kind, "<I"))
