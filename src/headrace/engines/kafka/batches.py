"""How a batch of records lies in Kafka: as one message, which a broker keeps whole or not at all.

A batch that is too large for one message goes ahead in parts, which mean nothing by themselves; then one message that
names their offsets makes it exist. So a batch has one offset, that of its one message, and all or none of it is read.
"""

from collections.abc import Sequence

import msgspec

from headrace.errors import UsageError
from headrace.storage.stream import Record

PART_BYTES = 900_000
"""A message stays below Kafka's default limit of 1 MiB, with what the protocol adds."""

_INDEX_BITS = 24
MOST = 1 << _INDEX_BITS
"""Records in one batch, at most: a record's offset is its message's, and its place in the batch."""


class Whole(msgspec.Struct, array_like=True, tag="w", gc=False):
    """A batch, by columns: its keys can be read without its values."""

    keys: list[str]
    at_ms: list[int]
    values: list[bytes]


class Part(msgspec.Struct, array_like=True, tag="p", gc=False):
    """A piece of an encoded ``Whole``."""

    piece: bytes


class Joined(msgspec.Struct, array_like=True, tag="j", gc=False):
    """A batch whose parts lie at these offsets."""

    parts: list[int]


class _Keys(msgspec.Struct, array_like=True, tag="w", gc=False):
    keys: list[str]


_encode = msgspec.msgpack.Encoder().encode
_decoder: msgspec.msgpack.Decoder[Whole | Part | Joined] = msgspec.msgpack.Decoder(Whole | Part | Joined)
_keys_decoder: msgspec.msgpack.Decoder[_Keys | Part | Joined] = msgspec.msgpack.Decoder(_Keys | Part | Joined)


def encode(records: Sequence[Record], topic: str) -> list[bytes]:
    """The messages that make up a batch: one ``Whole``, or the parts that a ``joined`` message has to follow.

    Raises:
        UsageError: There are more than ``MOST`` records.
    """
    if len(records) > MOST:
        why = f"{len(records)} records, and {MOST} fit"
        raise UsageError("a batch is too large", where=topic, why=why, fix="append it as several batches")
    keys, values, at_ms, _ = zip(*records, strict=True)
    message = _encode(Whole(list(keys), list(at_ms), list(values)))
    if len(message) <= PART_BYTES:
        return [message]
    return [_encode(Part(message[at : at + PART_BYTES])) for at in range(0, len(message), PART_BYTES)]


def joined(parts: list[int]) -> bytes:
    """The message that makes a batch of these parts exist."""
    return _encode(Joined(parts))


def decode(message: bytes) -> Whole | Part | Joined | None:
    """What a message is; None when headrace did not write it."""
    try:
        return _decoder.decode(message)
    except msgspec.DecodeError:
        return None


def whole(pieces: Sequence[bytes]) -> Whole | None:
    """The batch that was cut into these pieces."""
    found = decode(b"".join(pieces))
    return found if isinstance(found, Whole) else None


def keys_of(message: bytes) -> list[str] | Joined:
    """The keys of the batch in a message, none when there is none; or where its parts are."""
    try:
        found = _keys_decoder.decode(message)
    except msgspec.DecodeError:
        return []
    return found.keys if isinstance(found, _Keys) else found if isinstance(found, Joined) else []


def records_of(batch: Whole, message: int) -> list[Record]:
    """The records of a batch that lies at the offset ``message``."""
    first = offset_of(message)
    return [
        Record(key, value, at, offset)
        for offset, (key, value, at) in enumerate(zip(batch.keys, batch.values, batch.at_ms, strict=True), first)
    ]


def offset_of(message: int) -> int:
    """The offset of the first record in a message."""
    return message << _INDEX_BITS


def place_of(offset: int) -> int:
    """A record's place in the batch of its message, from 0."""
    return offset & (MOST - 1)


def message_of(offset: int) -> int:
    """The offset of the message that a record is in."""
    return offset >> _INDEX_BITS
