"""A scorer: one model version that scores every request, inline when it is fast enough, else in a thread of its own.

What comes back is always an ``Outcome``: a model that raises, hangs or returns NaN costs its score, not the request.
"""

import contextlib
import math
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from headrace.models.runtime import Batch, Loaded
from headrace.models.signature import Signature
from headrace.serving.calls import Call
from headrace.serving.counters import ScorerCounters
from headrace.serving.lane import Job, Lane, Terms, Ticket, shape_of
from headrace.serving.outcome import BREAKER_OPEN, EXPIRED, QUEUE_FULL, Answers, Outcome
from headrace.serving.outputs import Shapes, checker
from headrace.serving.request import Input, Projection
from headrace.serving.tuned import told

INLINE_P99_S = 0.0002
"""A model whose warm-up p99 is under this runs on the event loop: a hop to a thread costs more than its score."""

_INLINE_ROWS = 64
_OVERRUN_S = 0.010
_DRIFT_S = 0.003
_DRIFT_WEIGHT = 0.05
_RETRY_S = 0.2
_RETRY_MAX_S = 64.0
_FEW = 16
_STUCK_S = 5.0
_COOLDOWN_S = 2.0
_MAX_ABANDONED = 3
_TERMS = Terms()


Post = Callable[..., Any]
"""Runs a callable on the event loop, from any thread (``loop.call_soon_threadsafe``)."""


class Ready(Protocol):
    """A loaded and proven model: ``versions.Model``."""

    @property
    def name(self) -> str:
        """Model version (``late@3``)."""

    @property
    def loaded(self) -> Loaded:
        """What scores."""

    @property
    def isolated(self) -> bool:
        """Whether it has a process of its own."""

    @property
    def pid(self) -> int | None:
        """That process; None without one."""

    @property
    def size_bytes(self) -> int:
        """Of its files."""

    @property
    def signature(self) -> Signature:
        """What it takes and gives."""

    @property
    def shapes(self) -> Shapes:
        """Of a row's answers, where the signature does not say."""

    @property
    def fast(self) -> bool:
        """Whether it may run on the event loop."""

    @property
    def trouble(self) -> str:
        """Why it cannot score now; empty when it can."""

    def still_fast(self) -> bool:
        """The same, measured now; takes some milliseconds."""


