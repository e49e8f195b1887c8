"""Latency of a candidate beside the champion: interleaved, uncached, on the same rows."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Scorer = Callable[[Any], Any]


@dataclass(frozen=True)
class Latency:
    """Time of one call, one row each, of two models measured in turns.

    Attributes:
        calls: Calls of each.
        candidate_p50_s: Median of the candidate, in seconds.
        candidate_p99_s: Its 99th percentile.
        champion_p50_s: Median of the champion.
        champion_p99_s: Its 99th percentile.
    """

    calls: int
    candidate_p50_s: float
    candidate_p99_s: float
    champion_p50_s: float
    champion_p99_s: float

    @property
    def p50_ratio(self) -> float:
        """Candidate over champion at the median."""
        return self.candidate_p50_s / self.champion_p50_s

    @property
    def p99_ratio(self) -> float:
        """Candidate over champion at the 99th percentile."""
        return self.candidate_p99_s / self.champion_p99_s


def side_by_side(candidate: Scorer, champion: Scorer, batches: Sequence[Any], *, calls: int = 400) -> Latency:
    """Time both models on the same batches, taking turns so that load on the machine meets both alike.

    Args:
        candidate: Scores one batch.
        champion: Scores one batch.
        batches: Inputs, used in turn; at least one.
        calls: Timed calls of each model, after a tenth as many to warm up.
    """
    warm = max(1, calls // 10)
    seconds = np.empty((2, calls))
    for number in range(-warm, calls):
        batch = batches[number % len(batches)]
        # Who goes first alternates too: the second call of a pair finds the batch in the processor's cache.
        pair = (0, 1) if number % 2 else (1, 0)
        for who in pair:
            begin = time.perf_counter()
            (candidate, champion)[who](batch)
            if number >= 0:
                seconds[who, number] = time.perf_counter() - begin
    p50, p99 = np.quantile(seconds, [0.5, 0.99], axis=1)
    return Latency(calls, float(p50[0]), float(p99[0]), float(p50[1]), float(p99[1]))
