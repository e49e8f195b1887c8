"""``headrace models import``: a model trained elsewhere, of each format, or the reason why not."""

import json

import lightgbm
import numpy as np
import pytest
import skops.io
import xgboost
from click.testing import CliRunner
from served import onnx_linear
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LinearRegression

from headrace.assembly import open_platform
from headrace.cli import cli
from headrace.models.registry import find
from headrace.models.signature import Tensor
from headrace.serving.versions import load_model
from headrace.settings import Settings

ROWS = np.random.default_rng(3).normal(size=(60, 2)).astype(np.float32)
TRUTH = ROWS @ [1, 2]
SIGNATURE = {
    "kind": "table",
    "inputs": [{"name": name, "dtype": "float64", "nullable": False} for name in ("a", "b")],
    "outputs": [{"name": "total", "dtype": "float32"}],
}
TREE = "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"


def _trained(kind):
    """The bytes of a model and what it answers the rows."""
    if kind == "onnx":
        return onnx_linear([1, 2], output="total"), TRUTH
    if kind == "xgboost":
        booster = xgboost.train(
            {"nthread": 1, "max_depth": 2}, xgboost.DMatrix(ROWS, TRUTH, feature_names=["a", "b"]), 4
        )
        return bytes(booster.save_raw("json")), booster.inplace_predict(ROWS)
    if kind == "lightgbm":
        booster = lightgbm.train({"verbose": -1, "num_threads": 1}, lightgbm.Dataset(ROWS, TRUTH), 4)
        return booster.model_to_string().encode(), booster.predict(ROWS)
    model = (HistGradientBoostingRegressor(max_iter=3) if kind == "trees" else LinearRegression()).fit(ROWS, TRUTH)
    return skops.io.dumps(model), model.predict(ROWS)


@pytest.fixture
def headrace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "headrace.toml").touch()

    def call(content, answers, *more, signature=SIGNATURE, example=None):
        (tmp_path / "a.pkl").write_bytes(content)  # the name decides nothing
        columns = {"a": ROWS[:, 0].tolist(), "b": ROWS[:, 1].tolist()}
        example = example or {"columns": columns, "outputs": {"total": np.asarray(answers).tolist()}}
        (tmp_path / "example.json").write_text(json.dumps(example))
        asked = ["--name", "sum", "--licence", "CC0-1.0", "--example", "example.json", *more]
        stated = [] if signature is None else ["--signature", json.dumps(signature)]
        return CliRunner().invoke(cli, ["models", "import", "a.pkl", *stated, *asked])

    return call


@pytest.mark.parametrize("kind", ["onnx", "xgboost", "lightgbm", "skops"])
def test_a_model_is_imported_and_serves(headrace, tmp_path, kind):
    content, answers = _trained(kind)
    done = headrace(content, answers)
    assert done.exception is None, done.output
    assert f"sum@1 registered: {kind}, 60 rows answered alike" in done.output
    platform = open_platform(Settings(root=tmp_path))
    served = load_model(platform.ledger(), platform.files(), platform.runtime, "sum@1")
    assert (served.compared, find(platform.ledger(), "sum").report["parity"]["rows"]) == (60, 60)
    np.testing.assert_allclose(served.loaded.score({"numbers": ROWS})["total"], answers, atol=1e-5)
    served.loaded.close()
    platform.close()


def _refusal(done):
    assert done.exit_code != 0
    return f"{done.output} {done.exception}"


def test_another_answer_is_refused_and_nothing_is_registered(headrace, tmp_path):
    content, answers = _trained("onnx")
    answers = np.array(answers)
    answers[7] += 0.5
    said = _refusal(headrace(content, answers))
    assert ("rows 7" in said, "give answers that this very file gave" in said, "pipeline" in said) == (
        True,
        True,
        False,
    )
    platform = open_platform(Settings(root=tmp_path))
    assert platform.ledger().query("model.version") == []
    platform.close()


def test_another_signature_is_refused(headrace):
    content, answers = _trained("xgboost")
    other = json.loads(json.dumps(SIGNATURE).replace('"b"', '"c"'))
    assert "only the model has b, only the signature c" in _refusal(headrace(content, answers, signature=other))
    assert "no signature - 'inputs' is missing" in _refusal(headrace(content, answers, signature={"kind": "table"}))


def test_answers_are_as_wide_as_the_signature_says(headrace):
    """float32 has steps of 8 at a hundred million."""
    model = LinearRegression().fit(ROWS, 1e8 * ROWS[:, 0] + 123_456_789.12)
    wide = {**SIGNATURE, "outputs": [{"name": "total", "dtype": "float64"}]}
    done = headrace(skops.io.dumps(model), model.predict(ROWS.astype(float)), signature=wide)
    assert "skops, 60 rows answered alike" in done.output, done.exception


def test_spaces_in_names_are_found_where_lightgbm_wrote_underscores(headrace):
    spaced = json.loads(json.dumps(SIGNATURE).replace('"b"', '"fixed acidity"').replace('"a"', '"pH"'))
    data = lightgbm.Dataset(ROWS, TRUTH, feature_name=["pH", "fixed_acidity"])
    booster = lightgbm.train({"verbose": -1, "num_threads": 1}, data, 4)
    rows = {"fixed acidity": ROWS[:, 1].tolist(), "pH": ROWS[:, 0].tolist()}
    example = {"columns": rows, "outputs": {"total": booster.predict(ROWS).tolist()}}
    spaced["inputs"].reverse()
    done = headrace(booster.model_to_string().encode(), None, signature=spaced, example=example)
    assert "lightgbm, 60 rows answered alike" in done.output, done.exception


def test_types_are_trusted_by_name_only(headrace):
    content, answers = _trained("trees")
    assert f"--trust {TREE}" in _refusal(headrace(content, answers))
    assert headrace(content, answers, "--trust", TREE).exception is None


def test_what_a_model_declares_need_not_be_said(headrace, tmp_path):
    content, answers = _trained("onnx")
    example = {"tensors": {"numbers": ROWS.tolist()}, "outputs": {"total": np.asarray(answers).tolist()}}
    done = headrace(content, answers, signature=None, example=example)
    assert done.exception is None, done.output
    platform = open_platform(Settings(root=tmp_path))
    assert find(platform.ledger(), "sum").signature.tensors == (Tensor("numbers", "float32", (-1, 2)),)
    platform.close()


def test_where_a_format_declares_nothing_a_signature_is_asked_for(headrace):
    content, answers = _trained("xgboost")
    assert "--signature" in _refusal(headrace(content, answers, signature=None))
    content, answers = _trained("onnx")
    assert "no signature 'other'" in _refusal(headrace(content, answers, "--signature-name", "other", signature=None))
