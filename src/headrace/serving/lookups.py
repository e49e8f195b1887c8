"""Lookups: features read on a thread of their own, for all requests that wait at once.

A store that is slow, or hangs, holds up that thread and nobody else: who waits is told so when his time is over, and
while the thread is held up nobody begins to wait.
"""

import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from headrace.errors import HeadraceError, Unavailable
from headrace.features.online import Found, Key, OnlineFeatures

_AT_ONCE = 4096
"""Keys that are read together, but for those of one request."""

Read = Sequence[Found] | HeadraceError
"""For each view that was asked for what was found, or why there is nothing."""


class Wanted(Protocol):
    """A request that waits for features."""

    @property
    def views(self) -> Sequence[str]:
        """Names of views."""

    @property
    def keys(self) -> Sequence[Sequence[Key]]:
        """For each of them the entities."""

    @property
    def over(self) -> bool:
        """Whether nobody waits any more."""

    def found(self, read: Read) -> None:
        """Hear what was read; called on the event loop."""


class Lookups:
    """Reads features for the requests of a data plane; all methods run on its event loop.

    Args:
        online: Opens the store, when it is first read.
        post: ``loop.call_soon_threadsafe``.
    """

    def __init__(self, online: Callable[[], OnlineFeatures], post: Callable[..., object]) -> None:
        self._online, self._post = online, post
        self._queue: queue.SimpleQueue[Wanted | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._begun = 0.0
        self.trouble = ""

    def ask(self, wanted: Wanted, within_s: float) -> bool:
        """Have features read, unless reading hangs for longer than ``within_s`` already."""
        begun = self._begun
        if begun and time.monotonic() - begun > within_s:
            return False
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="features", daemon=True)
            self._thread.start()
        self._queue.put(wanted)
        return True

    def close(self) -> None:
        """End the thread when it has read what waits."""
        if self._thread is not None:
            self._queue.put(None)

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            waiting, last = self._gathered(first)
            self._begun = time.monotonic()
            read = self._read(waiting)
            self._begun = 0.0
            self._post(_told, read)
            if last:
                return

    def _gathered(self, first: Wanted) -> tuple[list[Wanted], bool]:
        """All that wait now, and whether nobody comes after them."""
        waiting, count = ([] if first.over else [first]), _size(first)
        while count < _AT_ONCE:
            try:
                more = self._queue.get_nowait()
            except queue.Empty:
                break
            if more is None:
                return waiting, True
            if not more.over:
                waiting.append(more)
                count += _size(more)
        return waiting, False

    def _read(self, waiting: Sequence[Wanted]) -> list[tuple[Wanted, Read]]:
        if len(waiting) == 1:
            wanted = waiting[0]
            return [(wanted, self._of([*zip(wanted.views, wanted.keys, strict=True)]))]
        together: dict[str, list[Key]] = {}
        for wanted in waiting:
            for view, keys in zip(wanted.views, wanted.keys, strict=True):
                together.setdefault(view, []).extend(keys)
        found = {view: self._of([(view, keys)]) for view, keys in together.items()}
        taken = dict.fromkeys(together, 0)
        return [(wanted, _shared(wanted, found, taken)) for wanted in waiting]

    def _of(self, asked: Sequence[tuple[str, Sequence[Key]]]) -> Read:
        try:
            store = self._online()
            return [store.read(view, keys) for view, keys in asked]
        except HeadraceError as error:
            return error
        except Exception as error:  # noqa: BLE001 - whatever an engine raises, requests are answered
            return Unavailable("features cannot be read", why=f"{type(error).__name__}: {error}")


def _shared(wanted: Wanted, found: dict[str, Read], taken: dict[str, int]) -> Read:
    """The part of what was read together that one request asked for."""
    own: list[Found] = []
    trouble: HeadraceError | None = None
    for view, keys in zip(wanted.views, wanted.keys, strict=True):
        read, start = found[view], taken[view]
        taken[view] = start + len(keys)
        if isinstance(read, HeadraceError):
            trouble = read
        else:
            own.append(Found(read[0].view, read[0].rows[start : start + len(keys)]))
    return own if trouble is None else trouble


def _size(wanted: Wanted) -> int:
    return sum(map(len, wanted.keys))


def _told(read: Sequence[tuple[Wanted, Read]]) -> None:
    for wanted, found in read:
        wanted.found(found)
