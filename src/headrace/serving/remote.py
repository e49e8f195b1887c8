"""A scorer whose model is in workers: the front door sends it what the others score, over the exchange.

The model that the schedule prefers is loaded at the front door as well. It answers itself when nothing can be sent, and
when half of the time is over and no worker has answered.
"""

import asyncio
import time
from typing import Any

from headrace.errors import RunFailed, Unavailable
from headrace.models.runtime import Batch
from headrace.models.version import ModelVersion
from headrace.serving.calls import Call
from headrace.serving.counters import ScorerCounters
from headrace.serving.desk import Desk, Errand
from headrace.serving.exchange import Scored
from headrace.serving.frames import unpacked
from headrace.serving.lane import Terms, Ticket
from headrace.serving.outcome import EXPIRED, NO_WORKER, QUEUE_FULL, Outcome
from headrace.serving.request import Projection
from headrace.serving.scorer import Ready, Scorer
from headrace.serving.versions import Model

_SMOOTHING = 0.1
_STANDS_S = 10.0
_CLOCKS_S = 1.0
"""A worker allows clocks to differ by twice as much: what it says is late, and came so long after now, was not."""


class Elsewhere:
    """A model that is not in this process; a ``Loaded``."""

    def score(self, batch: Batch) -> Batch:
        """Never; raise ``RunFailed``."""
        raise RunFailed("the model is not loaded here", why=f"a batch of {len(batch)} arrays came all the same")

    def signed(self, name: str) -> "Elsewhere":  # noqa: ARG002 - it is elsewhere by each of its signatures
        """By another of its signatures."""
        return self

    def close(self) -> None:
        """Nothing is held."""


def elsewhere(version: ModelVersion) -> Model:
    """A version that only workers have."""
    return Model(version, Elsewhere(), p99_s=float("inf"), compared=0, one={})


