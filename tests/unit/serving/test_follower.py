import json
import threading
import time

import pytest
from served import Gated
from wine_project import ROW, WineProject

from headrace.models.aliases import Move, move
from headrace.serving.deployment import KIND, current
from headrace.serving.follower import Follower
from headrace.storage.ledger import Fact


@pytest.fixture
def project(tmp_path):
    opened = WineProject(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def follow(project, tmp_path):
    started = []

    def start(names=("wine",)):
        gate = Gated(tmp_path / "stream", names)
        platform = project.platform
        follower = Follower(
            gate.plane,
            ledger=platform.ledger(),
            files=platform.files(),
            runtime=platform.runtime,
            post=gate.loop.call_soon_threadsafe,
            names=names,
        )
        started.append((gate, follower))
        follower.start()
        return gate

    yield start
    for gate, follower in started:
        follower.stop()
        gate.close()


def until(holds):
    end = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.005)


def serves(gate):
    return gate.client.predict("wine", rows=[ROW]).winner


def test_the_newest_deployment_is_served_and_a_newer_one_follows(project, follow):
    first, second = project.register(0.5), project.register(1.5)
    project.deploy(first)
    gate = follow()
    until(gate.client.ready)
    assert serves(gate) == "wine@1"
    project.deploy(second)
    begun = time.monotonic()
    until(lambda: serves(gate) == "wine@2")
    assert time.monotonic() - begun < 2  # polled every 100 ms
    until(lambda: gate.plane.in_use() == {"wine@2"})


def test_an_endpoint_that_is_deployed_later_becomes_ready(project, follow):
    gate = follow()
    assert not gate.client.ready()
    project.deploy(project.register(0.5))
    until(gate.client.ready)
    assert serves(gate) == "wine@1"


def test_only_the_named_endpoints_are_served(project, follow):
    version = project.register(0.5)
    project.deploy(version)
    project.deploy(version, endpoint="other")
    gate = follow(names=("other",))
    until(gate.client.ready)
    assert gate.plane.names == ("other",)


@pytest.mark.parametrize("broken", ["flipped", "parity", "missing", "incomplete", "malformed"])
def test_a_broken_version_never_displaces_a_good_one(project, follow, broken):
    good = project.register(0.5)
    project.deploy(good)
    gate = follow()
    until(gate.client.ready)
    bad = project.register(1.5, claimed=1.0 if broken == "parity" else 0.0)
    if broken == "flipped":
        path = project.model_file(bad)
        path.chmod(0o600)
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(bytes(content))
    ledger = project.platform.ledger()
    body = current(ledger, "wine").to_json()
    written = {
        "missing": body | {"models": {"wine@1": "wine@99"}},
        "incomplete": body | {"models": {}},
        "malformed": {},
    }
    if broken in written:  # as no command of ours writes it
        ledger.append([Fact(KIND, "wine", written[broken])])
    else:
        project.deploy(bad)
    until(lambda: gate.plane.status("wine").refused)
    assert serves(gate) == "wine@1"
    assert gate.plane.status("wine").state == "serving"
    better = str(project.register(2.5))
    ledger.append([Fact(KIND, "wine", body | {"models": {"wine@1": better}})])
    until(lambda: serves(gate) == better)


def test_a_restart_on_a_broken_deployment_serves_the_one_before(project, follow):
    project.deploy(project.register(0.5))
    project.deploy(project.register(1.5, claimed=1.0))
    gate = follow()
    until(gate.client.ready)
    assert serves(gate) == "wine@1"
    until(lambda: "does not answer as the trained model did" in gate.plane.status("wine").refused)
    project.deploy(project.register(2.5))
    until(lambda: serves(gate) == "wine@3")
    assert gate.plane.status("wine").refused == ""


def test_many_flips_under_load_fail_nothing_and_mix_nothing(project, follow):
    """Every reply is the answer of the version that it names."""
    versions = [project.register(float(bias)) for bias in range(3)]
    project.deploy(versions[0])
    gate = follow()
    until(gate.client.ready)
    answers, stop = [], threading.Event()

    def ask():
        while not stop.is_set():
            answers.append(gate.client.predict("wine", rows=[ROW]))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for flip in range(12):
        project.deploy(versions[flip % 3])
        until(lambda flip=flip: gate.plane.status("wine").models.keys() == {str(versions[flip % 3])})
    stop.set()
    for thread in threads:
        thread.join()
    due = {f"wine@{bias + 1}": project.answer(bias) for bias in range(3)}
    assert {a.winner for a in answers} == set(due)
    for answer in answers:
        assert answer.values == pytest.approx([due[answer.winner]], abs=1e-3)


def test_aliases_become_labels_once_their_version_is_loaded(project, follow):
    first, second = project.register(0.5), project.register(1.5)
    ledger = project.platform.ledger()
    move(ledger, "wine", Move("champion", 1))
    project.deploy(first)
    gate = follow()
    until(gate.client.ready)

    def champion():
        reply = gate.client.request("GET", "/v1/models/wine/labels/champion")
        return json.loads(reply.body).get("model_version_status", [{}])[0].get("version")

    until(lambda: champion() == "1")
    move(ledger, "wine", Move("champion", 2))
    until(lambda: gate.plane._aliases["wine", "champion"] == [1, 2])
    assert champion() == "1"
    project.deploy(second)
    until(lambda: champion() == "2")
