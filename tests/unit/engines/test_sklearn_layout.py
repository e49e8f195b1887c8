import numpy as np
import polars as pl
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.neighbors import LocalOutlierFactor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, StandardScaler

from headrace.conformance.converter import served
from headrace.engines.onnxruntime.runtime import OnnxRuntime
from headrace.engines.sklearn.converter import SklearnConverter
from headrace.errors import UsageError
from headrace.models.infer import dtypes_of, eager, signature_of
from headrace.models.scoring import answers, loaded

RNG = np.random.default_rng(0)
ROWS = 300


@pytest.fixture(scope="module")
def frame():
    kinds = pl.Series(RNG.choice(["a", "b", "c"], ROWS))
    return pl.DataFrame(
        {"x": RNG.normal(size=ROWS), "kind": kinds, "y": RNG.normal(size=ROWS), "k": RNG.integers(0, 4, ROWS)}
    ).with_columns(flag=pl.Series(RNG.random(ROWS) > 0.5), extra=pl.lit("never read"))


@pytest.fixture(scope="module")
def good(frame):
    return (frame["x"] * (frame["kind"] == "a") + frame["k"] / 4 > 0.4).to_numpy().astype(int)


def export(model, frame, output="good"):
    return SklearnConverter().convert(model, dtypes_of(frame), to="onnx", output=output)


def assert_alike(model, frame, artifact):
    due = SklearnConverter().predict(model, eager(frame), artifact.inputs)
    np.testing.assert_allclose(served(OnnxRuntime(), artifact, frame), due, atol=1e-5)


CODES = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)


@pytest.mark.parametrize(
    "columns",
    [
        ColumnTransformer([("n", "passthrough", ["y", "x", "flag"]), ("t", CODES, ["kind"])]),
        ColumnTransformer([("t", CODES, ["kind"])], remainder="drop"),
        ColumnTransformer([("t", CODES, ["kind"]), ("d", "drop", ["extra"])], remainder="passthrough"),
        ColumnTransformer([("n", StandardScaler(), [0, 2]), ("t", CODES, [1])]),
        ColumnTransformer([("n", "passthrough", slice("y", "k")), ("t", CODES, ["kind"])]),
        ColumnTransformer([("n", StandardScaler(), [True, False, True, False, False, False])]),
        ColumnTransformer([("k", OneHotEncoder(handle_unknown="ignore"), ["k"]), ("x", "passthrough", ["x", "k"])]),
        ColumnTransformer([("a", StandardScaler(), ["x", "y"]), ("b", "passthrough", ["y", "k"])]),
    ],
    ids=["names", "text only", "remainder", "positions", "slice", "mask", "whole numbers", "shared"],
)
def test_every_way_to_choose_columns(columns, frame, good):
    model = make_pipeline(columns, RandomForestClassifier(10, max_depth=4, random_state=0)).fit(frame, good)
    artifact = export(model, frame)
    assert "extra" not in artifact.inputs
    assert_alike(model, frame, artifact)
    assert_alike(model, frame.select(sorted(frame.columns)), artifact)


def test_null_text_that_was_learnt_is_a_category_of_its_own(frame, good):
    holes = frame.with_columns(kind=pl.when(pl.col("x") > 0.5).then(None).otherwise(pl.col("kind")))
    columns = ColumnTransformer([("t", OneHotEncoder(handle_unknown="ignore"), ["kind"])])
    model = make_pipeline(columns, LogisticRegression()).fit(holes, good)
    artifact = export(model, holes)
    assert_alike(model, holes, artifact)
    known, null = served(OnnxRuntime(), artifact, pl.DataFrame({"kind": ["a", None]}, schema={"kind": pl.String}))
    assert known != null


def test_null_text_that_was_not_learnt_is_the_empty_text(frame, good):
    filled = frame.with_columns(kind=pl.when(pl.col("x") > 0.5).then(pl.lit("")).otherwise(pl.col("kind")))
    columns = ColumnTransformer([("t", OneHotEncoder(handle_unknown="ignore"), ["kind"])])
    model = make_pipeline(columns, LogisticRegression()).fit(filled, good)
    rows = pl.DataFrame({"kind": ["", None]}, schema={"kind": pl.String})
    artifact = export(model, filled)
    first, second = SklearnConverter().predict(model, eager(rows), artifact.inputs)
    assert first == second
    assert_alike(model, rows, artifact)


