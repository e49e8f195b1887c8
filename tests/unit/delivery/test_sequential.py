import math
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.delivery.sequential import BURN_IN, Arm, judged, sample_size, skewed
from headrace.errors import UsageError

EXPERIMENTS = 1000
EVERY = 50


def arms(outcomes):
    """The arm after every ``EVERY`` outcomes."""
    looks = slice(EVERY - 1, None, EVERY)
    totals, squares = np.cumsum(outcomes)[looks], np.cumsum(np.square(outcomes))[looks]
    return [Arm((i + 1) * EVERY, float(t), float(s)) for i, (t, s) in enumerate(zip(totals, squares, strict=True))]


def stops(rng, draw, lift, most):
    """At which look the experiment says something, or None."""
    control, treatment = arms(draw(rng, most)), arms(draw(rng, most) + lift)
    for look, pair in enumerate(zip(control, treatment, strict=True)):
        if judged(*pair).says != "open":
            return look
    return None


def shares(rng, most):
    return (rng.random(most) < 0.22).astype(float)


def amounts(rng, most):
    return rng.exponential(30.0, most)


@pytest.mark.slow
@pytest.mark.parametrize("draw", [shares, amounts])
def test_two_equal_arms_are_told_apart_in_one_of_twenty_experiments_at_most(draw, figure):
    """A look after every 50 outcomes, 200 looks; ``rendezvous.ab_false_alarms``."""
    rng = np.random.default_rng(11)
    most = 50_000 if os.environ.get("HEADRACE_SOAK") else 10_000
    alarms = sum(stops(rng, draw, 0.0, most) is not None for _ in range(EXPERIMENTS)) / EXPERIMENTS
    figure("rendezvous.ab_false_alarms", alarms)
    assert alarms <= 0.05


def test_a_fixed_horizon_test_looked_at_as_often_would_be_wrong_far_oftener():
    """Why the simple interval is not good enough: without the mechanism the test above fails."""
    rng = np.random.default_rng(11)
    wrong = 0
    for _ in range(200):
        pairs = zip(arms(shares(rng, 10_000)), arms(shares(rng, 10_000)), strict=True)
        found = [(t.mean - c.mean) / math.sqrt((c.variance + t.variance) / c.count) for c, t in pairs if c.count >= 200]
        wrong += any(abs(z) > 1.96 for z in found)
    assert wrong / 200 > 0.2


def test_the_sample_size_finds_the_lift_as_often_as_it_says():
    rng = np.random.default_rng(5)
    needed = sample_size(3.0, 30.0, power=0.8)
    found = [stops(rng, amounts, 3.0, math.ceil(needed / EVERY) * EVERY) for _ in range(200)]
    assert sum(look is not None for look in found) / 200 >= 0.75
    assert sum(look is not None and look * EVERY < needed / 4 for look in found) / 200 < 0.5


def test_counts_that_fit_their_shares_are_hardly_ever_called_skewed_and_others_soon():
    """After every 50 outcomes of 10,000; the bound is five standard deviations above one in a thousand."""
    rng, due = np.random.default_rng(3), [0.5, 0.45, 0.05]

    def looks(drawn):
        counts = rng.multinomial(EVERY, drawn, 10_000 // EVERY).cumsum(axis=0).tolist()
        return next((look for look, at in enumerate(counts) if skewed(at, due)), None)

    sound = [looks(due) for _ in range(1000)]
    assert sum(look is not None for look in sound) <= 6
    lossy = np.array([0.5, 0.45 * 0.8, 0.05])
    found = [looks(lossy / lossy.sum()) for _ in range(50)]
    assert all(look is not None for look in found)
    assert np.median(found) * EVERY < 4000


@pytest.mark.parametrize(
    ("counts", "due", "said"),
    [
        ([0, 0], [0.5, 0.5], False),
        ([100, 0], [1.0, 0.0], False),
        ([0, 60], [0.5, 0.5], True),
        ([9, 1], [0.5, 0.5], False),
    ],
)
def test_few_counts_and_shares_of_nothing_are_no_skew(counts, due, said):
    assert skewed(counts, due) is said


def test_the_direction_is_told_in_terms_of_what_is_wanted():
    low, high = Arm(5000, 1000.0, 1000.0), Arm(5000, 1400.0, 1400.0)
    assert judged(low, high).says == "better"
    assert judged(low, high, larger_is_better=False).says == "worse"
    assert judged(high, low).says == "worse"
    verdict = judged(low, high)
    assert verdict.lift == pytest.approx(0.08)
    assert 0 < verdict.low < verdict.lift < verdict.high


def test_nothing_is_said_too_early_or_of_outcomes_that_do_not_vary():
    few = Arm(BURN_IN - 1, 0.0, 0.0)
    assert judged(few, Arm(10_000, 9000.0, 9000.0)).says == "open"
    assert judged(Arm(1000, 0.0, 0.0), Arm(1000, 0.0, 0.0)).says == "open"
    assert judged(Arm(), Arm()).says == "open"


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=50), st.integers(1, 49))
def test_arms_add(outcomes, cut):
    def arm(values):
        return Arm(len(values), float(np.sum(values)), float(np.sum(np.square(values))))

    whole, parts = arm(outcomes), arm(outcomes[:cut]) + arm(outcomes[cut:])
    assert parts.count == whole.count
    assert parts.mean == pytest.approx(whole.mean, abs=1e-6)
    assert parts.variance == pytest.approx(np.var(outcomes, ddof=1), rel=1e-6, abs=1e-4)


@pytest.mark.parametrize("wrong", [{"lift": 0}, {"deviation": 0}, {"alpha": 1}, {"power": 0}, {"lift": 1e-9}])
def test_what_no_sample_size_follows_from_is_refused(wrong):
    given_ = {"lift": 1.0, "deviation": 1.0, "alpha": 0.05, "power": 0.8} | wrong
    with pytest.raises(UsageError):
        sample_size(given_.pop("lift"), given_.pop("deviation"), **given_)


def test_alpha_is_a_probability():
    with pytest.raises(UsageError):
        judged(Arm(), Arm(), alpha=0)
