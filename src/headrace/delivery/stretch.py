"""One model's live numbers since a moment: plain counts, of which rules are asked."""

import math
from collections.abc import Mapping

from headrace.serving.counters import FINE_S, EndpointCounters, Histogram, ScorerCounters
from headrace.serving.outcome import CANCELLED, DROPPED, UNJOINED

Numbers = Mapping[str, float]

PARTS = {"p50_ms": 0.5, "p99_ms": 0.99}
"""Which part of the times is below each number about them."""

_BLAMELESS = tuple(DROPPED[error] for error in (UNJOINED, CANCELLED))
"""Reasons for which a request counts neither as scored nor as failed: impatient callers end no canary."""

_TAIL = 500
"""Of fewer requests the 99th percentile is a matter of luck: a few of the machine's hiccups."""


class Stretch:
    """What a model came to since this was made.

    Args:
        of: Its counters; its times are counted in finer buckets until ``end``.
        endpoint: Those of the endpoint that it serves.
    """

    def __init__(self, of: ScorerCounters, endpoint: EndpointCounters) -> None:
        self._of, self._endpoint = of, endpoint
        self._before = of.scored + of.late, self._failed()
        self._asked = self._answered()
        self.times = of.fine = Histogram(FINE_S)

    def met(self) -> int:
        """Requests that it scored or failed."""
        return self.counts("error_rate")[1]

    def counts(self, rate: str) -> tuple[int, int]:
        """How often what a rate is about happened, and how often it might have.

        Args:
            rate: ``error_rate`` or ``default_rate``.
        """
        if rate == "default_rate":
            requests, defaults = self._answered()
            return defaults - self._asked[1], requests - self._asked[0]
        scored, failed = self._of.scored + self._of.late - self._before[0], self._failed() - self._before[1]
        return failed, scored + failed

    def _failed(self) -> int:
        """But for what no model is to blame for: features that could not be joined, and callers who went."""
        return self._of.failed - sum(self._of.dropped[reason] for reason in _BLAMELESS)

    def _answered(self) -> tuple[int, int]:
        """Requests of the endpoint, and how many the default answered; but for the same."""
        unjoined = self._endpoint.unjoined
        return self._endpoint.requests - unjoined, self._endpoint.defaults - unjoined

    def numbers(self) -> Numbers:
        """Those that are known, by name."""
        found = {name: self.times.quantile(part) * 1000 for name, part in PARTS.items()}
        if sum(self.times.counts) < _TAIL:
            found["p99_ms"] = math.nan
        for name in ("error_rate", "default_rate"):
            events, trials = self.counts(name)
            found[name] = events / trials if trials else math.nan
        return {name: value for name, value in found.items() if not math.isnan(value)}

    def end(self) -> None:
        """Count no times any more."""
        if self._of.fine is self.times:
            self._of.fine = None
