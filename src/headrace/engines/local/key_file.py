"""Where the keys of a segment lie: gathered while it is written, kept in a file beside it once it is closed.

The file has, for each record, 32 bits drawn from its key, and its place, sorted by the first. Different keys may share
them, so whoever asks compares keys. It can be made anew from the segment at any time.
"""

import struct
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from headrace.engines.local.halves import replace
from headrace.engines.local.segment import path_of

ENDING = ".keys"
_HEAD = struct.Struct("<8sIqHHI")
_KIND = b"headrak1"
_SUM = struct.Struct("<I")
_LONGEST = 2**16 - 1


class Keys:
    """The keys of a segment, in memory.

    Attributes:
        least: Of the keys, in order of bytes.
        greatest: Likewise.
        newest_ms: Of the records' times.
        first_ms: The time of the first.
        count: How many records there are.
    """

    def __init__(self) -> None:
        self.least, self.greatest = b"", b""
        self.newest_ms = self.first_ms = self.count = 0
        self._marks, self._places = bytearray(), bytearray()

    def add(self, keys: Sequence[bytes], times: Sequence[int], places: Iterable[int]) -> None:
        """Take in the next records of the segment."""
        if not self.count:
            self.least, self.first_ms, self.newest_ms = keys[0], times[0], times[0]
        self.least, self.greatest = min(self.least, *keys), max(self.greatest, *keys)
        self.newest_ms = max(self.newest_ms, *times)
        self.count += len(keys)
        layout = f"<{len(keys)}I"
        self._marks += struct.pack(layout, *map(crc32, keys))
        self._places += struct.pack(layout, *places)

    def find(self, key: bytes) -> list[int]:
        """Places of the records that may have this key, in order."""
        marks, places = np.frombuffer(self._marks, "<u4"), np.frombuffer(self._places, "<u4")
        return [int(place) for place in places[marks == crc32(key)]]

    def save(self, folder: Path, base: int) -> None:
        """Write the file of a segment that is closed; it is there whole, or not."""
        marks, places = np.frombuffer(self._marks, "<u4"), np.frombuffer(self._places, "<u4")
        order = np.argsort(marks, kind="stable")
        least, greatest = self.least[:_LONGEST], self.greatest
        if len(greatest) > _LONGEST:  # cut short it would be less than the key
            greatest = b"\xff" * _LONGEST
        found = b"".join((marks[order].tobytes(), places[order].tobytes()))
        head = _HEAD.pack(_KIND, self.count, self.newest_ms, len(least), len(greatest), crc32(found)) + least + greatest
        replace(path_of(folder, base, ENDING), head + _SUM.pack(crc32(head)) + found)


class KeyFile:
    """The keys of a closed segment, in their file.

    Args:
        folder: Of the topic.
        base: At which offset the segment begins.

    Attributes:
        newest_ms: Of the records' times.

    Raises:
        FileNotFoundError: It has none, or none that can be read.
    """

    def __init__(self, folder: Path, base: int) -> None:
        self._path = path_of(folder, base, ENDING)
        with self._path.open("rb") as file:
            head = file.read(_HEAD.size)
            if len(head) < _HEAD.size or not head.startswith(_KIND):
                raise FileNotFoundError(self._path)
            self._count, self.newest_ms = _HEAD.unpack(head)[1:3]
            least, greatest, self._sum = _HEAD.unpack(head)[3:]
            rest = file.read(least + greatest + _SUM.size)
            if len(rest) < least + greatest + _SUM.size:
                raise FileNotFoundError(self._path)
            names, checksum = rest[: -_SUM.size], rest[-_SUM.size :]
            if _SUM.pack(crc32(head + names)) != checksum:
                raise FileNotFoundError(self._path)
            self._least, self._greatest = names[:least], names[least:]
            self._start = file.tell()
        self._read: tuple[NDArray[np.uint32], NDArray[np.uint32]] | None = None

    def __contains__(self, key: bytes) -> bool:
        """Whether the key lies between the least and the greatest."""
        return self._count > 0 and self._least <= key <= self._greatest

    def forget(self) -> None:
        """Let go of what was read of the file."""
        self._read = None

    def find(self, key: bytes) -> list[int]:
        """Places of the records that may have this key, in order.

        A file that is damaged is deleted: then the next writer makes it anew.

        Raises:
            FileNotFoundError: The file cannot be read.
        """
        if self._read is None:
            self._read = self._whole()
        marks, places = self._read
        mark = np.uint32(crc32(key))
        first, last = marks.searchsorted(mark, "left"), marks.searchsorted(mark, "right")
        return [int(place) for place in places[first:last]]

    def _whole(self) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
        with self._path.open("rb") as file:
            file.seek(self._start)
            data = file.read(8 * self._count)
        if len(data) < 8 * self._count or crc32(data) != self._sum:
            with suppress(OSError):
                self._path.unlink()
            raise FileNotFoundError(self._path)
        both = np.frombuffer(data, "<u4")
        return both[: self._count], both[self._count :]
