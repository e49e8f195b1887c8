import numpy as np
import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    ExtraTreesRegressor,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from headrace.conformance.converter import served
from headrace.engines.onnxruntime.runtime import OnnxRuntime
from headrace.engines.sklearn.converter import SklearnConverter
from headrace.engines.sklearn.trees import floor32
from headrace.models.infer import dtypes_of, eager

ROWS, GRID = 800, 120
FINE = {"max_iter": 8, "max_leaf_nodes": None, "min_samples_leaf": 1, "learning_rate": 1.0}
REGRESSORS = [
    HistGradientBoostingRegressor(**FINE),
    RandomForestRegressor(4, random_state=0),
    GradientBoostingRegressor(n_estimators=4, max_depth=12, learning_rate=1.0, random_state=0),
    ExtraTreesRegressor(4, random_state=0),
    DecisionTreeRegressor(random_state=0),
]
NULLABLE = [
    HistGradientBoostingRegressor(**FINE),
    RandomForestClassifier(4, random_state=0),
    ExtraTreesRegressor(4, random_state=0),
    DecisionTreeClassifier(random_state=0),
]
doubles = st.floats(allow_nan=False, width=64)
singles = st.floats(allow_nan=False, width=32)


def gap(model, frame, rows):
    """The largest difference between the trained and the served answers."""
    artifact = SklearnConverter().convert(model, dtypes_of(frame), to="onnx", output="y")
    due = SklearnConverter().predict(model, eager(rows), artifact.inputs)
    return np.abs(due - served(OnnxRuntime(), artifact, rows)).max()


def decimals(offset, step, seed, count=GRID):
    """Rows on a decimal grid, and a target that trees can only learn by heart."""
    rng = np.random.default_rng(seed)
    grid = np.round(offset + step * np.arange(count), 6)
    return pl.DataFrame(rng.choice(grid, (ROWS, 2)), schema=["x", "y"]), rng.normal(0, 10, ROWS)


def between(frame):
    """Each float32 at or beside a value or a midpoint of values, in random company."""
    rng = np.random.default_rng(9)
    values = np.unique(frame.to_numpy()).astype(np.float64)
    points = np.concatenate([values, (values[1:] + values[:-1]) / 2]).astype(np.float32)
    near = np.concatenate([np.nextafter(points, np.float32(-np.inf)), points, np.nextafter(points, np.float32(np.inf))])
    cells = np.column_stack([np.concatenate([near, rng.choice(near, len(near))]) for _ in range(2)])
    cells[len(near) :, 1] = near
    return pl.DataFrame(cells, schema=["x", "y"])


@given(singles, doubles)
@example(1.0, 1.0 - 1e-12)
@example(np.inf, 1e300)
@example(-np.inf, -1e300)
def test_no_float32_changes_sides(value, threshold):
    rounded = floor32(np.array([threshold]))[0]
    assert (value <= threshold) == (np.float32(value) <= rounded)


# At 1000 neighbours on the grid are one or two float32 apart: midpoints tie there.
@pytest.mark.parametrize("model", REGRESSORS, ids=lambda model: type(model).__name__)
@pytest.mark.parametrize("grid", [(0.1, 0.003), (1000, 1e-4), (-1000, 1e-4)], ids=str)
def test_every_float32_takes_the_trained_path(model, grid):
    frame, target = decimals(*grid, 0)
    frame = frame.cast(pl.Float32)
    assert gap(model.fit(frame, target), frame, between(frame)) < 1e-4


def test_columns_are_told_apart_behind_a_transformer():
    frame, target = decimals(1000, 1e-4, 0)
    # The float64 column is the first feature of the trees and the second of the graph.
    chosen = ColumnTransformer([("kind", OrdinalEncoder(), ["kind"]), ("kept", "passthrough", ["y", "x"])])
    frame = frame.with_columns(pl.col("x").cast(pl.Float32), kind=pl.lit("one"))
    model = make_pipeline(chosen, HistGradientBoostingRegressor(**FINE)).fit(frame, target)
    near = between(frame.select(pl.col("x").cast(pl.Float64).alias("v"), pl.col("x").alias("w").cast(pl.Float64)))
    rows = near.select("x", y=pl.lit(1000.5), kind=pl.lit("one"))
    assert gap(model, frame, rows) < 1e-4


def test_a_calibrated_ensemble_is_rounded_too():
    frame, target = decimals(1000, 1e-4, 1)
    frame = frame.cast(pl.Float32)
    model = CalibratedClassifierCV(HistGradientBoostingClassifier(**FINE), cv=2).fit(frame, target > 0)
    assert gap(model, frame, between(frame)) < 1e-4


@pytest.mark.parametrize("rows", [GRID, 4 * GRID], ids=["midpoints", "values"])
def test_float64_values_stay_on_the_side_of_their_threshold(rows):
    """More than 255 values make thresholds of values: rounded down, each would send its own value right."""
    frame, target = decimals(0.1, 0.003, 2, rows)
    assert gap(HistGradientBoostingRegressor(**FINE).fit(frame, target), frame, frame) < 1e-4


@pytest.mark.parametrize("model", NULLABLE, ids=lambda model: type(model).__name__)
def test_null_goes_where_training_sent_it(model):
    frame, target = decimals(0.1, 0.003, 3)
    holes = pl.Series(np.arange(ROWS) % 5 == 0)
    frame = frame.with_columns(pl.when(holes).then(None).otherwise(pl.col("x")).alias("x"))
    label = target > np.where(holes, 5, -5)
    assert gap(model.fit(frame, label), frame, frame) < 1e-4
