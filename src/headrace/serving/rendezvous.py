"""The rendezvous: a request meets its scores, the schedule picks one by its time, and the reply is sent exactly once.

For each preference in order: its score is there, it is taken; it failed, the next one is asked; it is awaited, nothing
is decided before its wait is over. A preference whose wait is over is still taken when it comes before any other does.
At the deadline, or once no scheduled model can answer any more, the default answers. A request whose caller goes before
that is called off: what no model has begun is not scored.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from headrace.errors import HeadraceError, RunFailed, Unavailable
from headrace.models.signature import Signature
from headrace.serving.arrival import Arrival, Raw
from headrace.serving.counters import EndpointCounters
from headrace.serving.deployment import Deployment
from headrace.serving.log import Answered, Late, Scored, encode
from headrace.serving.log_writer import LogWriter, Written
from headrace.serving.lookups import Lookups
from headrace.serving.masking import Mask
from headrace.serving.outcome import CANCELLED, SHED, Outcome, passes, untold
from headrace.serving.outputs import alike, filled
from headrace.serving.records import DEFAULT, GONE
from headrace.serving.request import Input
from headrace.serving.scorer import Scorer
from headrace.serving.tensors import Decoder

_TICK_S = 0.001
_LAG = 0.25
"""Of the deadline: an event loop that is later than this has more to do than answer in time."""
_COMPARED_EVERY = 16
_NO_BYTES: Raw | None = None
_NO_NAMES: tuple[str, ...] = ()
_NEVER = -1.0


class Answer(NamedTuple):
    """What the caller gets.

    Attributes:
        id: Of the request.
        outputs: Output name to one value per row (tables) or to an array (tensors).
        winner: Model version that answered, or ``default``.
        elapsed_s: From arrival until now.
        logged: False when the log could not be written although the endpoint promises it.
        fault: Why there are no outputs; None where there are some.
    """

    id: str
    outputs: Mapping[str, Any]
    winner: str
    elapsed_s: float
    logged: bool
    fault: HeadraceError | None = None


Reply = Callable[[Answer], None]


@dataclass(slots=True)
class Live:
    """A deployment with everything loaded: what requests are scored with, swapped as a whole.

    Attributes:
        deployment: What the ledger says.
        signature: What callers meet.
        decoder: The same, compiled.
        scorers: The models that score each request, scheduled ones first.
        schedule: Index into ``scorers`` and how long it is waited for, in seconds, in order of preference.
        default: Output name to value, when no model answers.
        log: Where requests go; None when the endpoint keeps no log.
        wait_for_log: Whether a reply waits for its record to be durable.
        counters: Plain numbers about this endpoint; they outlive the deployment.
        lookups: What reads the features that are joined to requests; None when none are.
        mask: Hides columns from the log; None when it archives requests as they came.
        clock: Monotonic seconds.
        open: Requests not answered yet.
        alone: A model by itself, for callers who ask for one version: those on standby from the beginning, the others
            from when they are first asked for.
        arms: Of a split endpoint: the same models in another order for each of its ``shares``, the last for the rest.
        drawn: Of such an arm: the model version that its requests prefer.
        ended: Arms that draw nobody any more; requests may still be under way there.
        shed: Whether so much is asked now that models which may not answer do not score.
        named: The same models by another of their signatures, from when it is first asked for.
    """

    deployment: Deployment
    signature: Signature
    decoder: Decoder
    scorers: Sequence[Scorer]
    schedule: Sequence[tuple[int, float]]
    default: Mapping[str, float]
    log: LogWriter | None
    wait_for_log: bool
    counters: EndpointCounters
    loop: asyncio.AbstractEventLoop
    lookups: Lookups | None = None
    mask: Mask | None = None
    clock: Callable[[], float] = time.monotonic
    open: int = 0
    alone: dict[str, "Live"] = field(default_factory=dict)
    arms: list["Live"] = field(default_factory=list)
    drawn: str = ""
    ended: Sequence["Live"] = ()
    shed: bool = False
    named: dict[str, "Live"] = field(default_factory=dict)

    def look(self, lag_s: float) -> None:
        """See whether too much is asked to score for the log alone.

        Args:
            lag_s: How late the event loop is now.
        """
        scheduled = {slot for slot, _ in self.schedule}
        late = lag_s > _LAG * self.deployment.endpoint.deadline_s
        self.shed = late or any(self.scorers[slot].behind for slot in scheduled)
        for arm in self.arms:
            arm.shed = self.shed
        for live in self.named.values():
            live.look(lag_s)

    def leave_out(self, outcomes: list[Outcome | None]) -> Sequence[Scorer]:
        """The models that score while the others are left out, with the others' outcome."""
        answering = len({slot for slot, _ in self.schedule})  # they come first
        dropped = Outcome({}, self.clock(), SHED)
        outcomes[answering:] = [dropped] * (len(outcomes) - answering)
        return self.scorers[:answering]

    def varied(self, **changes: Any) -> "Live":
        """The same with changes, to which nobody was drawn or has asked yet."""
        return replace(self, open=0, alone={}, arms=[], ended=(), named={}, **changes)

    def draw_no_more(self) -> None:
        """Have every further request go by the schedule; those that were drawn end as they began."""
        self.ended, self.arms = (*self.ended, *self.arms), []
        for live in self.named.values():
            live.draw_no_more()

    @property
    def busy(self) -> bool:
        """Whether a request waits for its answer."""
        parts = (*self.alone.values(), *self.arms, *self.ended, *self.named.values())
        return self.open > 0 or any(live.busy for live in parts)

    def overloaded(self, rows: int) -> bool:
        """Whether no scheduled model takes so many rows more, at least one of them because too many wait for it."""
        full = False
        for slot, _ in self.schedule:
            scorer = self.scorers[slot]
            if scorer.takes(rows):
                return False
            full = full or scorer.full(rows)
        return full

    @property
    def loaded(self) -> Mapping[str, Scorer]:
        """Every loaded model version (``late@3``), those on standby last."""
        alone = (live.scorers[0] for live in self.alone.values())
        return {scorer.name: scorer for scorer in (*self.scorers, *alone)}

    @property
    def queues(self) -> Sequence[Scorer]:
        """Every scorer, those of the models' other signatures too; a model has one for each that was asked for."""
        others = (scorer for live in (*self.alone.values(), *self.named.values()) for scorer in live.queues)
        return list(dict.fromkeys((*self.scorers, *others)))


