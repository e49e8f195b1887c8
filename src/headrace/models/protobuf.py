"""Protocol buffers, read field by field without a schema and without copying."""

import re
from collections.abc import Iterator
from typing import NamedTuple

NUMBER, EIGHT_BYTES, LENGTH, FOUR_BYTES = 0, 1, 2, 5
"""Kinds of fields (wire types): a number of seven bits a byte, eight bytes, a length and so many bytes, four bytes."""

_MORE = 0x80  # a byte of a number from which on another follows
_MOST_TAG = 1 << 32  # readers differ in what they make of more
# Numbers whose tags are one byte. ONNX keeps trees as long lists of such fields, passed over at the speed of C.
# Not passed over is field 14, which says where a tensor's values are.
_PLAIN = re.compile(
    rb"(?:[\x08\x10\x18\x20\x28\x30\x38\x40\x48\x50\x58\x60\x68\x78][\x80-\xff]{0,9}[\0-\x7f]"
    rb"|[\x0d\x15\x1d\x25\x2d\x35\x3d\x45\x4d\x55\x5d\x65\x6d\x75\x7d].{4}"
    rb"|[\x09\x11\x19\x21\x29\x31\x39\x41\x49\x51\x59\x61\x69\x71\x79].{8})++",
    re.DOTALL,
)


class Field(NamedTuple):
    """One field of a message.

    Attributes:
        number: Which one it is.
        kind: ``NUMBER``, ``LENGTH``, ``FOUR_BYTES`` or ``EIGHT_BYTES``.
        value: Of a number; 0 for other kinds.
        begin: Where its content begins.
        end: Where its content ends.
    """

    number: int
    kind: int
    value: int
    begin: int
    end: int


def fields(content: bytes, begin: int = 0, end: int | None = None, *, brief: bool = False) -> Iterator[Field]:
    """The fields of the message that lies in ``content[begin:end]``, in the order they stand there.

    Args:
        content: What the message is in.
        begin: Where it begins.
        end: Where it ends; None for the end of ``content``.
        brief: Pass over numbers whose tags are one byte, except field 14.

    Raises:
        ValueError: It is no message; says at which byte.
    """
    end = len(content) if end is None else end
    at = begin
    while at < end:
        if brief and (passed := _PLAIN.match(content, at, end)):
            at = passed.end()
            continue
        field = _field(content, at, end)
        yield field
        at = field.end


def _field(content: bytes, at: int, end: int) -> Field:
    tag, begin = _number(content, at, end)
    kind, value = tag & 7, 0
    if kind == NUMBER:
        value, stop = _number(content, begin, end)
    elif kind == LENGTH:
        length, begin = _number(content, begin, end)
        stop = begin + length
    elif kind in {FOUR_BYTES, EIGHT_BYTES}:
        stop = begin + (4 if kind == FOUR_BYTES else 8)
    else:
        raise ValueError(f"byte {at} begins no field")
    if stop > end or not 0 < tag >> 3 < _MOST_TAG >> 3:
        raise ValueError(f"the field at byte {at} is cut off, or none")
    return Field(tag >> 3, kind, value, begin, stop)


def _number(content: bytes, at: int, end: int) -> tuple[int, int]:
    """A number of seven bits a byte, and where what follows it begins."""
    if at < end and content[at] < _MORE:
        return content[at], at + 1
    number = 0
    for shift, byte in zip(range(0, 70, 7), content[at : min(at + 10, end)], strict=False):
        number |= (byte & 0x7F) << shift
        at += 1
        if byte < _MORE:
            return number, at
    raise ValueError(f"the number before byte {at} has no end")
