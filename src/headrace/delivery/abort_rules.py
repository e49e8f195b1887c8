"""Rules over live numbers as a gateway asks them again and again: does one hold, beyond luck?

A rule over a rate is a bet on counts. One over a percentile is as well: of the times above the 99th percentile there is
one in a hundred, however times are distributed (Howard and Ramdas, "Sequential estimation of quantiles", 2022).
Against the champion, models are compared on the same requests. If the candidate fails at most k times as often, at most
k in 1 + k of all failures are its own; requests that both fail make it fewer only.
"""

import math
from bisect import bisect_left
from collections.abc import Callable
from typing import Protocol

import numpy as np

from headrace.delivery.evidence import Evidence, over
from headrace.delivery.stretch import PARTS, Stretch
from headrace.serving.counters import FINE_S
from headrace.serving.rules import Rule

_BOUNDS_MS = np.array(FINE_S) * 1000

_SPAN = 2000
"""Requests after which times are compared anew as well."""


class AbortRule(Protocol):
    """A rule with what has been seen of it.

    Attributes:
        rule: As written.
    """

    rule: Rule

    def look(self) -> None:
        """Weigh what came since the last look."""
        ...

    def sure(self, alpha: float) -> bool:
        """Whether it holds; with probability ``alpha`` at most this is ever said of one that does not."""
        ...


def asked(rule: Rule, own: Stretch, champion: Stretch) -> AbortRule:
    """A rule that is to be asked of a candidate beside its champion from now on."""
    return TimeRule(rule, own, champion) if rule.name in PARTS else RateRule(rule, own, champion)


class RateRule:
    """A rule over how often something happens: ``error_rate > 1%``."""

    def __init__(self, rule: Rule, own: Stretch, champion: Stretch) -> None:
        self.rule = rule
        self._own, self._champion = own, champion
        self._evidence = Evidence()
        self._seen = (0, 0)

    def look(self) -> None:
        """Weigh what came since the last look."""
        events, trials, limit = self._among_both() if self.rule.of_champion else self._alone()
        fresh, more = events - self._seen[0], trials - self._seen[1]
        if more <= 0:
            return
        self._seen = events, trials
        if self.rule.upward:
            self._evidence.add(fresh, more, limit)
        else:
            self._evidence.add(more - fresh, more, 1 - limit)

    def sure(self, alpha: float) -> bool:
        """Whether it holds, wrong with probability ``alpha`` at most."""
        return self._evidence.sure(alpha)

    def _alone(self) -> tuple[int, int, float]:
        return *self._own.counts(self.rule.name), self.rule.limit

    def _among_both(self) -> tuple[int, int, float]:
        """The candidate's among those of both.

        One of them may be behind with the requests that it has got: that is never taken to speak for the rule.
        """
        (own, met), (other, beside) = self._own.counts(self.rule.name), self._champion.counts(self.rule.name)
        if not beside:
            return 0, 0, 1.0
        ahead = max(1.0, met / beside) if self.rule.upward else min(1.0, met / beside)
        times = self.rule.limit * ahead
        return own, own + other, times / (1 + times)


class TimeRule:
    """A rule over a percentile of times: ``p99_ms > 1.2x champion``.

    Both models are slow while the machine is. So they are compared over the same spans alone, in which the order of
    times does not matter: the whole, and shorter ones for what begins late.
    """

    def __init__(self, rule: Rule, own: Stretch, champion: Stretch) -> None:
        self.rule = rule
        self._own, self._champion = own, champion
        self._spans = [_Span(rule, own, champion)]
        self._begun, self._met = 1, 0

    def look(self) -> None:
        """Begin another span, when it is time."""
        met = self._own.met()
        if met - self._met >= _SPAN:
            self._met, self._begun = met, self._begun + 1
            fresh = _Span(self.rule, self._own, self._champion, number=self._begun)
            self._spans = [self._spans[0], *self._spans[1:][-1:], fresh]

    def sure(self, alpha: float) -> bool:
        """Whether it holds, wrong with probability ``alpha`` at most."""
        return any(span.sure(alpha) for span in self._spans)


class _Span:
    """A rule over times since now.

    Looked at for every bound of the times' buckets: whether the candidate's percentile is surely above it, and whether
    the champion's is surely not.

    Args:
        rule: What is asked.
        own: The candidate's times.
        champion: Those of what it would replace.
        number: From 1; the spans share the probability of being wrong, the first has half of it.
    """

    def __init__(self, rule: Rule, own: Stretch, champion: Stretch, number: int = 1) -> None:
        self._rule, self._part = rule, 1 / (number * (number + 1))
        self._own = _Percentile(PARTS[rule.name], own, above=rule.upward)
        self._champion = _Percentile(PARTS[rule.name], champion, above=not rule.upward) if rule.of_champion else None

    def sure(self, alpha: float) -> bool:
        limit, alpha = self._rule.limit, alpha * self._part
        if self._champion is not None:
            alpha /= 2
            limit *= self._champion.end(alpha)
        own = self._own.end(alpha)
        return own >= limit if self._rule.upward else own <= limit


class _Percentile:
    """On which side of each bound a percentile surely is.

    Args:
        part: Which: 0.99.
        of: Whose times, from now on.
        above: Whether to find what it is surely above, or what it is surely not above.
    """

    def __init__(self, part: float, of: Stretch, *, above: bool) -> None:
        self._of, self._above = of, above
        self._limit = 1 - part if above else part
        self._before = np.array(of.times.counts)

    def end(self, alpha: float) -> float:
        """The last bound that it is surely above, or the first that it is not; milliseconds, NaN for none."""
        below = np.cumsum(np.array(self._of.times.counts) - self._before)
        trials = int(below[-1])
        if self._above:  # fewer and fewer times lie above the bounds
            at = _first(lambda n: not over(trials - int(below[n]), trials, self._limit, alpha))
            return float(_BOUNDS_MS[at - 1]) if at else math.nan
        at = _first(lambda n: over(int(below[n]), trials, self._limit, alpha))
        return float(_BOUNDS_MS[at]) if at < len(_BOUNDS_MS) else math.nan


def _first(holds: Callable[[int], bool]) -> int:
    """The first bound for which it holds, as for all after it; their number for none."""
    return bisect_left(range(len(_BOUNDS_MS)), 1, key=lambda n: int(holds(n)))