class RemoteScorer(Scorer):
    """One model version that workers score; see ``Scorer``.

    Args:
        model: The version; loaded here as well, or ``elsewhere``.
        desk: Where its requests are sent from.
        errand: What its requests are sent for.
        project: Takes of the endpoint's batch what this model takes, when it is scored here.
        terms: How requests may wait.
        counters: Where its calls are counted.
    """

    def __init__(
        self,
        model: Ready,
        desk: Desk,
        errand: Errand,
        *,
        project: Projection | None,
        terms: Terms,
        counters: ScorerCounters,
    ) -> None:
        super().__init__(model, post=desk.loop.call_soon_threadsafe, project=project, terms=terms, counters=counters)
        self._desk, self._errand = desk, errand
        self._here = not isinstance(model.loaded, Elsewhere)
        self._single = model.signature.kind == "table"
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._round_s = 0.0
        self._ahead: tuple[float, str] = (0.0, "")

    def beside(self, model: Ready, project: Projection | None, contract: str) -> "RemoteScorer":
        """The same model by another of its signatures, asked of the same workers; see ``Scorer``."""
        errand = self._errand._replace(contract=contract, signature=model.signature.name)
        return RemoteScorer(model, self._desk, errand, project=project, terms=self._terms, counters=self.counters)

    def submit(self, ticket: Ticket, slot: int) -> Outcome | None:
        """Have workers score it, or the model that is loaded here; see ``Scorer``."""
        ticket.queued = time.monotonic()
        if not self._desk.workers(self.name):
            return self._instead(ticket, slot, NO_WORKER)
        if not self._room(ticket.input.count):
            return Outcome({}, time.monotonic(), QUEUE_FULL)
        try:
            self._desk.ask(ticket, self._errand)
        except Unavailable as error:
            return self._instead(ticket, slot, str(error))
        self._desk.await_score(ticket, self.name, slot, self._took)
        if self._here:
            left_s = ticket.started + min(self._terms.wait_s, self._errand.deadline_s) / 2 - time.monotonic()
            self._timers[ticket.id] = self._desk.loop.call_later(max(left_s, 0.0), self._step_in, ticket, slot)
        return None

    def takes(self, rows: int) -> bool:
        """Whether a request of so many rows would be scored."""
        if self._desk.trouble or not self._desk.workers(self.name):
            return self._here and super().takes(rows)
        return self._room(rows)

    def full(self, rows: int) -> bool:
        """Whether a request of so many rows would be dropped because of what waits already."""
        return not self._room(rows) or super().full(rows)

    @property
    def waiting(self) -> int:
        """How many rows wait for workers, and requests for the model here."""
        return self._desk.rows(self.name) + super().waiting

    @property
    def backlog_s(self) -> float:
        """How long what waits may take."""
        return max(self._round_s, super().backlog_s)

    def check(self, now: float) -> None:
        """As ``Scorer``'s; also forget who is silent."""
        super().check(now)
        self._desk.check(now)
        self.counters.behind_s = self._desk.behind_s(self.name)

    @property
    def state(self) -> str:
        """``2 workers``, ``2 workers, 1.5 s behind``, or how it is scored here."""
        count = len(self._desk.workers(self.name))
        if count and not self._desk.trouble:
            behind_s = self._desk.behind_s(self.name)
            behind = f", {behind_s:.1f} s behind" * (behind_s > self._errand.deadline_s)
            return f"{count} worker{'s' * (count > 1)}{behind}"
        return super().state if self._here else "no worker"

    @property
    def trouble(self) -> str:
        """Why no worker scores it; empty when some do."""
        if trouble := self._desk.trouble:
            return f"the exchange is away: {trouble}"
        if not self._desk.workers(self.name):
            return self._desk.why_not(self.name)
        at, wrong = self._ahead
        return wrong if time.monotonic() - at < _STANDS_S else ""

    def _room(self, rows: int) -> bool:
        waiting = self._desk.rows(self.name)
        return not waiting or waiting + rows <= self._terms.batching.max_queue_rows

    def _instead(self, ticket: Ticket, slot: int, why: str) -> Outcome | None:
        if not self._here:
            return Outcome({}, time.monotonic(), why)
        self.counters.here += 1
        return super().submit(ticket, slot)

    def _step_in(self, ticket: Ticket, slot: int) -> None:
        """Score here what no worker has answered for half of its time."""
        self._timers.pop(ticket.id, None)
        if self._desk.give_up(ticket, self.name):
            outcome = self._instead(ticket, slot, "")
            if outcome is not None:
                ticket.arrived(slot, outcome)

    def _took(self, ticket: Ticket, slot: int, scored: Scored) -> None:
        timer = self._timers.pop(ticket.id, None)
        if timer is not None:
            timer.cancel()
        now = time.monotonic()
        self._round_s += _SMOOTHING * (now - ticket.started - self._round_s)
        came, within = _placed(scored, ticket.queued, now)
        if scored.error == EXPIRED and now - ticket.started < self._errand.deadline_s and self._is_ahead(scored, now):
            instead = self._instead(ticket, slot, scored.error)
            if instead is None:
                return
            outcome = instead
        elif scored.error:
            outcome = Outcome({}, now, scored.error, came, within, scored.worker)
        else:
            outcome = Outcome(self._read(scored), now, "", came, within, scored.worker)
            parts = (0.0, scored.took_s, 0.0)
            self.counters.calls.add(Call(ticket.input.count, 1, now - ticket.started - scored.took_s, *parts))
        ticket.arrived(slot, outcome)

    def _is_ahead(self, scored: Scored, now: float) -> bool:
        """Whether a worker took for late by its clock what is in time by ours."""
        ahead_s = scored.came_ms / 1000 - time.time()
        if ahead_s < _CLOCKS_S:
            return False
        self._ahead = now, f"the clock of worker {scored.worker} is {ahead_s:.1f} s ahead of this host's"
        return True

    def _read(self, scored: Scored) -> dict[str, Any]:
        arrays = unpacked(scored.outputs)
        return {name: array.tolist() for name, array in arrays.items()} if self._single else arrays


def _placed(scored: Scored, asked: float, now: float) -> tuple[float, tuple[float, float]]:
    """When a worker took a request up, began and had the score, by our monotonic clock.

    Its wall clock says so, which may be wrong by more than the request took: what lies before the question or after the
    answer is moved in between, durations as they are while they fit.
    """
    waited, took = (min(max(span, 0.0), now - asked) for span in (scored.waited_s, scored.took_s))
    came = min(scored.came_ms / 1000 + now - time.time(), now - waited - took)
    came = max(came, asked)
    begun = min(came + waited, now)
    return came, (begun, min(begun + took, now))
