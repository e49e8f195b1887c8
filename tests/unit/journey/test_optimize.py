import json
from dataclasses import dataclass

import numpy as np
import polars as pl
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from headrace.engines.onnxruntime.runtime import OnnxRuntime
from headrace.engines.sklearn.converter import SklearnConverter
from headrace.errors import GateFailed, ParityFailed, UsageError
from headrace.evaluation.metrics import auc
from headrace.journey.optimize import RECORDED_ROWS, Optimization, optimized
from headrace.models.artifact import Artifact


@dataclass(frozen=True)
class Scores:
    auc: float


@pytest.fixture(scope="module")
def wine():
    rng = np.random.default_rng(0)
    frame = pl.DataFrame({"ash": rng.normal(size=500), "acid": rng.normal(size=500)})
    return frame.with_columns(good=((frame["ash"] + pl.Series(rng.normal(size=500))) > 0).cast(pl.Int64))


@pytest.fixture(scope="module")
def model(wine):
    return LogisticRegression().fit(wine.select("ash", "acid"), wine["good"].to_numpy())


def export(model, rows, **asked):
    return optimized(SklearnConverter(), OnnxRuntime(), model, rows, Optimization("good", **asked))


def test_the_report_says_how_parity_was_found(model, wine):
    artifact = export(model, wine)
    found = artifact.report["parity"]
    assert (found["rows"], found["label_agreement"]) == (500, 1.0)
    assert 0 < found["max_difference"] < 1e-6
    assert artifact.inputs == ("ash", "acid")


def test_recorded_rows_carry_the_trained_models_answers(model, wine):
    recorded = json.loads(export(model, wine, tolerance=1e-3).files["examples.json"])
    columns, answered = recorded["columns"], recorded["outputs"]["good"]
    assert RECORDED_ROWS <= len(answered) <= RECORDED_ROWS + 3
    assert recorded["tolerance"] == 1e-3
    np.testing.assert_allclose(model.predict_proba(pl.DataFrame(columns))[:, 1], answered, atol=1e-12)


def steps_at_1000():
    """A column whose values are nearer than float32 can tell apart at 1000, and a label that turns at each."""
    rng = np.random.default_rng(1)
    frame = pl.DataFrame({"x": rng.permutation(1000.0 + np.arange(4000) * 1e-5)})
    return frame, (np.argsort(np.argsort(frame["x"].to_numpy())) % 2).astype(int)


def test_the_known_trap_of_trees_after_a_scaler_is_refused():
    """float32 after a scaler moves values across the splits that float64 learned."""
    frame, good = steps_at_1000()
    tree = make_pipeline(StandardScaler(), DecisionTreeClassifier(random_state=0)).fit(frame, good)
    with pytest.raises(ParityFailed, match=r"up to 1 away.*row \d+: trained [01], served [01] {'x': 1000"):
        export(tree, frame)


def test_values_that_float32_makes_equal_are_refused_until_training_sees_float32():
    """0.15 + 0.075 is no 0.225 in float64, and float32 cannot tell."""
    frame = pl.DataFrame({name: [0.5] * 200 for name in "abcdefgh"})
    frame = frame.with_columns(dose=pl.Series([0.15 + 0.075, 0.225] * 100), z=pl.int_range(200) % 7)
    good = np.array([0, 1] * 100)
    model = HistGradientBoostingClassifier(max_iter=5, min_samples_leaf=1).fit(frame, good)
    with pytest.raises(ParityFailed, match=r"served [.\d]+ {'dose': 0.225} and 9 more; row") as caught:
        export(model, frame)
    assert caught.value.fix.startswith("cast the numeric columns to Float32 before training")
    single = frame.with_columns(pl.selectors.float().cast(pl.Float32))
    assert export(model.fit(single, good), single).report["parity"]["label_agreement"] == 1


def test_a_difference_that_training_on_float32_leaves_asks_for_a_tolerance():
    frame, good = steps_at_1000()
    wide = frame.select(pl.col("x").cast(pl.Float32), *(pl.lit(0.5).cast(pl.Float32).alias(n) for n in "abcdefg"))
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(wide, good)
    with pytest.raises(ParityFailed, match=r"{'x': 1000.*'e': 0.5} and 2 more; row") as caught:
        export(model, wide, tolerance=0.0)
    assert "pass tolerance= above " in caught.value.fix


def test_a_metric_may_not_drop(model, wine):
    def score(candidate, rows):
        served = isinstance(candidate, Artifact)
        noise = np.random.default_rng(7).normal(size=len(rows)) if served else 0
        return Scores(auc(rows["good"], model.predict_proba(rows.select("ash", "acid"))[:, 1] + noise))

    with pytest.raises(GateFailed, match=r"auc dropped by 0\.\d+, 0.002 is allowed"):
        export(model, wine, score=score, max_drop={"auc": 0.002})
    assert export(model, wine, score=score, max_drop={"auc": 0.9}).outputs == ("good",)


def test_what_cannot_be_checked_is_refused(model, wine):
    with pytest.raises(UsageError, match="without rows"):
        export(model, wine.head(0))
    with pytest.raises(UsageError, match="check=score"):
        export(model, wine, max_drop={"auc": 0.1})
