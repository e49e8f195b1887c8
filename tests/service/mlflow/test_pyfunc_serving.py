"""A pickled MLflow model behind a gateway as users start it, asked by MLflow's own scoring client."""

import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from mlflow_saved import flavored, schemas
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from headrace.client import Client

pytestmark = [pytest.mark.service, pytest.mark.timeout(180), pytest.mark.filterwarnings("ignore")]

ROWS = pd.DataFrame(
    {
        "grape": ["red", "white", "rose", "red"] * 20,
        "alcohol": np.linspace(9, 13, 80).round(3),
        "year": np.arange(1940, 2020),
    }
)
DEFAULT = 0.0
TRUTH = ROWS["alcohol"] * 2 + (ROWS["grape"] == "red") - ROWS["year"] / 100


@pytest.fixture(scope="module")
def forest():
    encoded = make_column_transformer((OneHotEncoder(), ["grape"]), remainder="passthrough")
    return make_pipeline(encoded, RandomForestRegressor(20, random_state=0)).fit(ROWS, TRUTH)


@pytest.fixture(scope="module")
def saved(forest, tmp_path_factory):
    """The pipeline as MLflow pickles it."""
    folder = tmp_path_factory.mktemp("mlflow") / "forest"
    about = {"signature": schemas(ROWS, forest.predict(ROWS)), "input_example": ROWS.head(5)}
    return flavored(folder, "sklearn", forest, serialization_format="cloudpickle", **about)


@pytest.fixture(scope="module")
def address(saved, tmp_path_factory):
    """Host and port of a gateway that serves it."""
    root = tmp_path_factory.mktemp("project")
    schedule = 'schedule = [{model = "forest@1", wait_ms = 3000}]\ndeadline_ms = 4000\ndefault = {output = 0.0}\n'
    (root / "headrace.toml").write_text(f"[endpoint.forest]\n{schedule}")
    headrace(root, "models", "import", str(saved), "--name", "forest", "--licence", "MIT", "--trust", "pickle")
    headrace(root, "serving", "deploy", "forest")
    command = [sys.executable, "-m", "headrace.gateway", "--root", str(root), "--port", "0", "--endpoint", "forest"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as gateway:
        found = re.search(r"127\.0\.0\.1:\d+", gateway.stdout.readline()).group()
        client = Client(f"http://{found}")
        client.wait_ready(90)
        client.close()
        yield found, gateway.pid
        gateway.terminate()
        assert gateway.wait(15) == 0
    assert {path.name for path in root.iterdir()} == {"headrace.toml", ".headrace"}, "MLflow wrote where it served"


def headrace(root, *arguments):
    command = [sys.executable, "-m", "headrace", *arguments]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def scoring(address):
    from mlflow.pyfunc.scoring_server.client import ScoringServerClient

    return ScoringServerClient(*address[0].split(":"))


def test_mlflows_client_gets_what_mlflow_answers(address, saved):
    from mlflow import pyfunc

    due = pyfunc.load_model(str(saved)).predict(ROWS)
    client = scoring(address)
    client.wait_server_ready(10)
    shuffled = ROWS[["year", "grape", "alcohol"]]  # in any order
    predictions = client.invoke(shuffled).get_predictions()
    np.testing.assert_allclose(predictions.to_numpy().ravel(), due, rtol=1e-5)
    with pytest.raises(Exception, match="422"):
        client.invoke(ROWS[["grape", "alcohol"]])


def workers(parent):
    """Process ids of a gateway's model workers, oldest first."""
    found = subprocess.run(
        ["ps", "-ww", "-o", "pid=,args=", "--ppid", str(parent)], capture_output=True, text=True, check=True
    )
    return [int(line.split()[0]) for line in found.stdout.splitlines() if "headrace.serving.worker" in line]


def test_a_worker_that_dies_is_replaced(address):
    (before,) = workers(address[1])
    os.kill(before, signal.SIGKILL)
    client, until = scoring(address), time.monotonic() + 60
    while client.invoke(ROWS.head(1)).get_predictions().iloc[0, 0] == DEFAULT:
        assert time.monotonic() < until
    assert workers(address[1]) != [before]
