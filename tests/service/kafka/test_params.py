"""Params of an MLflow model that workers score over a real broker: its own client, its own answers, and the log."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from mlflow_saved import shifts
from server_process import serving, until
from worker_process import working

from headrace.assembly import open_platform
from headrace.serving.log import RequestLog
from headrace.settings import load_settings

pytestmark = [pytest.mark.service, pytest.mark.timeout(300), pytest.mark.filterwarnings("ignore")]

ROWS = pd.DataFrame({"a": np.linspace(-3, 3, 40).round(3)})
SAID = [{}, {"factor": 3}, {"factor": 0.5, "times": 3, "up": False}, {"by": [1, 2.5], "how": {"more": 5}}]
SETTINGS = """
stream = "{uri}"
scorers = "workers"

[endpoint.shifts]
schedule = [{{model = "shifts@1", wait_ms = 20000}}]
deadline_ms = 25000
default = {{total = 0.0}}
"""


@pytest.fixture
def project(noida, tmp_path):
    """The model, deployed on a broker; its folder lies beside."""
    saved = shifts(tmp_path / "shifts", ROWS.head(3), outputs=pd.DataFrame({"total": [1.0]}))
    (tmp_path / "headrace.toml").write_text(SETTINGS.format(uri=noida.uri()))
    imported = ("models", "import", str(saved), "--name", "shifts", "--licence", "MIT", "--trust", "pickle")
    for arguments in (imported, ("serving", "deploy", "shifts")):
        command = [sys.executable, "-m", "headrace", *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    return tmp_path, saved


def test_mlflows_client_gets_what_mlflow_answers_from_a_worker(project):
    from mlflow import pyfunc
    from mlflow.pyfunc.scoring_server.client import ScoringServerClient

    root, saved = project
    model = pyfunc.load_model(str(saved))
    with working(root, "shifts") as worker, serving(root, "--endpoint", "shifts", ready_s=120) as door:
        until(lambda: [v.runs for v in door.client.overview().endpoints[0].versions] == ["1 worker"], 120)
        client = ScoringServerClient("127.0.0.1", door.port)
        for params in SAID:
            due = model.predict(ROWS, params=params)
            found = client.invoke(ROWS, params=params).get_predictions()
            np.testing.assert_allclose(found.to_numpy().ravel(), due["total"], rtol=1e-5)
        with pytest.raises(Exception, match="error code 422"):
            client.invoke(ROWS, params={"times": 1.5})
        assert door.metric("headrace_scored_here_total", endpoint="shifts", model="shifts@1") == 0
        pid = str(worker.pid)
    platform = open_platform(load_settings(root))
    log = RequestLog(platform.stream(), "shifts")
    page = [prediction for _, prediction in log.predictions(-1, 100, late=False)]
    platform.close()
    assert [dict(prediction.params) for prediction in page] == SAID
    assert {s.worker.rpartition("/")[2] for p in page for s in p.scores} == {pid}
