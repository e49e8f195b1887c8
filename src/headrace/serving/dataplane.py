"""The data plane: endpoints by name, each with what serves it now. Every protocol of the gateway calls this."""

import asyncio
import math
import time
from collections.abc import Callable, Mapping, Sequence

from headrace.errors import NotFound, Overloaded, SettingsError, Unavailable, UsageError
from headrace.refs import Ref, new_id
from headrace.serving.arms import arm
from headrace.serving.arrival import Arrival
from headrace.serving.counters import EndpointCounters
from headrace.serving.deployment import Deployment
from headrace.serving.desk import Desks
from headrace.serving.drain import Drain
from headrace.serving.joining import Joining
from headrace.serving.log import topic
from headrace.serving.log_writer import LogWriter
from headrace.serving.lookups import Lookups
from headrace.serving.prepared import Place, prepared
from headrace.serving.readiness import Readiness
from headrace.serving.recent import Recent
from headrace.serving.rendezvous import Live, Rendezvous, Reply
from headrace.serving.request import Input
from headrace.serving.status import Note, Status, status_of
from headrace.serving.versions import Model
from headrace.storage.stream import Stream

_TICK_S = 0.1
_CLOSE_S = 9.0
_LATE_S = 1.0
_NO_NOTES: Mapping[str, Note] = {}


def _nothing() -> None:
    """Nobody waits for the end."""


def _no_key() -> bytes:
    raise SettingsError("columns of the log cannot be masked here", why="this server was given no key")


