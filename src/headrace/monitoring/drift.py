"""How far two counts in the same bins lie apart.

All three measures come from counts alone, so that windows can be added up over time, partitions and engines first.

- PSI, the population stability index: ``sum((q - p) * ln(q / p))`` over the bins, with ``p`` the shares in training and
  ``q`` those in the window (Siddiqi, Credit Risk Scorecards, 2006). A share below ``FLOOR`` is taken as ``FLOOR``, so
  that an empty bin counts for much but not for infinitely much. Above 0.25 the population has shifted, by convention.
- L-infinity: the greatest difference of two shares (Breck et al., Data Validation for Machine Learning, 2019).
- Jensen-Shannon divergence to base 2, from 0 (equal) to 1 (disjoint) (Lin 1991).

Between two samples of one population, PSI divided by ``1 / n + 1 / m`` is about chi-square with one degree of freedom
less than there are bins (Yurdakul and Naranjo 2020). An alarm needs a PSI above the threshold and above what chance
gives in 999 of 1000 such pairs: small windows do not cry wolf.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

PSI_ALARM = 0.25
FLOOR = 1e-4
_NORMAL_999 = 3.0902323061678132
"""The 99.9 % quantile of the standard normal distribution."""


@dataclass(frozen=True)
class Distance:
    """Two counts compared.

    Attributes:
        psi: Population stability index; 0 for equal shares, without upper bound.
        l_infinity: Greatest difference of a bin's share, 0 to 1.
        jensen_shannon: Divergence to base 2, 0 to 1.
        chance: The PSI that equal populations exceed once in a thousand times, at these sizes.
        alarm: Whether the PSI is above both the threshold and chance.
    """

    psi: float
    l_infinity: float
    jensen_shannon: float
    chance: float
    alarm: bool

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values, rounded to what carries meaning."""
        return {k: v if isinstance(v, bool) else round(v, 6) for k, v in asdict(self).items()}


def compare(training: ArrayLike, window: ArrayLike, *, threshold: float = PSI_ALARM) -> Distance:
    """All measures of the counts of a window against those in training, bin by bin."""
    p, q = np.asarray(training, dtype=np.float64), np.asarray(window, dtype=np.float64)
    distance, chance = psi(p, q), _chance(p, q)
    return Distance(
        psi=distance,
        l_infinity=l_infinity(p, q),
        jensen_shannon=jensen_shannon(p, q),
        chance=chance,
        alarm=distance > max(threshold, chance),
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


def _shares(training: ArrayLike, window: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    p, q = np.asarray(training, dtype=np.float64), np.asarray(window, dtype=np.float64)
    if p.shape != q.shape:
        raise ValueError(f"counts in {p.size} and {q.size} bins cannot be compared")
    return (p / p.sum(), q / q.sum()) if p.sum() and q.sum() else None


def _divergence(p: NDArray[np.float64], q: NDArray[np.float64]) -> float:
    """Kullback-Leibler, base 2; ``q`` is positive wherever ``p`` is."""
    there = p > 0
    return float((p[there] * np.log2(p[there] / q[there])).sum())


def _chance(p: NDArray[np.float64], q: NDArray[np.float64]) -> float:
    used = int(((p > 0) | (q > 0)).sum())
    return _chi_square_999(used - 1) * (1 / p.sum() + 1 / q.sum()) if used > 1 and p.sum() and q.sum() else 0.0


def _chi_square_999(degrees: int) -> float:
    """The 99.9 % quantile, within 1 % (Wilson and Hilferty 1931)."""
    spread = 2 / (9 * degrees)
    return float(degrees * (1 - spread + _NORMAL_999 * spread**0.5) ** 3)
