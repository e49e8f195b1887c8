import math

import numpy as np
import pytest

from headrace.errors import ParityFailed, UsageError
from headrace.evaluation.parity import check, parity


def test_equal_answers_hold():
    found = parity([0.1, 0.9], np.float32([0.1, 0.9]), tolerance=1e-6)
    assert found.holds
    assert found.label_agreement == 1.0
    check(found)


def test_the_worst_rows_are_named_with_both_answers():
    trained, served = np.full(100, 0.4), np.full(100, 0.4)
    served[[7, 60]] = 0.9, 0.45
    found = parity(trained, served, tolerance=1e-4, worst=2)
    assert (found.worst, found.max_difference, found.label_agreement) == ((7, 60), 0.5, 0.99)
    with pytest.raises(ParityFailed, match=r"up to 0.5 away.*row 7: trained 0.4, served 0.9 {'x': 1}") as caught:
        check(found, where="HistGradientBoosting", rows=[{"x": 1}])
    assert caught.value.exit_code == 3


def test_nan_on_one_side_only_never_holds():
    assert parity([math.nan, 0.5], [math.nan, 0.5], tolerance=0).holds
    assert parity([math.nan], [math.nan], tolerance=0).holds
    assert parity([math.nan, 0.5], [0.5, 0.5], tolerance=1).max_difference == math.inf


def test_an_error_shows_few_cells_and_those_that_float32_moves_first():
    found = parity([0.1], [0.9], tolerance=0)
    row = {f"c{number}": number for number in range(9)}
    with pytest.raises(
        ParityFailed, match=r"'c5': 5} and 3 more.*fix: keep numbers unscaled.*tolerance= above 8.0e-01"
    ):
        check(found, rows=[row])
    with pytest.raises(ParityFailed, match=r"served 0.9 {'c8': 8} and 8 more - fix: cast .* to Float32"):
        check(found, rows=[row], rounded=[("c8",)])


def test_no_tolerance_makes_up_for_nan():
    with pytest.raises(ParityFailed) as caught:
        check(parity([math.nan], [0.5], tolerance=1))
    assert "tolerance" not in caught.value.fix


def test_several_outputs():
    found = parity([[0.1, 0.9], [0.2, 0.8]], [[0.1, 0.9], [0.2, 0.5]], tolerance=0.1)
    assert (found.worst[0], found.trained[0], found.served[0]) == (1, 0.8, 0.5)


def test_labels_are_for_probabilities_only():
    assert parity([20.0, 0.4], [0.4, 20.0], tolerance=1).label_agreement == 1.0


def test_different_shapes_and_no_rows_are_refused():
    for left, right in (([0.1], [0.1, 0.2]), ([], [])):
        with pytest.raises(UsageError):
            parity(left, right, tolerance=1)
