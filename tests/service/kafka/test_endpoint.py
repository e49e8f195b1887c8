"""An endpoint whose log lies on a broker: what is said of logged requests, from any host."""

import json
import os
import shutil
import statistics
import subprocess
import sys
import time

import pytest
from kafka_project import KafkaProject
from server_process import serving
from wine_project import ROW

from headrace.refs import new_id
from headrace.serving.log import topic
from headrace.storage.stream import Record

pytestmark = pytest.mark.service

REQUESTS = 200
LOGGED = 1_000_000 if os.environ.get("HEADRACE_SOAK") else 50_000
BATCH = 2000  # as a log writer commits under load


@pytest.fixture(scope="module")
def project(noida, tmp_path_factory):
    opened = KafkaProject(tmp_path_factory.mktemp("wine"), noida)
    opened.deploy(opened.register(0.5), deadline_s=5.0)
    opened.register(0.9)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def ids(project):
    """Those of what was asked, of a gateway that has ended."""
    with serving(project.root) as server:
        replies = [server.client.predict("wine", rows=[{**ROW, "alcohol": 8 + n % 7}]) for n in range(REQUESTS)]
        assert all(reply.logged for reply in replies)
        assert server.metric("headrace_log_up", endpoint="wine") == 1
        board = json.loads(headrace(project.root, "serving", "ls", "wine", "--json").stdout)
        assert server.end()[0] == 0
    assert board
    return [reply.id for reply in replies]


def headrace(root, *arguments):
    command = [sys.executable, "-m", "headrace", *arguments]
    # As users have it: an interpreter that may not keep bytecode compiles all that it imports, each time.
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60, check=False, env=kept)
    assert done.returncode == 0, done.stderr
    return done


def test_every_logged_request_is_explained(project, ids):
    for number in (0, REQUESTS // 2, REQUESTS - 1):
        told = json.loads(headrace(project.root, "serving", "explain", ids[number], "--json").stdout)
        assert (told["endpoint"], told["winner"]) == ("wine", "wine@1")
        assert told["input"]["alcohol"] == [8 + number % 7]
    assert not (project.root / ".headrace" / "stream" / "requests.wine").exists()


def test_another_host_explains_it_too(project, ids, tmp_path):
    """It has the ledger, and nothing that the first host made of the log."""
    there = shutil.copytree(project.root, tmp_path / "there", ignore=shutil.ignore_patterns("stream"))
    assert json.loads(headrace(there, "serving", "explain", ids[7], "--json").stdout)["id"] == ids[7]


def test_the_log_becomes_a_dataset(project, ids):
    headrace(project.root, "data", "put", "request-log://wine?since=1h", "--name", "asked")
    told = json.loads(headrace(project.root, "data", "show", "asked", "--json").stdout)
    assert told["rows"] == REQUESTS


def test_a_candidate_is_replayed_on_it(project, ids):
    told = json.loads(headrace(project.root, "serving", "replay", "wine", "--model", "wine@2", "--json").stdout)
    assert (told["requests"], told["numbers"]["disagreement"]) == (REQUESTS, 1)
    assert told["numbers"]["mean_difference"] == pytest.approx(0.4, abs=1e-3)


def test_labels_are_joined(project, ids):
    (project.root / "labels.csv").write_text("id,label\n" + "".join(f"{one},140\n" for one in ids))
    headrace(project.root, "monitor", "label", "wine", "labels.csv", "-q")


def test_explaining_one_of_many(tansu, tmp_path, figure):
    """On a broker that sends what is asked for; the other sends tens of megabytes however little is."""
    project = KafkaProject(tmp_path, tansu)
    project.deploy(project.register(0.5), deadline_s=5.0)
    with serving(project.root) as server:
        first = server.client.predict("wine", rows=[ROW]).id
    stream, name = project.platform.stream(), topic("wine")
    (record,) = stream.find(name, first)
    wanted = [first]
    for _ in range(0, LOGGED, BATCH):
        batch = [Record(new_id(), record.value, record.at_ms) for _ in range(BATCH)]
        stream.append(name, batch)
        wanted.append(batch[-1].key)
    project.close()
    taken = []
    for place in (0, 0.5, 1, 0.25, 0.75):
        identifier = wanted[int(place * (len(wanted) - 1))]
        begun = time.perf_counter()
        told = json.loads(headrace(project.root, "serving", "explain", identifier, "--json").stdout)
        taken.append((time.perf_counter() - begun) * 1000)
        assert told["id"] == identifier
    figure("rendezvous.kafka_explain_first_ms", taken[0])
    figure("rendezvous.kafka_explain_ms", statistics.median(taken[1:]))
