"""The gateway as its users meet it: a process of its own, the command line, and signals at bad moments."""

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
from wine_project import ROW, WineProject, until

from headrace.client import Client
from headrace.errors import HeadraceError
from headrace.monitoring.alerts import alerts
from headrace.placement.gateway import GATEWAY, gateway_spec
from headrace.serving.log import RequestLog

BODY = json.dumps({"instances": [ROW]}).encode()


@pytest.fixture
def project(tmp_path):
    opened = WineProject(tmp_path)
    opened.deploy(opened.register(0.5))
    yield opened
    opened.platform.services().stop(GATEWAY)
    opened.close()


def start(project, **how):
    state = project.platform.services().start(gateway_spec(project.root, ["wine"], **how))
    return state, Client(state.address)


class Load:
    """Four threads that ask until the server is gone, and keep the ids of the answers they got whole."""

    def __init__(self, address):
        self.client = Client(address, timeout_s=5)
        self.ids = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(4)]
        for thread in self._threads:
            thread.start()

    def _ask(self):
        while not self._stop.is_set():
            try:
                reply = self.client.raw("wine", BODY)
            except HeadraceError:
                return
            assert reply.status == 200
            self.ids.append(reply.header("x-headrace-id"))

    def wait_for(self, count):
        until = time.monotonic() + 20
        while len(self.ids) < count:
            assert time.monotonic() < until
            time.sleep(0.002)

    def end(self):
        self._stop.set()
        for thread in self._threads:
            thread.join(20)
        self.client.close()


def logged_ids(project):
    log, found, after = RequestLog(project.platform.stream(), "wine"), [], -1
    while page := log.predictions(after=after, limit=1000):
        after = page[-1][0]
        found += [p.id for _, p in page]
    return found


@pytest.mark.parametrize("moment", range(3))
def test_kill_9_loses_no_acknowledged_request(project, moment):
    state, client = start(project)
    load = Load(state.address)
    load.wait_for(200 + 137 * moment)
    os.kill(state.pid, signal.SIGKILL)
    client.wait_ready()  # the supervisor has started it again, on the log as it was
    load.end()
    again = client.raw("wine", BODY)
    client.close()
    ids = logged_ids(project)
    assert set(load.ids) <= set(ids)
    assert again.header("x-headrace-id") in ids
    assert len(set(ids)) == len(ids)


