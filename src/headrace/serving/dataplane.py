"""The data plane: endpoints by name, each with what serves it now. Every protocol of the gateway calls this."""

import asyncio
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from headrace.errors import NotFound, Overloaded, Unavailable, UsageError
from headrace.models.signature import Signature
from headrace.refs import Ref, new_id
from headrace.serving.counters import EndpointCounters
from headrace.serving.deployment import Deployment, contract
from headrace.serving.endpoint import Endpoint
from headrace.serving.lane import Terms
from headrace.serving.log import topic
from headrace.serving.log_writer import LogWriter
from headrace.serving.outputs import check_default
from headrace.serving.rendezvous import Live, Rendezvous, Reply
from headrace.serving.request import Input, TableDecoder, projection
from headrace.serving.scorer import Scorer
from headrace.serving.tensors import Decoder, TensorDecoder
from headrace.serving.versions import Model
from headrace.storage.stream import Stream

GRACE_S = 0.010
"""An answer within the deadline and this counts as in time."""

_TICK_S = 0.1
_DRAIN_S = 7.0
_LATE_S = 1.0


@dataclass(frozen=True)
class Status:
    """How an endpoint is.

    Attributes:
        name: The endpoint.
        state: ``loading``, ``serving``, or ``failed`` (nothing could be loaded yet).
        deployment: In force; None unless serving.
        refused: Why a newer deployment is not in force; empty when none was refused.
        models: Model version to how it runs: ``inline``, ``thread`` or ``breaker open``.
    """

    name: str
    state: str
    deployment: Deployment | None
    refused: str
    models: Mapping[str, str]


