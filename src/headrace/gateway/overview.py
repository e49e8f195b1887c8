"""``GET /overview``: every endpoint with its versions, their memory and its traffic; the numbers are the metrics'."""

import asyncio
import math
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from headrace.client.overview import Canary, Memory, Overview, Preference, Served, Shares, Traffic, Version
from headrace.gateway.answers import encode, wrong_method
from headrace.gateway.http import Request, Response, Send
from headrace.gateway.routes import READ, route
from headrace.placement.memory import pss_bytes
from headrace.serving.counters import EndpointCounters, Histogram, ScorerCounters
from headrace.serving.dataplane import DataPlane
from headrace.serving.remote import Elsewhere
from headrace.serving.scorer import Scorer
from headrace.serving.status import Note

PATH = "/overview"

Canaries = Callable[[str], Canary | None]
"""How far the canary of an endpoint is; None where there is none."""


def no_canaries(_endpoint: str) -> None:
    """Of a gateway that looks after none."""


class Overviews:
    """Answers requests for an overview.

    Args:
        plane: What is told of.
        canaries: How far each is.
    """

    routes = (route(PATH, READ),)

    def __init__(self, plane: DataPlane, canaries: Canaries = no_canaries) -> None:
        self._plane, self._canaries = plane, canaries

    def __call__(self, request: Request, _path: str, send: Send) -> None:
        """Answer one request, once a thread has looked how much memory processes take: that takes milliseconds."""
        if (refusal := wrong_method(request, b"GET", b"HEAD")) is not None:
            send(refusal)
            return
        scorers = (scorer for live in self._plane.lives for scorer in live.loaded.values())
        workers = {scorer.model.pid for scorer in scorers if scorer.model.pid}
        looked = asyncio.get_running_loop().run_in_executor(None, _taken, {os.getpid(), *workers})

        def tell(done: "asyncio.Future[dict[int, int]]") -> None:
            send(Response(200, encode(overview(self._plane, done.result(), self._canaries))))

        looked.add_done_callback(tell)


def overview(plane: DataPlane, memory: Mapping[int, int], canaries: Canaries = no_canaries) -> Overview:
    """How a gateway is.

    Args:
        plane: What it serves.
        memory: Process id to the bytes that the process takes, as far as it is known.
        canaries: How far each is.
    """
    own = os.getpid()
    told = [replace(_served(plane, name, memory), canary=canaries(name)) for name in plane.names]
    return Overview(own, memory.get(own), told, plane.warnings, plane.unfollowed)


def _taken(pids: Iterable[int]) -> dict[int, int]:
    return {pid: taken for pid in pids if (taken := pss_bytes(pid)) is not None}


def _served(plane: DataPlane, name: str, memory: Mapping[int, int]) -> Served:
    status, counters = plane.status(name), plane.counters.get(name) or EndpointCounters()
    loaded = plane.live(name).loaded if status.deployment is not None else {}
    schedule, deadline_s, log, by, seq = [], None, "", "", 0
    roles: Mapping[str, str] = {}
    split: Shares | None = None
    if status.deployment is not None:
        endpoint = status.deployment.endpoint
        models = status.deployment.models
        schedule = [Preference(models[p.model], p.wait_s) for p in endpoint.schedule]
        deadline_s, log = endpoint.deadline_s, endpoint.log
        shares = {models[model]: share for model, share in endpoint.split.shares.items()}
        split = Shares(shares, endpoint.split.key) if shares else None
        by, seq, roles = status.deployment.who, status.deployment.seq, status.deployment.roles
    versions = [
        replace(
            _version(version, note, counters.scorers.get(version) or ScorerCounters(), loaded.get(version), memory),
            role=roles.get(version, ""),
        )
        for version, note in status.versions.items()
    ]
    traffic = _traffic(counters, plane.recent.per_second(name, time.monotonic(), counters.requests))
    return Served(
        *(name, status.state, status.wrong, seq, schedule, deadline_s, log, status.log, by, traffic, versions),
        split=split,
    )


def _version(
    name: str, note: Note, counters: ScorerCounters, scorer: Scorer | None, memory: Mapping[int, int]
) -> Version:
    return Version(
        name=name,
        role="",
        state=note.state,
        why=note.why,
        runs="" if scorer is None else _runs(scorer),
        memory=None if scorer is None else _memory(scorer, memory),
        scores=counters.scored + counters.late,
        failed=counters.failed,
        answered=counters.won,
        late=counters.late,
        missed=counters.missed,
        dropped=sum(counters.dropped.values()),
        agreed=counters.agreed / counters.compared if counters.compared else None,
        waiting=0 if scorer is None else scorer.waiting,
        p50_s=_within(counters.seconds, 0.5),
        p99_s=_within(counters.seconds, 0.99),
    )


def _runs(scorer: Scorer) -> str:
    return "worker" if scorer.state == "thread" and scorer.model.isolated else scorer.state


def _memory(scorer: Scorer, memory: Mapping[int, int]) -> Memory | None:
    pid = scorer.model.pid
    if isinstance(scorer.model.loaded, Elsewhere):
        return None
    if pid is not None and pid in memory:
        return Memory(memory[pid], "process", pid)
    return Memory(scorer.model.size_bytes, "files", pid)


def _traffic(one: EndpointCounters, per_second: float) -> Traffic:
    return Traffic(
        requests=one.requests,
        errors=one.refused + one.overloaded + one.unanswered,
        refused=one.refused,
        overloaded=one.overloaded,
        unanswered=one.unanswered,
        defaults=one.defaults,
        past_deadline=one.past_deadline,
        missed=one.missed,
        cancelled=one.cancelled,
        per_second=per_second,
        p50_s=_within(one.seconds, 0.5),
        p99_s=_within(one.seconds, 0.99),
    )


def _within(seconds: Histogram, part: float) -> float | None:
    bound = seconds.quantile(part)
    return bound if math.isfinite(bound) else None
