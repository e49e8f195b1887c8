"""Segments: the files of a topic. Each holds the frames of a while, one after the other, and is deleted as a whole.

A segment is named by the offset at which it begins. Offsets count bytes, so a topic's size is the difference of two.
Its header has a mark of its own, drawn at random, by which frames are found from anywhere in it; who sends a request
cannot know it. Nothing in a segment is ever written over.
"""

import errno
import os
import secrets
import struct
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Self

from headrace.engines.local.frames import HEADER_BYTES, MARK_BYTES, Frame, claimed, decoded, outlined

_HEAD = struct.Struct("<8s8sQ")
_KIND = b"headrac1"
HEAD_BYTES = _HEAD.size
_WINDOW = 256 * 1024
_BACK, _MOST_BACK = 64 * 1024, 4 << 20
_WHOLE = 16 << 20
"""Frames up to this are read as a whole."""
_DIGITS = 20
ENDING = ".log"


def path_of(folder: Path, base: int, ending: str = ENDING) -> Path:
    """Of the segment of a topic that begins at this offset, or of what belongs to it."""
    return folder / f"{base:0{_DIGITS}}{ending}"


def bases(folder: Path) -> list[int]:
    """At which offsets the segments of a topic begin, in order; none where there is no such topic."""
    try:
        names = os.listdir(folder)  # noqa: PTH208 - names are all that is asked for, often
    except FileNotFoundError:
        return []
    return sorted(int(name[:_DIGITS]) for name in names if name.endswith(ENDING) and name[:_DIGITS].isdecimal())


class Segment:
    """One segment, open; its reader needs no lock.

    Args:
        folder: Of the topic.
        base: At which offset it begins.
        flags: How to open it, as ``os.open`` has them.

    Attributes:
        base: As given.
        handle: The open file.
        path: Where it lies.

    Raises:
        FileNotFoundError: It was forgotten.
    """

    def __init__(self, folder: Path, base: int, flags: int = os.O_RDONLY) -> None:
        self.base, self.path = base, path_of(folder, base)
        self.handle = os.open(self.path, flags | os.O_CLOEXEC, 0o600)
        self._mark = b""

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *about: object) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Close the file."""
        os.close(self.handle)

    def size(self) -> int:
        """How many bytes it has now."""
        return os.fstat(self.handle).st_size

    def begin(self) -> None:
        """Write the header where nothing else is yet; under the writer's lock."""
        if self.size() <= HEAD_BYTES:
            os.ftruncate(self.handle, 0)
            head = _HEAD.pack(_KIND, secrets.token_bytes(MARK_BYTES), self.base)
            if os.write(self.handle, head) < len(head):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    @property
    def mark(self) -> bytes:
        """By which its frames are found; empty where it has no header, or none that can be read."""
        if not self._mark:
            head = os.pread(self.handle, HEAD_BYTES, 0)
            if len(head) == HEAD_BYTES:
                kind, mark, base = _HEAD.unpack(head)
                self._mark = mark if (kind, base) == (_KIND, self.base) else b""
        return self._mark

    def damage(self, start: int, end: int) -> str:
        """What is wrong with the bytes between two places, at the first of which no whole frame begins; or nothing.

        Nothing is where no whole frame lies beyond: the last one may be written just now, or its writer died. A power
        cut takes what was not synced: then zeros are there, or nothing.
        """
        if not self.mark and end >= HEAD_BYTES and any(os.pread(self.handle, HEAD_BYTES, 0)):
            return "it does not begin as a segment does"
        beyond = self.next_of(start) if start < end else None
        # Asked last: the frame at the first place may have become whole since, and others have been added.
        return "" if beyond is None or self._is_frame(start) else f"bytes {start} to {beyond} are not what was written"

    def frames(self, start: int = HEAD_BYTES) -> Iterator[Frame]:
        """The whole frames from a place in the file on, up to what is no whole frame or is written later."""
        end, data, first, mark = self.size(), b"", start, self.mark
        while mark and start < end:
            size = claimed(data, start - first, mark)
            if size is None or start - first + size > len(data):
                data, first = os.pread(self.handle, _WINDOW, start), start
                size = claimed(data, 0, mark)
                if size is None or start + size > end:
                    return
                if len(data) < size <= _WHOLE:
                    data = os.pread(self.handle, size, start)
            frame = self._frame(data, start - first, size, start)
            if frame is None:
                return
            yield frame
            start += size

    def holding(self, wanted: bytes) -> Iterator[Frame]:
        """The whole frames that have these bytes anywhere; the others are passed over without a look at them."""
        place, size = HEAD_BYTES, max(_WINDOW, 4 * len(wanted))
        while data := os.pread(self.handle, size, place):
            found = data.find(wanted)
            if found < 0:
                if len(data) < size:
                    return
                place += size - len(wanted) + 1
                continue
            hit = place + found
            frame = next(self.frames(self.begin_of(hit)), None)
            if frame is not None and frame.end - self.base > hit:
                yield frame
                place = frame.end - self.base
            else:
                beyond = self.next_of(hit)
                if beyond is None:
                    return
                place = beyond

    def begin_of(self, place: int) -> int:
        """Where the last whole frame begins that does not begin after a place in the file; the first place of all."""
        high, reach = min(place, self.size()) + 1, _BACK
        while high > HEAD_BYTES:
            low = max(HEAD_BYTES, high - reach)
            data = os.pread(self.handle, high - low + MARK_BYTES - 1, low)
            found = data.rfind(self.mark) if self.mark else -1
            while found >= 0:
                if self._is_frame(low + found):
                    return low + found
                found = data.rfind(self.mark, 0, found + MARK_BYTES - 1)
            high, reach = low, min(4 * reach, _MOST_BACK)
        return HEAD_BYTES

    def next_of(self, place: int) -> int | None:
        """Where the first whole frame begins at a place in the file or beyond; None when there is none."""
        mark = self.mark
        while mark and (data := os.pread(self.handle, _WINDOW, place)):
            found = data.find(mark)
            while found >= 0:
                if self._is_frame(place + found):
                    return place + found
                found = data.find(mark, found + 1)
            if len(data) <= MARK_BYTES:
                return None
            place += len(data) - MARK_BYTES + 1
        return None

    def _frame(self, data: bytes, start: int, size: int, place: int) -> Frame | None:
        """The frame at a place in the file, which lies in what was read if it is not large."""
        if size <= _WHOLE:
            return decoded(data, start, size, self.base + place)
        return outlined(data[start : start + HEADER_BYTES], self.base + place, partial(self._in_frame, place))

    def _in_frame(self, frame: int, place: int, size: int) -> bytes:
        return os.pread(self.handle, size, frame + HEADER_BYTES + place)

    def _is_frame(self, place: int) -> bool:
        return next(self.frames(place), None) is not None
