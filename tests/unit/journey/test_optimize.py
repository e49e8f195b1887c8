import json
from dataclasses import dataclass

import numpy as np
import polars as pl
import pytest
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


def test_the_known_trap_of_trees_after_a_scaler_is_refused():
    """float32 after a scaler moves values across the splits that float64 learned."""
    rng = np.random.default_rng(1)
    steps = 1000.0 + np.arange(4000) * 1e-5  # nearer than float32 can tell apart at 1000
    frame = pl.DataFrame({"x": rng.permutation(steps)})
    good = (np.argsort(np.argsort(frame["x"].to_numpy())) % 2).astype(int)
    tree = make_pipeline(StandardScaler(), DecisionTreeClassifier(random_state=0)).fit(frame, good)
    with pytest.raises(ParityFailed, match=r"up to 1 away.*row \d+: trained [01], served [01] {'x': 1000"):
        export(tree, frame)


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
