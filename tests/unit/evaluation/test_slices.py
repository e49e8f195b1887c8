import math

import numpy as np
import polars as pl
import pytest

from headrace.evaluation import slices as module
from headrace.evaluation.metrics import auc
from headrace.evaluation.slices import Bootstrap, auc_interval, slices


@pytest.fixture
def rows():
    rng = np.random.default_rng(2)
    plant = rng.choice(["north", "south", "tiny"], 6000, p=[0.5, 0.47, 0.03])
    truth = rng.integers(0, 2, 6000)
    told = np.where(plant == "south", 0.0, truth)  # in the south the score knows nothing
    return pl.Series(plant), truth, (rng.random(6000) + told) / 2


def test_the_bad_slice_shows(rows):
    plant, truth, scores = rows
    found = {s.value: s for s in slices({"plant": plant}, truth, scores, min_rows=500)}
    assert set(found) == {"north", "south"}
    assert found["north"].low > 0.9
    assert found["south"].low < 0.5 < found["south"].high < 0.55
    inside = plant.to_numpy() == "south"
    assert (found["south"].rows, found["south"].auc) == (int(inside.sum()), auc(truth[inside], scores[inside]))


def test_the_interval_covers_as_it_says():
    rng, covered = np.random.default_rng(3), 0
    for trial in range(100):
        truth = rng.integers(0, 2, 300)
        scores = rng.normal(truth, 1.0)  # the true AUC is Phi(1 / sqrt 2)
        low, high = auc_interval(truth, scores, Bootstrap(seed=trial))
        covered += low <= 0.76025 <= high
    assert 88 <= covered <= 99


def test_the_seed_decides(rows):
    _, truth, scores = rows
    first = auc_interval(truth, scores, Bootstrap(seed=1))
    assert auc_interval(truth, scores, Bootstrap(seed=1)) == first != auc_interval(truth, scores, Bootstrap(seed=2))


def test_drawing_in_chunks_changes_nothing(rows, monkeypatch):
    _, truth, scores = rows
    whole = auc_interval(truth, scores, Bootstrap())
    monkeypatch.setattr(module, "CELLS", 30_000)
    assert auc_interval(truth, scores, Bootstrap()) == whole


def test_null_is_a_category_and_one_class_has_no_auc():
    found = slices({"plant": [None] * 20 + ["a"] * 20}, [1] * 20 + [0, 1] * 10, np.linspace(0, 1, 40), min_rows=20)
    assert [s.value for s in found] == ["a", "null"]
    assert math.isnan(found[1].auc)
    assert math.isnan(found[1].low)
