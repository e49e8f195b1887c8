"""Other projects' clients, unmodified, each in a process of its own, against a gateway as users start it."""

import os
import re
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from rpc_served import rpc_address
from served import Gated, onnx_artifact
from tensor_served import echo, echoed, onnx_double, onnx_negative, several
from wine_project import COLUMNS, WineProject, until

from headrace.client import Client
from headrace.delivery.deploy import deploy
from headrace.models.aliases import Move, move
from headrace.models.artifact import Artifact
from headrace.models.registry import Registration, register
from headrace.models.signature import Signature, Tensor
from headrace.placement.tokens import NAME
from headrace.serving.endpoint import Endpoint, Preference

pytestmark = pytest.mark.service

CALLS = Path(__file__).parent / "calls"
CLIENTS = Path(__file__).parents[3] / ".venv-clients/bin/python"
X = np.arange(12, dtype=np.float32).reshape(2, 2, 3)


@contextmanager
def running(project, ports, *options):
    """A gateway process; yields the addresses of its ports, in the order in which it names them."""
    command = [sys.executable, "-m", "headrace.gateway", "--root", str(project.root), "--port", "0", *options]
    for port in ports:
        command += [port, "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as gateway:
        lines = "".join(gateway.stdout.readline() for _ in range(len(ports) + 1))
        drain = threading.Thread(target=gateway.stdout.read, daemon=True)
        drain.start()
        found = re.findall(r"127\.0\.0\.1:\d+", lines)
        try:
            with Client(f"http://{found[-1]}") as client:
                client.wait_ready()
            yield found
        finally:  # else its end would be waited for without end
            gateway.terminate()
        assert gateway.wait(15) == 0


def deployed(folder):
    """A project with a wine model of named columns, and one that doubles a tensor."""
    opened = WineProject(folder)
    opened.deploy(opened.register(1.0), deadline_s=2.0)
    artifact = Artifact("onnx", {"model.onnx": onnx_double()}, ("x",), ("y",))
    asked = Registration("double", {"x": X}, "CC0-1.0", answers={"y": X * 2})
    double = register(opened.platform.stores(), artifact, asked)
    schedule = (Preference(str(double), 1.0),)
    deploy(opened.platform.ledger(), Endpoint("double", schedule, 2.0), who="test")
    return opened


@pytest.fixture(scope="module")
def addresses(tmp_path_factory):
    """Host and port of a gateway's HTTP and gRPC."""
    project = deployed(tmp_path_factory.mktemp("project"))
    project.close()
    # MLflow's server has one model: the first endpoint, so it is named first.
    with running(project, ("--grpc-port",), "--endpoint", "wine", "--endpoint", "double") as (grpc, http):
        yield http, grpc


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


def test_a_client_that_learns_messages_by_reflection(addresses, clients):
    run(clients, "reflection", addresses[1])


def test_kserve_over_http_and_grpc(addresses, clients):
    run(clients, "kserve_clients", *addresses)


def test_triton_sends_bytes_and_chooses_a_signature(tmp_path, clients):
    """A model that answers bytes as they are, and another signature with their lengths."""
    octets = echo("bytes", (-1,))
    lengths = Signature("tensor", octets.inputs, (Tensor("n", "int64", (-1,)),), "lengths")
    functions = {"": echoed, "lengths": lambda batch: {"n": np.array([len(cell) for cell in batch["x"]])}}
    gate = Gated(tmp_path, ("octets",))
    try:
        served = several("octets@1", functions, replace(octets, others=(lengths,)))
        gate.flip(Endpoint("octets", (Preference("octets@1", 2.0),), 3.0), {"octets@1": served})
        with rpc_address(gate) as rpc:
            run(clients, "triton_bytes", f"127.0.0.1:{gate.port}", rpc)
    finally:
        gate.close()


def test_kserve_learns_which_models_are_ready(tmp_path, clients):
    gate = Gated(tmp_path, ("octets", "young"))
    try:
        octets = echo("bytes", (-1,))
        served = several("octets@1", {"": echoed}, octets)
        gate.flip(Endpoint("octets", (Preference("octets@1", 2.0),), 3.0), {"octets@1": served})
        run(clients, "kserve_waits", f"127.0.0.1:{gate.port}", "octets", "young")
    finally:
        gate.close()


def test_mlflow(addresses):
    run(sys.executable, "mlflow_client", addresses[0])


@pytest.mark.timeout(300)
def test_schemathesis(tmp_path, clients):
    """Models of a table and of a tensor, whose answers are finite for whatever they are asked."""
    project = WineProject(tmp_path)
    stores, x = project.platform.stores(), X
    mean, negative = onnx_artifact(COLUMNS, [0.1, 0.1, 0.1]), onnx_negative()
    asked = Registration("mean", pl.DataFrame(COLUMNS), "CC0-1.0")
    project.deploy(register(stores, mean, asked), endpoint="mean", deadline_s=2.0)
    artifact = Artifact("onnx", {"model.onnx": negative}, ("x",), ("y",))
    found = register(stores, artifact, Registration("negative", {"x": x}, "CC0-1.0", answers={"y": -x}))
    deploy(project.platform.ledger(), Endpoint("negative", (Preference(str(found), 1.0),), 2.0), who="test")
    move(project.platform.ledger(), "mean", Move("champion", 1))
    project.close()
    checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
    examples = "100" if os.environ.get("HEADRACE_SOAK") else "25"
    # TensorFlow Serving says 400 to another method.
    methods = ["unsupported_method,allow_header_conformance", "--exclude-path-regex", "^/v1", "--phases", "coverage"]
    with running(project, (), "--endpoint", "mean", "--endpoint", "negative") as (address,):
        for about in ([checks, "--max-examples", examples], methods):
            command = [str(clients.parent / "schemathesis"), "run", f"http://{address}/openapi.json", "--no-color"]
            command += ["--generation-deterministic", "--checks", *about]
            done = subprocess.run(command, capture_output=True, text=True, timeout=280, cwd=tmp_path, check=False)
            assert done.returncode == 0, done.stdout[-6000:]
            assert int(re.search(r"(\d+) generated", done.stdout)[1]) > 500


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_triton_on_the_control_port(tmp_path, clients, protocol):
    project = deployed(tmp_path)
    project.deploy(project.register(2.0, claimed=1.0), deadline_s=2.0)
    project.close()
    option = {"http": "--control-port", "grpc": "--control-grpc-port"}[protocol]
    with running(project, (option,)) as (control, scoring), Client(f"http://{scoring}") as client:
        until(lambda: {row["version"] for row in client.status("wine")} == {"1", "2"})
        token = (project.root / ".headrace" / NAME).read_text().strip()
        run(clients, "triton_control", protocol, control, token)
