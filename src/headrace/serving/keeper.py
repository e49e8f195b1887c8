"""Keeps a data plane at what its sources say: loads and proves, flips, drains, unloads.

Each endpoint is dealt with by one thread at a time, so that what is asked of it happens in order; several endpoints are
dealt with side by side, so that a model that takes long to load holds up no other.
"""

import threading
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial

from headrace.errors import NotFound, Unavailable
from headrace.serving.aspired import Aspired, Source, Wanted
from headrace.serving.crew import Crew
from headrace.serving.dataplane import DataPlane
from headrace.serving.event_loop import EventLoop
from headrace.serving.report import in_words, report
from headrace.serving.scorer import Post
from headrace.serving.shelf import Shelf
from headrace.serving.status import Note
from headrace.serving.versions import Model

LOADERS = 4
"""Endpoints whose models are loaded side by side."""

UNLOADED = "unloaded through the control port"
_DRAIN_S = 10.0


@dataclass(eq=False)
class _Kept:
    """One endpoint: what it is to be, what it is, and whether a thread deals with it.

    Attributes:
        name: The endpoint.
        source: Says what it is to be.
        loaded: Whether it is to be served at all.
        held: What is in force; its models were taken from the shelf.
        busy: A thread deals with it, or soon will.
        changed: It must be dealt with once more.
        orders: Whether it is to be served from now on, and who waits for that.
        passing: Versions on their way in or out.
        contested: Another source has an endpoint of this name, which is not served.
        ended: Versions that served until it was unloaded on purpose.
    """

    name: str
    source: Source
    loaded: bool = True
    held: Aspired | None = None
    busy: bool = False
    changed: bool = False
    orders: deque[tuple[bool, "Future[None]"]] = field(default_factory=deque)
    passing: dict[str, Note] = field(default_factory=dict)
    contested: bool = False
    ended: Collection[str] = ()


class _Failed(Exception):
    """A version, or the whole when it is empty, could not be served; the cause says why."""

    def __init__(self, version: str, error: Exception) -> None:
        super().__init__(str(error))
        self.version, self.error = version, error


