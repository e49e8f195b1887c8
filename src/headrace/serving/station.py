"""A station: one model version in a worker, which scores what its group is asked and answers who asked."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue

import msgspec

from headrace.errors import HeadraceError, Unavailable
from headrace.models.params import NO_PARAMS, Params
from headrace.models.runtime import Batch
from headrace.serving.exchange import MOST_TRIES, Asked, Delivery, Exchange, Group, Scored, pack, questions
from headrace.serving.frames import packed, unpacked
from headrace.serving.lane import Terms
from headrace.serving.outcome import AWAY, DIED, EXPIRED, Outcome
from headrace.serving.report import in_words, report
from headrace.serving.request import Input, Joined, Projection
from headrace.serving.scorer import Scorer
from headrace.serving.signed import by_signature
from headrace.serving.tuned import TunedInput
from headrace.serving.versions import Model

_TAKE_S = 0.1
_BUSY_S = 0.005
_MOST = 256
_CLOCKS_MS = 2000.0
_AGAIN_S = 1.0
_WELL_S = 5.0
_FINISH_S = 5.0

Projections = Callable[[str, str], Projection | None]
"""What this station's model takes, by a signature, of a batch that holds the inputs of a model version."""


@dataclass(frozen=True, slots=True)
class _Given:
    """A batch as it came: an ``Input``, though nothing logs it here."""

    batch: Batch
    count: int
    cells: Sequence[tuple[object, ...]] = ()
    joined: tuple[Joined, ...] = ()

    @property
    def params(self) -> Params:
        """None; see ``tuned.TunedInput``."""
        return NO_PARAMS


class _Job:
    """A question that the model is given; a ``Ticket``."""

    __slots__ = ("_arrived", "asked", "came_ms", "delivery", "id", "input", "queued", "scorer", "started", "tries")

    def __init__(
        self,
        asked: Asked,
        given: Input,
        delivery: Delivery,
        *,
        scorer: Scorer,
        arrived: Callable[["_Job", Outcome], None],
    ) -> None:
        self.id, self.asked, self.delivery, self.scorer = asked.id, asked, delivery, scorer
        self.input = given
        self.tries, self.came_ms, self.started = delivery.tries, time.time() * 1000, time.monotonic()
        self.queued = self.started
        self._arrived = arrived

    def arrived(self, slot: int, outcome: Outcome) -> None:  # noqa: ARG002 - a station has one scorer
        """Take the outcome, on whatever thread it was made."""
        self._arrived(self, outcome)


