"""A stored model of which one bit is not what it was: never loaded, whatever its format and whichever the bit."""

import lightgbm
import numpy as np
import pytest
import skops.io
import xgboost
from flipped import flipped, missed
from served import onnx_linear
from sklearn.linear_model import LinearRegression

from headrace.assembly import open_platform
from headrace.errors import IntegrityError
from headrace.models.artifact import Artifact
from headrace.models.registry import Registration, fetch, register
from headrace.models.signature import Column, Signature
from headrace.sdk.functions import serve_function
from headrace.serving.model_folder import contents
from headrace.settings import Settings

ROWS = np.random.default_rng(3).normal(size=(60, 2)).astype(np.float32)
SIGNATURE = Signature("table", (Column("a", "float64"), Column("b", "float64")), (Column("total", "float32"),))
EXAMPLES = b'{"columns": {"a": [1.0], "b": [2.0]}, "outputs": {}}'


def total(a, b):
    return a + 2 * b


def _xgboost(kind):
    trained = xgboost.train({"nthread": 1, "max_depth": 2}, xgboost.DMatrix(ROWS, ROWS @ [1, 2]), 4)
    return {"model.xgboost": bytes(trained.save_raw(kind))}


def _lightgbm():
    trained = lightgbm.train({"verbose": -1, "num_threads": 1}, lightgbm.Dataset(ROWS, ROWS @ [1, 2]), 4)
    return {"model.lightgbm": trained.model_to_string().encode()}


MADE = {
    "onnx": lambda: {"model.onnx": onnx_linear([1, 2], output="total")},
    "xgboost": lambda: _xgboost("json"),
    "xgboost, ubj": lambda: _xgboost("ubj"),
    "lightgbm": _lightgbm,
    "skops": lambda: {"model.skops": skops.io.dumps(LinearRegression().fit(ROWS, ROWS @ [1, 2]))},
    "python": lambda: dict(serve_function(total).files),
}


@pytest.fixture
def platform(tmp_path):
    opened = open_platform(Settings(root=tmp_path))
    yield opened
    opened.close()


@pytest.mark.slow
def test_no_flipped_bit_is_loaded(platform, figure):
    found = 0
    for kind, make in MADE.items():
        artifact = Artifact(kind.partition(",")[0], make() | {"examples.json": EXAMPLES}, ("a", "b"), ("total",))
        found += missed(platform, artifact, SIGNATURE)
    figure("serving.bitflip_missed", found)
    assert found == 0


@pytest.mark.slow
def test_no_flipped_bit_is_loaded_from_a_folder_with_digests(platform):
    for kind, make in MADE.items():
        if kind == "python":  # no format of a folder
            continue
        artifact = Artifact(kind.partition(",")[0], make() | {"examples.json": EXAMPLES}, ("a", "b"), ("total",))
        version = register(platform.stores(), artifact, Registration("sum", None, "MIT", signature=SIGNATURE))
        folder = fetch(platform.files(), version)
        assert contents(folder).format == artifact.format
        for path in flipped(folder, but=("manifest.json",)):
            with pytest.raises(IntegrityError, match=f"not what the manifest says - .*{path.name}"):
                contents(folder)
