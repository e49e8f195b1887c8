"""An MLflow model with parameters behind a gateway as users start it, asked by MLflow's own scoring client."""

import json
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from mlflow_saved import shifts

from headrace.client import Client

pytestmark = [pytest.mark.service, pytest.mark.timeout(180), pytest.mark.filterwarnings("ignore")]

ROWS = pd.DataFrame({"a": np.linspace(-3, 3, 40).round(3)})
SAID = [
    None,
    {},
    {"factor": 3},
    {"factor": 0.5, "times": 3, "up": False},
    {"by": [], "who": "a longer name"},
    {"by": [1, 2.5], "day": "2026-01-31", "how": {"more": 5}},
]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mlflow") / "shifts"
    return shifts(folder, ROWS.head(3), outputs=pd.DataFrame({"total": [1.0]}))


@pytest.fixture(scope="module")
def root(saved, tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    schedule = 'schedule = [{model = "shifts@1", wait_ms = 3000}]\ndeadline_ms = 4000\ndefault = {total = 0.0}\n'
    (folder / "headrace.toml").write_text(f"[endpoint.shifts]\n{schedule}")
    headrace(folder, "models", "import", str(saved), "--name", "shifts", "--licence", "MIT", "--trust", "pickle")
    headrace(folder, "serving", "deploy", "shifts")
    return folder


@pytest.fixture(scope="module")
def address(root):
    """Host and port of a gateway that serves it."""
    command = [sys.executable, "-m", "headrace.gateway", "--root", str(root), "--port", "0", "--endpoint", "shifts"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as gateway:
        found = re.search(r"127\.0\.0\.1:\d+", gateway.stdout.readline()).group()
        with Client(f"http://{found}") as client:
            client.wait_ready(90)
        yield found
        gateway.terminate()
        assert gateway.wait(15) == 0


def headrace(root, *arguments):
    command = [sys.executable, "-m", "headrace", *arguments]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def scoring(address):
    from mlflow.pyfunc.scoring_server.client import ScoringServerClient

    return ScoringServerClient(*address.split(":"))


@pytest.fixture(scope="module")
def pyfunc(saved):
    from mlflow import pyfunc

    return pyfunc.load_model(str(saved))


@pytest.mark.parametrize("params", SAID)
def test_mlflows_client_gets_what_mlflow_answers_with_these_params(scoring, pyfunc, params):
    due = pyfunc.predict(ROWS, params=params)
    found = scoring.invoke(ROWS, params=params).get_predictions()
    np.testing.assert_allclose(found.to_numpy().ravel(), due["total"], rtol=1e-5)


@pytest.mark.parametrize("params", [{"factor": "3"}, {"times": 1.5}, {"by": 1.0}, {"day": "soon"}, {"how": []}])
def test_what_mlflow_refuses_is_refused_with_its_code(scoring, pyfunc, params):
    with pytest.raises(Exception, match="Invalid parameters found"):
        pyfunc.predict(ROWS, params=params)
    with pytest.raises(
        Exception, match=rf"error code 422, .*INVALID_PARAMETER_VALUE.*param '{min(params)}' is refused"
    ):
        scoring.invoke(ROWS, params=params)


def test_a_misspelt_name_is_refused_with_those_there_are(scoring):
    with pytest.raises(Exception, match=r"'fator' is not one of this model - it takes factor: float64 = 2\.0"):
        scoring.invoke(ROWS, params={"fator": 3.0})


def test_explain_and_replay_know_them(scoring, root, address):
    body = json.dumps({"dataframe_records": [{"a": 1.5}], "params": {"factor": 3, "who": ""}}).encode()
    with Client(f"http://{address}") as client:
        reply = client.request("POST", "/invocations", body)
    told = json.loads(headrace(root, "serving", "explain", reply.header("x-headrace-id"), "--json"))
    assert told["params"] == {"factor": 3.0, "who": ""}
    assert told["answer"] == {"total": [pytest.approx(1.5 * 3 + 0.75 + 1 + 1)]}
    assert "params     factor=3.0, who=" in headrace(root, "serving", "explain", reply.header("x-headrace-id"))
    for params in SAID[2:]:
        scoring.invoke(ROWS, params=params)
    replayed = json.loads(headrace(root, "serving", "replay", "shifts", "--model", "shifts@1", "--json"))
    assert replayed["numbers"]["disagreement"] == 0
    assert replayed["requests"] >= len(SAID[2:]) + 1
