import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as theirs

from headrace.errors import UsageError
from headrace.evaluation.metrics import METRICS, auc, log_loss, measure, metric


@pytest.fixture(params=[True, False], ids=["ties", "no ties"])
def graded(request):
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 2, 3000)
    chances = (rng.random(3000) * 0.8 + truth * 0.2).clip(0, 1)
    return truth, np.round(chances, 2) if request.param else chances


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("auc", theirs.roc_auc_score),
        ("log_loss", theirs.log_loss),
        ("brier", theirs.brier_score_loss),
        ("accuracy", lambda truth, chances: theirs.accuracy_score(truth, chances >= 0.5)),
        ("rmse", theirs.root_mean_squared_error),
        ("mae", theirs.mean_absolute_error),
        ("r2", theirs.r2_score),
    ],
)
def test_equal_to_scikit_learn(graded, name, reference):
    assert METRICS[name].of(*graded) == pytest.approx(reference(*graded), abs=1e-12)


def test_certain_and_wrong_is_very_bad_but_finite():
    assert log_loss([1, 0], [0.0, 1.0]) == pytest.approx(theirs.log_loss([1, 0], [0.0, 1.0]))


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 5)), min_size=1, max_size=40))
def test_auc_is_the_share_of_pairs_ordered_right(rows):
    positives = [score for label, score in rows if label]
    negatives = [score for label, score in rows if not label]
    found = auc([label for label, _ in rows], [score for _, score in rows])
    if not positives or not negatives:
        assert math.isnan(found)
        return
    won = sum((p > n) + (p == n) / 2 for p in positives for n in negatives)
    assert found == pytest.approx(won / (len(positives) * len(negatives)))


def test_direction():
    assert metric("auc").better(0.8, 0.7)
    assert not metric("auc").better(0.8, 0.79, by=0.02)
    assert metric("log_loss").better(0.5, 0.6)
    assert not metric("rmse").better(math.nan, 1.0)


def test_several_at_once(graded):
    assert measure(*graded, ["auc", "brier"]) == {"auc": auc(*graded), "brier": METRICS["brier"].of(*graded)}


def test_unknown_names_and_shapes_are_refused(graded):
    with pytest.raises(UsageError, match="one of auc, log_loss"):
        metric("gini")
    for wrong in ([0.5], graded[1].reshape(-1, 1)):
        with pytest.raises(UsageError, match="cannot be compared"):
            auc(graded[0], wrong)
    with pytest.raises(UsageError):
        auc([], [])


def test_rows_without_truth_or_answer_are_refused_not_ranked():
    with pytest.raises(UsageError, match="truth cannot be measured - 1 of 3 rows have none"):
        auc([0, 1, None], [0.1, 0.2, 0.3])
    with pytest.raises(UsageError, match="answers cannot be measured - 2 of 3"):
        log_loss([0, 1, 1], [0.1, math.nan, math.nan])
