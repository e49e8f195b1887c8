"""Where each key lies in a topic: an index on this machine, which follows the topic and can be made anew from it.

It is a set of runs. A run covers the messages of a range and holds, for each record in them, a 32-bit mark of its key
and its offset, sorted by mark; different keys may share a mark, so whoever asks compares the keys of what is found.
A run is a file that never changes, named by its range. Whoever writes one holds a lock and begins where the last run
ends, so processes that follow the same topic side by side share what each has read. Runs of like size are merged.
"""

import fcntl
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from headrace.engines.kafka.batches import offset_of

KEEP = 4096
"""This many new records are worth a file; fewer are read again by the next process."""
RUN = 1_000_000
"""Records in memory, at most, while following."""
_NAME = re.compile(r"(\d+)-(\d+)\.run")
_ENTRY = 12
_MERGE_BELOW = 8_000_000


class _Run(NamedTuple):
    path: Path
    start: int
    end: int
    offsets: NDArray[np.int64]
    marks: NDArray[np.uint32]

    def find(self, mark: np.uint32) -> list[int]:
        first, last = self.marks.searchsorted(mark, "left"), self.marks.searchsorted(mark, "right")
        return [int(offset) for offset in self.offsets[first:last]]


class KeyIndex:
    """The index of one topic; one thread at a time may use it.

    Args:
        folder: Of its runs; made when first written.

    Attributes:
        covered: The first message that is not in it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._runs = _load(folder)
        self.covered = self._runs[-1].end if self._runs else 0
        self._start = self.covered
        self._new: dict[int, list[int]] = {}
        self._count = 0

    def add(self, message: int, keys: Sequence[str], first: int) -> None:
        """Take up a message: its keys, and the offset of its first record."""
        for offset, key in enumerate(keys, first):
            self._new.setdefault(crc32(key.encode("utf-8", "surrogatepass")), []).append(offset)
        self.covered = message + 1
        self._count += len(keys)
        if self._count >= RUN:
            self.save()

    def reach(self, message: int, oldest: int) -> None:
        """All before ``message`` has been taken up, and what lies before ``oldest`` is gone from the topic."""
        self.covered = max(self.covered, message)
        while self._runs and self._runs[0].end <= oldest:
            self._runs.pop(0).path.unlink(missing_ok=True)
        if self._count >= KEEP:
            self.save()

    def restart(self, oldest: int) -> None:
        """Forget everything: the topic lost its end."""
        for run in self._runs:
            run.path.unlink(missing_ok=True)
        self._runs = []
        self._new, self._count = {}, 0
        self._start = self.covered = oldest

    def find(self, key: str) -> list[int]:
        """Offsets of the records that may have this key, in order."""
        mark = crc32(key.encode("utf-8", "surrogatepass"))
        found = set(self._new.get(mark, ()))
        for run in self._runs:
            found.update(run.find(np.uint32(mark)))
        return sorted(found)

    def save(self) -> None:
        """Write what no other process has written yet as a run, and merge it with its neighbours of like size."""
        with self._turn():
            self._take_up(_load(self._folder))
            if self._count:
                self._write_new()

    def _take_up(self, runs: list[_Run]) -> None:
        """Go on from what lies on disk, by whomever it was written."""
        end = runs[-1].end if runs else 0 if self._runs else self._start
        if end < self._start:  # somebody found the topic without its end; what we hold does not follow
            self._new, self.covered = {}, end
        elif end > self._start:
            first = offset_of(end)
            left = {mark: [o for o in offsets if o >= first] for mark, offsets in self._new.items()}
            self._new = {mark: offsets for mark, offsets in left.items() if offsets}
            self.covered = max(self.covered, end)
        self._runs, self._start = runs, end
        self._count = sum(map(len, self._new.values()))

    def _write_new(self) -> None:
        pairs = [(mark, offset) for mark, offsets in self._new.items() for offset in offsets]
        marks = np.array([mark for mark, _ in pairs], np.uint32)
        offsets = np.array([offset for _, offset in pairs], np.int64)
        self._runs.append(_write(self._folder, (self._start, self.covered), offsets, marks))
        self._new, self._count, self._start = {}, 0, self.covered
        while len(self._runs) > 1 and _alike(*self._runs[-2:]):
            left, right = self._runs[-2:]
            merged = np.concatenate([left.offsets, right.offsets]), np.concatenate([left.marks, right.marks])
            self._runs[-2:] = [_write(self._folder, (left.start, right.end), *merged)]
            for old in (left, right):
                old.path.unlink(missing_ok=True)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / "turn").open("wb") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            yield


def _alike(left: _Run, right: _Run) -> bool:
    return len(left.marks) <= 2 * len(right.marks) and len(left.marks) + len(right.marks) <= _MERGE_BELOW


def _load(folder: Path) -> list[_Run]:
    """The runs of a folder, each beginning where the one before ends; none when they do not fit together."""
    while True:
        named = [(int(m[1]), int(m[2])) for m in map(_NAME.fullmatch, _listed(folder)) if m]
        chain: list[tuple[int, int]] = []
        for start, end in sorted(named, key=lambda span: (span[0], -span[1])):
            if not chain or start == chain[-1][1]:
                chain.append((start, end))
            elif start > chain[-1][1]:  # a run between them is missing
                shutil.rmtree(folder, ignore_errors=True)
                return []
        try:
            return [_map(folder, span) for span in chain]
        except FileNotFoundError:  # merged meanwhile by another process
            continue
        except (OSError, ValueError):
            shutil.rmtree(folder, ignore_errors=True)
            return []


def _listed(folder: Path) -> list[str]:
    return os.listdir(folder) if folder.is_dir() else []  # noqa: PTH208 - names are what is wanted


def _map(folder: Path, span: tuple[int, int]) -> _Run:
    path = folder / f"{span[0]}-{span[1]}.run"
    count, rest = divmod(path.stat().st_size, _ENTRY)
    if rest:
        raise ValueError(path.name)
    if not count:
        return _Run(path, *span, np.empty(0, np.int64), np.empty(0, np.uint32))
    held = np.memmap(path, np.uint8, "r")
    return _Run(
        path, *span, np.asarray(held[: 8 * count]).view(np.int64), np.asarray(held[8 * count :]).view(np.uint32)
    )


def _write(folder: Path, span: tuple[int, int], offsets: NDArray[np.int64], marks: NDArray[np.uint32]) -> _Run:
    order = np.lexsort((offsets, marks))
    half = folder / f"{span[0]}-{span[1]}.{os.getpid()}"
    with half.open("wb") as file:
        file.write(offsets[order].tobytes())
        file.write(marks[order].tobytes())
        file.flush()
        os.fsync(file.fileno())
    half.replace(folder / f"{span[0]}-{span[1]}.run")
    return _map(folder, span)
