"""Evidence that something happens more often than a limit, weighed while it comes in: it may be looked at all the time.

A likelihood ratio against the limit is a bet that is fair, or worse, as long as the limit is kept. So is a mixture of
such bets over how much more often it might happen (Robbins, "Statistical Methods Related to the Law of the Iterated
Logarithm", 1970) and over when that may have begun (Shin, Ramdas and Rinaldo, "E-detectors", 2023): whoever bets one
unit has, by Ville's inequality, ever 1 / alpha of them with probability alpha at most, however often one looks.
"""

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

_FARTHER = 0.0625 * 2.0 ** np.arange(9)
"""Log-odds by which it may be likelier than the limit: from hardly to always."""


def over(events: int, trials: int, limit: float, alpha: float) -> bool:
    """Whether something surely happens more often than allowed, of all that was counted; its order does not matter.

    Args:
        events: How often it happened.
        trials: How often it might have.
        limit: The probability that is allowed.
        alpha: With what probability at most this is ever said, at whatever number of trials, while the limit is kept.
    """
    if limit >= 1 or not events:
        return False
    return limit <= 0 or _together(_won(events, trials, limit) - math.log(len(_FARTHER)), alpha)


class Evidence:
    """What one has of one unit who bets a part of it at each look, so that what begins late is found as well.

    The first look has a half, the one numbered n a part 1 / (n (n + 1)).
    """

    def __init__(self) -> None:
        self._has = np.full(len(_FARTHER), -np.inf)
        self._looks = 0

    def add(self, events: int, trials: int, limit: float) -> None:
        """Weigh what happened since the last look.

        Args:
            events: How often it happened.
            trials: How often it might have.
            limit: The probability that is allowed.
        """
        self._looks += 1
        if limit >= 1:
            return
        if limit <= 0:
            self._has[:] = np.inf if events else self._has
            return
        bet = -math.log(self._looks * (self._looks + 1) * len(_FARTHER))
        self._has = np.logaddexp(self._has, bet) + _won(events, trials, limit)

    def sure(self, alpha: float) -> bool:
        """Whether it surely happens more often than allowed; ever wrong with probability ``alpha`` at most."""
        return _together(self._has, alpha)


def _won(events: int, trials: int, limit: float) -> NDArray[np.float64]:
    """Logarithms of the likelihood ratios: [log-odds]."""
    hit, miss = _ratios(limit)
    return hit * events + miss * (trials - events)


@lru_cache
def _ratios(limit: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of one event, and of one that did not happen."""
    odds = math.log(limit / (1 - limit)) + _FARTHER
    return -np.logaddexp(0, -odds) - math.log(limit), -np.logaddexp(0, odds) - math.log1p(-limit)


def _together(logarithms: NDArray[np.float64], alpha: float) -> bool:
    return bool(np.logaddexp.reduce(logarithms) >= -math.log(alpha))
