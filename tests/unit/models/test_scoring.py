import narwhals as nw
import numpy as np
import pytest

from headrace.engines.onnxruntime.runtime import OnnxRuntime
from headrace.errors import SignatureError
from headrace.models.infer import dtypes_of, signature_of
from headrace.models.scoring import answers, batch_of, loaded


def test_columns_are_found_by_name(adds, wine):
    artifact, frame = adds(1.0), nw.from_native(wine)
    signature = signature_of(artifact, frame)
    with loaded(OnnxRuntime(), artifact, signature) as model:
        straight = answers(model, batch_of(frame, signature), artifact.outputs)
        shuffled = answers(model, batch_of(frame.select(sorted(frame.columns)), signature), artifact.outputs)
    np.testing.assert_allclose(straight, [13.8, 14.1], atol=1e-5)
    np.testing.assert_array_equal(straight, shuffled)


def test_null_becomes_nan_and_empty_text(adds, wine):
    frame = nw.from_native(wine.with_columns(alcohol=wine["alcohol"].set(wine["ash"] == 3, None)))
    batch = batch_of(frame, signature_of(adds(0.0), frame))
    assert np.isnan(batch["numbers"][1, 0])
    assert batch["numbers"].dtype == np.float64
    assert batch["strings"].tolist() == [["red"], [""]]


def test_a_missing_column_is_named(adds, wine):
    signature = signature_of(adds(0.0), wine)
    with pytest.raises(SignatureError, match="lack ash"):
        batch_of(nw.from_native(wine.drop("ash")), signature)


def test_whole_numbers_of_any_width_travel_as_int64(wine):
    import polars as pl

    frame = wine.with_columns(pl.col("ash").cast(pl.Int8), flag=True, part=pl.lit(1.0, pl.Float32))
    frame = frame.with_columns(pl.col("grape").cast(pl.Categorical), day=pl.date(2026, 1, 1))
    assert dtypes_of(frame) == {
        "alcohol": "float64",
        "grape": "string",
        "ash": "int64",
        "quality": "int64",
        "flag": "bool",
        "part": "float32",
    }
