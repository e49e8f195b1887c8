"""``headrace doctor`` sees a gateway that runs, hangs, died or was stopped, within ten seconds."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pyarrow as pa
import pytest

from headrace import assembly
from headrace.client import Client
from headrace.delivery.deploy import deploy
from headrace.journey.probes import ADDS_TWO_COLUMNS
from headrace.models.artifact import Artifact
from headrace.models.registry import Registration, register
from headrace.placement.gateway import gateway_spec
from headrace.serving.endpoint import Endpoint, Preference
from headrace.settings import Settings


def _doctor(root):
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "headrace", "doctor", "--json"], cwd=root, capture_output=True, text=True, check=False
    )
    assert time.monotonic() - begun < 10 + 5  # the interpreter's own start on a busy machine
    found = json.loads(done.stdout)
    return done.returncode, next(c for c in found["components"] if c["name"] == "gateway")


@pytest.fixture
def platform(tmp_path):
    """A project that serves a model which adds two columns."""
    (tmp_path / "headrace.toml").write_text('tracking = "off"\n')
    platform = assembly.open_platform(Settings(root=tmp_path))
    example = pa.table({"a": pa.array([1.0], pa.float32()), "b": pa.array([2.0], pa.float32())})
    adds = Artifact("onnx", {"model.onnx": ADDS_TWO_COLUMNS}, ("a", "b"), ("sum",))
    register(platform.stores(), adds, Registration("adds", example, "CC0-1.0"))
    deploy(platform.ledger(), Endpoint("adds", (Preference("adds@1", 0.02),), 0.05, {"sum": 0.0}))
    yield platform
    platform.close()


def test_a_gateway_in_all_its_states(platform):
    project, services = platform.settings.root, platform.services()
    assert _doctor(project)[1]["state"] == "off"
    running = services.start(gateway_spec(project, restart=False))
    try:
        code, gateway = _doctor(project)
        assert (code, gateway["state"]) == (0, "ok"), gateway
        assert running.address in gateway["detail"]

        os.kill(running.pid, signal.SIGSTOP)
        code, gateway = _doctor(project)
        assert (code, gateway["state"]) == (1, "FAIL"), gateway
        assert gateway["fix"] == "headrace serving run"
        os.kill(running.pid, signal.SIGCONT)

        os.kill(running.pid, signal.SIGKILL)
        code, gateway = _doctor(project)
        assert (code, gateway["state"]) == (1, "FAIL"), gateway
    finally:
        services.stop("gateway")
    code, gateway = _doctor(project)
    assert (code, gateway["state"]) == (0, "off")
    assert "headrace serving run" in gateway["detail"]


def test_a_gateway_that_was_started_again_is_told_as_such(platform):
    services = platform.services()
    state = services.start(gateway_spec(platform.settings.root))
    try:
        os.kill(state.pid, signal.SIGKILL)
        client = Client(state.address)
        client.wait_ready()
        client.close()
        _, gateway = _doctor(platform.settings.root)
    finally:
        services.stop("gateway")
    assert gateway["state"] == "ok"
    assert re.search(r"restarted 1 time, last \d+ s ago", gateway["detail"]), gateway
