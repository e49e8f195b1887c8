"""Group commit: the event loop appends to a list, one thread writes all that has gathered as one commit.

The thread is woken once the loop has nothing else to do, or a group has waited long enough: it then has the interpreter
to itself, and a commit holds as many records as there are callers at a time.
"""

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from headrace.serving.report import in_words, report
from headrace.serving.retention import FOR_EVER
from headrace.serving.scorer import Post
from headrace.storage.stream import Bounds, Record, Stream, newest

_GROUP, _GROUP_BYTES = 2000, 64 << 20
_GATHER_S = 0.001
_BACKLOG, _BACKLOG_BYTES = 100_000, 512 << 20
_CLOSE_S = 8.0
_HANGS_S = 1.0
_FORGET_EVERY_S = 0.1

Written = Callable[[bool], None]
"""Called on the event loop when a record is durable (True) or could not be written in time (False)."""

_Entry = list[Any]
"""A record and what is called once its fate is known; None when nobody waits, or was told."""


class LogWriter:
    """Writes one topic.

    Args:
        stream: Where to.
        topic: Its name.
        post: How the thread reaches the event loop.
        soon: How the event loop calls something in its next turn; ``post`` when not given.
        power_safe: Whether each commit also survives a power cut.

    Attributes:
        failed: Records that could not be written.
        trouble: Why the last ones could not; empty once some are written again.
        reason: The same, which stays.
        power_safe: May be changed; the next commit follows.
        keep: What of the log is kept; may be changed.
    """

    def __init__(
        self, stream: Stream, topic: str, post: Post, *, soon: Post | None = None, power_safe: bool = False
    ) -> None:
        self._stream, self._topic, self._post, self.power_safe = stream, topic, post, power_safe
        self._soon = soon or post
        self._gathering, self._gather_until = False, 0.0
        self._pending: deque[_Entry] = deque()
        self._added = self._taken = 0  # bytes, each counted by one thread
        self._held: Sequence[_Entry] = ()
        self._begun = 0.0
        self._closing = False
        self._wake = threading.Event()
        self.failed, self.trouble, self.reason = 0, "", ""
        self._reached = False
        self._failed_before = 0
        self.keep = FOR_EVER
        self._latest_ms = 0
        self._forgot = time.monotonic() - _FORGET_EVERY_S
        self._thread = threading.Thread(target=self._run, name=f"log {topic}", daemon=True)
        self._thread.start()

    @property
    def opened(self) -> bool:
        """Whether the log was reached once, or it is known that it cannot be: the first record would not wait."""
        return self._reached or bool(self.trouble)

    def add(self, key: str, value: bytes, at_ms: int, written: Written | None = None) -> None:
        """Queue a record; ``written`` is called once its fate is known. On the event loop."""
        waiting, size = len(self._pending), self._added - self._taken
        if waiting >= _BACKLOG or size > _BACKLOG_BYTES:  # memory is bounded even when the disk hangs
            self.failed, self.reason = self.failed + 1, f"{waiting} records wait to be written ({size >> 20} MiB)"
            if written is not None:
                self._post(written, False)  # noqa: FBT003 - the callback's one argument
            return
        self._added += len(value)
        self._pending.append([Record(key, value, at_ms), written])
        if not self._gathering:
            self._gathering, self._gather_until = True, time.monotonic() + _GATHER_S
            self._soon(self._gather, 1)

    def check(self, now: float) -> None:
        """Answer those whom a commit that hangs keeps waiting; their records may yet be written. On the event loop."""
        if self._begun and now - self._begun > _HANGS_S:
            if not self.trouble:
                self._say_so(f"a commit has taken more than {_HANGS_S:g} s - fix: headrace doctor")
            _tell([*self._held, *self._pending], done=False)

    def close(self, within_s: float = _CLOSE_S) -> None:
        """Write what is queued and end the thread; a disk that hangs is left to itself after ``within_s``."""
        self._closing = True
        self._wake.set()
        self._thread.join(within_s)

    def _gather(self, seen: int) -> None:
        """Wake the thread unless this turn of the loop brought more than was ``seen``: then more may be under way."""
        count = len(self._pending)
        if seen < count < _GROUP and time.monotonic() < self._gather_until:
            self._soon(self._gather, count)
            return
        self._gathering = False
        self._wake.set()

    def _run(self) -> None:
        self._begun = time.monotonic()  # where a log is first reached, that may hang like a commit
        with contextlib.suppress(Exception):  # the first record will say what is wrong
            self._stream.append(self._topic, [])
            last_record = newest(self._stream, self._topic)
            self._latest_ms = last_record.at_ms if last_record else 0
        self._begun, self._reached = 0.0, True
        while not self._closing or self._pending:
            self._wake.wait()
            self._wake.clear()  # before looking: what is gathered from here on sets it again
            while self._pending:
                self._commit(self._next_group())
                if self._gathering and not self._closing:
                    break

    def _next_group(self) -> Sequence[_Entry]:
        """The records that are written next; of large ones fewer, for no log takes any number of bytes at once."""
        group, size = list[_Entry](), 0
        while self._pending and len(group) < _GROUP and size < _GROUP_BYTES:
            entry = self._pending.popleft()
            group.append(entry)
            size += len(entry[0].value)
        self._taken += size
        return group

    def _in_order(self, record: Record) -> Record:
        """Times never fall, or a clock that was stepped back would hide records from who looks for a span of time."""
        if record.at_ms < self._latest_ms:
            return record._replace(at_ms=self._latest_ms)
        self._latest_ms = record.at_ms
        return record

    def _bounds(self) -> Bounds | None:
        """What is kept, now and then: forgetting costs a commit more."""
        now = time.monotonic()
        if not self.keep or now - self._forgot < _FORGET_EVERY_S:
            return None
        self._forgot = now
        return self.keep.bounds()

    def _commit(self, group: Sequence[_Entry]) -> None:
        self._held, self._begun = group, time.monotonic()
        try:
            records = [self._in_order(entry[0]) for entry in group]
            self._stream.append(self._topic, records, power_safe=self.power_safe, keep=self._bounds())
            done = True
        except Exception as error:  # noqa: BLE001 - whatever a disk does, this thread goes on, or nobody is answered
            done = False
            self._lost(len(group), in_words(error))
        if done and self.trouble:
            report(f"{self._topic} are logged again; {self.failed - self._failed_before} records were lost")
            self.trouble = ""
        self._held, self._begun = (), 0.0
        waiting = [entry for entry in group if entry[1] is not None]
        if waiting:
            self._post(_tell, waiting, done)

    def _lost(self, count: int, why: str) -> None:
        """Count records that could not be written; say so once, not for every group of them."""
        if not self.trouble:
            self._say_so(why)
        self.reason = why
        self.failed, self.trouble = self.failed + count, why

    def _say_so(self, why: str) -> None:
        self._failed_before, self.trouble, self.reason = self.failed, why, why
        report(f"{self._topic} are answered without being logged: {why}")


def _tell(waiting: Sequence[_Entry], done: bool) -> None:
    """On the event loop, which alone takes a callback away: each is called once."""
    for entry in waiting:
        written, entry[1] = entry[1], None
        if written is not None:
            written(done)
