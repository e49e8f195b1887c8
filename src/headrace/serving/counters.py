"""Plain numbers about what was served; the gateway renders them for Prometheus."""

import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from headrace.serving.outcome import DROPPED, Outcome
from headrace.serving.records import DEFAULT

BOUNDS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.075, 0.1, 0.25, 0.5, 1.0, 5.0)
"""Upper bounds of the latency buckets, in seconds; a last one is open."""


class Histogram:
    """Counts of seconds by bucket.

    Attributes:
        counts: One per bound of ``BOUNDS_S``, and one above; not cumulative.
        total_s: Sum of what was counted.
    """

    __slots__ = ("counts", "total_s")

    def __init__(self) -> None:
        self.counts: list[int] = [0] * (len(BOUNDS_S) + 1)
        self.total_s = 0.0

    def add(self, seconds: float) -> None:
        """Count one."""
        self.counts[bisect_left(BOUNDS_S, seconds)] += 1
        self.total_s += seconds

    def cumulative(self) -> Sequence[int]:
        """Counts at or below each bound, then all: as Prometheus wants them."""
        total, found = 0, []
        for count in self.counts:
            total += count
            found.append(total)
        return found


@dataclass(slots=True)
class ScorerCounters:
    """How one model version did.

    Attributes:
        scored: Requests scored before their reply.
        late: Requests scored after it.
        failed: Requests without a score.
        dropped: Those among them that the model has not seen, by reason.
        won: Requests that it answered.
        rows: In what was scored.
        seconds: From arrival to score.
    """

    scored: int = 0
    late: int = 0
    failed: int = 0
    dropped: dict[str, int] = field(default_factory=lambda: dict.fromkeys(DROPPED.values(), 0))
    won: int = 0
    rows: int = 0
    seconds: Histogram = field(default_factory=Histogram)

    def took(self, outcome: Outcome, elapsed_s: float, *, late: bool, rows: int) -> None:
        """Count one outcome."""
        if outcome.error:
            self.failed += 1
            if outcome.error in DROPPED:
                self.dropped[DROPPED[outcome.error]] += 1
            return
        if late:
            self.late += 1
        else:
            self.scored += 1
        self.rows += rows
        self.seconds.add(elapsed_s)


@dataclass(slots=True)
class EndpointCounters:
    """How an endpoint did.

    Attributes:
        requests: Answered.
        rows: In them.
        defaults: Answered by the default.
        refused: Requests that did not fit the signature.
        overloaded: Requests refused because too many rows waited.
        cancelled: Requests whose caller went before there was an answer.
        past_deadline: Answered more than 10 ms after the deadline.
        last_ms: Unix milliseconds of the last reply; 0 before the first.
        limit_s: The deadline and those 10 ms.
        seconds: From arrival to reply.
        scorers: By model version.
    """

    requests: int = 0
    rows: int = 0
    defaults: int = 0
    refused: int = 0
    overloaded: int = 0
    cancelled: int = 0
    past_deadline: int = 0
    last_ms: int = 0
    limit_s: float = 0.0
    seconds: Histogram = field(default_factory=Histogram)
    scorers: dict[str, ScorerCounters] = field(default_factory=lambda: defaultdict(ScorerCounters))

    def answered(self, winner: str, elapsed_s: float, *, rows: int) -> None:
        """Count one reply."""
        self.requests += 1
        self.last_ms = time.time_ns() // 1_000_000
        self.rows += rows
        self.seconds.add(elapsed_s)
        if elapsed_s > self.limit_s:
            self.past_deadline += 1
        if winner == DEFAULT:
            self.defaults += 1
        else:
            self.scorers[winner].won += 1
