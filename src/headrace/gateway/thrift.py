"""Thrift's compact protocol, read without a schema: what Parquet says of its columns and pages is written in it."""

from typing import Any

Fields = dict[int, Any]
"""A struct: numbers, structs and lists of these by their field; None for what is neither."""

_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET = range(1, 11)
_STRUCT = 12
_NUMBERS = frozenset({_I16, _I32, _I64})
_MANY = 15  # a list of so many or more has their number in front
_DEPTH = 16
_MORE = 0x80  # a byte of a number from which on another follows


def struct(content: bytes, at: int, depth: int = 0) -> tuple[Fields, int]:
    """The struct that begins at a byte, and where what follows it begins.

    Raises:
        ValueError: It is none, or readers would differ in what they take; says at which byte.
    """
    if depth > _DEPTH:
        raise ValueError(f"byte {at} is nested too deep")
    found: Fields = {}
    number = 0
    while (head := _byte(content, at)) != 0:
        at += 1
        if head >> 4:
            number += head >> 4
        else:
            number, at = _number(content, at)
        if number in found:
            raise ValueError(f"a field stands twice before byte {at}")
        found[number], at = _value(content, at, head & 0xF, depth)
    return found, at + 1


def _value(content: bytes, at: int, kind: int, depth: int) -> tuple[Any, int]:
    if kind in _NUMBERS:
        return _number(content, at)
    if kind == _STRUCT:
        return struct(content, at, depth + 1)
    if kind in {_LIST, _SET}:
        return _list(content, at, depth + 1)
    if kind == _BINARY:
        length, at = _length(content, at)
        return None, at + length
    widths = {_TRUE: 0, _FALSE: 0, _BYTE: 1, _DOUBLE: 8}
    if kind not in widths:
        raise ValueError(f"byte {at} begins no field")
    return None, at + widths[kind]


def _list(content: bytes, at: int, depth: int) -> tuple[list[Any], int]:
    if depth > _DEPTH:
        raise ValueError(f"byte {at} is nested too deep")
    head, at = _byte(content, at), at + 1
    count, at = _length(content, at) if head >> 4 == _MANY else (head >> 4, at)
    kind, found = head & 0xF, []
    for _ in range(count):
        value, at = (None, at + 1) if kind in {_TRUE, _FALSE} else _value(content, at, kind, depth)
        found.append(value)
    return found, at


def _byte(content: bytes, at: int) -> int:
    if at >= len(content):
        raise ValueError(f"byte {at} is beyond the end")
    return content[at]


def _length(content: bytes, at: int) -> tuple[int, int]:
    """How many bytes, or items of a byte or more, follow."""
    length, at = _digits(content, at)
    if length > len(content) - at:
        raise ValueError(f"what begins at byte {at} is beyond the end")
    return length, at


def _number(content: bytes, at: int) -> tuple[int, int]:
    """A number whose sign its last bit tells."""
    digits, at = _digits(content, at)
    return (digits >> 1) ^ -(digits & 1), at


def _digits(content: bytes, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, and where what follows it begins."""
    number = 0
    for shift in range(0, 70, 7):
        byte = _byte(content, at)
        number |= (byte & 0x7F) << shift
        at += 1
        if byte < _MORE:
            return number, at
    raise ValueError(f"the number before byte {at} has no end")
