"""A candidate on logged traffic, as people ask for it."""

import json
import os
import pty
import resource
import signal
import subprocess
import sys
import time

import pytest
from wine_project import ROW, WineProject

from headrace.client import Client
from headrace.delivery.replay import KIND
from headrace.errors import NotFound
from headrace.journey.explain import explain
from headrace.journey.replay import Replay, replayed
from headrace.journey.traffic import Traffic, put_traffic
from headrace.monitoring.labels import Label, add
from headrace.placement.gateway import GATEWAY, gateway_spec
from headrace.refs import new_id
from headrace.serving.log import RequestLog, topic
from headrace.storage.stream import Record

REQUESTS = 400


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    opened = WineProject(tmp_path_factory.mktemp("wine"))
    opened.deploy(opened.register(0.5))
    opened.register(0.9)
    state = opened.platform.services().start(gateway_spec(opened.root, ["wine"]))
    client = Client(state.address)
    for number in range(REQUESTS):
        client.predict("wine", rows=[{**ROW, "alcohol": 8 + number % 7}])
    client.close()
    opened.platform.services().stop(GATEWAY)
    yield opened
    opened.close()


def headrace(project, *arguments):
    command = [sys.executable, "-m", "headrace", *arguments]
    return subprocess.run(command, cwd=project.root, capture_output=True, text=True, timeout=60, check=False)


def test_a_candidate_is_replayed_on_what_was_asked(project):
    done = headrace(project, "serving", "replay", "wine", "--model", "wine@2", "--slice", "alcohol", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["model"], found["requests"], found["skipped"]) == ("wine@2", REQUESTS, 0)
    assert found["numbers"]["disagreement"] == 1
    assert found["numbers"]["mean_difference"] == pytest.approx(0.4, abs=1e-3)
    assert set(found["slices"]["alcohol"]) == {f"{8.0 + n}" for n in range(7)}
    assert found["champion"]["p50_ms"] > 0
    (fact,) = project.platform.ledger().query(KIND, "wine@2")
    assert fact.body["endpoint"] == "wine"


def test_it_reads_well_and_only_looks_at_the_time_asked_for(project):
    done = headrace(project, "serving", "replay", "wine", "--model", "wine@1", "--since", "1h")
    assert done.returncode == 0, done.stderr
    assert f"wine@1 on {REQUESTS} logged requests of wine" in done.stdout
    assert "rows that differ" in done.stdout
    nothing = headrace(project, "serving", "replay", "wine", "--model", "wine@1", "--since", "2099-01-01")
    assert (nothing.returncode, "no request of wine to replay" in nothing.stderr) == (5, True)
    strange = headrace(project, "serving", "replay", "wine", "--model", "wine@1", "--since", "yesterday")
    assert (strange.returncode, "2h, 7d, or 2024-03-05" in strange.stderr) == (2, True)


def test_a_promotion_may_require_it(project):
    settings = project.root / "headrace.toml"
    settings.write_text('[promotion]\nrequires = ["replay"]\nreplay = ["disagreement < 5%"]\n')
    project.register(0.3)
    unseen = headrace(project, "models", "promote", "wine@3")
    assert (unseen.returncode, "headrace serving replay wine --model wine@3" in unseen.stderr) == (3, True)
    headrace(project, "serving", "replay", "wine", "--model", "wine@2")
    refused = headrace(project, "models", "promote", "wine@2")
    assert (refused.returncode, "disagreement < 5%: 100%" in refused.stderr) == (3, True)
    assert headrace(project, "serving", "replay", "wine", "--model", "wine@1").returncode == 0
    assert headrace(project, "models", "promote", "wine@1").returncode == 0
    settings.write_text("")


MINUTE_S, RATE = 60, 200


@pytest.fixture(scope="module")
def busy(project):
    """An endpoint whose log has what was really logged, as if it had come at 200 requests a second for a minute."""
    stream, begun = project.platform.stream(), time.time_ns() // 1_000_000 - MINUTE_S * 1000
    first = stream.read(topic("wine"), limit=REQUESTS)
    records = []
    for number in range(MINUTE_S * RATE):
        at_ms, identifier = begun + number * 1000 // RATE, new_id()
        digits = f"{at_ms:012x}"
        key = f"{digits[:8]}-{digits[8:]}{identifier[13:]}"
        records.append(Record(key, first[number % REQUESTS].value, at_ms))
    stream.append(topic("busy"), records)
    project.deploy("wine@1", endpoint="busy")
    return "busy"


def test_a_minute_of_traffic_takes_a_twentieth_of_it(project, busy, figure):
    before = _cpu_s()
    done = headrace(project, "serving", "replay", busy, "--model", "wine@2", "--slice", "alcohol", "--json")
    took = _cpu_s() - before
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["requests"] == MINUTE_S * RATE
    assert found["span_s"] == pytest.approx(MINUTE_S, abs=0.1)
    figure("rendezvous.replay_speed", round(found["speed"], 1))
    figure("rendezvous.replay_rps", round(found["requests"] / found["took_s"]))
    figure("rendezvous.replay_speed_by_cpu", round(MINUTE_S / took, 1))
    assert MINUTE_S / took >= 20  # what else the machine does meanwhile is not the replay's


def _cpu_s():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_one_that_is_interrupted_leaves_nothing_behind(project, busy):
    before = project.platform.ledger().query("*")
    screen, stderr = pty.openpty()
    command = [sys.executable, "-m", "headrace", "serving", "replay", busy, "--model", "wine@2"]
    with subprocess.Popen(command, cwd=project.root, stdout=subprocess.PIPE, stderr=stderr) as replaying:
        os.close(stderr)
        seen = b""
        while b"requests replayed" not in seen:
            seen += os.read(screen, 1024)
        replaying.send_signal(signal.SIGINT)
        told, _ = replaying.communicate(timeout=30)
    os.close(screen)
    assert (replaying.returncode, told) == (130, b"")
    assert project.platform.ledger().query("*") == before


def test_each_number_of_a_replay_is_there_with_labels_too(project):
    answered = [
        prediction for _, prediction in RequestLog(project.platform.stream(), "wine").predictions(limit=REQUESTS)
    ]
    labels = [Label(p.id, p.outputs["quality"][0] + 0.4, "2026-01-01T00:00:00Z") for p in answered]
    add(project.platform.stream(), "wine", labels)
    before = project.platform.ledger().query("endpoint.*")
    done = headrace(project, "serving", "replay", "wine", "--model", "wine@2", "--since", "2h", "--json")
    found = json.loads(done.stdout)
    assert set(found["numbers"]) == {
        *("error_rate", "disagreement", "mean_difference", "score_psi", "p50_ms", "p99_ms", "rmse"),
    }
    assert found["numbers"]["rmse"] == pytest.approx(0, abs=1e-3)  # the candidate says 0.4 more, and is right
    assert found["champion"]["rmse"] == pytest.approx(0.4, abs=1e-3)
    assert len(found["worst"]) == 5
    assert project.platform.ledger().query("endpoint.*") == before  # production is as it was


def test_an_endpoint_that_keeps_no_log_says_so_wherever_it_is_read(project):
    project.deploy("wine@1", endpoint="quiet", log="off")
    with pytest.raises(NotFound, match="quiet logs no requests"):
        replayed(project.platform, Replay("quiet", "wine@2"))
    with pytest.raises(NotFound, match="quiet logs no requests"):
        put_traffic(project.platform, Traffic("quiet"), "quiet-requests")
    with pytest.raises(NotFound, match="quiet logs nothing"):
        explain(project.platform, new_id())
