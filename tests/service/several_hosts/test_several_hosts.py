"""One project on three hosts that share a PostgreSQL, an object store and brokers, and no file."""

import json
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime
from typing import Any, NamedTuple

import pytest
from host import hosts
from open_load import OpenLoad
from server_process import until
from three_models import logged
from wine_project import ROW, asking

from headrace.delivery.canary import GATEWAY, Plan, begin
from headrace.delivery.deploy import deploy
from headrace.delivery.traffic import NOBODY
from headrace.errors import Unauthorized
from headrace.journey.explain import explain
from headrace.journey.steering import promote, rollback, split
from headrace.models.aliases import Move, move
from headrace.monitoring.alerts import alerts
from headrace.serving.deployment import current
from headrace.serving.endpoint import Endpoint, Preference

pytestmark = pytest.mark.service

FOLLOWED_S = 5.0
"""Gateways look ten times a second, and load what is new: on a machine that is busy that takes a while."""
SILENT_S = 4.0
"""A front door forgets a worker that has said nothing for so long."""


class World:
    """Host A decides, B and C serve, C scores; each knows of the others only what the servers between them say."""

    def __init__(self, between, a, b, c):
        self.between, self.a, self.b, self.c = between, a, b, c
        for bias in (0.5, 0.7):
            a.register(bias)
        move(a.platform.ledger(), "wine", Move("champion", 1))
        self.deploy()
        self.worker = c.worker("wine")
        self.doors = [b.door(), c.door()]
        until(lambda: all(runs(door) == ["1 worker", "1 worker"] for door in self.doors))

    def deploy(self):
        """Models have so long that a worker answers in time on a busy machine, too."""
        schedule = Preference("wine@champion", 1.5), Preference("wine@2", 1.8)
        return deploy(self.a.platform.ledger(), Endpoint("wine", schedule, 2.0, {"quality": 5.0}), who="test")


class Between(NamedTuple):
    """What hosts share: a ledger, a store, and brokers."""

    postgres: Any
    settings: str


@pytest.fixture(scope="module")
def between(noida, started_s3, postgres):
    with pytest.MonkeyPatch.context() as told:
        for name, value in started_s3.variables().items():
            told.setenv(name, value)
        shared = {"ledger": postgres.uri(), "store": started_s3.uri(), "stream": noida.uri(), "scorers": "workers"}
        yield Between(postgres, "".join(f'{name} = "{value}"\n' for name, value in shared.items()))


@pytest.fixture(scope="module")
def world(tmp_path_factory, between):
    with hosts(tmp_path_factory.mktemp("hosts"), between.settings) as three:
        yield World(between, *three)


def runs(door):
    return [version.runs for version in door.client.overview().endpoints[0].versions]


def winner(door):
    return door.client.predict("wine", rows=[ROW]).winner


def followed(world, version):
    """Wait until every front door answers with a version; return how long that took."""
    return until(lambda: {winner(door) for door in world.doors} == {version}, FOLLOWED_S)


def headrace(host, *arguments):
    command = [sys.executable, "-m", "headrace", *arguments]
    return subprocess.run(command, cwd=host.root, capture_output=True, text=True, check=True, timeout=30).stdout


def test_what_one_host_deploys_others_serve_and_any_explains(world, figure):
    for door, host in zip(world.doors, (world.b, world.c), strict=True):
        answer = door.client.predict("wine", rows=[ROW])
        assert list(answer.values) == pytest.approx([host.answer(0.5)])
        found = explained(world.a, answer.id)
        assert {score["worker"].rpartition("/")[2] for score in found["scores"]} == {str(world.worker.pid)}
        assert (found["winner"], found["deployment"]["who"]) == ("wine@1", "test")
    before = datetime.now(UTC).isoformat()
    promote(world.a.platform, "wine", "wine@2")
    figure("serving.hosts_follow_s", followed(world, "wine@2"))
    assert rollback(world.a.platform, "wine").models["wine@champion"] == "wine@1"
    followed(world, "wine@1")
    split(world.a.platform, "wine", {"wine@2": "100%"})
    followed(world, "wine@2")
    last = split(world.a.platform, "wine", {})
    followed(world, "wine@1")
    (then,) = json.loads(headrace(world.c, "serving", "ls", "wine", "--json", "--as-of", before))
    assert then["schedule"].startswith("wine@1 ")
    (now,) = json.loads(headrace(world.c, "serving", "ls", "wine", "--json", "--as-of", "0s"))
    assert now["deployment"] == last.seq > then["deployment"]


