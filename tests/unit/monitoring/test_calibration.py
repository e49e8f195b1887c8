"""Means of answers and labels, and when their gap matters."""

import json

import numpy as np
import pytest

from headrace.monitoring.calibration import Calibration


def filled(predicted, actual):
    sums = Calibration()
    for p, y in zip(predicted, actual, strict=True):
        sums.add(p, y)
    return sums


def test_means_and_error_are_those_of_the_rows():
    rng = np.random.default_rng(0)
    predicted, actual = rng.uniform(size=500), rng.integers(0, 2, 500).astype(float)
    sums = filled(predicted, actual)
    assert sums.predicted == pytest.approx(predicted.mean())
    assert sums.actual == pytest.approx(actual.mean())
    assert sums.error == pytest.approx((actual - predicted).std() / 500**0.5)


@pytest.mark.parametrize(("share", "alarm"), [(0.25, False), (0.27, False), (0.35, True), (0.12, True)])
def test_a_gap_alarms_when_it_matters(share, alarm):
    actual = [1.0] * round(2000 * share) + [0.0] * round(2000 * (1 - share))
    assert filled([0.25] * 2000, actual).alarm is alarm


def test_few_rows_do_not_alarm():
    assert not filled([0.25] * 4, [1.0, 1.0, 0.0, 0.0]).alarm


def test_without_labels_there_are_no_means():
    sums = filled([0.2, 0.4], [None, None])
    assert json.loads(json.dumps(sums.to_json(), allow_nan=False)) == {
        "rows": 0,
        "waiting": 2,
        "defaults": 0,
        "alarm": False,
    }
