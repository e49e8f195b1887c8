"""``headrace models import`` of MLflow's model folders: what must be trusted, and what comes with them."""

import json

import numpy as np
import pandas as pd
import pytest
import xgboost
from click.testing import CliRunner
from mlflow_saved import flavored, schemas
from sklearn.linear_model import ElasticNet

from headrace.assembly import open_platform
from headrace.cli import cli
from headrace.errors import ParityFailed, Refused, UsageError
from headrace.models.registry import find
from headrace.serving.versions import load_model
from headrace.settings import Settings

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow warns of pickle

RNG = np.random.default_rng(5)
ROWS = pd.DataFrame({"ph": RNG.normal(3, 0.2, 40), "alcohol": RNG.normal(10, 1, 40)})
TRUTH = ROWS["alcohol"] * 0.5 - ROWS["ph"]
MODEL = ElasticNet(0.01).fit(ROWS, TRUTH)


@pytest.fixture
def headrace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "headrace.toml").touch()
    return lambda *arguments: CliRunner().invoke(cli, ["models", *arguments])


@pytest.fixture
def platform(tmp_path):
    opened = open_platform(Settings(root=tmp_path))
    yield opened
    opened.close()


def pickled(folder, **more):
    signature = schemas(ROWS, MODEL.predict(ROWS))
    return flavored(folder, "sklearn", MODEL, signature=signature, serialization_format="cloudpickle", **more)


IMPORT = ("import", "saved", "--name", "wine", "--licence", "CC0-1.0")


def test_a_pickled_model_is_served_once_it_is_trusted(headrace, platform, tmp_path):
    pickled(tmp_path / "saved", input_example=ROWS.head(7))
    refused = headrace(*IMPORT)
    assert isinstance(refused.exception, Refused)
    assert "runs code when it is loaded" in str(refused.exception)
    assert "--trust pickle" in str(refused.exception)
    assert platform.ledger().query("model.version") == []
    done = headrace(*IMPORT, "--trust", "pickle")
    assert done.exception is None, done.output
    assert "wine@1 registered: mlflow, 7 rows answered alike" in done.output
    version = find(platform.ledger(), "wine")
    assert [(c.name, c.dtype) for c in version.signature.columns] == [("ph", "float64"), ("alcohol", "float64")]
    assert version.report["imported"]["trusted"] == "pickle"
    listed = headrace("ls").output.splitlines()
    assert ("TRUSTED" in listed[0], "pickle" in listed[1]) == (True, True)
    served = load_model(platform.ledger(), platform.files(), platform.runtime, "wine@1")
    found = served.loaded.score({"numbers": ROWS.to_numpy(np.float32)})
    np.testing.assert_allclose(found["output"], MODEL.predict(ROWS), atol=1e-5)
    served.loaded.close()


def test_trust_does_not_travel_with_an_export(headrace, platform, tmp_path):
    pickled(tmp_path / "saved", input_example=ROWS.head(2))
    assert headrace(*IMPORT, "--trust", "pickle").exception is None
    assert headrace("export", "wine@1", "--to", "out").exception is None
    again = ("import", "out/wine/1", "--name", "again", "--licence", "CC0-1.0")
    assert "--trust pickle" in str(headrace(*again).exception)
    assert headrace(*again, "--trust", "pickle").exception is None
    assert find(platform.ledger(), "again").digest == find(platform.ledger(), "wine").digest


def test_examples_come_with_the_model_or_are_given(headrace, tmp_path):
    pickled(tmp_path / "saved")
    refused = headrace(*IMPORT, "--trust", "pickle").exception
    assert isinstance(refused, UsageError)
    assert "--example is missing" in str(refused)
    cells = {name: ROWS[name].tolist() for name in ROWS}
    due = MODEL.predict(ROWS)
    for answers, wrong in ((due + 0.1, True), (due, False)):
        example = {"columns": cells, "outputs": {"output": answers.tolist()}}
        done = headrace(*IMPORT, "--trust", "pickle", "--example", json.dumps(example))
        assert isinstance(done.exception, ParityFailed) == wrong, done.output
    assert "40 rows answered alike" in done.output


def test_a_file_in_it_that_runs_no_code_is_named_and_served_natively(headrace, tmp_path):
    booster = xgboost.train({"nthread": 1, "max_depth": 2}, xgboost.DMatrix(ROWS, TRUTH), 3)
    answers = booster.predict(xgboost.DMatrix(ROWS))
    folder = flavored(tmp_path / "saved", "xgboost", booster, signature=schemas(ROWS, answers))
    (plain,) = (path for path in folder.iterdir() if path.suffix in {".ubj", ".xgb"})
    assert f"import saved/{plain.name} itself" in str(headrace(*IMPORT).exception)
    example = {
        "columns": {name: ROWS[name].astype(np.float32).tolist() for name in ROWS},
        "outputs": {"quality": answers.tolist()},
    }
    signature = {
        "kind": "table",
        "inputs": [{"name": name, "dtype": "float64", "nullable": False} for name in ROWS],
        "outputs": [{"name": "quality", "dtype": "float32", "nullable": False}],
    }
    said = ("--example", json.dumps(example), "--signature", json.dumps(signature))
    done = headrace("import", f"saved/{plain.name}", *IMPORT[2:], *said)
    assert done.exception is None, done.output
    assert "wine@1 registered: xgboost" in done.output
