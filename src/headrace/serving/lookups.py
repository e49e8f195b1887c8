"""Lookups: features read on a thread of their own, for all requests that wait at once; what is at hand, at once.

A store that is slow, or hangs, holds up that thread and nobody else: who waits is told so when his time is over, and
while the thread is held up nobody begins to wait. The way to a thread and back costs several times what a few keys do
that the store has in memory. So these are read on the event loop, and nothing else is: however quick a disk was, the
next read may hang.
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
_WAITING = 65_536
"""Keys that wait at most; who comes then does without, so that a store that hangs fills no memory."""
_FEW = 32
"""More keys are never read on the event loop."""

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
        self._asked = 0
        self._opened = False

    def at_once(self, wanted: Wanted) -> Sequence[Found] | None:
        """What is found at hand, all or nothing; None where it must be waited for."""
        if not self._opened or _size(wanted) > _FEW:
            return None
        at_hand, found = self._online().at_hand, []
        for view, keys in zip(wanted.views, wanted.keys, strict=True):
            read = at_hand(view, keys)
            if read is None:
                return None
            found.append(read)
        return found

    def ask(self, wanted: Wanted, within_s: float) -> bool:
        """Have features read, unless reading hangs for longer than ``within_s`` already, or too much waits for it."""
        begun, size = self._begun, _size(wanted)
        if begun and time.monotonic() - begun > within_s:
            return False
        if self._asked and self._asked + size > _WAITING:
            return False
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="features", daemon=True)
            self._thread.start()
        self._asked += size
        self._queue.put(wanted)
        return True

    def close(self) -> None:
        """End the thread when it has read what waits."""
        if self._thread is not None:
            self._queue.put(None)

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            taken, last = self._gathered(first)
            waiting = [wanted for wanted in taken if not wanted.over]
            self._begun = time.monotonic()
            read = self._read(waiting)
            self._begun = 0.0
            try:
                self._post(self._told, read, sum(map(_size, taken)))
            except RuntimeError:  # it hung until the loop was closed: nobody waits
                return
            if last:
                return

    def _told(self, read: Sequence[tuple[Wanted, Read]], taken: int) -> None:
        """On the event loop: what the thread read, of so many keys that waited."""
        self._asked -= taken
        self._opened = self._opened or any(not isinstance(found, HeadraceError) for _, found in read)
        for wanted, found in read:
            wanted.found(found)

    def _gathered(self, first: Wanted) -> tuple[list[Wanted], bool]:
        """All that were asked for by now, and whether nobody comes after them."""
        taken, count = [first], _size(first)
        while count < _AT_ONCE:
            try:
                more = self._queue.get_nowait()
            except queue.Empty:
                break
            if more is None:
                return taken, True
            taken.append(more)
            count += _size(more)
        return taken, False

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