class Keeper:
    """Threads that keep a data plane at the newest that works.

    Args:
        plane: What is kept up to date.
        sources: Where what is to be served is said; of two that know the same endpoint the first to say so counts.
        post: How a thread reaches the plane's event loop.
        loaders: How many endpoints are dealt with side by side.
    """

    def __init__(self, plane: DataPlane, sources: Sequence[Source], *, post: Post, loaders: int = LOADERS) -> None:
        self._plane, self._sources = plane, sources
        self._loop = EventLoop(post)
        self._shelf = Shelf()
        self._lock = threading.Lock()
        self._kept: dict[str, _Kept] = {}
        self._looking = {id(source): threading.Lock() for source in sources}
        self._stop = threading.Event()
        self._crew = Crew(loaders, "loader", _report)

    @property
    def loaded(self) -> Collection[str]:
        """Model versions in memory."""
        return self._shelf.names

    def start(self) -> None:
        """Load what is aspired, then watch."""
        self._crew.start()
        self._loop.tell(self._plane.readiness.expect, len(self._sources))
        for source in self._sources:
            threading.Thread(target=self._watch, args=(source,), name="source", daemon=True).start()

    def stop(self) -> None:
        """Watch no more."""
        self._stop.set()
        self._crew.stop()

    def close(self) -> None:
        """Unload everything, once nothing is scored any more."""
        self._shelf.close()

    def load(self, name: str) -> "Future[None]":
        """Serve an endpoint: the newest of it, tried again where it failed before.

        Returns:
            Done once it serves, or with why it does not.

        Raises:
            NotFound: No source knows it.
        """
        return self._order(name, serve=True)

    def unload(self, name: str) -> "Future[None]":
        """Serve an endpoint no more, until it is loaded.

        Returns:
            Done once its requests are answered and its models unloaded.

        Raises:
            NotFound: No source knows it.
        """
        return self._order(name, serve=False)

    def hurry(self) -> None:
        """Have every source looked at now, twice: what is the same both times came whole."""
        for source in self._sources:
            self._crew.put(partial(self._look, source))
            self._crew.put(partial(self._look, source))

    def look(self, source: Source) -> None:
        """Bring about what a source says now, before its next turn; may wait for a disk."""
        self._look(source)

    def _watch(self, source: Source) -> None:
        told, said = "", False
        while True:
            try:
                self._look(source)
                told = ""
                if source.settled and not said:
                    said = True
                    self._loop.tell(self._plane.readiness.expect, -1)
            except Exception as error:  # noqa: BLE001 - whatever a source meets, what serves goes on
                if str(error) != told:  # once, not at every look
                    _report(error)
                told = str(error)
            if self._stop.wait(source.every_s):
                return

    def _look(self, source: Source, again: str = "") -> None:
        with self._looking[id(source)]:
            names = source.poll(again)
        for name in names:
            self._wake(self._known(name, source))

    def _known(self, name: str, source: Source) -> _Kept | None:
        """The endpoint as this source knows it; None when it is another's."""
        with self._lock:
            kept = self._kept.get(name)
            if kept is None:
                kept = self._kept[name] = _Kept(name, source)
                self._loop.tell(self._plane.note, name, "", {}, self._place(source))
        if kept.source is source:
            return kept
        kept.contested = True
        self._tell(kept)
        return None

    def _order(self, name: str, *, serve: bool) -> "Future[None]":
        done: Future[None] = Future()
        with self._lock:
            kept = self._kept.get(name)
            if kept is None:
                raise NotFound(f"no endpoint named {name!r}", fix=f"one of {', '.join(self._kept) or 'none yet'}")
            kept.orders.append((serve, done))
        self._wake(kept)
        return done

    def _wake(self, kept: _Kept | None) -> None:
        if kept is None:
            return
        with self._lock:
            self._kept.setdefault(kept.name, kept)  # it may have been forgotten a moment ago
            kept.changed = True
            if kept.busy:
                return
            kept.busy = True
        self._crew.put(lambda: self._deal(kept))

    def _deal(self, kept: _Kept) -> None:
        """One turn: obey one order, or settle what changed; then queue again, so that other endpoints get theirs."""
        with self._lock:
            kept.changed = False
            serve, done = kept.orders.popleft() if kept.orders else (kept.loaded, None)
            kept.loaded = serve
        try:
            if done is not None and serve:
                self._look(kept.source, again=kept.name)
            self._settle(kept)
            _answer(done, _why_not(kept) if serve else "", kept.name)
        except Exception as error:
            _answer(done, str(error) or type(error).__name__, kept.name)
            raise
        finally:
            with self._lock:
                kept.busy = kept.changed or bool(kept.orders)
            if kept.busy:
                self._crew.put(lambda: self._deal(kept))

    def _settle(self, kept: _Kept) -> None:
        if not kept.loaded:
            self._let_go(kept, UNLOADED)
        while kept.loaded and not self._stop.is_set():
            aspired = kept.source.aspired(kept.name)
            if aspired == kept.held:
                break
            if aspired is None:
                self._let_go(kept, "")
                break
            try:
                self._adopt(kept, aspired)
            except _Failed as failure:
                _report(failure.error)
                kept.source.failed(aspired, failure.version, failure.error)
        self._tell(kept)
        if not kept.source.refusals(kept.name).known:
            self._forget(kept)

    def _adopt(self, kept: _Kept, aspired: Aspired) -> None:
        """Serve ``aspired`` instead of what is held, as its policy says."""
        before = kept.held
        taken: dict[str, Model] = {}
        in_place = before is not None and aspired.deployment.endpoint.policy == "resource-preserving"
        if before is None:
            self._loop.tell(self._plane.withdraw, kept.name)  # it is not unloaded on purpose any more
        try:
            if before is not None and in_place:
                self._take(kept, aspired, taken, only=_keys(before))
                self._let_go(kept, "")
            self._take(kept, aspired, taken)
            self._flip(kept, aspired, taken, before=None if in_place else before)
        except _Failed:
            for name in taken:
                self._shelf.give(aspired.wanted[name].key)
            raise
        finally:
            kept.passing.clear()

    def _take(
        self, kept: _Kept, aspired: Aspired, taken: dict[str, Model], only: Collection[str] | None = None
    ) -> None:
        """Take the models of ``aspired`` (``only`` those with these keys) that were not taken yet."""
        due = [w for w in aspired.wanted.values() if w.name not in taken and (only is None or w.key in only)]
        held = kept.held.wanted if kept.held else {}
        kept.passing.update({w.name: Note("loading") for w in due if w.name not in held})
        self._tell(kept)
        for wanted in due:
            taken[wanted.name] = self._loaded(wanted)

    def _loaded(self, wanted: Wanted) -> Model:
        try:
            return self._shelf.take(wanted)
        except Exception as error:
            raise _Failed(wanted.name, error) from error

    def _flip(self, kept: _Kept, aspired: Aspired, models: Mapping[str, Model], *, before: Aspired | None) -> None:
        def drained() -> None:
            if before is not None:
                self._crew.put(lambda: self._give(before))

        try:
            self._loop.call(lambda: self._plane.flip(aspired.deployment, models, drained))
        except Exception as error:
            raise _Failed("", error) from error
        kept.held = aspired

    def _let_go(self, kept: _Kept, why: str) -> None:
        """Serve what is held no more, and unload it once its requests are answered."""
        held, ended = kept.held, threading.Event()
        if held is not None:
            kept.passing.update({name: Note("unloading") for name in held.wanted})
            self._tell(kept)
        self._loop.call(lambda: self._plane.withdraw(kept.name, why, ended.set))
        if held is not None:
            ended.wait(held.deployment.endpoint.deadline_s + _DRAIN_S)
            kept.held, kept.ended = None, tuple(held.wanted)
            self._give(held)
        kept.passing.clear()

    def _give(self, held: Aspired) -> None:
        for wanted in held.wanted.values():
            self._shelf.give(wanted.key)

    def _tell(self, kept: _Kept) -> None:
        """Have the plane know how the endpoint is, as far as it cannot see that itself."""
        refused = kept.source.refusals(kept.name)
        notes = {} if kept.loaded else {name: Note("unloaded") for name in kept.ended}
        notes |= {name: Note("failed", why) for name, why in refused.versions.items()} | kept.passing
        contested = f"two sources have an endpoint {kept.name!r}: the first one counts" if kept.contested else ""
        why = (refused.why or contested) if kept.loaded else ""
        self._loop.tell(self._plane.note, kept.name, why, notes, self._place(kept.source))

    def _place(self, source: Source) -> int:
        return next(at for at, one in enumerate(self._sources) if one is source)

    def _forget(self, kept: _Kept) -> None:
        with self._lock:
            if kept.changed or kept.orders or kept.held is not None:
                return
            self._kept.pop(kept.name, None)
        self._loop.tell(self._plane.forget, kept.name)


def _keys(aspired: Aspired) -> set[str]:
    return {wanted.key for wanted in aspired.wanted.values()}


def _why_not(kept: _Kept) -> str:
    """Why the newest of an endpoint does not serve; empty when it does."""
    why = kept.source.refusals(kept.name).why
    if why and kept.held is not None:
        return f"{why} - what served before goes on"
    return why or ("" if kept.held is not None else "its source says nothing is to be served")


def _answer(done: "Future[None] | None", why: str, name: str) -> None:
    if done is None:
        return
    if why:
        done.set_exception(Unavailable(f"endpoint {name!r} is not loaded", why=why))
    else:
        done.set_result(None)


def _report(error: Exception) -> None:
    report(f"serving: {in_words(error)}")
