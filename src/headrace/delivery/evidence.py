"""Evidence that something happens more often than a limit, weighed while it comes in: it may be looked at all the time.

A likelihood ratio against the limit is a bet that is fair, or worse, as long as the limit is kept. So is a mixture of
such bets over how much more often it might happen (Robbins, "Statistical Methods Related to the Law of the Iterated
Logarithm", 1970) and over when that may have begun (Shin, Ramdas and Rinaldo, "E-detectors", 2023): whoever bets one
unit has, by Ville's inequality, ever 1 / alpha of them with probability alpha at most, however often one looks.
"""

import math

import numpy as np
from numpy.typing import NDArray

_FARTHER = 0.0625 * 2.0 ** np.arange(9)
"""Log-odds by which it may be likelier than the limit: from hardly to always."""


class Evidence:
    """What one has of one unit, for each of several things that are watched side by side.

    A part of the unit is bet at each look, so that what begins late is found as well: the first look has a half, the
    one numbered n a part 1 / (n (n + 1)).

    Args:
        size: How many things.
    """

    def __init__(self, size: int = 1) -> None:
        self._won = np.full((len(_FARTHER), size), -np.inf)
        self._looks = 0

    def add(self, events: NDArray[np.int64], trials: NDArray[np.int64] | int, limit: float) -> None:
        """Weigh what happened since the last look.

        Args:
            events: How often each happened: [things].
            trials: How often it might have.
            limit: The probability that is allowed.
        """
        self._looks += 1
        if limit >= 1:
            return
        bet = -math.log(self._looks * (self._looks + 1) * len(_FARTHER))
        if limit <= 0:
            self._won[:, np.asarray(events) > 0] = np.inf
            return
        odds = math.log(limit / (1 - limit)) + _FARTHER
        hit = -np.logaddexp(0, -odds) - math.log(limit)
        miss = -np.logaddexp(0, odds) - math.log1p(-limit)
        self._won = np.logaddexp(self._won, bet) + np.outer(hit, events) + np.outer(miss, trials - events)

    def sure(self, alpha: float) -> NDArray[np.bool_]:
        """Which of the things are over the limit; ever wrong with probability ``alpha`` at most: [things]."""
        return np.asarray(np.logaddexp.reduce(self._won, axis=0) >= -math.log(alpha))
