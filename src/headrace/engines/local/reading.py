"""The readers of a topic: they take no lock, and go from segment to segment while others write and forget."""

import threading
from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Iterator
from pathlib import Path

from headrace.engines.local.followed import Followed
from headrace.engines.local.key_file import KeyFile
from headrace.engines.local.segment import HEAD_BYTES, Segment, bases
from headrace.errors import Unavailable
from headrace.storage.stream import Record

_RECENT = 4
"""Files of keys whose contents are kept in memory: who looks many keys up finds most of them in the same ones."""
_SEARCHES = 8
"""So often a segment without a file of keys is searched for one; that costs as much as gathering all of its keys."""


class TopicReader:
    """Reads one topic; its threads take turns.

    Args:
        folder: Of the topic; need not be there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._bases: list[int] = []
        self._files: dict[int, KeyFile] = {}
        self._recent: deque[KeyFile] = deque()
        self._followed: dict[int, Followed] = {}
        self._searches: Counter[int] = Counter()

    def read(self, after: int, limit: int) -> list[Record]:
        """At most ``limit`` records beyond an offset, in order."""
        with self._lock:
            found: list[Record] = []
            todo = self._from(after)
            while True:
                for base in todo:
                    if not self._read(base, found[-1].offset if found else after, limit, found):
                        return found
                last = self._bases[-1] if self._bases else -1
                self._look()
                if not self._bases or self._bases[-1] <= last:
                    return found
                # The last one once more: there may be more in it, added before it was closed.
                todo = [base for base in self._from(after) if base >= last]

    def find(self, key: str) -> list[Record]:
        """All records with this key, in order."""
        wanted = key.encode()
        with self._lock:
            if not self._is_newest_known():
                self._look()
            return [record for base in self._bases for record in self._found(base, wanted)]

    def close(self) -> None:
        """Close the files."""
        with self._lock:
            for followed in self._followed.values():
                followed.close()
            self._followed.clear()

    def _look(self) -> None:
        """See which segments there are."""
        newest, listed = self._bases[-1] if self._bases else -1, bases(self._folder)
        # A listing of a large folder may have a segment and lack one that was made before it, while both were made.
        while listed and listed[-1] > newest:
            newest, listed = listed[-1], bases(self._folder)
        self._bases = listed
        there = set(listed)
        self._searches = Counter({base: count for base, count in self._searches.items() if base in there})
        self._files = {base: file for base, file in self._files.items() if base in there}
        for base in [base for base in self._followed if base not in there]:
            self._followed.pop(base).close()

    def _is_newest_known(self) -> bool:
        try:
            return bool(self._bases) and self._bases[-1] in self._followed and not self._follow(self._bases[-1]).closed
        except FileNotFoundError:  # forgotten meanwhile
            return False

    def _from(self, after: int) -> list[int]:
        return self._bases[max(0, bisect_right(self._bases, after) - 1) :]

    def _read(self, base: int, after: int, limit: int, found: list[Record]) -> bool:
        """Add a segment's records to what was found; False when nothing more is to be added.

        What lies before damage is told first; who goes on from there is told of the damage.
        """
        try:
            with Segment(self._folder, base) as segment:
                wrong = _read(segment, after, limit, found)
                if wrong and not found:
                    raise _damaged(segment.path, wrong, newest=base == self._bases[-1])
                return not wrong and len(found) < limit
        except FileNotFoundError:  # forgotten meanwhile
            return True

    def _found(self, base: int, key: bytes) -> Iterator[Record]:
        try:
            places = self._places(base, key)
            if not places:
                return
            with Segment(self._folder, base) as segment:
                for place in places:
                    frame = next(segment.frames(segment.begin_of(place)), None)
                    for record in frame.records(base + place - 1, 1) if frame else ():
                        if record.key.encode() == key:
                            yield record
        except FileNotFoundError:  # forgotten meanwhile
            return

    def _places(self, base: int, key: bytes) -> list[int]:
        if base != self._bases[-1]:
            try:
                return self._in_file(base, key)
            except FileNotFoundError:  # it is not there yet, or damaged
                self._files.pop(base, None)
        if base not in self._followed and self._searches[base] < _SEARCHES:
            self._searches[base] += 1
            return self._searched(base, key)
        return self._follow(base).keys.find(key)

    def _searched(self, base: int, key: bytes) -> list[int]:
        with Segment(self._folder, base) as segment:
            return [
                frame.offset - base + place
                for frame in segment.holding(key)
                for place, held in enumerate(frame.keys())
                if held == key
            ]

    def _in_file(self, base: int, key: bytes) -> list[int]:
        file = self._files.get(base)
        if file is None:
            file = self._files[base] = KeyFile(self._folder, base)
            if base in self._followed:
                self._followed.pop(base).close()
        if key not in file:
            return []
        if file not in self._recent:
            self._recent.append(file)
            if len(self._recent) > _RECENT:
                self._recent.popleft().forget()
        return file.find(key)

    def _follow(self, base: int) -> Followed:
        followed = self._followed.get(base)
        if followed is None:
            followed = self._followed[base] = Followed(Segment(self._folder, base))
        followed.follow()
        return followed


def _read(segment: Segment, after: int, limit: int, found: list[Record]) -> str:
    """Add a segment's records beyond an offset to what was found, up to damage; say what that is."""
    place, end = after - segment.base, segment.size()
    start = segment.begin_of(place) if place >= HEAD_BYTES else HEAD_BYTES
    for frame in segment.frames(start):
        found += frame.records(after, limit - len(found))
        start = frame.end - segment.base
        if len(found) >= limit:
            return ""
    return segment.damage(start, end)


def _damaged(path: Path, why: str, *, newest: bool) -> Unavailable:
    fix = f"mv {path} {path}.damaged; its records are lost, the others are read"
    if newest:
        fix = "restart the gateway, which then writes elsewhere, and ask again"
    return Unavailable("a part of the log is damaged", where=str(path), why=why, fix=fix)