class DataPlane:
    """Scores requests of any number of endpoints; all methods run on the event loop.

    Args:
        stream: Where requests are logged.
        loop: The event loop that serves.
        names: Endpoints that are to be served; those deployed later are added.
        mask_key: The secret of endpoints that mask columns of their log; asked for when there is one.
        desks: Where deployed endpoints have workers score; None to score here.
        lookups: What reads features for endpoints that join some; None where none can.

    Attributes:
        counters: Endpoint to plain numbers about it.
        recent: The last minutes of them.
        warnings: What is wrong that is no endpoint's part, such as settings that change nothing; any
            thread may set it.
        readiness: What it is to serve before it is ready.
        unfollowed: Why what is deployed is not followed now; empty while it is. For others to set and tell.
    """

    def __init__(
        self,
        stream: Stream,
        loop: asyncio.AbstractEventLoop,
        names: Sequence[str],
        mask_key: Callable[[], bytes] = _no_key,
        desks: Desks | None = None,
        lookups: Lookups | None = None,
    ) -> None:
        self._mask_key, self._desks = mask_key, desks
        self._stream, self._loop = stream, loop
        self._live: dict[str, Live | None] = dict.fromkeys(names)
        self._places = {name: (-1, f"{at:06}") for at, name in enumerate(names)}
        self._refused: dict[str, str] = {}
        self._unloaded: dict[str, str] = {}
        self._notes: dict[str, Mapping[str, Note]] = {}
        self._writers: dict[str, LogWriter] = {}
        self._drain = Drain(loop)
        self._aliases: dict[tuple[str, str], list[int]] = {}
        self.counters: dict[str, EndpointCounters] = {}
        self.recent = Recent()
        self.warnings: Sequence[str] = ()
        self.unfollowed = ""
        self._lookups = lookups
        self.readiness = Readiness()
        self._looked_at = time.monotonic()
        self._ticker = loop.call_later(_TICK_S, self._tick)

    @property
    def names(self) -> tuple[str, ...]:
        """Endpoints: those named at first in their order, then the others by place and name (``note``)."""
        return tuple(self._live)

    @property
    def ready(self) -> bool:
        """Whether every endpoint can answer (``readiness``), and no record would wait."""
        lives = self.readiness.holds(self._live, self._unloaded)
        return lives and all(writer.opened for writer in self._writers.values())

    def live(self, name: str) -> Live:
        """What serves ``name`` now.

        Raises:
            NotFound: No such endpoint.
            Unavailable: It is not loaded yet, or could not be.
        """
        found = self._live.get(name)
        if found is not None:
            return found
        if name not in self._live:
            raise NotFound(f"no endpoint named {name!r}", fix=f"one of {', '.join(self._live) or 'none yet'}")
        why = self._unloaded.get(name) or self._refused.get(name) or "its models are being loaded"
        raise Unavailable(f"endpoint {name!r} is not ready", why=why)

    def version(self, name: str, number: int) -> Live:
        """One model of the endpoint alone: version ``number`` of the model that its schedule prefers.

        Raises:
            NotFound: That version is not loaded.
            Unavailable: The endpoint is not ready.
        """
        live = self.live(name)
        own = Ref.parse(live.scorers[0].name).name
        wanted = f"{own}@{number}"
        if wanted not in live.alone:
            found = [scorer for scorer in live.scorers if scorer.name == wanted]
            if not found:
                raise NotFound(f"endpoint {name!r} has no version {number} loaded", why=f"of model {own!r}")
            schedule = [(0, live.deployment.endpoint.deadline_s)]
            live.alone[wanted] = live.varied(scorers=found, schedule=schedule, default={})
        return live.alone[wanted]

    def label(self, name: str, label: str) -> Live:
        """One model of the endpoint alone: the version that an alias of its preferred model means.

        An alias that was moved to a version that is not loaded goes on meaning the version before.

        Raises:
            UsageError: There is no such alias, or none of its versions is loaded.
            NotFound: No such endpoint.
            Unavailable: The endpoint is not ready.
        """
        live = self.live(name)
        own = Ref.parse(live.scorers[0].name).name
        loaded = live.loaded
        for number in reversed(self._aliases.get((own, label), [])):
            if f"{own}@{number}" in loaded:
                return self.version(name, number)
        raise UsageError(f"Unrecognized servable version label: {label}")

    def move(self, model: str, alias: str, version: int) -> None:
        """Remember that an alias was moved; to 0: that it means nothing any more."""
        if version:
            self._aliases.setdefault((model, alias), []).append(version)
        else:
            self._aliases.pop((model, alias), None)

    def predict(self, live: Live, given: Input, reply: Reply, arrival: Arrival | None = None) -> Rendezvous | Joining:
        """Score ``given`` and call ``reply`` exactly once, now or later, unless what is returned is cancelled.

        Args:
            live: What scores it.
            given: Its rows.
            reply: Called on the event loop.
            arrival: It, as it came: one of its headers may be the key of a split, and the log archives its bytes.

        Raises:
            Overloaded: Too many rows wait for every scheduled model; nothing is scored or logged.
        """
        if live.overloaded(given.count):
            raise _overloaded(live)
        if live.lookups is None:
            return _entered(live, new_id(), given, reply, arrival)
        joining = Joining(live, given, reply, arrival, _entered)
        joining.start(live.lookups)
        return joining

    def flip(self, deployment: Deployment, models: Mapping[str, Model], drained: Callable[[], None] = _nothing) -> None:
        """Serve ``deployment`` from the next request on; requests under way end on what they began with.

        Args:
            deployment: What is to be served.
            models: Each of its model versions (``late@3``), loaded.
            drained: Called when nothing uses the models of what served before any more.

        Raises:
            SignatureError: The models cannot share an endpoint.
        """
        name = deployment.endpoint.name
        counters = self.counters.setdefault(name, EndpointCounters())
        desk = self._desks.of(name) if self._desks and deployment.seq else None  # workers know the ledger's only
        place = Place(self._loop, self._writer(deployment), counters, self._mask_key, desk, self._lookups)
        live = prepared(deployment, models, place)
        if name not in self._live:
            self.note(name)
        before, self._live[name] = self._live[name], live
        self.readiness.serves(name)
        self._refused.pop(name, None)
        self._unloaded.pop(name, None)
        self._let_go(before, drained)

    def withdraw(self, name: str, why: str = "", drained: Callable[[], None] = _nothing) -> None:
        """Serve ``name`` no more, until the next flip; requests under way end on what they began with.

        Args:
            name: The endpoint.
            why: What callers are told when it was unloaded on purpose; empty while it is being replaced.
            drained: Called when nothing uses its models any more.
        """
        before = self._live.get(name)
        if before is not None:
            self._live[name] = None
        self._unloaded.pop(name, None)
        if why:
            self._unloaded[name] = why
        self._let_go(before, drained)

    def forget(self, name: str) -> None:
        """Know an endpoint that was withdrawn no more."""
        for known in (self._live, self._places, self._refused, self._unloaded, self._notes):
            known.pop(name, None)
        self.readiness.forget(name)

    def note(self, name: str, why: str = "", versions: Mapping[str, Note] = _NO_NOTES, place: int = 0) -> None:
        """Know an endpoint, and how it is besides what serves it.

        Args:
            name: The endpoint.
            why: Why what is aspired is not in force; empty when nothing is wrong.
            versions: How versions are that do not serve: being loaded, being unloaded, failed.
            place: Of who knows it: one that is new comes behind those that were named at first, by place and name.
        """
        if name not in self._live:
            self._live[name], self._places[name] = None, (place, name)
            self._live = dict(sorted(self._live.items(), key=lambda item: self._places[item[0]]))
        self._notes[name] = versions
        self._refused[name] = why

    def status(self, name: str) -> Status:
        """How an endpoint is; raise ``NotFound`` if there is none."""
        if name not in self._live:
            raise NotFound(f"no endpoint named {name!r}", fix=f"one of {', '.join(self._live) or 'none yet'}")
        notes, refused = self._notes.get(name, {}), self._refused.get(name, "")
        return status_of(name, self._live[name], notes, refused=refused, unloaded=self._unloaded.get(name, ""))

    @property
    def logs(self) -> Mapping[str, LogWriter]:
        """Endpoint to what writes its request log, where it keeps one."""
        return self._writers

    @property
    def lives(self) -> list[Live]:
        """Everything that is loaded, also what serves no more and has not ended yet."""
        return [live for live in (*self._live.values(), *self._drain.lives) if live is not None]

    async def close(self, within_s: float = _CLOSE_S) -> None:
        """Let every open request be answered, late scores come in for a moment, and every record be written.

        Args:
            within_s: What takes longer is given up.
        """
        until = time.monotonic() + within_s
        scorers = [scorer for live in self.lives for scorer in live.queues]
        await _until(lambda: not any(live.busy for live in self.lives), within_s - 2 * _LATE_S)
        self._ticker.cancel()
        if self._desks is not None:
            self._desks.close()
        if self._lookups is not None:
            self._lookups.close()
        for scorer in scorers:
            scorer.close()
        await _until(lambda: not any(scorer.busy for scorer in scorers), _LATE_S)
        left_s = max(until - time.monotonic(), _LATE_S)
        await asyncio.gather(*(asyncio.to_thread(writer.close, left_s) for writer in self._writers.values()))
        await asyncio.sleep(0)

    def _let_go(self, live: Live | None, drained: Callable[[], None]) -> None:
        if live is None:
            drained()
        else:
            self._drain.add(live, drained)

    def _writer(self, deployment: Deployment) -> LogWriter | None:
        endpoint = deployment.endpoint
        if endpoint.log == "off":
            return None
        if endpoint.name not in self._writers:
            post = self._loop.call_soon_threadsafe
            self._writers[endpoint.name] = LogWriter(
                self._stream, topic(endpoint.name), post, soon=self._loop.call_soon
            )
        writer = self._writers[endpoint.name]
        writer.power_safe, writer.keep = endpoint.log == "power-safe", endpoint.keep
        return writer

    def _tick(self) -> None:
        now = time.monotonic()
        lag_s = now - self._looked_at - _TICK_S
        self._looked_at = now
        for live in self.lives:
            live.look(lag_s)
            for scorer in live.queues:
                scorer.check(now)
        for writer in self._writers.values():
            writer.check(now)
        self.recent.look(now, self.counters)
        self.readiness.begun = self.readiness.begun or self.ready
        self._ticker = self._loop.call_later(_TICK_S, self._tick)


