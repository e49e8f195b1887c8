"""Measures of drift: known values, invariants, and no alarm from chance."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import chi2_contingency

from headrace.monitoring.drift import EXPECTED, FLOOR, compare, homogeneity, jensen_shannon, l_infinity, pooled, psi

counts = st.lists(st.integers(0, 1000), min_size=2, max_size=12)
pairs = st.integers(2, 12).flatmap(lambda n: st.tuples(*[st.lists(st.integers(0, 1000), min_size=n, max_size=n)] * 2))


def test_values_worked_out_by_hand():
    training, window = [50, 50], [80, 20]
    assert psi(training, window) == pytest.approx(0.3 * math.log(0.8 / 0.5) - 0.3 * math.log(0.2 / 0.5))
    assert l_infinity(training, window) == pytest.approx(0.3)
    assert jensen_shannon([1, 0], [0, 1]) == pytest.approx(1.0)
    assert psi([1, 0], [0, 1]) == pytest.approx(2 * (1 - FLOOR) * math.log(1 / FLOOR))


@given(pairs)
def test_invariants(pair):
    a, b = pair
    for measure in (psi, l_infinity, jensen_shannon):
        assert measure(a, b) >= 0
        assert measure(a, b) == pytest.approx(measure(b, a))
        assert measure(a, a) == pytest.approx(0, abs=1e-12)
        assert measure(a, b) == pytest.approx(measure([3 * n for n in a], b))
    assert l_infinity(a, b) <= 1
    assert jensen_shannon(a, b) <= 1 + 1e-9


@given(counts)
def test_an_empty_window_says_nothing(some):
    distance = compare(some, [0] * len(some))
    assert (distance.psi, distance.alarm) == (0.0, False)


@pytest.mark.parametrize("rows", [20, 60, 200, 2000])
def test_resamples_of_one_population_do_not_alarm(rows):
    rng = np.random.default_rng(5)
    shares = np.array([0.02, 0.08, 0.1, 0.15, 0.15, 0.2, 0.2, 0.1])
    training = rng.multinomial(5000, shares)
    alarms = sum(compare(training, rng.multinomial(rows, shares), min_rows=0).alarm for _ in range(1000))
    assert alarms <= 10


def test_a_real_shift_alarms_even_in_a_small_window():
    training = [100] * 10
    shifted = [0] * 7 + [20, 20, 20]
    assert compare(training, shifted, min_rows=60).alarm
    assert not compare(training, shifted, min_rows=61).alarm
    assert not compare(training, [12, 9, 11, 8, 10, 10, 10, 9, 11, 10]).alarm


def test_different_bins_are_refused():
    with pytest.raises(ValueError, match="2 and 3 bins"):
        psi([1, 2], [1, 2, 3])


@given(pairs)
def test_chance_is_pearsons(pair):
    table = np.array(pooled(*pair))
    assume(table.shape[1] > 1 and all(table.sum(axis=1) > 0))
    due = chi2_contingency(table, correction=False)[1]
    assert homogeneity(*pair) == pytest.approx(due, abs=0.06 if due > 0.01 else 0.0006)


def test_a_few_equal_requests_do_not_alarm():
    assert compare([100] * 10, [5] + [0] * 9).chance == 1
    assert compare([100] * 10, [60] + [0] * 9).chance < 0.001
    assert not compare([100] * 10, [60] + [0] * 9).alarm


@given(pairs)
def test_rare_bins_are_pooled_and_no_row_is_lost(pair):
    found = np.array(pooled(*pair))
    assert found.sum(axis=1).tolist() == np.sum(pair, axis=1).tolist()
    if all(found.sum(axis=1)) and found.shape[1] > 1:
        due = found.sum(axis=0) * found.sum(axis=1).min() / found.sum()
        assert due.min() >= EXPECTED - 1e-9


@pytest.mark.parametrize(("training", "rows"), [(20_000, 200), (20_000, 400), (2000, 250)])
def test_many_rare_categories_do_not_alarm_by_chance(training, rows):
    shares = 1 / np.arange(1, 52) ** 2
    shares /= shares.sum()
    rng = np.random.default_rng(11)
    pairs = [(rng.multinomial(training, shares), rng.multinomial(rows, shares)) for _ in range(1000)]
    assert sum(homogeneity(*pair) < 0.001 for pair in pairs) <= 5  # unpooled: tens


def test_a_category_that_training_never_had_still_alarms():
    training, window = [600, 300, *[5] * 20, 0], [100, 50, *[1] * 20, 40]
    assert compare(training, window).alarm
