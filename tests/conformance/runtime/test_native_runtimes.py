"""Boosters in their own formats, scored in this process."""

import lightgbm
import numpy as np
import pytest
import xgboost

from headrace.conformance.runtime import SUM, RuntimeSuite
from headrace.engines.lightgbm.runtime import open_runtime as open_lightgbm
from headrace.engines.xgboost.runtime import open_runtime as open_xgboost
from headrace.errors import SignatureError
from headrace.models.signature import Signature, Tensor
from headrace.settings import Settings

ROWS = np.random.default_rng(7).normal(size=(300, 2)).astype(np.float32) * 3
TRUTH = ROWS @ [1, 2]


def _xgboost():
    return xgboost.train({"max_depth": 3, "nthread": 1}, xgboost.DMatrix(ROWS, TRUTH, feature_names=["a", "b"]), 8)


@pytest.fixture(scope="module", params=["json", "ubj"])
def grown(request):
    booster = _xgboost()
    return bytes(booster.save_raw(request.param)), booster.inplace_predict


@pytest.fixture(scope="module")
def lit():
    table = lightgbm.Dataset(ROWS, TRUTH, feature_name=["a", "b"])
    booster = lightgbm.train({"verbose": -1, "num_threads": 1, "min_data_in_leaf": 5}, table, 8)
    return booster.model_to_string().encode(), lambda rows: booster.predict(rows, num_threads=1)


class TestXgboostRuntime(RuntimeSuite):
    names_outputs = False

    @pytest.fixture
    def runtime(self, tmp_path):
        return open_xgboost(Settings(root=tmp_path), "xgboost")

    @pytest.fixture
    def folder(self, tmp_path, grown):
        (tmp_path / "model").mkdir()
        (tmp_path / "model" / "model.xgboost").write_bytes(grown[0])
        return tmp_path / "model"

    @pytest.fixture
    def due(self, grown):
        return grown[1]


class TestLightgbmRuntime(RuntimeSuite):
    names_outputs = False

    @pytest.fixture
    def runtime(self, tmp_path):
        return open_lightgbm(Settings(root=tmp_path), "lightgbm")

    @pytest.fixture
    def folder(self, tmp_path, lit):
        (tmp_path / "model").mkdir()
        (tmp_path / "model" / "model.lightgbm").write_bytes(lit[0])
        return tmp_path / "model"

    @pytest.fixture
    def due(self, lit):
        return lit[1]


@pytest.fixture
def named(tmp_path):
    """A booster that knows its columns as a and b, in that order."""
    (tmp_path / "model.xgboost").write_bytes(bytes(_xgboost().save_raw("ubj")))
    return open_xgboost(Settings(root=tmp_path), "xgboost"), tmp_path


def test_columns_are_found_by_name(named):
    runtime, folder = named
    turned = Signature("table", tuple(reversed(SUM.columns)), SUM.outputs)
    straight, other = runtime.load(folder, SUM), runtime.load(folder, turned)
    due = straight.score({"numbers": ROWS})["total"]
    np.testing.assert_array_equal(other.score({"numbers": ROWS[:, ::-1]})["total"], due)


def test_another_name_is_refused(named):
    runtime, folder = named
    a, b = SUM.columns
    with pytest.raises(SignatureError, match="only one has a, alcohol"):
        runtime.load(folder, Signature("table", (type(a)("alcohol", "float64"), b), SUM.outputs))


def test_a_tensor_signature_takes_the_matrix_as_it_is(named):
    runtime, folder = named
    tensors = Signature("tensor", (Tensor("x", "float32", (-1, 2)),), (Tensor("y", "float32", (-1,)),))
    due = runtime.load(folder, SUM).score({"numbers": ROWS})["total"]
    np.testing.assert_array_equal(runtime.load(folder, tensors).score({"x": ROWS})["y"], due)
