"""A request log with a damaged byte: the endpoint answers and logs, every reader tells which file it is and what to do."""

import json
import subprocess
import sys

import pytest
from server_process import serving
from wine_project import ROW, WineProject

ASKED = 40
DAMAGED = 20


@pytest.fixture
def project(tmp_path):
    opened = WineProject(tmp_path, 'tracking = "off"\n')
    opened.deploy(opened.register(0.5), deadline_s=5.0)
    yield opened
    opened.close()


def headrace(project, *arguments):
    """What a command said and its exit code."""
    command = [sys.executable, "-m", "headrace", *arguments]
    ended = subprocess.run(command, cwd=project.root, capture_output=True, text=True, check=False, timeout=60)
    return ended.stdout + ended.stderr, ended.returncode


def component(project):
    """How the doctor finds the log, and what to do."""
    said, code = headrace(project, "doctor", "--json")
    (log,) = (c for c in json.loads(said)["components"] if c["name"] == "request log")
    assert code == (log["state"] == "FAIL")
    assert log["state"] == "ok" or log["detail"].startswith("a part of the log is damaged: bytes ")
    return log["state"], log["fix"]


@pytest.mark.slow
def test_the_endpoint_answers_and_the_file_is_named(project):
    with serving(project.root) as server:
        ids = [server.client.predict("wine", rows=[ROW]).id for _ in range(ASKED)]
        assert server.end()[0] == 0
    (path,) = (project.root / ".headrace" / "stream" / "requests.wine").glob("*.log")
    harmed = path.read_bytes().index(ids[DAMAGED].encode())
    with path.open("r+b") as file:
        file.seek(harmed + 100)
        file.write(b"\xff\xff\xff")

    assert component(project) == ("FAIL", "restart the gateway, which then writes elsewhere, and ask again")
    with serving(project.root) as server:
        new = server.client.predict("wine", rows=[ROW])
        assert new.logged
        assert server.reason("wine") == ""
        assert server.end()[0] == 0
    for identifier, code in ((ids[0], 0), (ids[-1], 0), (new.id, 0), (ids[DAMAGED], 5)):
        assert headrace(project, "serving", "explain", identifier)[1] == code
    state, fix = component(project)
    assert state == "FAIL"
    said, code = headrace(project, "data", "put", "request-log://wine", "--name", "asked")
    assert code != 0
    assert f"a part of the log is damaged - {path}" in said

    move, source, target = fix.partition(";")[0].split()
    assert move == "mv"
    subprocess.run([move, source, target], check=True)
    with serving(project.root) as server:
        assert server.client.predict("wine", rows=[ROW]).logged
        assert server.end()[0] == 0
    assert component(project) == ("ok", "")
    assert headrace(project, "data", "put", "request-log://wine", "--name", "asked", "--licence", "CC0-1.0")[1] == 0
