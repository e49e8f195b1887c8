"""``tf.Example`` as bytes: what TensorFlow Serving makes of the examples of classify and regress for such a model.

A message of a few fields is written here, so that JSON needs no library of messages.
"""

import struct
from collections.abc import Mapping, Sequence
from typing import Any

from headrace.errors import SignatureError
from headrace.models.tensors import bytes_of

_BYTES, _FLOATS, _INTEGERS = 1, 2, 3
_INT64 = 2**63


def serialised(features: Mapping[str, Any]) -> bytes:
    """An example's bytes.

    Args:
        features: Name to a value or a list of values of one kind: text or ``{"b64": ...}`` makes a list of bytes, whole
            numbers one of integers, other numbers one of floats.

    Raises:
        SignatureError: A feature holds something else, or several kinds; names it.
    """
    entries = b"".join(
        _field(1, _field(1, name.encode()) + _field(2, _feature(name, features[name]))) for name in features
    )
    return _field(1, entries)


def _feature(name: str, value: Any) -> bytes:
    values = value if isinstance(value, list) else [value]
    kinds = {_kind(cell) for cell in values}
    if len(kinds) > 1 or 0 in kinds:
        why = "its values are of several kinds" if 0 not in kinds else f"{str(value)[:50]!r} is no text and no number"
        raise SignatureError(f"feature {name!r} is refused", why=why)
    if not kinds:
        return b""
    (kind,) = kinds
    return _field(kind, _list(name, kind, values))


def _kind(cell: Any) -> int:
    if isinstance(cell, str | dict):
        return _BYTES
    if isinstance(cell, float):
        return _FLOATS
    return _INTEGERS if isinstance(cell, int) and not isinstance(cell, bool) and -_INT64 <= cell < _INT64 else 0


def _list(name: str, kind: int, values: Sequence[Any]) -> bytes:
    try:
        if kind == _BYTES:
            return b"".join(_field(1, bytes_of(cell)) for cell in values)
        if kind == _FLOATS:
            return _field(1, struct.pack(f"<{len(values)}f", *values))
    except (SignatureError, OverflowError) as error:
        raise SignatureError(f"feature {name!r} is refused", why=str(error)) from None
    return _field(1, b"".join(_varint(cell % (2 * _INT64)) for cell in values))


def _field(number: int, content: bytes) -> bytes:
    """A field of bytes: its number with the wire type of those, its length, itself."""
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:  # noqa: PLR2004 - seven bits a byte
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)