def test_sigterm_under_load_loses_nothing_and_ends_well(project):
    state, client = start(project, restart=False)
    client.close()
    load = Load(state.address)
    load.wait_for(200)
    begun = time.monotonic()
    os.kill(state.pid, signal.SIGTERM)
    _, status = os.waitpid(state.pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert time.monotonic() - begun < 10
    load.end()
    ids = logged_ids(project)
    assert set(load.ids) <= set(ids)


def test_only_loopback_is_bound(project):
    command = [sys.executable, "-m", "headrace.gateway", "--root", str(project.root), "--host", "0.0.0.0"]
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "host '0.0.0.0' is refused" in refused.stderr


def said_once(project, *arguments, code):
    lines = headrace(project, "serving", "run", "wine", "--detach", *arguments, code=code).stderr.strip().splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def test_what_cannot_be_served_is_said_once_and_starts_nothing(project):
    assert "host '0.0.0.0' is refused" in said_once(project, "--host", "0.0.0.0", code=2)
    assert not (project.root / ".headrace" / "services").exists()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = str(taken.getsockname()[1])
        said = said_once(project, "--port", port, code=4)
    assert said.count("cannot listen") == 1
    assert "supervisor" not in said
    assert "nothing to stop" in headrace(project, "serving", "run", "--stop").stdout


def test_another_gateway_is_refused_and_the_same_one_is_fine(project):
    state, client = start(project)
    client.close()
    port = state.address.rpartition(":")[2]
    for same in ([], ["--port", port], ["--port", "0"]):
        told = headrace(project, "serving", "run", "wine", "--detach", "--json", *same).stdout
        assert json.loads(told)["pid"] == state.pid
    said = said_once(project, "--port", "1234", code=2)
    assert f"already serving wine on {state.address} - fix: headrace serving run --stop" in said
    assert "already serving" in headrace(project, "serving", "run", "--detach", code=2).stderr


def test_ctrl_c_ends_no_gateway_that_another_command_left_running(project):
    state, client = start(project)
    client.close()
    refused = headrace(project, "serving", "run", "wine", code=2).stderr
    assert f"already serving wine on {state.address} - fix: headrace serving run --stop first" in refused
    assert project.platform.services().state("gateway").pid == state.pid


def test_ctrl_c_during_a_start_leaves_nothing_running(project):
    command = [sys.executable, "-m", "headrace", "serving", "run", "wine", "--port", "0", "--detach"]
    services = project.platform.services()
    with subprocess.Popen(command, cwd=project.root, stdout=subprocess.PIPE, text=True) as starting:
        until(lambda: services.state(GATEWAY).command or services.state(GATEWAY).state == "failed")
        starting.send_signal(signal.SIGINT)
        assert (starting.communicate(timeout=20)[0], starting.returncode) == ("", 130)
    assert services.state(GATEWAY).state == "stopped"


def test_the_port_that_is_taken_is_named_where_grpc_listens_already(project):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        said = said_once(project, "--port", str(port), "--grpc-port", "0", code=4)
    assert f"the gateway cannot listen - 127.0.0.1:{port} - " in said


def test_another_gateway_of_the_project_has_a_name(project):
    state, client = start(project)
    client.close()
    try:
        said = headrace(project, "serving", "run", "--name", "second", "--port", "0", "--detach", "--json")
        told = json.loads(said.stdout)
        assert told["address"] != state.address
        assert "headrace serving run --name second --stop ends it" in said.stderr
        refused = headrace(project, "serving", "run", "wine", "--name", "second", "--detach", code=2).stderr
        assert "headrace serving run --name second --stop first" in refused
        answer = headrace(project, "serving", "predict", "wine", "--row", json.dumps(ROW), gateway="second")
        assert "answered by wine@1" in answer.stderr
        listed = headrace(project, "serving", "ls", "wine", gateway="second").stdout
        assert listed.splitlines()[1].split()[:2] == ["wine", "serving"]
        with Client(told["address"]) as second, Client(state.address) as first:
            assert [each.overview().endpoints[0].traffic.requests for each in (second, first)] == [1, 0]
    finally:
        headrace(project, "serving", "run", "--name", "second", "--stop")
    assert "not started" in headrace(project, "doctor", gateway="second").stdout
    assert project.platform.services().state("gateway").pid == state.pid


def headrace(project, *arguments, code=0, gateway="gateway"):
    command = [sys.executable, "-m", "headrace", *arguments]
    named = {**os.environ, "HEADRACE_GATEWAY": gateway}
    done = subprocess.run(command, cwd=project.root, capture_output=True, text=True, check=False, env=named)
    assert done.returncode == code, done.stderr
    return done


def test_the_command_line(project):
    assert headrace(project, "serving", "predict", "wine", "--row", json.dumps(ROW), code=4).stdout == ""
    listed = json.loads(headrace(project, "serving", "ls", "--json").stdout)
    assert [(r["endpoint"], r["state"], r["by"]) for r in listed] == [("wine", "not served", "test")]
    told = json.loads(headrace(project, "serving", "run", "wine", "--port", "0", "--detach", "--json").stdout)
    assert told["state"] == "running"
    assert json.loads(headrace(project, "serving", "ls", "--json").stdout)[0]["state"] == "serving"
    columns = json.dumps({name: [value, value] for name, value in ROW.items()})
    found = json.loads(headrace(project, "serving", "predict", "wine", "--columns", columns, "--json").stdout)
    assert found["predictions"] == pytest.approx([project.answer(0.5)] * 2, rel=1e-6)
    plain = headrace(project, "serving", "predict", "wine", "--row", json.dumps(ROW), "--version", "1")
    assert float(plain.stdout) == pytest.approx(project.answer(0.5), rel=1e-6)
    wrong = headrace(project, "serving", "predict", "wine", "--row", '{"ph": 3}', code=2)
    assert "'alcohol' is missing" in wrong.stderr
    headrace(project, "serving", "predict", "nobody", "--row", "{}", code=5)
    headrace(project, "serving", "predict", "wine", code=2)
    explained = json.loads(headrace(project, "serving", "explain", found["id"], "--json").stdout)
    assert (explained["winner"], explained["input"]["ph"]) == ("wine@1", [3.1, 3.1])
    assert "wine@1" in headrace(project, "serving", "explain", found["id"]).stdout
    headrace(project, "serving", "run", "--stop")
    assert json.loads(headrace(project, "serving", "ls", "--json").stdout)[0]["state"] == "not served"


def test_ls_says_what_is_wrong(project):
    state, client = start(project)
    assert client.predict("wine", rows=[ROW]).logged
    usual = resource.prlimit(state.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(state.pid, resource.RLIMIT_FSIZE, (64, usual[1]))  # as if the disk were full
    assert not client.predict("wine", rows=[ROW]).logged
    assert "wine: its requests are not logged: the log cannot be" in headrace(project, "serving", "ls").stdout
    doctor = json.loads(headrace(project, "doctor", "--json", code=1).stdout)
    (gateway,) = [component for component in doctor["components"] if component["name"] == "gateway"]
    assert (doctor["healthy"], gateway["state"]) == (False, "FAIL")
    assert gateway["detail"].startswith("requests of wine are answered without being logged: the log cannot be")
    assert "headrace monitor alerts" in gateway["fix"]
    resource.prlimit(state.pid, resource.RLIMIT_FSIZE, usual)
    assert client.predict("wine", rows=[ROW]).logged
    client.close()
    (row,) = json.loads(headrace(project, "serving", "ls", "--json").stdout)
    assert (row["state"], row["why"], row["unlogged"]) == ("serving", "", "")
    until(lambda: len(alerts(project.platform.ledger(), "wine")) == 2)
    lines = headrace(project, "monitor", "alerts", "wine").stdout.splitlines()
    assert [line.split()[2] for line in lines] == ["ABOUT", "log", "log"]
    assert "requests are answered without being logged: the log cannot be" in lines[1]
    assert lines[2].endswith("1 were answered and not logged")


def test_deploy_reads_the_settings_file_and_running_gateways_follow(project):
    _, client = start(project)
    project.register(1.5)
    (project.root / "headrace.toml").write_text(
        "[endpoint.wine]\ndeadline_ms = 50\ndefault = { quality = 5.0 }\n"
        'schedule = [{ model = "wine@2", wait_ms = 20 }]\n'
    )
    assert "wine serves wine@2" in headrace(project, "serving", "deploy", "wine", "--why", "better").stdout
    until = time.monotonic() + 10
    while client.predict("wine", rows=[ROW]).winner != "wine@2":
        assert time.monotonic() < until
    client.close()
    assert "did you mean" not in headrace(project, "serving", "deploy", "other", code=5).stderr