class DataPlane:
    """Scores requests of any number of endpoints; all methods run on the event loop.

    Args:
        stream: Where requests are logged.
        loop: The event loop that serves.
        names: Endpoints that are to be served; those deployed later are added.
    """

    def __init__(self, stream: Stream, loop: asyncio.AbstractEventLoop, names: Sequence[str]) -> None:
        self._stream, self._loop = stream, loop
        self._live: dict[str, Live | None] = dict.fromkeys(names)
        self._refused: dict[str, str] = {}
        self._writers: dict[str, LogWriter] = {}
        self._draining: list[Live] = []
        self._aliases: dict[tuple[str, str], list[int]] = {}
        self.counters: dict[str, EndpointCounters] = {}
        self._ticker = loop.call_later(_TICK_S, self._tick)

    @property
    def names(self) -> tuple[str, ...]:
        """Endpoints, in order of being named."""
        return tuple(self._live)

    @property
    def ready(self) -> bool:
        """Whether every endpoint can answer."""
        return bool(self._live) and all(live is not None for live in self._live.values())

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
        raise Unavailable(f"endpoint {name!r} is not ready", why=self._refused.get(name, "its models are being loaded"))

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
            live.alone[wanted] = replace(live, scorers=found, schedule=schedule, default={}, open=0, alone={})
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
        loaded = {scorer.name for scorer in live.scorers}
        for number in reversed(self._aliases.get((own, label), [])):
            if f"{own}@{number}" in loaded:
                return self.version(name, number)
        raise UsageError(f"Unrecognized servable version label: {label}")

    def move(self, model: str, alias: str, version: int) -> None:
        """Remember that an alias was moved."""
        self._aliases.setdefault((model, alias), []).append(version)

    def predict(self, live: Live, given: Input, reply: Reply) -> Rendezvous:
        """Score ``given`` and call ``reply`` exactly once, now or later, unless what is returned is cancelled.

        Raises:
            Overloaded: Too many rows wait for every scheduled model; nothing is scored or logged.
        """
        if live.overloaded(given.count):
            raise _overloaded(live)
        request = Rendezvous(live, new_id(), given, reply)
        request.start()
        return request

    def flip(self, deployment: Deployment, models: Mapping[str, Model]) -> None:
        """Serve ``deployment`` from the next request on; requests under way end on what they began with.

        Args:
            deployment: What the ledger says.
            models: Each of its references with the loaded model.

        Raises:
            SignatureError: The models cannot share an endpoint.
        """
        endpoint = deployment.endpoint
        signature = contract({models[ref].name: models[ref].version.signature for ref in endpoint.models})
        check_default(signature, endpoint.default)
        counters = self.counters.setdefault(endpoint.name, EndpointCounters())
        counters.limit_s = endpoint.deadline_s + GRACE_S
        order = list(endpoint.models)
        live = Live(
            deployment=deployment,
            signature=signature,
            decoder=_decoder(signature, endpoint.event_time),
            scorers=[
                Scorer(
                    models[ref],
                    project=projection(signature, models[ref].version.signature),
                    post=self._loop.call_soon_threadsafe,
                    terms=_terms(endpoint, ref),
                )
                for ref in order
            ],
            schedule=[(order.index(p.model), p.wait_s) for p in endpoint.schedule],
            default=endpoint.default,
            log=self._writer(deployment),
            wait_for_log=endpoint.log in {"durable", "power-safe"},
            counters=counters,
            loop=self._loop,
        )
        before = self._live.get(endpoint.name)
        if before is not None:
            self._draining.append(before)
        self._live[endpoint.name] = live
        self._refused.pop(endpoint.name, None)

    def refuse(self, name: str, why: str) -> None:
        """Remember why a deployment is not in force; what serves now goes on."""
        self._live.setdefault(name, None)
        self._refused[name] = why

    def status(self, name: str) -> Status:
        """How an endpoint is; raise ``NotFound`` if there is none."""
        if name not in self._live:
            raise NotFound(f"no endpoint named {name!r}", fix=f"one of {', '.join(self._live) or 'none yet'}")
        live, refused = self._live[name], self._refused.get(name, "")
        if live is None:
            return Status(name, "failed" if refused else "loading", None, refused, {})
        return Status(name, "serving", live.deployment, refused, {s.name: s.state for s in live.scorers})

    def in_use(self) -> set[str]:
        """Model versions that a request may still meet."""
        return {scorer.name for live in self._all() for scorer in live.scorers}

    def log_failures(self) -> dict[str, int]:
        """Endpoint to how many records its log could not keep."""
        return {name: writer.failed for name, writer in self._writers.items()}

    async def close(self) -> None:
        """Let every open request be answered, late scores come in for a moment, and every record be written."""
        self._ticker.cancel()
        scorers = [scorer for live in self._all() for scorer in live.scorers]
        await _until(lambda: not any(live.busy for live in self._all()), _DRAIN_S)
        for scorer in scorers:
            scorer.close()
        await _until(lambda: not any(scorer.busy for scorer in scorers), _LATE_S)
        for writer in self._writers.values():
            await asyncio.to_thread(writer.close)
        await asyncio.sleep(0)

    def _all(self) -> list[Live]:
        return [live for live in (*self._live.values(), *self._draining) if live is not None]

    def _writer(self, deployment: Deployment) -> LogWriter | None:
        endpoint = deployment.endpoint
        if endpoint.log == "off":
            return None
        if endpoint.name not in self._writers:
            post = self._loop.call_soon_threadsafe
            self._writers[endpoint.name] = LogWriter(self._stream, topic(endpoint.name), post)
        self._writers[endpoint.name].power_safe = endpoint.log == "power-safe"
        return self._writers[endpoint.name]

    def _tick(self) -> None:
        now = time.monotonic()
        for live in self._all():
            for scorer in live.scorers:
                scorer.check(now)
        for live in [live for live in self._draining if not live.busy]:
            self._draining.remove(live)
            for scorer in live.scorers:
                scorer.close()
        self._ticker = self._loop.call_later(_TICK_S, self._tick)


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


def _terms(endpoint: Endpoint, reference: str) -> Terms:
    """A scheduled model's score is wanted by its time and useless after the deadline.

    The others' are for the log: they may come late, and to keep few of them waiting costs no caller an answer.
    """
    waits = [p.wait_s for p in endpoint.schedule if p.model == reference]
    if not waits:
        return Terms(replace(endpoint.batching, max_queue_rows=endpoint.batching.max_batch_rows))
    return Terms(endpoint.batching, wait_s=max(waits), expire_s=endpoint.deadline_s)


def _decoder(signature: Signature, event_time: str) -> Decoder:
    return TableDecoder(signature, event_time) if signature.kind == "table" else TensorDecoder(signature)


async def _until(done: Callable[[], bool], within_s: float) -> None:
    until = time.monotonic() + within_s
    while not done() and time.monotonic() < until:  # noqa: ASYNC110 - threads end it, not the loop
        await asyncio.sleep(0.002)
