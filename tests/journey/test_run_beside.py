"""``headrace serving run`` with a watched folder, gRPC and the control port, as people start it."""

import json
import shutil
import signal
import socket
import subprocess
import sys
import time

import grpc
import pytest
from server_process import alive, serving
from tensor_served import onnx_double
from wine_project import ROW, WineProject, until

from headrace.client import Client
from headrace.gateway.rpc.messages import INFERENCE
from headrace.placement.tokens import NAME


def headrace(root, *arguments):
    command = [sys.executable, "-m", "headrace", *arguments]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def served(tmp_path):
    """An empty project that serves what another has exported; what the command said."""
    (tmp_path / "made").mkdir()
    project = WineProject(tmp_path / "made")
    project.register(0.5)
    answer = project.answer(0.5)
    project.close()
    models = tmp_path / "models"
    assert headrace(project.root, "models", "export", "wine@1", "--to", str(models)).returncode == 0
    root = tmp_path / "serving"
    root.mkdir()
    (root / "headrace.toml").write_text("port = 0\n")
    options = ["--models", str(models), "--grpc-port", "0", "--control-port", "0", "--detach"]
    options += ["--metrics-names", "headrace,triton"]
    done = headrace(root, "serving", "run", *options, "--json")
    assert done.returncode == 0, done.stderr
    assert NAME in done.stderr
    yield root, options, json.loads(done.stdout), answer
    assert headrace(root, "serving", "run", "--stop").returncode == 0
    assert [path.name for path in (root / ".headrace/cache/models").iterdir()] == [".lock"]  # copies went with it


def test_what_a_folder_serves_is_labelled_and_not_split(served):
    root, _, said, _ = served
    with Client(said["address"]) as scoring:
        answers = [scoring.predict("wine", rows=[ROW]) for _ in range(3)]
    (root / "labels.csv").write_text("\n".join(["id,label", *(f"{answer.id},5.0" for answer in answers)]))
    told = headrace(root, "monitor", "label", "wine", "labels.csv", "--json")
    assert json.loads(told.stdout) == {"endpoint": "wine", "labels": 3, "unmatched": 0}
    seen = headrace(root, "monitor", "show", "wine")  # this project has registered nothing
    assert seen.returncode == 2
    assert "what it was trained on is not known - fix: serve a version that headrace models export wrote" in seen.stderr
    for arguments in (
        ("split", "wine", "wine@1=5%"),
        ("rollback", "wine"),
        ("ab", "wine"),
        ("ls", "wine", "--history"),
    ):
        refused = headrace(root, "serving", *arguments)
        assert (refused.returncode, "it is served from a watched folder" in refused.stderr) == (5, True), arguments


def test_a_folder_is_served_on_every_port_and_unloaded_with_the_token(served):
    root, _, said, answer = served
    with Client(said["address"]) as scoring, Client(said["control"]) as control:
        assert scoring.predict("wine", rows=[ROW]).values[0] == pytest.approx(answer, abs=1e-3)
        with grpc.insecure_channel(said["grpc"]) as channel:
            ready = channel.unary_unary(
                "/inference.GRPCInferenceService/ServerReady",
                request_serializer=INFERENCE.ServerReadyRequest.SerializeToString,
                response_deserializer=INFERENCE.ServerReadyResponse.FromString,
            )
            assert ready(INFERENCE.ServerReadyRequest(), timeout=10).ready
        assert scoring.metrics()['nv_inference_count{model="wine",version="1"}'] == 1
        path = "/v2/repository/models/wine/unload"
        assert control.request("POST", path).status == 401
        token = (root / ".headrace" / NAME).read_text().strip()
        assert control.request("POST", path, b"", {"authorization": f"Bearer {token}"}).status == 200
        assert scoring.request("GET", "/v2/models/wine/ready").status == 503


def test_the_same_again_is_the_same_and_more_is_refused(served):
    root, options, said, _ = served
    again = headrace(root, "serving", "run", *options, "--json")
    assert json.loads(again.stdout) == said
    more = headrace(root, "serving", "run", *options, "--control-grpc-port", "0")
    assert (more.returncode, "--stop first" in more.stderr) == (2, True)


