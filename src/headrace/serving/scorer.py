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
from headrace.serving.lane import Job, Lane, Terms, Ticket, shape_of
from headrace.serving.outcome import BREAKER_OPEN, EXPIRED, QUEUE_FULL, Outcome
from headrace.serving.outputs import checker
from headrace.serving.request import Input, Projection

INLINE_P99_S = 0.0002
"""A model whose warm-up p99 is under this runs on the event loop: a hop to a thread costs more than its score."""

_INLINE_ROWS = 64
_OVERRUN_S = 0.010
_DRIFT_S = 0.003
_DRIFT_WEIGHT = 0.05
_RETRY_S = 0.2
_RETRY_MAX_S = 64.0
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
    def signature(self) -> Signature:
        """What it takes and gives."""

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

    Attributes:
        name: Model version.
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
    ) -> None:
        self.name, self.inline = model.name, model.fast
        self._ready, self._model = model, model.loaded
        self._check, self._shape = checker(model.signature), shape_of(model.signature)
        self._project, self._terms = project, terms
        self._post, self._stuck_s = post, stuck_s
        self._usual_s = 0.0
        self._retry_at, self._retry_s = math.inf, _RETRY_S
        self._lane: Lane | None = None
        self._abandoned: list[Lane] = []
        self._open_until = 0.0

    def submit(self, ticket: Ticket, slot: int) -> Outcome | None:
        """Score now and return the outcome, or queue it and return None: ``ticket.arrived`` follows."""
        if self.inline and ticket.input.count <= _INLINE_ROWS:
            return self._inline(ticket.input)
        now = time.monotonic()
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
    def trouble(self) -> str:
        """Why the model does not score now; empty when it does."""
        return BREAKER_OPEN if time.monotonic() < self._open_until else self._ready.trouble

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
        return self._score(given.batch, given.count)

    def _inline(self, given: Input) -> Outcome:
        begun = time.monotonic()
        outcome = self._score(given.batch, given.count)
        taken = outcome.at - begun
        self._usual_s += _DRIFT_WEIGHT * (min(taken, _OVERRUN_S) - self._usual_s)
        if taken > _OVERRUN_S or self._usual_s > _DRIFT_S:
            # The model's doing or the machine's: the next requests do not wait to find out, a measurement does.
            self.inline, self._usual_s = False, 0.0
            self._retry_at, self._retry_s = begun + self._retry_s, min(self._retry_s * 2, _RETRY_MAX_S)
        return outcome

    def _measure(self) -> None:
        with contextlib.suppress(Exception):  # a model that cannot be measured stays in its thread
            self.inline = self._ready.still_fast()

    def _score(self, batch: Batch, count: int) -> Outcome:
        try:
            raw = self._model.score(batch if self._project is None else self._project(batch))
            return Outcome(self._check(raw, count), time.monotonic(), "")
        except Exception as error:  # noqa: BLE001 - whatever a model raises costs its score only
            return Outcome({}, time.monotonic(), _said(error))

    def _work(self, jobs: Sequence[Job]) -> None:
        inputs = [ticket.input for ticket, _ in jobs]
        outcomes = [self.score(inputs[0])] if len(jobs) == 1 else self._score_together(inputs)
        self._post(_deliver, jobs, outcomes)

    def _drop(self, jobs: Sequence[Job]) -> None:
        self._post(_deliver, jobs, [Outcome({}, time.monotonic(), EXPIRED)] * len(jobs))

    def _score_together(self, inputs: Sequence[Input]) -> list[Outcome]:
        parts = inputs[0].batch
        batch = {part: np.concatenate([i.batch[part] for i in inputs]) for part in parts}
        whole = self._score(batch, sum(i.count for i in inputs))
        if whole.error:  # one request's rows may be to blame: the others must not pay for it
            return [self.score(i) for i in inputs]
        outcomes, start = [], 0
        for given in inputs:
            end = start + given.count
            outcomes.append(whole._replace(outputs={n: v[start:end] for n, v in whole.outputs.items()}))
            start = end
        return outcomes


def _deliver(jobs: Sequence[Job], outcomes: Sequence[Outcome]) -> None:
    for (ticket, slot), outcome in zip(jobs, outcomes, strict=True):
        ticket.arrived(slot, outcome)


def _said(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"no output {error}"
    return f"{type(error).__name__}: {error}"[:200]
