"""MLflow's own server shows what headrace mirrored, over its REST interface and in its pages."""

import json
import os
import signal
import subprocess
import sys
import time
from http.client import HTTPConnection, HTTPException

import pytest

from headrace.engines.mlflow.tracking import MlflowTracking
from headrace.placement.services import free_port

pytestmark = [pytest.mark.service, pytest.mark.timeout(180)]
START_S = 90


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    """A server over a database into which one run was mirrored."""
    folder = tmp_path_factory.mktemp("mlflow")
    tracking = MlflowTracking(folder)
    tracking.mirror("wine", "trial 0", params={"rate": 0.1}, metrics={"auc": 0.8}, tags={"key": "study/0"})
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", tracking.address()]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen(
            command, cwd=folder, env={**os.environ, **quiet}, stdout=log, stderr=log, start_new_session=True
        )
    try:
        _wait(port, server, folder / "server.log")
        yield port
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=20)


def _wait(port, server, log):
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        assert server.poll() is None, log.read_text()
        try:
            if _get(port, "/health")[0] == 200:
                return
        except (OSError, HTTPException):
            time.sleep(0.1)
    pytest.fail(f"no answer within {START_S} s:\n{log.read_text()}")


def _get(port, path, body=None):
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        headers = {"content-type": "application/json"}
        connection.request("POST" if body else "GET", path, json.dumps(body) if body else None, headers)
        reply = connection.getresponse()
        return reply.status, reply.read().decode()
    finally:
        connection.close()


def test_its_interface_finds_the_run(port):
    _, text = _get(port, "/api/2.0/mlflow/experiments/get-by-name?experiment_name=wine")
    experiment = json.loads(text)["experiment"]["experiment_id"]
    _, text = _get(port, "/api/2.0/mlflow/runs/search", {"experiment_ids": [experiment]})
    (run,) = json.loads(text)["runs"]
    assert run["info"]["run_name"] == "trial 0"
    assert run["info"]["status"] == "FINISHED"
    assert run["data"]["params"] == [{"key": "rate", "value": "0.1"}]
    assert [(metric["key"], metric["value"]) for metric in run["data"]["metrics"]] == [("auc", 0.8)]


def test_its_pages_open(port):
    status, page = _get(port, "/")
    assert status == 200
    assert "<title>MLflow" in page
