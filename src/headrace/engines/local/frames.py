"""Frames: a batch of records as one run of bytes that tells whether it is whole, and where it belongs.

A frame is a header (the segment's mark, bytes of the body, number of records, checksum) and a body: of every record the
size of its value, the size of its key and its time, then all keys, then all values. The checksum covers where the frame
lies, so that a copy of it elsewhere, as in the body of a request, is none.
"""

import struct
from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple
from zlib import crc32

from headrace.storage.stream import Record

MARK_BYTES = 8
MOST_BYTES = 1 << 30
"""Of one frame: places in a segment are told by 32 bits."""
_HEADER = struct.Struct("<8sIII")
_PLACE = struct.Struct("<QI")
HEADER_BYTES = _HEADER.size
_PER_RECORD = 16
_PIECE = 1 << 20


class Frame(NamedTuple):
    """A whole frame.

    Attributes:
        offset: Where it begins in the topic, and the offset of its first record; others follow one by one.
        holds: How many records; none closes a segment.
        body: As written; of a large frame, as it begins, up to the values.
        size: Its bytes, header and all.
        rest: Reads some bytes of a large frame's body from a place in it on.
    """

    offset: int
    holds: int
    body: bytes
    size: int
    rest: Callable[[int, int], bytes] | None = None

    @property
    def end(self) -> int:
        """Where the next one begins, as an offset."""
        return self.offset + self.size

    def keys(self) -> list[bytes]:
        """The records' keys, encoded."""
        if self.holds == 1:
            return [self.body[_PER_RECORD : _PER_RECORD + int.from_bytes(self.body[4:8], "little")]]
        sizes = struct.unpack_from(f"<{self.holds}I", self.body, 4 * self.holds)
        ends = list(accumulate(sizes, initial=_PER_RECORD * self.holds))
        return [self.body[start:end] for start, end in pairwise(ends)]

    def times(self) -> tuple[int, ...]:
        """The records' times."""
        return struct.unpack_from(f"<{self.holds}q", self.body, 8 * self.holds)

    def records(self, after: int = -1, limit: int | None = None) -> list[Record]:
        """Its records beyond an offset, at most so many."""
        first = min(max(0, after + 1 - self.offset), self.holds)
        last = self.holds if limit is None else min(first + limit, self.holds)
        sizes = struct.unpack_from(f"<{self.holds}I", self.body)
        keys, times = self.keys(), self.times()
        start = _PER_RECORD * self.holds + sum(map(len, keys)) + sum(sizes[:first])
        found = []
        for place in range(first, last):
            size = sizes[place]
            value = self.body[start : start + size] if self.rest is None else self.rest(start, size)
            found.append(Record(keys[place].decode(), value, times[place], self.offset + place))
            start += size
        return found


def encoded(records: Sequence[Record], keys: Sequence[bytes], *, mark: bytes, offset: int) -> bytes:
    """The frame that holds these records, or the one that closes a segment where there are none."""
    count = len(records)
    values = [record.value for record in records]
    sizes = struct.pack(
        f"<{count}I{count}I{count}q", *map(len, values), *map(len, keys), *[record.at_ms for record in records]
    )
    body = b"".join((sizes, *keys, *values))
    return _HEADER.pack(mark, len(body), count, _sum(offset, count, body)) + body


def claimed(data: bytes, start: int, mark: bytes) -> int | None:
    """How many bytes the frame that begins at ``start`` says to take, header and all; None when none begins there."""
    if len(data) - start < HEADER_BYTES:
        return None
    found, size, _, _ = _HEADER.unpack_from(data, start)
    return HEADER_BYTES + int(size) if found == mark else None


def decoded(data: bytes, start: int, size: int, offset: int) -> Frame | None:
    """The frame that takes ``size`` bytes of ``data``, if all of them are as they were written."""
    _, _, count, checksum = _HEADER.unpack_from(data, start)
    body = data[start + HEADER_BYTES : start + size]
    return Frame(offset, count, body, size) if _sum(offset, count, body) == checksum else None


def outlined(header: bytes, offset: int, rest: Callable[[int, int], bytes]) -> Frame | None:
    """A large frame, if it is as it was written, without its values in memory; ``rest`` as ``Frame`` has it."""
    _, size, count, checksum = _HEADER.unpack_from(header)
    made = crc32(_PLACE.pack(offset, count))
    for place in range(0, size, _PIECE):
        made = crc32(rest(place, min(_PIECE, size - place)), made)
    if made != checksum:
        return None
    keys = sum(struct.unpack(f"<{count}I", rest(4 * count, 4 * count)))
    return Frame(offset, count, rest(0, _PER_RECORD * count + keys), HEADER_BYTES + size, rest)


def _sum(offset: int, count: int, body: bytes) -> int:
    return crc32(body, crc32(_PLACE.pack(offset, count)))