def test_a_prediction_from_a_folder_is_explained(served, tmp_path):
    root, _, said, _ = served
    with Client(said["address"]) as scoring:
        identifier = scoring.predict("wine", rows=[ROW]).id
    told = json.loads(headrace(root, "serving", "explain", identifier, "--json").stdout)
    assert (told["winner"], told["input"]["ph"], told["model"]["registered"]) == ("wine@1", [ROW["ph"]], "")
    assert told["model"]["folder"] == str(tmp_path / "models/wine/1")
    assert "where it comes from is not known" in headrace(root, "serving", "explain", identifier).stdout
    # What its author registered elsewhere has the same digest here, whatever it is called.
    again = ("models", "import", str(tmp_path / "models/wine/1"), "--name", "other", "--licence", "CC0-1.0", "--json")
    assert told["model"]["digest"] == json.loads(headrace(root, *again).stdout)["digest"]
    told = headrace(root, "serving", "explain", identifier).stdout
    assert ("registered other@1" in told, "licence CC0-1.0" in told) == (True, True)
    replayed = headrace(root, "serving", "replay", "wine", "--model", "other@1", "--json")
    found = json.loads(replayed.stdout)
    assert (found["requests"], found["numbers"]["disagreement"]) == (1, 0.0)
    assert headrace(root, "serving", "replay", "nothing", "--model", "other@1").returncode == 5


def test_a_folder_whose_settings_are_wrong_is_not_served(tmp_path):
    (tmp_path / "headrace.toml").write_text("port = 0\n")
    (tmp_path / "models").mkdir()
    (tmp_path / "models/models.toml").write_text("[model.wine]\nversion = 2\n")
    command = [sys.executable, "-m", "headrace.gateway", "--root", str(tmp_path), "--models", str(tmp_path / "models")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2, done.stderr
    assert "unknown setting 'version' - [model.wine] of models.toml - fix: did you mean 'versions'?" in done.stderr


@pytest.fixture
def beside(tmp_path):
    """A project that has deployed ``wine`` and ``plum``, with a folder that has ``cork`` and is looked at each hour."""
    project = WineProject(tmp_path)
    project.deploy(project.register(0.5))
    project.deploy(project.register(1.0, name="plum"), endpoint="plum")
    (tmp_path / "models/cork").mkdir(parents=True)
    (tmp_path / "models/models.toml").write_text("poll_s = 3600")
    shutil.copytree(project.model_file(project.register(2.0, name="cork")).parent, tmp_path / "models/cork/1")
    yield project
    project.close()


def test_named_endpoints_are_served_beside_the_whole_folder_and_sighup_looks_for_changes(beside):
    models = beside.root / "models"
    with serving(beside.root, "--endpoint", "wine", "--models", str(models)) as server:
        until(lambda: {e.name for e in server.client.overview().endpoints if e.state == "serving"} == {"wine", "cork"})
        assert server.client.predict("cork", rows=[ROW]).values[0] == pytest.approx(beside.answer(2.0), abs=1e-3)
        shutil.copytree(models / "cork/1", models / "cork/2")
        server.process.send_signal(signal.SIGHUP)
        until(lambda: server.client.predict("cork", rows=[ROW]).winner == "cork@2")
        assert server.client.request("GET", "/v2/models/plum").status == 404
        assert server.end()[0] == 0


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_a_gateway_in_the_foreground_ends_with_its_command(beside, number):
    command = [sys.executable, "-m", "headrace", "serving", "run", "wine", "--port", "0", "--json"]
    with subprocess.Popen(command, cwd=beside.root, stdout=subprocess.PIPE, text=True) as running:
        pid = json.loads(running.stdout.readline())["pid"]
        assert alive(pid)
        running.send_signal(number)
        assert running.wait(30) == 130
    assert not alive(pid)


@pytest.mark.parametrize("option", ["--port", "--grpc-port", "--control-port", "--control-grpc-port"])
def test_a_port_that_is_taken_is_said_with_the_option_that_moves_it(tmp_path, option):
    (tmp_path / "headrace.toml").write_text("port = 0\n")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "headrace.gateway", "--root", str(tmp_path), option, port]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr.count("cannot listen")) == (4, 1), done.stderr
    assert f"127.0.0.1:{port}" in done.stderr
    assert f"fix: {option} 0 takes a free one" in done.stderr