class Scorer:
    """One model behind a bounded queue and a breaker.

    Args:
        model: Loaded and warmed up; it belongs to whoever loaded it.
        post: How a thread reaches the event loop.
        project: Takes of the endpoint's batch what this model takes; None for all of it.
        terms: How requests may wait for it.
        stuck_s: After so long in one call a model counts as hanging.
        counters: Where its calls are counted; None for numbers of its own.

    Attributes:
        name: Model version.
        model: What it was given.
        counters: How it did: its calls are counted here, its outcomes by whoever takes them.
        inline: Whether it runs on the event loop; an overrun ends that until it is measured fast again.
    """

    def __init__(
        self,
        model: Ready,
        *,
        post: Post,
        project: Projection | None = None,
        terms: Terms = _TERMS,
        stuck_s: float = _STUCK_S,
        counters: ScorerCounters | None = None,
    ) -> None:
        self.name, self.inline = model.name, model.fast
        self.counters = counters or ScorerCounters()
        self._calls = self.counters.calls
        self._by_rows = self._calls.by_rows
        self.model, self._loaded = model, model.loaded
        self._tunable = bool(model.signature.params)
        self._check, self._shape = checker(model.signature, model.shapes), shape_of(model.signature)
        self._project, self._terms = project, terms
        self._post, self._stuck_s = post, stuck_s
        self._usual_s = 0.0
        self._retry_at, self._retry_s = math.inf, _RETRY_S
        self._lane: Lane | None = None
        self._abandoned: list[Lane] = []
        self._open_until = 0.0

    def beside(self, model: Ready, project: Projection | None, contract: str) -> "Scorer":  # noqa: ARG002 - see below
        """The same model by another of its signatures, behind a queue and a breaker of its own, counted together.

        Args:
            model: It, by that signature.
            project: Takes of the batch what it takes.
            contract: The model version whose inputs the batch holds, for who has it scored elsewhere.
        """
        terms, post, counters = self._terms, self._post, self.counters
        return Scorer(model, post=post, project=project, terms=terms, stuck_s=self._stuck_s, counters=counters)

    def submit(self, ticket: Ticket, slot: int) -> Outcome | None:
        """Score now and return the outcome, or queue it and return None: ``ticket.arrived`` follows."""
        if self.inline and ticket.input.count <= _INLINE_ROWS:
            return self._inline(ticket.input)
        now = ticket.queued = time.monotonic()
        if now < self._open_until:
            return Outcome({}, now, BREAKER_OPEN)
        lane = self._lane
        if lane is None:
            name = f"scorer {self.name}"
            lane = self._lane = Lane(name, self._terms, shape=self._shape, work=self._work, drop=self._drop)
        return None if lane.put(ticket, slot) else Outcome({}, now, QUEUE_FULL)

    def cancel(self, ticket: Ticket) -> bool:
        """Take a request back; False when it does not wait: it is being scored, or was."""
        return self._lane is not None and self._lane.cancel(ticket)

    def takes(self, rows: int) -> bool:
        """Whether a request of so many rows would be scored, now or after what waits."""
        if self.inline and rows <= _INLINE_ROWS:
            return True
        lane = self._lane
        return time.monotonic() >= self._open_until if lane is None else lane.room(rows)

    def full(self, rows: int) -> bool:
        """Whether a request of so many rows would be dropped because of what waits already."""
        lane = self._lane
        return lane is not None and not lane.room(rows)

    @property
    def behind(self) -> bool:
        """Whether more waits for it than its next call takes."""
        return self._lane is not None and self._lane.rows > self._terms.batching.max_batch_rows

    @property
    def waiting(self) -> int:
        """How many requests wait for it."""
        return 0 if self._lane is None else self._lane.requests

    @property
    def backlog_s(self) -> float:
        """How long what waits may take."""
        return 0.0 if self._lane is None else self._lane.backlog_s

    def check(self, now: float) -> None:
        """Open the breaker when the model hangs: its thread is abandoned, and what it holds or queues fails."""
        if now > self._retry_at:
            self._retry_at = math.inf
            threading.Thread(target=self._measure, name=f"measure {self.name}", daemon=True).start()
        self._abandoned = [lane for lane in self._abandoned if lane.alive]
        lane = self._lane
        if lane is None or not lane.busy_since or now - lane.busy_since < self._stuck_s:
            return
        self._lane = None
        self._abandoned.append(lane)
        # Each abandoned thread stays in memory until its call returns, so their number is bounded.
        hopeless = len(self._abandoned) >= _MAX_ABANDONED
        self._open_until = math.inf if hopeless else now + _COOLDOWN_S
        for ticket, slot in lane.abandon():
            ticket.arrived(slot, Outcome({}, now, BREAKER_OPEN))

    @property
    def state(self) -> str:
        """``inline``, ``thread`` or ``breaker open``."""
        if time.monotonic() < self._open_until:
            return "breaker open"
        return "inline" if self.inline else "thread"

    @property
    def between(self) -> bool:
        """Whether it has overrun and nobody has measured it since: that may be the machine's doing, a few times."""
        few = self._retry_s <= _FEW * _RETRY_S
        return few and self.model.fast and not self.inline and self._retry_at < math.inf

    @property
    def trouble(self) -> str:
        """Why the model does not score now; empty when it does."""
        return BREAKER_OPEN if time.monotonic() < self._open_until else self.model.trouble

    @property
    def busy(self) -> bool:
        """Whether its thread has not ended yet; a hanging one is not waited for."""
        return self._lane is not None and self._lane.alive

    def close(self) -> None:
        """End the thread after what is queued; the model belongs to whoever loaded it."""
        if self._lane is not None:
            self._lane.close()

    def score(self, given: Input) -> Outcome:
        """Score on the calling thread; never raises."""
        return self._score(self._told(given), given.batch, given.count, time.monotonic())

    def _told(self, given: Input) -> Loaded:
        """The model, told what a request says besides its rows."""
        return told(self._loaded, self.model.signature, given.params) if self._tunable else self._loaded

    def _inline(self, given: Input) -> Outcome:
        begun, rows = time.monotonic(), given.count
        outcome = self._score(self._loaded, given.batch, rows, begun)
        taken = outcome.at - begun
        if not outcome.error:
            # It is all the model's: to look at the clock twice more would cost as much as there is to see.
            spent = self._by_rows.get(rows) or self._calls.of(rows)
            spent.calls += 1
            spent.model_s += taken
            if self.counters.fine is not None:
                self.counters.fine.add(taken)
        self._usual_s += _DRIFT_WEIGHT * (taken - self._usual_s)
        if taken > _OVERRUN_S or self._usual_s > _DRIFT_S:
            # The model's doing or the machine's: the next requests do not wait to find out, a measurement does.
            self.inline, self._usual_s = False, 0.0
            self._retry_at, self._retry_s = begun + self._retry_s, min(self._retry_s * 2, _RETRY_MAX_S)
        return outcome

    def _measure(self) -> None:
        with contextlib.suppress(Exception):  # a model that cannot be measured stays in its thread
            self.inline = self.model.still_fast()

    def _score(
        self, loaded: Loaded, batch: Batch, count: int, begun: float, moments: list[float] | None = None
    ) -> Outcome:
        """``moments`` takes when the batch was ready for the model, and when the model had scored it."""
        try:
            if self._project is not None:
                batch = self._project(batch)
            if moments is None:
                return Outcome(self._check(loaded.score(batch), count), time.monotonic(), "", begun)
            moments.append(time.monotonic())
            raw = loaded.score(batch)
            moments.append(time.monotonic())
            within = raw.within if isinstance(raw, Answers) else None
            return Outcome(self._check(raw, count), time.monotonic(), "", begun, within)
        except Exception as error:  # noqa: BLE001 - whatever a model raises costs its score only
            return Outcome({}, time.monotonic(), _said(error), begun)

    def _work(self, jobs: Sequence[Job]) -> None:
        tickets = [ticket for ticket, _ in jobs]
        outcomes, calls = self._alone(tickets) if len(jobs) == 1 else self._together(tickets)
        self._post(self._deliver, jobs, outcomes, calls)

    def _drop(self, jobs: Sequence[Job]) -> None:
        self._post(self._deliver, jobs, [Outcome({}, time.monotonic(), EXPIRED)] * len(jobs), ())

    def _deliver(self, jobs: Sequence[Job], outcomes: Sequence[Outcome], calls: Sequence[Call]) -> None:
        for call in calls:
            self._calls.add(call)
        for (ticket, slot), outcome in zip(jobs, outcomes, strict=True):
            ticket.arrived(slot, outcome)

    def _alone(self, tickets: Sequence[Ticket]) -> tuple[list[Outcome], list[Call]]:
        """Score request by request; what fails makes no call."""
        outcomes, calls = [], []
        for ticket in tickets:
            begun, given, moments = time.monotonic(), ticket.input, list[float]()
            outcome = self._score(self._told(given), given.batch, given.count, begun, moments)
            outcomes.append(outcome)
            if not outcome.error:
                ready, scored = moments
                parts = (ready - begun, scored - ready, outcome.at - scored)
                calls.append(Call(given.count, 1, begun - ticket.started, *parts))
        return outcomes, calls

    def _together(self, tickets: Sequence[Ticket]) -> tuple[list[Outcome], list[Call]]:
        begun, inputs = time.monotonic(), [ticket.input for ticket in tickets]
        parts = inputs[0].batch
        batch = {part: np.concatenate([i.batch[part] for i in inputs]) for part in parts}
        rows, moments = sum(i.count for i in inputs), list[float]()
        whole = self._score(self._told(inputs[0]), batch, rows, begun, moments)
        if whole.error:  # one request's rows may be to blame: the others must not pay for it
            return self._alone(tickets)
        outcomes, start = [], 0
        for given in inputs:
            end = start + given.count
            outcomes.append(whole._replace(outputs={n: v[start:end] for n, v in whole.outputs.items()}))
            start = end
        ready, scored = moments
        queued_s = sum(begun - ticket.started for ticket in tickets)
        return outcomes, [Call(rows, len(tickets), queued_s, ready - begun, scored - ready, whole.at - scored)]


def _said(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"no output {error}"
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