def test_text_never_seen_before(frame, good):
    model = make_pipeline(
        ColumnTransformer([("n", "passthrough", ["x"]), ("t", CODES, ["kind"])]),
        HistGradientBoostingClassifier(max_iter=5),
    ).fit(frame, good)
    strange = frame.with_columns(kind=pl.lit("zzz"))
    assert_alike(model, strange, export(model, frame))


def test_more_than_two_classes_give_one_output_each(frame):
    grades = RNG.choice(["low", "mid", "top"], ROWS)
    model = LogisticRegression().fit(frame.select("x", "y"), grades)
    artifact = export(model, frame, output="grade")
    assert artifact.outputs == ("grade_low", "grade_mid", "grade_top")
    assert_alike(model, frame, artifact)
    constant = DummyClassifier().fit(frame.select("x", "y"), grades)
    assert_alike(constant, frame, export(constant, frame, output="grade"))


def test_a_model_fitted_on_an_array_takes_columns_in_the_order_given(frame, good):
    model = LogisticRegression().fit(frame.select("x", "y").to_numpy(), good)
    artifact = export(model, frame.select("x", "y"))
    assert artifact.inputs == ("x", "y")
    assert_alike(model, frame.select("x", "y"), artifact)


@pytest.mark.parametrize("strategy", ["prior", "most_frequent", "uniform", "constant"])
def test_constant_classifiers(strategy, frame, good):
    model = DummyClassifier(strategy=strategy, constant=1).fit(frame.select("x", "kind"), good)
    assert_alike(model, frame, export(model, frame))


def test_a_constant_answers_as_many_rows_as_are_asked(frame, good):
    artifact = export(DummyRegressor().fit(frame.select("kind"), good), frame)
    assert artifact.inputs == ("kind",)
    signature = signature_of(artifact, frame)
    with loaded(OnnxRuntime(), artifact, signature) as model:
        for rows in (0, 1, 7):
            batch = {"strings": np.array([["a"]] * rows, dtype=object).reshape(rows, 1)}
            assert answers(model, batch, artifact.outputs).shape == (rows,)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda f, y: RidgeClassifier().fit(f.select("x"), y), "no probabilities.*predict_proba"),
        (lambda f, y: LocalOutlierFactor().fit(f.select("x")), "neither a classifier nor a regressor"),
        (lambda f, y: StandardScaler().fit(f.select("x")), "neither a classifier nor a regressor"),
        (lambda f, y: DummyClassifier(strategy="stratified").fit(f.select("x"), y), "at random.*prior"),
        (
            lambda f, y: HistGradientBoostingClassifier(max_iter=2, categorical_features=["k"]).fit(
                f.select("x", "k"), y
            ),
            "categorical_features.*OrdinalEncoder",
        ),
        (
            lambda f, y: make_pipeline(
                ColumnTransformer([("l", FunctionTransformer(np.log1p), ["k"])]), LogisticRegression()
            ).fit(f, y),
            "cannot be exported to ONNX",
        ),
        (
            lambda f, y: make_pipeline(ColumnTransformer([("n", "passthrough", [0])]), LogisticRegression()).fit(
                f.select("x").to_numpy(), y
            ),
            "fitted without column names",
        ),
        (lambda f, y: LogisticRegression().fit(f.select("x", "y").to_numpy(), y), "fitted on 2 unnamed columns"),
    ],
)
def test_what_cannot_be_exported_is_refused_with_what_to_use(make, says, frame, good):
    with pytest.raises(UsageError, match=says):
        export(make(frame, good), frame)


def test_text_needs_an_encoder(frame, good):
    model = DummyClassifier().fit(frame.select("kind"), good)
    assert export(model, frame).inputs == ("kind",)
    plain = LogisticRegression().fit(pl.DataFrame({"kind": good}), good)
    with pytest.raises(UsageError, match=r"cannot read the text column 'kind'.*ColumnTransformer"):
        export(plain, frame)