class Rendezvous:
    """One request from arrival to its last score.

    Args:
        live: The deployment that was in force when it arrived.
        identifier: UUIDv7.
        given: What to score.
        reply: Called exactly once, on the event loop.
        arrival: It, as it came.
        key: What drew it into an arm of a split.
    """

    __slots__ = (
        "_answer", "_arrival", "_elapsed", "_key", "_live", "_outcomes", "_reply", "_returned", "_timer", "_winner",
        "id", "input", "queued", "started",
    )  # fmt: skip

    def __init__(
        self,
        live: Live,
        identifier: str,
        given: Input,
        reply: Reply,
        arrival: Arrival | None = None,
        key: str = "",
    ) -> None:
        self.id, self.input, self._arrival, self._key = identifier, given, arrival, key
        self._live, self._reply = live, reply
        self._outcomes: list[Outcome | None] = [None] * len(live.scorers)
        self._timer: asyncio.Handle | None = None
        self._answer: Mapping[str, Sequence[Any]] | None = None
        self._winner = ""
        self._elapsed = self.queued = 0.0
        self._returned: dict[int, float] | None = None
        self.started = live.clock()

    def start(self) -> None:
        """Hand the request to every scorer."""
        live, outcomes = self._live, self._outcomes
        live.open += 1
        scorers = live.leave_out(outcomes) if live.shed else live.scorers
        if len(scorers) == 1:
            outcomes[0] = scorers[0].submit(self, 0)
        else:
            self._ask(scorers)
        self._decide()

    def _ask(self, scorers: Sequence[Scorer]) -> None:
        """Those in threads first, so that they run while the others compute."""
        inline, outcomes = [], self._outcomes
        for slot, scorer in enumerate(scorers):
            if scorer.inline:
                inline.append((slot, scorer))
            else:
                outcomes[slot] = scorer.submit(self, slot)
        if len(inline) > 1 and inline[0][1].counters.fine is not None:
            # Who is called first finds cold caches: while two are compared, each is first as often as the other, by
            # chance, as requests that come in pairs would give one of them the worse turn each time.
            first = hash(self.id) % len(inline)
            inline = inline[first:] + inline[:first]
        for slot, scorer in inline:
            outcomes[slot] = scorer.submit(self, slot)

    def forgo(self, error: str, *, gone: bool = False) -> None:
        """Have no model score: the default answers, or nobody where the caller has gone."""
        live = self._live
        live.open += 1
        self._outcomes = [Outcome({}, live.clock(), error)] * len(live.scorers)
        if gone:
            self.cancel()
        else:
            self._decide()

    def arrived(self, slot: int, outcome: Outcome) -> None:
        """Take a score from a thread: before the reply it may decide, afterwards it is logged as late."""
        live = self._live
        returned = live.clock()
        scorer = live.scorers[slot]
        fine = scorer.counters.fine
        if fine is not None and not outcome.error and not scorer.between:
            alone = scorer.model.fast and not outcome.worker
            fine.add(outcome.at - (outcome.begun if alone else self.started))
        if self._answer is None:
            if self._outcomes[slot] is None or not outcome.error:
                self._outcomes[slot] = outcome
                if self._returned is None:
                    self._returned = {}
                self._returned[slot] = returned
            self._decide()
            return
        scorer.counters.took_late(outcome, outcome.at - self.started, live.deployment.endpoint.deadline_s)
        if scorer.counters.late % _COMPARED_EVERY == 1:
            self._compare(scorer, outcome)
        if live.log is not None:
            error = outcome.error if live.mask is None else untold(outcome.error)
            hops = self._hops(outcome, returned)
            entry = Late(scorer.name, outcome.outputs, outcome.at - self.started, error, hops, outcome.worker)
            live.log.add(self.id, encode(entry), time.time_ns() // 1_000_000)

    def cancel(self) -> None:
        """Call the request off unless it has its answer: nobody is told, and what no model has begun is not scored."""
        if self._answer is not None:
            return
        live, now = self._live, self._live.clock()
        for slot, scorer in enumerate(live.scorers):
            if self._outcomes[slot] is None and scorer.cancel(self):
                self._outcomes[slot] = Outcome({}, now, CANCELLED)
        self._settle(GONE, {})
        live.open -= 1
        live.counters.cancelled += 1
        if live.log is not None:
            self._record("the caller went before there was an answer")
        else:
            self._count()
        self._arrival = None  # as when it is answered

    def _decide(self) -> None:
        live, outcomes = self._live, self._outcomes
        waiting = False
        for slot, wait_s in live.schedule:
            outcome = outcomes[slot]
            if outcome is None:
                waiting = True
                if live.clock() < self.started + wait_s:
                    self._wake_at(self.started + wait_s)
                    return
            elif not outcome.error:
                self._choose(live.scorers[slot].name, outcome.outputs)
                return
        deadline = self.started + live.deployment.endpoint.deadline_s
        if waiting and live.clock() < deadline:
            self._wake_at(deadline)
            return
        self._choose(DEFAULT, filled(live.signature, live.default, self.input.count))

    def _wake_at(self, moment: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        # Event loops count whole milliseconds: a call that comes early is repeated.
        self._timer = self._live.loop.call_later(max(moment - self._live.clock(), _TICK_S), self._due)

    def _due(self) -> None:
        """Decide after what came before: an event loop that woke late may run timers ahead of scores that are there."""
        self._timer = self._live.loop.call_soon(self._decide)

    def _choose(self, winner: str, outputs: Mapping[str, Sequence[Any]]) -> None:
        self._settle(winner, outputs)
        live = self._live
        if live.log is None:
            self._count()
            self._finish(self._elapsed, logged=True)
            return
        reason = "" if live.schedule and winner == live.scorers[live.schedule[0][0]].name else self._reason()
        if live.wait_for_log:
            self._record(reason, self._written)
        else:
            self._record(reason)
            self._finish(self._elapsed, logged=True)

    def _settle(self, winner: str, outputs: Mapping[str, Sequence[Any]]) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._answer, self._winner = outputs, winner
        self._elapsed = self._live.clock() - self.started

    def _record(self, reason: str, written: Written | None = None) -> None:
        live = self._live
        assert live.log is not None
        assert self._answer is not None
        self._count()
        scores, waiting = self._scores()
        cells: Any = self.input.cells
        key, raw, masked, params = self._key, _NO_BYTES, _NO_NAMES, self.input.params
        if live.mask is not None:
            cells, key, masked = self._masked(live.mask)
            params = live.mask.params(params)
            for score in scores:
                score.error = untold(score.error)
        elif self._arrival is not None:
            raw = self._arrival.raw
        entry = Answered(
            live.decoder.names,
            cells,
            live.decoder.event_time,
            self._answer,
            self._winner,
            reason,
            self._elapsed,
            scores,
            waiting,
            live.deployment.seq,
            live.drawn,
            key,
            raw,
            masked,
            self.started,
            live.signature.name,
            params,
            self.input.joined,
        )
        live.log.add(self.id, encode(entry), time.time_ns() // 1_000_000, written)

    def _masked(self, mask: Mask) -> tuple[Any, str, tuple[str, ...]]:
        live = self._live
        key = mask.text(self._key) if mask.covers(live.deployment.endpoint.split.key) else self._key
        return mask.cells(live.decoder.names, self.input.cells), key, mask.told(live.decoder.names)

    def _count(self) -> None:
        started = self.started
        for scorer, outcome in zip(self._live.scorers, self._outcomes, strict=True):
            if outcome is not None:
                scorer.counters.took(outcome, outcome.at - started)
        if len(self._outcomes) > 1 and not self._live.counters.requests % _COMPARED_EVERY:
            for scorer, outcome in zip(self._live.scorers, self._outcomes, strict=True):
                if outcome is not None:
                    self._compare(scorer, outcome)

    def _compare(self, scorer: Scorer, outcome: Outcome) -> None:
        """Hold a score against the answer of another model."""
        if outcome.error or not self._answer or self._winner in {scorer.name, DEFAULT}:
            return
        scorer.counters.compared += 1
        scorer.counters.agreed += alike(outcome.outputs, self._answer)

    def _scores(self) -> tuple[list[Scored], list[str]]:
        scores, waiting = [], []
        started, returned = self.started, self._returned
        for slot, (scorer, outcome) in enumerate(zip(self._live.scorers, self._outcomes, strict=True)):
            if outcome is None:
                waiting.append(scorer.name)
                continue
            outputs = None if outcome.outputs is self._answer else outcome.outputs
            back = returned and returned.get(slot)
            hops = self._hops(outcome, back) if back else (outcome.begun - started,)
            scores.append(Scored(scorer.name, outputs, outcome.at - started, outcome.error, hops, outcome.worker))
        return scores, waiting

    def _hops(self, outcome: Outcome, returned: float) -> tuple[float, ...]:
        """As ``records.HOPS`` says, of a score that came from a thread."""
        moments = (outcome.begun, self.queued, returned, *(outcome.within or ()))
        return tuple(moment - self.started if moment else _NEVER for moment in moments)

    def _reason(self) -> str:
        live = self._live
        missed = []
        for slot, wait_s in live.schedule:
            name, outcome = live.scorers[slot].name, self._outcomes[slot]
            if name == self._winner:
                break
            missed.append(
                f"{name} had not answered after {wait_s * 1000:g} ms"
                if outcome is None
                else f"{name} failed ({outcome.error if live.mask is None else untold(outcome.error)})"
            )
        return "; ".join(missed)

    def _told(self) -> str:
        """The reason, as its caller may hear it."""
        return self._reason()

    def _written(self, done: bool) -> None:
        self._finish(self._live.clock() - self.started, logged=done)

    def _finish(self, elapsed: float, *, logged: bool) -> None:
        live = self._live
        self._arrival = None  # it holds us: together we would wait for the collector of cycles
        live.open -= 1
        live.counters.answered(self._winner, elapsed, rows=self.input.count)
        outputs = self._answer or {}
        if outputs:
            self._reply(Answer(self.id, outputs, self._winner, elapsed, logged))
            return
        live.counters.unanswered += 1
        self._reply(Answer(self.id, outputs, self._winner, elapsed, logged, self._fault()))

    def _fault(self) -> HeadraceError:
        """Why no model answered: a fault of the moment, or of the models, which the same request would meet again."""
        outcomes = [self._outcomes[slot] for slot, _ in self._live.schedule]
        passing = any(outcome is None or passes(outcome.error) for outcome in outcomes)
        kind = Unavailable if passing else RunFailed
        return kind(
            f"no model answered request {self.id}",
            why=self._told() or "the endpoint has no default",
            fix=f"headrace serving explain {self.id}",
        )
