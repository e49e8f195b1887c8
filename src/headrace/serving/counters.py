"""Plain numbers about what was served; the gateway renders them for Prometheus."""

import math
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from headrace.serving.calls import Calls
from headrace.serving.outcome import DROPPED, EXPIRED, Outcome
from headrace.serving.records import DEFAULT

BOUNDS_S = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.03),
    *(0.04, 0.05, 0.06, 0.075, 0.1, 0.25, 0.5, 1.0, 5.0),
)
"""Upper bounds of the latency buckets, in seconds; a last one is open."""


FINE_S = tuple(0.000001 * 1.05**n for n in range(368))
"""Bounds 5 % apart, from a microsecond to a minute: fine enough to tell two models' percentiles apart."""


class Histogram:
    """Counts of seconds by bucket.

    Args:
        bounds: Upper bounds of the buckets, in seconds; a last one is open.

    Attributes:
        bounds: The same.
        counts: One per bound, and one above; not cumulative.
        total_s: Sum of what was counted.
    """

    __slots__ = ("bounds", "counts", "total_s")

    def __init__(self, bounds: Sequence[float] = BOUNDS_S) -> None:
        self.bounds = bounds
        self.counts: list[int] = [0] * (len(bounds) + 1)
        self.total_s = 0.0

    def add(self, seconds: float) -> None:
        """Count one."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.total_s += seconds

    def cumulative(self) -> Sequence[int]:
        """Counts at or below each bound, then all: as Prometheus wants them."""
        total, found = 0, []
        for count in self.counts:
            total += count
            found.append(total)
        return found

    def quantile(self, part: float) -> float:
        """The upper bound of the bucket in which a part of what was counted ends; NaN of nothing.

        Args:
            part: Between 0 and 1.
        """
        count, total = sum(self.counts), 0
        due = part * count
        for bound, count in zip(self.bounds, self.counts, strict=False):
            total += count
            if total >= due and total:
                return bound
        return math.inf if total < due else math.nan


@dataclass(slots=True)
class ScorerCounters:
    """How one model version did.

    Attributes:
        scored: Requests scored before their reply.
        late: Requests scored after it.
        past_deadline: Requests of which the model was asked and had no score at the endpoint's deadline.
        failed: Requests without a score.
        failed_s: From arrival until that was known, together.
        dropped: Those among them that the model has not seen, by reason.
        won: Requests that it answered.
        compared: Scores that were held against the answer of another model; a sample.
        agreed: Those among them that say the same.
        seconds: From arrival to score.
        fine: What it is compared with another model by, in finer buckets; None while nobody does. Of a score on the
            event loop, the time of its call alone: models that are called one after the other would pay for each other.
            So for one that left the loop, and none until it was measured anew. Of another, the time from arrival to
            score.
        calls: What its calls cost.
        here: Requests that its workers were to score and the front door did itself.
        behind_s: How long what its workers scored lately had waited for them.
    """

    scored: int = 0
    late: int = 0
    past_deadline: int = 0
    failed: int = 0
    failed_s: float = 0.0
    dropped: dict[str, int] = field(default_factory=lambda: dict.fromkeys(DROPPED.values(), 0))
    won: int = 0
    compared: int = 0
    agreed: int = 0
    seconds: Histogram = field(default_factory=Histogram)
    fine: Histogram | None = None
    calls: Calls = field(default_factory=Calls)
    here: int = 0
    behind_s: float = 0.0

    def took(self, outcome: Outcome, elapsed_s: float) -> None:
        """Count the outcome of one request that was there before its reply."""
        if outcome.error:
            self._failed(outcome.error, elapsed_s)
            return
        self.scored += 1
        self.seconds.add(elapsed_s)

    def took_late(self, outcome: Outcome, elapsed_s: float, deadline_s: float) -> None:
        """Count one that came after it."""
        self.past_deadline += elapsed_s > deadline_s and outcome.error not in DROPPED
        if outcome.error:
            self._failed(outcome.error, elapsed_s)
            return
        self.late += 1
        self.seconds.add(elapsed_s)

    @property
    def missed(self) -> int:
        """Deadlines without its score: it came later, or was dropped for that."""
        return self.past_deadline + self.dropped[DROPPED[EXPIRED]]

    def _failed(self, error: str, elapsed_s: float) -> None:
        self.failed += 1
        self.failed_s += elapsed_s
        if error in DROPPED:
            self.dropped[DROPPED[error]] += 1


@dataclass(slots=True)
class EndpointCounters:
    """How an endpoint did.

    Attributes:
        requests: Answered.
        rows: In them.
        defaults: Answered by the default.
        unanswered: Those among them for which there is no default, so that callers got an error.
        refused: Requests that did not fit the signature.
        overloaded: Requests refused because too many rows waited.
        unjoined: Those among the defaults whose features could not be joined in time.
        unjoined_why: Why the last of them had to do without.
        cancelled: Requests whose caller went before there was an answer.
        past_deadline: Answered more than 10 ms after the deadline.
        missed: Answered so late, or by the default: what counts against the service level.
        last_ns: Unix nanoseconds of the last reply; 0 before the first.
        limit_s: The deadline and those 10 ms.
        seconds: From arrival to reply.
        scorers: By model version.
    """

    requests: int = 0
    rows: int = 0
    defaults: int = 0
    unanswered: int = 0
    refused: int = 0
    overloaded: int = 0
    unjoined: int = 0
    unjoined_why: str = ""
    cancelled: int = 0
    past_deadline: int = 0
    missed: int = 0
    last_ns: int = 0
    limit_s: float = 0.0
    seconds: Histogram = field(default_factory=Histogram)
    scorers: dict[str, ScorerCounters] = field(default_factory=lambda: defaultdict(ScorerCounters))

    def answered(self, winner: str, elapsed_s: float, *, rows: int) -> None:
        """Count one reply."""
        self.requests += 1
        self.last_ns = time.time_ns()
        self.rows += rows
        self.seconds.add(elapsed_s)
        if elapsed_s > self.limit_s:
            self.past_deadline += 1
            self.missed += winner != DEFAULT
        if winner == DEFAULT:
            self.defaults += 1
            self.missed += 1
        else:
            self.scorers[winner].won += 1
