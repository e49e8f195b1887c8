"""The writer of a topic: one frame a batch at the end of its newest segment, a new segment now and then.

Writers of several processes take turns by a lock on the newest segment. Who has it sees what others have added, and
whether they went on to another segment.
"""

import fcntl
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from headrace.engines.local.followed import Followed
from headrace.engines.local.frames import MOST_BYTES, encoded
from headrace.engines.local.halves import sweep
from headrace.engines.local.key_file import ENDING, KeyFile
from headrace.engines.local.segment import HEAD_BYTES, Segment, bases, path_of
from headrace.errors import Unavailable, UsageError
from headrace.storage.durable import keep_names, make_folders, sync
from headrace.storage.stream import Bounds, Record

_BUSY_S = 10.0
_AGAIN_S = 0.002
_CLOSE_S = 0.5
_PARTS = 8
_FORGOTTEN = 1
_HOUR_MS = 3600 * 1000


@dataclass(frozen=True)
class Roll:
    """When a topic goes on to a new segment, besides when it is an eighth of what is kept.

    Attributes:
        most_bytes: The size of a segment, about.
        least_bytes: One that is smaller is not closed for an hour, but for a day.
    """

    most_bytes: int = 16 << 20
    least_bytes: int = 1 << 20


class TopicWriter:
    """Appends to one topic; its threads take turns.

    Args:
        folder: Of the topic; made when first needed.
        roll: When it goes on to a new segment.
    """

    def __init__(self, folder: Path, roll: Roll) -> None:
        self._folder, self._roll = folder, roll
        self._lock = threading.Lock()
        self._tail: Followed | None = None
        self._bases: list[int] = []
        self._kept_bytes = 0
        self._named = self._barren = False

    def append(self, records: Sequence[Record], *, power_safe: bool, keep: Bounds | None) -> int:
        """Write a batch and forget; see the port."""
        keys = [record.key.encode() for record in records]
        with self._lock:
            if keep is not None:
                self._kept_bytes = keep.most_bytes
            with self._turn(records[0].at_ms if records else None) as tail:
                if keep is not None:
                    self._forget(tail.offset, keep, _FORGOTTEN if records else len(self._bases))
                if not records:
                    return -1
                offset, place = tail.offset, tail.end
                self._put(tail, encoded(records, keys, mark=tail.segment.mark, offset=offset))
                if power_safe:
                    self._sync(tail, place)
                tail.keys.add(keys, [record.at_ms for record in records], range(place, place + len(keys)))
                return offset

    def close(self) -> None:
        """Close the file; a commit that hangs is left to itself."""
        if self._lock.acquire(timeout=_CLOSE_S):
            if self._tail is not None:
                self._tail.close()
                self._tail = None
            self._lock.release()

    @contextmanager
    def _turn(self, at_ms: int | None) -> Iterator[Followed]:
        """The segment that a record of ``at_ms`` goes to, or the newest; nobody else writes meanwhile."""
        tail = self._tail or self._open()
        _take_turn(tail)
        try:
            while tail.closed or (at_ms is not None and self._is_due(tail, at_ms)):
                if not tail.closed:
                    self._put(tail, encoded((), (), mark=tail.segment.mark, offset=tail.offset))
                    tail.closed = True
                tail = self._go_on(tail)
            yield tail
        finally:
            if self._tail is not None:
                fcntl.flock(self._tail.segment.handle, fcntl.LOCK_UN)

    def _open(self) -> Followed:
        make_folders(self._folder)
        sweep(self._folder)
        for base in bases(self._folder)[:-1]:
            _restore_keys(self._folder, base)
        self._tail = self._newest(-1, otherwise=0)
        self._barren = False
        return self._tail

    def _newest(self, after: int, *, otherwise: int) -> Followed:
        """The newest segment beyond an offset; the one that begins at ``otherwise`` is made where there is none."""
        self._named, missed = False, -1
        while True:
            there = bases(self._folder)
            later = [base for base in there if base > after]
            self._bases = there if later else [*there, otherwise]
            flags = os.O_RDWR | os.O_APPEND | (0 if later else os.O_CREAT)
            try:
                return Followed(Segment(self._folder, self._bases[-1], flags))
            except FileNotFoundError:  # forgotten meanwhile: then there is a newer one; or the folder was deleted
                if self._bases[-1] == missed:
                    raise
                missed = self._bases[-1]
                make_folders(self._folder)

    def _go_on(self, tail: Followed) -> Followed:
        """From a closed segment to the one after it, made if need be; the turn goes along."""
        base = tail.segment.base
        kept = os.fstat(tail.segment.handle).st_nlink > 0  # else what others began anew may be before it
        following = self._newest(base if kept else -1, otherwise=base + tail.segment.size())
        try:
            _take_turn(following)
            if kept and not self._barren and not path_of(self._folder, base, ENDING).exists():
                with suppress(OSError):  # readers do without, and the next writer tries again
                    tail.keys.save(self._folder, base)
        except BaseException:
            following.close()  # which also ends the turn there
            raise
        if self._barren and kept:  # else a disk that fails for an hour would leave thousands of them
            with suppress(OSError):
                path_of(self._folder, base, ENDING).unlink(missing_ok=True)
                tail.segment.path.unlink()
        self._barren = False
        self._tail = following
        tail.close()  # which also ends the turn there
        return following

    def _is_due(self, tail: Followed, at_ms: int) -> bool:
        if not tail.keys.count:
            return False
        most = self._roll.most_bytes
        if self._kept_bytes:
            most = min(most, self._kept_bytes // _PARTS)
        since_ms = at_ms - tail.keys.first_ms
        hours = 1 if tail.end >= self._roll.least_bytes else 24
        return tail.end >= most or since_ms >= hours * _HOUR_MS

    def _put(self, tail: Followed, data: bytes) -> None:
        """Write all of it, or nothing."""
        if len(data) > MOST_BYTES:
            raise UsageError("a batch is too large for the log", why=f"{len(data)} bytes", fix="append it in parts")
        handle, left = tail.segment.handle, memoryview(data)
        try:
            while left:
                left = left[os.write(handle, left) :]
        except BaseException:
            with suppress(OSError):  # else whoever writes next finds a torn frame and begins a new segment
                os.ftruncate(handle, tail.end)
            raise
        tail.end += len(data)

    def _sync(self, tail: Followed, place: int) -> None:
        """Wait until the frame that begins here is on the disk.

        Where that fails, what the disk holds of it is unknown for ever: the next attempt may succeed without it.
        So the frame is cut, which ends the segment for every process, and none ever follows it there.
        """
        try:
            os.fdatasync(tail.segment.handle)
            if not self._named:
                sync(self._folder)
                keep_names(self._folder)
                self._named = True
        except BaseException:
            with suppress(OSError):
                os.ftruncate(tail.segment.handle, tail.end - 1)
            tail.give_up(place)
            self._barren = place == HEAD_BYTES
            raise

    def _forget(self, end: int, keep: Bounds, most: int) -> None:
        """Delete the oldest segments of which nothing is to be kept; never the newest, which tells where to go on."""
        while len(self._bases) > 1 and most:
            oldest, following = self._bases[:2]
            too_much = keep.most_bytes and end - following >= keep.most_bytes
            try:
                if not too_much and not self._is_older(oldest, keep.before_ms):
                    return
                # In this order: who dies in between leaves a segment, which is forgotten next time.
                path_of(self._folder, oldest, ENDING).unlink(missing_ok=True)
                path_of(self._folder, oldest).unlink(missing_ok=True)
            except OSError:  # what cannot be forgotten must not keep what comes from being written
                return
            self._bases.pop(0)
            most -= 1

    def _is_older(self, base: int, before_ms: int) -> bool:
        """Whether all of a closed segment is from before a moment."""
        if not before_ms:
            return False
        if not path_of(self._folder, base).exists():  # another process has forgotten it
            return True
        _restore_keys(self._folder, base)
        newest_ms: int = KeyFile(self._folder, base).newest_ms
        return newest_ms < before_ms


def _take_turn(tail: Followed) -> None:
    """Wait until nobody else writes a segment, and see what was written."""
    until = time.monotonic() + _BUSY_S
    while True:
        try:
            fcntl.flock(tail.segment.handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError as error:
            if time.monotonic() > until:
                raise Unavailable(
                    "the log is locked", where=str(tail.segment.path), why=f"by another process, for {_BUSY_S:g} s"
                ) from error
            time.sleep(_AGAIN_S)
    try:
        if not tail.segment.mark:
            tail.segment.begin()
        tail.follow()
    except BaseException:
        fcntl.flock(tail.segment.handle, fcntl.LOCK_UN)
        raise


def _restore_keys(folder: Path, base: int) -> None:
    """Make the file of keys of a closed segment whose writer did not come to it."""
    with suppress(OSError):
        try:
            KeyFile(folder, base)
        except FileNotFoundError:
            with Segment(folder, base) as segment:
                found = Followed(segment)
                found.follow()
                found.keys.save(folder, base)
