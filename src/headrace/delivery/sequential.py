"""Comparing two arms while their outcomes come in: an interval that holds at every look, and the sample a lift needs.

The test is the mixture sequential probability ratio test for a difference of means, with a normal mixture over the
difference: Johari, Koomen, Pekelis and Walsh, "Always Valid Inference: Continuous Monitoring of A/B Tests", Operations
Research 70(3), 2022. Whoever looks after every outcome and stops at the first interval without zero is wrong with
probability ``alpha`` at most when there is no difference; a fixed-horizon test looked at so often is wrong far oftener.
Variances are estimated, so the promise is asymptotic: nothing is judged before ``BURN_IN`` outcomes an arm.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

from headrace.errors import UsageError

BURN_IN = 200
"""Outcomes that each arm needs before anything is said."""

_MIXTURE_SD = 0.1
_SKEWED = 0.001
_PRIOR = 100.0
"""As many counts as the shares' prior weighs: deviations of some hundredths are looked for."""
_MOST = 1 << 40


@dataclass(frozen=True)
class Arm:
    """Outcomes of one side of an experiment, as sums that add over time and machines.

    Attributes:
        count: Outcomes.
        total: Their sum.
        squares: The sum of their squares.
    """

    count: int = 0
    total: float = 0.0
    squares: float = 0.0

    def __add__(self, other: "Arm") -> "Arm":
        """Both together."""
        return Arm(self.count + other.count, self.total + other.total, self.squares + other.squares)

    @property
    def mean(self) -> float:
        """NaN for no outcomes."""
        return self.total / self.count if self.count else math.nan

    @property
    def variance(self) -> float:
        """Of one outcome (with ``count`` - 1); NaN for fewer than two outcomes."""
        if self.count < 2:  # noqa: PLR2004 - one outcome varies not
            return math.nan
        return max(0.0, (self.squares - self.total * self.mean) / (self.count - 1))


@dataclass(frozen=True)
class Verdict:
    """What an experiment says so far.

    Attributes:
        lift: Mean of the treatment less mean of the control.
        low: Lower end of the interval that holds at every look; minus infinity while it is too early.
        high: Its upper end.
        says: ``better`` or ``worse`` once the interval leaves zero out, ``open`` before; stop at the first of them.
    """

    lift: float
    low: float
    high: float
    says: Literal["better", "worse", "open"]


def judged(control: Arm, treatment: Arm, *, alpha: float = 0.05, larger_is_better: bool = True) -> Verdict:
    """The lift of the treatment over the control with its always valid interval.

    Args:
        control: What serves now.
        treatment: What might.
        alpha: Largest probability of ever saying that two equal arms differ, between 0 and 1.
        larger_is_better: False where outcomes are errors or costs.

    Raises:
        UsageError: ``alpha`` is no probability.
    """
    if not 0 < alpha < 1:
        raise UsageError(f"alpha is {alpha:g}", why="a probability between 0 and 1 is due", fix="alpha=0.05")
    lift = treatment.mean - control.mean
    spread = _variance_of_lift(control, treatment)
    if min(control.count, treatment.count) < BURN_IN or not spread > 0:
        return Verdict(lift, -math.inf, math.inf, "open")
    # The mixture's spread is fixed in standard deviations of one outcome, so it does not depend on what came.
    mixture = _mixture(control, treatment)
    half = _half_width(spread, mixture, alpha)
    low, high = lift - half, lift + half
    if low <= 0 <= high:
        return Verdict(lift, low, high, "open")
    return Verdict(lift, low, high, "better" if (lift > 0) == larger_is_better else "worse")


def sample_size(lift: float, deviation: float, *, alpha: float = 0.05, power: float = 0.8) -> int:
    """Outcomes an arm after which a true lift has been noticed with probability ``power`` at least.

    Args:
        lift: Difference of means, in units of the outcome; its sign does not matter.
        deviation: Standard deviation of one outcome; sqrt(p (1 - p)) for a share p.
        alpha: As for ``judged``.
        power: Between 0 and 1.

    Raises:
        UsageError: The lift is zero, or a value is out of range.
    """
    if not (lift and deviation > 0 and 0 < alpha < 1 and 0 < power < 1):
        raise UsageError(
            "no sample size follows from this",
            why=f"lift {lift:g}, deviation {deviation:g}, alpha {alpha:g}, power {power:g}",
            fix="a lift other than 0, a deviation above 0, probabilities between 0 and 1",
        )
    missed = NormalDist().inv_cdf(power)
    mixture = (_MIXTURE_SD * deviation) ** 2

    def enough(count: int) -> bool:
        spread = 2 * deviation**2 / count
        return abs(lift) >= _half_width(spread, mixture, alpha) + missed * math.sqrt(spread)

    low, high = 1, BURN_IN
    while not enough(high):
        low, high = high, high * 2
        if high > _MOST:
            raise UsageError(f"a lift of {lift:g} is too small to be found", why=f"one outcome varies by {deviation:g}")
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return max(high, BURN_IN)


def skewed(counts: Sequence[int], shares: Sequence[float]) -> bool:
    """Whether what is compared surely did not come as it was drawn, so that no comparison of the arms means anything.

    A test of multinomial counts that holds at every look: a Dirichlet mixture over what the shares may be instead,
    against what they are (Lindon and Malek, "Anytime-Valid Inference for Multinomial Count Data", NeurIPS 2022). Of
    experiments without fault one in a thousand at most is ever called skewed.

    Args:
        counts: Outcomes of each arm.
        shares: What each arm was to get of them; 0 for none.
    """
    arms = [(count, share) for count, share in zip(counts, shares, strict=True) if share > 0]
    total = sum(count for count, _ in arms)
    evidence = math.lgamma(_PRIOR) - math.lgamma(_PRIOR + total)
    for count, share in arms:
        prior = _PRIOR * share
        evidence += math.lgamma(prior + count) - math.lgamma(prior) - count * math.log(share)
    return evidence > -math.log(_SKEWED)


def _variance_of_lift(control: Arm, treatment: Arm) -> float:
    if min(control.count, treatment.count) < 2:  # noqa: PLR2004 - one outcome varies not
        return math.nan
    return control.variance / control.count + treatment.variance / treatment.count


def _mixture(control: Arm, treatment: Arm) -> float:
    return _MIXTURE_SD**2 * (control.variance + treatment.variance) / 2


def _half_width(spread: float, mixture: float, alpha: float) -> float:
    """Half the interval: where the mixture's likelihood ratio reaches 1 / alpha."""
    both = spread + mixture
    return math.sqrt(2 * spread * both / mixture * (math.log(1 / alpha) + 0.5 * math.log(both / spread)))