class Station:
    """Scores for one model version, on a thread of its own.

    Args:
        endpoint: Whose requests.
        model: The version, loaded; it belongs to whoever loaded it.
        exchange: Carries questions and answers.
        worker: What this process calls itself.
        projections: What the model takes of other versions' inputs.
        terms: How requests may wait for it.
    """

    def __init__(
        self, endpoint: str, model: Model, exchange: Exchange, worker: str, *, projections: Projections, terms: Terms
    ) -> None:
        self._endpoint, self._model, self._exchange, self._worker = endpoint, model, exchange, worker
        self._projections = projections
        self._scorer = Scorer(model, post=_at_once, terms=terms)
        self._scorers: dict[str, Scorer | None] = {"": self._scorer}
        self._ended: SimpleQueue[tuple[_Job, Outcome]] = SimpleQueue()
        self._suspects: deque[_Job] = deque()
        self._inside = 0
        self._joined = False
        self._why = "it is joining its group"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"station {model.name}", daemon=True)
        self._thread.start()

    @property
    def trouble(self) -> str:
        """Why it does not score now; empty when it does."""
        return self._scorer.trouble if self._joined else self._why

    def stop(self) -> None:
        """Take no more; what was taken is finished."""
        self._stop.set()

    def join(self) -> None:
        """Wait until it has ended."""
        self._thread.join(2 * _FINISH_S)
        for scorer in self._scorers.values():
            if scorer is not None:
                scorer.close()
        self._why = "it has left its group"

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._serve()
            except Exception as error:  # noqa: BLE001 - a worker outlives its brokers
                if in_words(error) != self._why:
                    report(f"{self._model.name}: {in_words(error)}")
                self._joined, self._why = False, in_words(error)
                self._stop.wait(_AGAIN_S)

    def _serve(self) -> None:
        group = self._exchange.join(self._endpoint, self._model.name)
        try:
            while not self._stop.is_set():
                self._turn(group)
            self._finish(group)
        finally:
            self._joined = False
            group.close()

    def _turn(self, group: Group) -> None:
        self._joined = group.joined
        self._check()
        if self._inside < _MOST:
            taken = group.take(_BUSY_S if self._inside else _TAKE_S, _MOST - self._inside)
            alone = any(delivery.alone for delivery in taken)
            if alone:
                self._finish(group)
            for delivery in taken:
                self._begin(group, delivery)
            if alone:
                self._finish(group)
        self._collect(group)
        if self._suspects:
            self._retry(group)

    def _begin(self, group: Group, delivery: Delivery) -> None:
        """Have the model score a question, unless there is a reason not to."""
        try:
            asked = questions.decode(delivery.value)
            scorer = self._by(asked.signature) if self._model.name in asked.wanted else None
            if scorer is None:
                group.done([delivery])
                return
            given = self._given(asked)
        except Unavailable as error:  # the ledger is away, and it says what the batch holds: no fault of the question
            report(f"{self._model.name}: {in_words(error)}")
            group.done([delivery])
            return
        except (msgspec.DecodeError, HeadraceError, ValueError, TypeError, KeyError, IndexError) as error:
            group.set_aside(delivery, f"it cannot be read: {in_words(error)}")
            return
        job = _Job(asked, given, delivery, scorer=scorer, arrived=self._arrived)
        if delivery.tries >= MOST_TRIES:
            self._set_aside(group, job, f"{delivery.tries} workers died while they had it")
        elif job.came_ms - asked.sent_ms > asked.expires_ms + _CLOCKS_MS:
            self._answer(job, Outcome({}, time.monotonic(), EXPIRED))
            group.done([delivery])
        else:
            self._submit(job)

    def _given(self, asked: Asked) -> Input:
        """What the model takes of what was asked."""
        project, batch = self._projections(asked.contract, asked.signature), unpacked(asked.batch)
        given = _Given(project(batch) if project else batch, asked.count)
        return TunedInput(given, asked.params) if asked.params else given

    def _by(self, signature: str) -> Scorer | None:
        """What scores by a signature; None when the model has none of that name."""
        if signature not in self._scorers:
            found = by_signature(self._model, signature)
            self._scorers[signature] = None if found is None else self._scorer.beside(found, None, found.name)
        return self._scorers[signature]

    def _check(self) -> None:
        for scorer in self._scorers.values():
            if scorer is not None:
                scorer.check(time.monotonic())

    def _submit(self, job: _Job) -> None:
        self._inside += 1
        outcome = job.scorer.submit(job, 0)
        if outcome is not None:
            self._arrived(job, outcome)

    def _arrived(self, job: _Job, outcome: Outcome) -> None:
        """Answer at once, from whatever thread; the rest is for the station's own."""
        if not _retried(outcome):
            self._answer(job, outcome)
        self._ended.put((job, outcome))

    def _collect(self, group: Group, within_s: float = 0.0) -> None:
        """Tell the group what is finished."""
        finished = []
        try:
            while True:
                job, outcome = self._ended.get(timeout=within_s) if within_s else self._ended.get_nowait()
                within_s = 0.0
                self._inside -= 1
                if _retried(outcome):
                    job.tries += DIED in outcome.error
                    self._suspects.append(job)
                else:
                    finished.append(job.delivery)
        except Empty:
            group.done(finished)

    def _retry(self, group: Group) -> None:
        """Try again, each alone, what the model's process may have died of."""
        self._finish(group)
        while self._suspects:
            job = self._suspects.popleft()
            if job.tries >= MOST_TRIES:
                self._set_aside(group, job, f"the model's worker process died of it {job.tries} times")
                continue
            well_by = time.monotonic() + _WELL_S
            while self._model.trouble and time.monotonic() < well_by and not self._stop.wait(0.02):
                pass
            if self._model.trouble:
                self._answer(job, Outcome({}, time.monotonic(), self._model.trouble))
                group.done([job.delivery])
                continue
            self._submit(job)
            self._finish(group)

    def _set_aside(self, group: Group, job: _Job, why: str) -> None:
        report(f"{self._model.name}: request {job.id} is set aside: {why}")
        group.set_aside(job.delivery, why)
        self._answer(job, Outcome({}, time.monotonic(), f"set aside: {why}"))

    def _finish(self, group: Group) -> None:
        """Wait for what the model has; what it does not finish is another member's."""
        until = time.monotonic() + _FINISH_S
        while self._inside and time.monotonic() < until:
            self._check()
            self._collect(group, within_s=0.05)

    def _answer(self, job: _Job, outcome: Outcome) -> None:
        begun = outcome.begun or outcome.at
        waited_s, took_s = begun - job.started, outcome.at - begun
        outputs = [] if outcome.error else packed(outcome.outputs)
        said = (job.id, self._model.name, self._worker, outputs, outcome.error, job.came_ms, waited_s, took_s)
        try:
            self._exchange.tell(self._endpoint, pack(Scored(*said)), job.asked.address)
        except HeadraceError as error:  # the front door answers without it
            report(f"{self._model.name}: an answer is lost: {error}")


def _retried(outcome: Outcome) -> bool:
    return DIED in outcome.error or AWAY in outcome.error


def _at_once(call: Callable[..., object], *arguments: object) -> None:
    call(*arguments)