def _entered(
    live: Live, identifier: str, given: Input, reply: Reply, arrival: Arrival | None, started: float = 0.0
) -> Rendezvous:
    """A request that meets its scorers now; ``started`` is when it arrived, if that was before."""
    key = ""
    if live.arms:
        live, key = arm(live, identifier, given, arrival)
    request = Rendezvous(live, identifier, given, reply, arrival, key)
    if started:
        request.started = started
    request.start()
    return request


def _overloaded(live: Live) -> Overloaded:
    endpoint, scorers = live.deployment.endpoint, [live.scorers[slot] for slot, _ in live.schedule]
    live.counters.overloaded += 1
    fullest = max(scorers, key=lambda scorer: scorer.backlog_s)
    error = Overloaded(
        f"endpoint {endpoint.name!r} takes no more requests now",
        why=f"max_queue_rows = {endpoint.batching.max_queue_rows} wait for {fullest.name}",
        fix="try again in a while; send fewer at a time, or deploy with a longer queue or a faster model",
    )
    # What waits longer than the deadline is dropped, so a queue never takes longer than that.
    error.retry_after_s = max(1, math.ceil(min(*(s.backlog_s for s in scorers), endpoint.deadline_s)))
    return error


async def _until(done: Callable[[], bool], within_s: float) -> None:
    until = time.monotonic() + within_s
    while not done() and time.monotonic() < until:  # noqa: ASYNC110 - threads end it, not the loop
        await asyncio.sleep(0.002)
