"""scikit-learn estimators in skops files, each in a worker."""

import json

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from headrace.conformance.runtime import SUM, RuntimeSuite
from headrace.engines.skops.runtime import open_runtime
from headrace.errors import Refused, SignatureError
from headrace.models.signature import Column, Signature
from headrace.settings import Settings

ROWS = np.random.default_rng(7).normal(size=(200, 2))
TREE = "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"


@pytest.fixture
def runtime(tmp_path):
    return open_runtime(Settings(root=tmp_path), "skops")


@pytest.fixture
def saved(tmp_path):
    def saved(estimator, trusted=()):
        folder = tmp_path / "model"
        folder.mkdir()
        skops.io.dump(estimator, folder / "model.skops")
        if trusted:
            (folder / "trusted.json").write_text(json.dumps(list(trusted)))
        return folder

    return saved


class TestSkopsRuntime(RuntimeSuite):
    names_outputs = False

    @pytest.fixture
    def runtime(self, runtime):
        return runtime

    @pytest.fixture
    def folder(self, saved):
        return saved(HistGradientBoostingRegressor(max_iter=5).fit(ROWS, ROWS @ [1, 2]), [TREE])

    @pytest.fixture
    def due(self):
        return HistGradientBoostingRegressor(max_iter=5).fit(ROWS, ROWS @ [1, 2]).predict


def test_types_that_are_not_trusted_are_named(runtime, saved):
    folder = saved(HistGradientBoostingClassifier(max_iter=2).fit(ROWS, ROWS @ [1, 2] > 0))
    with pytest.raises(Refused, match=rf"{TREE}.*--trust {TREE}"):
        runtime.load(folder, SUM)


def test_a_value_per_row_and_a_probability_per_class(runtime, saved, tmp_path):
    classes = Signature("table", SUM.inputs, tuple(Column(n, "float32") for n in ("red", "rose", "white")))
    truth = np.digitize(ROWS[:, 0], [-0.5, 0.5])
    estimator = LogisticRegression().fit(ROWS, truth)
    model = runtime.load(saved(estimator), classes)
    answers = model.score({"numbers": ROWS.astype(np.float32)})
    due = estimator.predict_proba(ROWS.astype(np.float32))
    np.testing.assert_allclose(np.column_stack([answers[n] for n in ("red", "rose", "white")]), due, atol=1e-6)
    model.close()
    (tmp_path / "model" / "model.skops").write_bytes(skops.io.dumps(LinearRegression().fit(ROWS, ROWS @ [1, 2])))
    model = runtime.load(tmp_path / "model", SUM)
    np.testing.assert_allclose(model.score({"numbers": np.array([[1, 2]], np.float32)})["total"], [5.0], rtol=1e-6)
    model.close()


def test_a_pipeline_finds_its_columns_by_name(runtime, saved):
    table = pd.DataFrame(
        {"grape": ["red", "white", None] * 20, "year": [2001, 2002, 2003] * 20, "ash": [1.5, 2.5, 3] * 20}
    )
    encoded = make_column_transformer((OneHotEncoder(), ["grape"]), remainder="passthrough")
    estimator = make_pipeline(encoded, LinearRegression()).fit(table, np.arange(60.0))
    columns = (Column("ash", "float64"), Column("grape", "string", nullable=True), Column("year", "int64"))
    signature = Signature("table", columns, (Column("total", "float32"),))
    folder = saved(estimator)
    model = runtime.load(folder, signature)
    strings = np.array([["red"], ["white"], [""]], object)
    numbers = np.array([[1.5, 2001], [2.5, 2002], [3, 2003]], np.float32)
    answers = model.score({"numbers": numbers, "strings": strings})["total"]
    np.testing.assert_allclose(answers, estimator.predict(table.head(3)), rtol=1e-5)
    model.close()
    with pytest.raises(SignatureError, match="only the model has ash, only the signature sugar"):
        runtime.load(folder, Signature("table", (Column("sugar", "float64"), *columns[1:]), signature.outputs))
