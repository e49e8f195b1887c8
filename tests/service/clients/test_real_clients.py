"""Other projects' clients, unmodified, each in a process of its own, against a gateway as users start it."""

import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from tensor_served import onnx_double
from wine_project import WineProject

from headrace.client import Client
from headrace.delivery.deploy import deploy
from headrace.models.artifact import Artifact
from headrace.models.registry import Registration, register
from headrace.serving.endpoint import Endpoint, Preference

pytestmark = pytest.mark.service

CALLS = Path(__file__).parent / "calls"
CLIENTS = Path(__file__).parents[3] / ".venv-clients/bin/python"
X = np.arange(12, dtype=np.float32).reshape(2, 2, 3)


@pytest.fixture(scope="module")
def addresses(tmp_path_factory):
    """Host and port of a gateway's HTTP and gRPC: a wine model of named columns, and one that doubles a tensor."""
    project = WineProject(tmp_path_factory.mktemp("project"))
    project.deploy(project.register(1.0), deadline_s=2.0)
    artifact = Artifact("onnx", {"model.onnx": onnx_double()}, ("x",), ("y",))
    asked = Registration("double", {"x": X}, "CC0-1.0", answers={"y": X * 2})
    double = register(project.platform.stores(), artifact, asked)
    schedule = (Preference(str(double), 1.0),)
    deploy(project.platform.ledger(), Endpoint("double", schedule, 2.0), who="test")
    project.close()
    command = [sys.executable, "-m", "headrace.gateway", "--root", str(project.root), "--port", "0", "--grpc-port", "0"]
    # MLflow's server has one model: the first endpoint, so it is named first.
    command += ["--endpoint", "wine", "--endpoint", "double"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as gateway:
        lines = "".join(gateway.stdout.readline() for _ in range(2))
        drain = threading.Thread(target=gateway.stdout.read, daemon=True)
        drain.start()
        grpc, http = re.findall(r"127\.0\.0\.1:\d+", lines)
        with_client = Client(f"http://{http}")
        with_client.wait_ready()
        with_client.close()
        yield http, grpc
        gateway.terminate()
        assert gateway.wait(15) == 0


def run(python, script, *arguments):
    quiet = {**os.environ, "GRPC_VERBOSITY": "ERROR"}
    command = [str(python), str(CALLS / f"{script}.py"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, env=quiet, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture
def clients():
    if not CLIENTS.exists():
        pytest.skip("`make test-services` installs the clients in .venv-clients")
    return CLIENTS


def test_triton_over_http(addresses, clients):
    run(clients, "triton_http", addresses[0])


def test_triton_over_grpc(addresses, clients):
    run(clients, "triton_grpc", addresses[1])


def test_kserve_over_http_and_grpc(addresses, clients):
    run(clients, "kserve_clients", *addresses)


def test_mlflow(addresses):
    run(sys.executable, "mlflow_client", addresses[0])
