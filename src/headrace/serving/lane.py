"""The queue of one scorer and the thread that empties it: requests wait by rows and are scored in batches.

All requests of an endpoint have the same time to live, so the oldest is also the most urgent: in order of arrival is
in order of deadlines. The event loop puts and takes back, the thread takes; both hold the lock for moments only.
"""

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from headrace.models.signature import Column, Signature
from headrace.serving.endpoint import Batching
from headrace.serving.outcome import Outcome
from headrace.serving.request import Input
from headrace.serving.tuned import key_of

_SMOOTHING = 0.2


class Ticket(Protocol):
    """What a scorer is handed: a request that waits for its outcome.

    Attributes:
        id: Of the request.
        input: What to score.
        started: When it arrived, in monotonic seconds.
        queued: When it was last handed to a scorer that lets it wait.
    """

    id: str
    input: Input
    started: float
    queued: float

    def arrived(self, slot: int, outcome: Outcome) -> None:
        """Take the outcome of the scorer in ``slot``; called on the event loop."""


Job = tuple[Ticket, int]
Shape = Callable[[Input], Hashable]
"""Requests of equal shape can be scored as one batch."""


def shape_of(signature: Signature) -> Shape | None:
    """Tells which requests a model can score together; None when it takes them one by one only.

    Rows of a table all fit together. Tensors do when their extents beside the batch are equal; a model with an input
    or an output that has no batch takes no two. One that takes parameters is told them once for a batch.
    """
    fields = (*signature.inputs, *signature.outputs)
    if not all(isinstance(f, Column) or f.shape[:1] == (-1,) for f in fields):
        return None
    if signature.kind == "table":
        return key_of if signature.params else lambda _: None
    if signature.params:
        return lambda given: (key_of(given), _extents(given))
    return _extents


def _extents(given: Input) -> Hashable:
    return tuple(array.shape[1:] for array in given.batch.values())


@dataclass(frozen=True)
class Terms:
    """How requests may wait.

    Attributes:
        batching: Bounds on a batch and on the queue.
        wait_s: A score is wanted so long after arrival: gathering leaves the model time for that.
        expire_s: So long after arrival a score is of use to nobody: what still waits then is dropped.
    """

    batching: Batching = field(default_factory=Batching)
    wait_s: float = math.inf
    expire_s: float = math.inf


class Lane:
    """One daemon thread that scores what waits, oldest first.

    Args:
        name: Of the thread.
        terms: How requests may wait.
        shape: Which requests may share a batch; None when no two may.
        work: Scores a batch; called on the thread.
        drop: Told on the thread of what expired.

    Attributes:
        rows: How many wait.
        busy_since: When the call began that runs now, in monotonic seconds; 0 when none does.
        usual_s: What a call takes, smoothed.
    """

    def __init__(
        self,
        name: str,
        terms: Terms,
        *,
        shape: Shape | None,
        work: Callable[[Sequence[Job]], None],
        drop: Callable[[Sequence[Job]], None],
    ) -> None:
        self._terms, self._batching, self._shape = terms, terms.batching, shape
        self._work, self._drop = work, drop
        self._changed = threading.Condition(threading.Lock())
        self._waiting: OrderedDict[Ticket, int] = OrderedDict()
        self._held: Sequence[Job] = ()
        self._wakes_at = 1
        self._closing = self._left = False
        self.rows = 0
        self.busy_since = self.usual_s = 0.0
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the thread has not ended."""
        return self._thread.is_alive()

    @property
    def requests(self) -> int:
        """How many wait."""
        return len(self._waiting)

    @property
    def backlog_s(self) -> float:
        """How long the model may need for what waits, and for what it scores now."""
        return (self.rows / self._batching.max_batch_rows + 1) * self.usual_s

    def room(self, rows: int) -> bool:
        """Whether so many rows more may wait; one request always may, however large."""
        return not self.rows or self.rows + rows <= self._batching.max_queue_rows

    def put(self, ticket: Ticket, slot: int) -> bool:
        """Let a request wait; False when there is no room."""
        rows = ticket.input.count
        with self._changed:
            if not self.room(rows):
                return False
            self._waiting[ticket] = slot
            self.rows += rows
            if self.rows >= self._wakes_at:
                self._changed.notify()
        return True

    def cancel(self, ticket: Ticket) -> bool:
        """Take a request back; False when it does not wait here: it is being scored, or was."""
        with self._changed:
            if self._waiting.pop(ticket, None) is None:
                return False
            self.rows -= ticket.input.count
        return True

    def close(self) -> None:
        """End the thread after what waits."""
        with self._changed:
            self._closing = True
            self._changed.notify()

    def abandon(self) -> list[Job]:
        """Leave the thread to itself; return the jobs it will not finish."""
        with self._changed:
            jobs = [*self._held, *self._waiting.items()]
            self._waiting.clear()
            self.rows = 0
            self._left = self._closing = True
            self._changed.notify()
        return jobs

    def _run(self) -> None:
        while self._turn():
            pass

    def _turn(self) -> bool:
        """Wait for a batch and score it; False at the end."""
        batch, expired = self._take()
        if expired:
            self._drop(expired)
        if batch:
            self._work(batch)
            self._held = ()
            taken = time.monotonic() - self.busy_since
            self.usual_s += (_SMOOTHING if self.usual_s else 1.0) * (taken - self.usual_s)
            self.busy_since = 0.0
        return bool(batch or expired) and not self._left

    def _take(self) -> tuple[Sequence[Job], Sequence[Job]]:
        """Wait for a batch; return it and what expired before it, nothing of both at the end."""
        batch: Sequence[Job] = ()
        expired: Sequence[Job] = ()
        with self._changed:
            while not batch and not expired:
                while not self._waiting:
                    if self._closing:
                        return (), ()
                    self._changed.wait()
                self._gather()
                expired, batch = self._expired(), self._batch()
            if batch:
                self._held, self.busy_since = batch, time.monotonic()
            return batch, expired

    def _gather(self) -> None:
        """Let the batch fill, for as long as its first request can afford."""
        most, wait_s = self._batching.max_batch_rows, self._batching.max_wait_s
        if not wait_s:
            return
        first = next(iter(self._waiting))
        until = first.started + min(wait_s, self._terms.wait_s - self.usual_s)
        self._wakes_at = most
        while self.rows < most and not self._closing and (left_s := until - time.monotonic()) > 0:
            self._changed.wait(left_s)
        self._wakes_at = 1

    def _expired(self) -> Sequence[Job]:
        found: list[Job] = []
        oldest = time.monotonic() - self._terms.expire_s
        while self._waiting and next(iter(self._waiting)).started < oldest:
            found.append(self._waiting.popitem(last=False))
        self.rows -= sum(ticket.input.count for ticket, _ in found)
        return found

    def _batch(self) -> Sequence[Job]:
        """The oldest request, and those behind it that have its shape, until one exceeds the bound on rows."""
        jobs: list[Job] = []
        rows, kind = 0, None
        for ticket, slot in self._waiting.items():
            shape = self._shape(ticket.input) if self._shape is not None else ticket
            if jobs and shape != kind:
                continue
            if jobs and rows + ticket.input.count > self._batching.max_batch_rows:
                break
            jobs.append((ticket, slot))
            rows, kind = rows + ticket.input.count, shape
            if rows >= self._batching.max_batch_rows or self._shape is None:
                break
        for ticket, _ in jobs:
            del self._waiting[ticket]
        self.rows -= rows
        return jobs
