import math

import pytest

from headrace.errors import GateFailed, UsageError
from headrace.evaluation import verdicts
from headrace.evaluation.latency import Latency
from headrace.evaluation.slices import Slice


def test_beating_means_in_the_metrics_own_direction():
    judged = verdicts.beats({"log_loss": 0.4}, {"log_loss": 0.5}, "log_loss")
    assert judged == {"metric": "log_loss", "value": 0.4, "baseline": 0.5}
    assert verdicts.beats({"auc": 0.8}, {"auc": 0.5}, "auc", by=0.2)["by"] == 0.2
    with pytest.raises(GateFailed, match=r"log_loss 0.5 does not beat the baseline's 0.5"):
        verdicts.beats({"log_loss": 0.5}, {"log_loss": 0.5}, "log_loss")
    with pytest.raises(GateFailed, match=r"by more than 0.4"):
        verdicts.beats({"auc": 0.8}, {"auc": 0.5}, "auc", by=0.4)


def test_a_floor_is_exclusive_and_nan_is_under_it():
    assert verdicts.above({"auc": 0.7}, "auc", 0.65) == {"metric": "auc", "value": 0.7, "floor": 0.65}
    for value in (0.65, math.nan):
        with pytest.raises(GateFailed, match=r"is not above 0\.65"):
            verdicts.above({"auc": value}, "auc", 0.65)


def test_a_score_that_was_not_measured_is_named():
    with pytest.raises(UsageError, match="no 'auc' - they have log_loss"):
        verdicts.above({"log_loss": 0.1}, "auc", 0.65)


def test_only_slices_surely_under_the_floor_fail():
    good = [Slice("plant", "a", 600, 0.5, 0.4, 0.56), Slice("plant", "b", 600, math.nan, math.nan, math.nan)]
    judged = verdicts.no_slice_under(good, 0.55)
    assert (judged["slices"], judged["worst"]["value"], judged["worst"]["high"]) == (1, "a", 0.56)
    assert verdicts.no_slice_under([], 0.55) == {"slices": 0, "floor": 0.55}
    with pytest.raises(GateFailed, match=r"1 of 3 slices.*plant=c: AUC 0.500 \[0.450, 0.540\] on 700 rows"):
        verdicts.no_slice_under([*good, Slice("plant", "c", 700, 0.5, 0.45, 0.54)], 0.55)


def test_latency_is_judged_by_the_median():
    found = Latency(400, 30e-6, 500e-6, 20e-6, 40e-6)
    judged = verdicts.latency_within(found, 1.5)
    assert (judged["candidate_p50_ms"], judged["champion_p50_ms"], judged["p50_ratio"]) == pytest.approx(
        (0.03, 0.02, 1.5)
    )
    with pytest.raises(GateFailed, match=r"1.50 times as long as the champion, 1.2 is allowed.*median 30 against 20"):
        verdicts.latency_within(found, 1.2)