def explained(host, identifier):
    """What a host says of a prediction, once the scores of both models are logged."""
    told = []
    until(lambda: told.append(explain(host.platform, identifier)) or len(told[-1]["scores"]) == 2)
    return told[-1]


def alerted(host, about):
    """What alerts of this kind say, as a host reads them."""
    return [fact.body for fact in alerts(host.platform.ledger(), "wine") if fact.body["about"] == about]


def test_hosts_share_no_file_and_no_token(world):
    processes = [(world.c, world.worker), *zip((world.b, world.c), world.doors, strict=True)]
    for host, process in processes:
        opened = host.opened(process.pid)
        others = [str(other.root) for other in (world.a, world.b, world.c) if other is not host]
        assert [path for path in opened if path.startswith(tuple(others))] == []
    assert [path for path in opened if path.startswith(str(world.c.root))] != []
    with world.b._client(world.doors[1].url) as stranger, pytest.raises(Unauthorized):
        stranger.overview()


def test_a_canary_that_one_front_door_sees_fail_ends_on_both(world):
    ledger, (busy, idle) = world.a.platform.ledger(), world.doors
    world.deploy()
    followed(world, "wine@1")
    plan = Plan(("100%",), 3600.0, ("p50_ms > 0.00001",), 20, "")
    begin(ledger, "wine", "wine@2", plan, NOBODY)
    until(lambda: winner(idle) == "wine@2")
    with asking(busy.client):
        until(lambda: current(ledger, "wine").canary is None)
    standing = current(ledger, "wine")
    assert standing.who == GATEWAY
    assert standing.why.startswith("canary of wine@2 ended at 100 %: p50_ms > 0.00001: ")
    followed(world, "wine@1")
    (alert,) = alerted(world.c, "canary")
    assert alert["message"] == standing.why


def test_a_front_door_that_is_killed_loses_nothing_and_repeats_nothing(world, unharmed):
    body = json.dumps({"instances": [ROW]}).encode()
    loads = []
    for host, door in zip((world.b, world.c), world.doors, strict=True):
        head = f"POST /v1/models/wine:predict HTTP/1.1\r\nhost: {host.address}\r\n"
        head += f"authorization: Bearer {host.token}\r\ncontent-length: {len(body)}\r\n\r\n"
        loads.append(OpenLoad(door.port, head.encode() + body, host=host.address, rate=100))
    for load in loads:
        load.wait_for(50)
    killed, _ = world.doors
    killed.process.kill()
    killed.process.wait()
    loads[1].wait_for(50)
    for load in loads:
        load.end()
    assert {reply.status for load in loads for reply in load.replies} == {200}
    assert loads[1].broken == 0
    unharmed("a front door is killed, two hosts", loads, logged(world.a))
    world.doors[0] = world.b.door()
    followed(world, "wine@1")


def test_while_postgresql_is_away_all_go_on_and_say_so(world):
    world.deploy()
    followed(world, "wine@1")
    world.between.postgres.kill()
    try:
        for door in world.doors:
            until(lambda door=door: door.client.overview().unfollowed)
            assert "\nheadrace_ledger_up 0\n" in metrics(door)
        away, answers = time.monotonic(), []
        while time.monotonic() < away + SILENT_S:
            answers += [door.client.predict("wine", rows=[ROW]) for door in world.doors]
        assert {answer.winner for answer in answers} == {"wine@1"}
        assert sum(answer.logged for answer in answers) > 0.9 * len(answers)
        assert {run[:8] for door in world.doors for run in runs(door)} == {"1 worker"}
    finally:
        world.between.postgres.start()
    until(lambda: not any(door.client.overview().unfollowed for door in world.doors))
    promote(world.a.platform, "wine", "wine@2")
    followed(world, "wine@2")
    until(lambda: [alert["over"] for alert in alerted(world.a, "ledger")].count(True) == 2)
    named = f"(gateway on {socket.gethostname()})"
    assert [alert["message"].endswith(named) for alert in alerted(world.a, "ledger")] == [True] * 4


def metrics(door):
    return door.client.request("GET", "/metrics").body.decode()
