"""Boosters in their own formats, scored in this process."""

import json
import re
from concurrent.futures import ThreadPoolExecutor

import lightgbm
import numpy as np
import pytest
import xgboost

from headrace.conformance.runtime import SUM, RuntimeSuite
from headrace.engines.lightgbm.runtime import open_runtime as open_lightgbm
from headrace.engines.lightgbm.trees import check_trees as lightgbm_trees
from headrace.engines.xgboost.runtime import open_runtime as open_xgboost
from headrace.engines.xgboost.trees import check_trees as xgboost_trees
from headrace.errors import IntegrityError, SignatureError
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
    with pytest.raises(SignatureError, match="only the model has a, only the signature alcohol"):
        runtime.load(folder, Signature("table", (type(a)("alcohol", "float64"), b), SUM.outputs))


def test_a_tensor_signature_takes_the_matrix_as_it_is(named):
    runtime, folder = named
    tensors = Signature("tensor", (Tensor("x", "float32", (-1, 2)),), (Tensor("y", "float32", (-1,)),))
    due = runtime.load(folder, SUM).score({"numbers": ROWS})["total"]
    np.testing.assert_array_equal(runtime.load(folder, tensors).score({"x": ROWS})["y"], due)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("right_children", 2, "child of two"),  # followed for ever by rows that get there, and by no others
        ("right_children", 1_000_000, "child 1000000"),
        ("left_children", 0, "child 0"),
        ("split_indices", 90_000_000, "feature 90000000"),
    ],
)
def test_a_tree_of_xgboost_that_ends_the_process_for_some_rows_is_refused_for_all(tmp_path, name, value, said):
    model = json.loads(bytes(_xgboost().save_raw("json")))
    model["learner"]["gradient_booster"]["model"]["trees"][0][name][2] = value
    (tmp_path / "model.xgboost").write_text(json.dumps(model))
    with pytest.raises(IntegrityError, match=f"a tree of the model is none - .*{said}"):
        open_xgboost(Settings(root=tmp_path), "xgboost").load(tmp_path, SUM)


def _altered(text, name, at, value):
    """LightGBM's text with one number of its first tree altered, and the tree's size with it."""
    first = text.index("Tree=0")
    begin, end = text.index(f"{name}=", first), text.index("\n", text.index(f"{name}=", first))
    numbers = text[begin + len(name) + 1 : end].split()
    numbers[at] = value
    line = f"{name}={' '.join(numbers)}"
    longer = len(line) - (end - begin)
    sizes = re.sub(r"(?<=tree_sizes=)\d+", lambda size: str(int(size[0]) + longer), text[:begin])
    return sizes + line + text[end:]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("right_child", "0", "child 0 is not within"),  # followed for ever by rows that get there, and by no others
        ("right_child", "100000", "child 100000"),
        ("right_child", "-90000000", "leaf 89999999"),
        ("split_feature", "90000000", "feature 90000000"),
        ("left_child", "9" * 30, "cannot be read"),
        ("num_leaves", "99", "99 leaves"),
        ("num_cat", "2", "cat_boundaries"),
    ],
)
def test_a_tree_of_lightgbm_that_ends_the_process_for_some_rows_is_refused_for_all(tmp_path, lit, name, value, said):
    text = _altered(lit[0].decode(), name, 0, value)
    (tmp_path / "model.lightgbm").write_text(text)
    with pytest.raises(IntegrityError, match=said):
        open_lightgbm(Settings(root=tmp_path), "lightgbm").load(tmp_path, SUM)


def test_a_lightgbm_text_that_can_be_read_in_two_ways_is_refused(tmp_path, lit):
    for change in (("tree_sizes=", "tree_sizes=1"), ("shrinkage=", "left_child=7\nshrinkage=")):
        (tmp_path / "model.lightgbm").write_text(lit[0].decode().replace(*change, 1))
        with pytest.raises(IntegrityError, match="read in two ways"):
            open_lightgbm(Settings(root=tmp_path), "lightgbm").load(tmp_path, SUM)


@pytest.fixture(params=["json", "ubj"])
def weighed(request):
    """A linear booster: what it is kept as, and what it predicts."""
    data = xgboost.DMatrix(ROWS, TRUTH, feature_names=["a", "b"])
    booster = xgboost.train({"booster": "gblinear", "nthread": 1, "updater": "coord_descent"}, data, 30)
    return booster, bytes(booster.save_raw(request.param))


def test_a_linear_booster_scores_for_several_threads(tmp_path, weighed):
    booster, raw = weighed
    (tmp_path / "model.xgboost").write_bytes(raw)
    model = open_xgboost(Settings(root=tmp_path), "xgboost").load(tmp_path, SUM)
    due = booster.predict(xgboost.DMatrix(ROWS, feature_names=["a", "b"]))
    assert np.ptp(due) > 1
    parts = [slice(at, at + 30) for at in range(0, 300, 30)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda part: model.score({"numbers": ROWS[part]})["total"], parts * 5))
    np.testing.assert_array_equal(np.concatenate(found), np.tile(due, 5))


def test_a_linear_booster_that_lacks_weights_is_refused(tmp_path, weighed):
    about = json.loads(bytes(weighed[0].save_raw("json")))
    about["learner"]["gradient_booster"]["model"]["weights"].pop()
    (tmp_path / "model.xgboost").write_text(json.dumps(about))
    with pytest.raises(IntegrityError, match="2 weights - 3 are due"):
        open_xgboost(Settings(root=tmp_path), "xgboost").load(tmp_path, SUM)


def test_boosters_of_every_kind_are_found_to_be_of_trees():
    chance = np.random.default_rng(5)
    rows = np.column_stack([chance.normal(size=(300, 2)), chance.integers(0, 30, 300)])
    truth = rows[:, 0] + (rows[:, 2] % 7 == 3)
    usual = {"verbose": -1, "num_threads": 1, "max_cat_to_onehot": 1, "min_data_per_group": 1, "cat_smooth": 1}
    for more in ({}, {"linear_tree": True}, {"boosting": "dart"}, {"min_data_in_leaf": 400}):
        data = lightgbm.Dataset(rows, truth, categorical_feature=[2])
        lightgbm_trees(lightgbm.train({**usual, "min_data_in_leaf": 3, **more}, data, 5).model_to_string())
    both = np.column_stack([truth, -truth])
    several = {"multi_strategy": "multi_output_tree", "tree_method": "hist"}
    for more, due in (({}, truth), ({"booster": "dart"}, truth), ({"booster": "gblinear"}, truth), (several, both)):
        xgboost_trees(xgboost.train({"nthread": 1, **more}, xgboost.DMatrix(rows, due), 3))
    named = xgboost.DMatrix(rows, truth, feature_types=["q", "q", "c"], enable_categorical=True)
    xgboost_trees(xgboost.train({"nthread": 1, "tree_method": "hist", "max_cat_to_onehot": 1}, named, 3))
