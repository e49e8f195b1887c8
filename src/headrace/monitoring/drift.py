"""How far two counts in the same bins lie apart.

All three measures come from counts alone, so that windows can be added up over time, partitions and engines first.

- PSI, the population stability index: ``sum((q - p) * ln(q / p))`` over the bins, with ``p`` the shares in training and
  ``q`` those in the window (Siddiqi, Credit Risk Scorecards, 2006). A share below ``FLOOR`` is taken as ``FLOOR``, so
  that an empty bin counts for much but not for infinitely much. Above 0.25 the population has shifted, by convention.
- L-infinity: the greatest difference of two shares (Breck et al., Data Validation for Machine Learning, 2019).
- Jensen-Shannon divergence to base 2, from 0 (equal) to 1 (disjoint) (Lin 1991).

A PSI of few rows is large by chance. So an alarm also needs Pearson's chi-square test of homogeneity to say that one
population would hardly give both counts; and a window of some size, for a few requests that come together are alike.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from headrace.monitoring.windows import MIN_ROWS

PSI_ALARM = 0.25
FLOOR = 1e-4
CHANCE = 0.001
"""An alarm's greatest probability that both counts are of one population."""
EXPECTED = 5.0
"""Rows that a bin must be due in either count for the chi-square test to hold (Cochran 1954); rarer bins are pooled."""


@dataclass(frozen=True)
class Distance:
    """Two counts compared.

    Attributes:
        psi: Population stability index; 0 for equal shares, without upper bound.
        l_infinity: Greatest difference of a bin's share, 0 to 1.
        jensen_shannon: Divergence to base 2, 0 to 1.
        chance: Probability that one population gives counts at least as different (Pearson).
        alarm: Whether the PSI is above its threshold, not by chance, and of enough rows.
    """

    psi: float
    l_infinity: float
    jensen_shannon: float
    chance: float
    alarm: bool

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values, rounded to what carries meaning."""
        return {k: v if isinstance(v, bool) else round(v, 6) for k, v in asdict(self).items()}


def compare(
    training: ArrayLike, window: ArrayLike, *, threshold: float = PSI_ALARM, min_rows: int = MIN_ROWS
) -> Distance:
    """All measures of the counts of a window against those in training, bin by bin.

    Args:
        training: Counts in training.
        window: Counts in the window, of the same bins.
        threshold: PSI above which to alarm.
        min_rows: Rows below which a window does not alarm.
    """
    p, q = np.asarray(training, dtype=np.float64), np.asarray(window, dtype=np.float64)
    distance, chance = psi(p, q), homogeneity(p, q)
    return Distance(
        psi=distance,
        l_infinity=l_infinity(p, q),
        jensen_shannon=jensen_shannon(p, q),
        chance=chance,
        alarm=distance > threshold and chance < CHANCE and bool(q.sum() >= min_rows),
    )


def psi(training: ArrayLike, window: ArrayLike) -> float:
    """Population stability index of two counts; 0 when either is empty."""
    if (both := _shares(training, window)) is None:
        return 0.0
    p, q = (np.maximum(share, FLOOR) for share in both)
    return float(((q - p) * np.log(q / p)).sum())


def l_infinity(training: ArrayLike, window: ArrayLike) -> float:
    """Greatest difference between the shares of a bin; 0 when either count is empty."""
    both = _shares(training, window)
    return 0.0 if both is None else float(np.abs(both[0] - both[1]).max())


def jensen_shannon(training: ArrayLike, window: ArrayLike) -> float:
    """Jensen-Shannon divergence to base 2; 0 when either count is empty."""
    if (both := _shares(training, window)) is None:
        return 0.0
    p, q = both
    middle = (p + q) / 2
    return max(0.0, (_divergence(p, middle) + _divergence(q, middle)) / 2)


def homogeneity(training: ArrayLike, window: ArrayLike) -> float:
    """Probability that two counts of one population differ at least so much; 1 when either is empty.

    Pearson's two-sample chi-square, rare bins pooled; its tail by Wilson and Hilferty's cube root (1931), right to 0.05
    in the middle and to 0.0006 below 0.01.
    """
    p, q = pooled(training, window)
    degrees = len(p) - 1
    if degrees < 1 or not p.sum() or not q.sum():
        return 1.0
    weight = math.sqrt(q.sum() / p.sum())
    square = float(((weight * p - q / weight) ** 2 / (p + q)).sum())
    spread = 2 / (9 * degrees)
    normal = ((square / degrees) ** (1 / 3) - (1 - spread)) / math.sqrt(spread)
    return math.erfc(normal / math.sqrt(2)) / 2


def pooled(training: ArrayLike, window: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Two counts with the bins put together in which fewer than ``EXPECTED`` rows are due in the smaller count.

    Where those together are due fewer still, the next larger bins go with them.
    """
    p, q = np.asarray(training, dtype=np.float64), np.asarray(window, dtype=np.float64)
    rows = p.sum(), q.sum()
    if not min(rows):
        return p, q
    due = (p + q) * min(rows) / sum(rows)
    order = np.argsort(due)
    if not (rare := int((due < EXPECTED).sum())):
        return p, q
    if due[order[:rare]].sum() < EXPECTED:
        rare = 1 + int(np.searchsorted(np.cumsum(due[order]), EXPECTED))
    together, alone = order[:rare], order[rare:]
    return np.append(p[alone], p[together].sum()), np.append(q[alone], q[together].sum())


def _shares(training: ArrayLike, window: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    p, q = np.asarray(training, dtype=np.float64), np.asarray(window, dtype=np.float64)
    if p.shape != q.shape:
        raise ValueError(f"counts in {p.size} and {q.size} bins cannot be compared")
    return (p / p.sum(), q / q.sum()) if p.sum() and q.sum() else None


def _divergence(p: NDArray[np.float64], q: NDArray[np.float64]) -> float:
    """Kullback-Leibler, base 2; ``q`` is positive wherever ``p`` is."""
    there = p > 0
    return float((p[there] * np.log2(p[there] / q[there])).sum())