def test_a_folder_without_models_is_not_waited_for(tmp_path):
    (tmp_path / "headrace.toml").write_text("port = 0\n")
    (tmp_path / "models/wine").mkdir(parents=True)
    done = headrace(tmp_path, "serving", "run", "--models", "models")
    assert (done.returncode, "put a model's file at models/NAME/1/" in done.stderr) == (5, True)
    done = headrace(tmp_path, "serving", "run", "nothing", "--models", "models")
    assert (done.returncode, "nothing is deployed under nothing" in done.stderr) == (5, True)


def test_a_broken_model_of_a_folder_is_told_and_the_others_are_served(tmp_path):
    (tmp_path / "headrace.toml").write_text("port = 0\n")
    for name, content in (("double", onnx_double()), ("broken", onnx_double()[:50])):
        (tmp_path / "models" / name / "1").mkdir(parents=True)
        (tmp_path / "models" / name / "1/model.onnx").write_bytes(content)
    command = ("serving", "run", "--models", "models", "--detach")
    done = headrace(tmp_path, *command)
    assert done.returncode == 0, done.stderr
    assert "not served: broken - broken@1: the ONNX model is cut off or damaged" in done.stderr
    assert headrace(tmp_path, "serving", "run", "--stop").stdout == "stopped\n"
    shutil.rmtree(tmp_path / "models/double")
    done = headrace(tmp_path, *command)
    assert done.returncode == 4
    assert "the gateway serves nothing - broken - broken@1: the ONNX model is cut off" in done.stderr
    assert "nothing to stop" in headrace(tmp_path, "serving", "run", "--stop").stdout


def test_settings_that_change_nothing_are_told_by_ls_and_by_doctor(served, tmp_path):
    root, _, said, _ = served
    (tmp_path / "models/models.toml").write_text("[model.vine]\nversions = 2\n")
    with Client(said["address"]) as scoring:
        until(lambda: scoring.overview().warnings)
        assert scoring.ready()
    due = f"[model.vine] of models.toml is of no model - {tmp_path}/models has wine"
    assert due in headrace(root, "serving", "ls").stderr
    told = headrace(root, "doctor")
    assert f"settings of the watched folder change nothing: {due}" in told.stdout


def test_ls_lists_what_a_folder_serves_and_why_a_version_is_refused(served, tmp_path):
    root, _, said, _ = served
    broken = tmp_path / "models/wine/2"
    shutil.copytree(tmp_path / "models/wine/1", broken)
    (broken / "model.onnx").write_bytes(b"no model")
    with Client(said["address"]) as scoring:
        scoring.predict("wine", rows=[ROW] * 2)
        scoring.raw("wine", b"{}")
        begun = time.monotonic()
        while "failed" not in {one.state for one in scoring.overview().endpoints[0].versions}:
            assert time.monotonic() - begun < 20
            time.sleep(0.05)
    (row,) = json.loads(headrace(root, "serving", "ls", "--json").stdout)
    assert (row["endpoint"], row["state"], row["schedule"]) == ("wine", "serving", "wine@1 5000 ms")
    assert (row["traffic"]["requests"], row["traffic"]["errors"], row["traffic"]["p99_ms"] > 0) == (1, 1, True)
    good, bad = row["versions"]
    assert (good["version"], good["state"], good["scores"]) == ("wine@1", "available", 1)
    assert good["memory"]["size_bytes"] == sum(p.stat().st_size for p in (tmp_path / "models/wine/1").rglob("*"))
    assert (bad["version"], bad["state"], bad["memory"], "model.onnx" in bad["why"]) == ("wine@2", "failed", None, True)
    told = headrace(root, "serving", "ls")
    lines = told.stdout.splitlines()
    titles = "ENDPOINT STATE SCHEDULE DEADLINE MS REQUESTS ERRORS DEFAULTS REQ/S P50 MS P99 MS"
    assert " ".join(lines[0].split()) == titles
    assert lines[1].split()[:5] == ["wine", "serving", "wine@1", "5000", "ms"]
    assert [line.split()[:4] for line in lines[4:6]] == [
        ["wine", "wine@1", "scheduled", "available"],
        ["wine", "wine@2", "-", "failed"],
    ]
    assert lines[7] == f"wine@2: {bad['why']}"
    assert "the gateway (pid" in told.stderr
