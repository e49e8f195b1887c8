"""The rendezvous while what it is made of is killed, frozen, slow or wrong: no request goes without its one answer."""

import fcntl
import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import moody
import pytest
from open_load import OpenLoad
from server_process import alive, serving, until
from stepped.sitecustomize import FILE, step
from three_models import BEST, DEADLINE_S, SECOND, THIRD, asked, logged, three_models
from wine_project import ROW, WineProject

from headrace.delivery.canary import Plan, begin
from headrace.delivery.traffic import Said
from headrace.placement.gateway import GATEWAY, gateway_spec
from headrace.refs import id_time_ms
from headrace.serving.deployment import current

SOAK = bool(os.environ.get("HEADRACE_SOAK"))
GRACE_S = 0.01
SHARE, BOUND_S = 0.9, 0.5
"""A busy machine is no fault of ours: this is what it must keep to, the figure says how it did."""
HUGE, HOUR_S = 3.4e38, 3600.0
FLIPS = 200 if SOAK else 10


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    project = three_models(tmp_path_factory.mktemp("project"))
    with serving(project.root) as server:
        yield project, server
    project.close()


def worker(server):
    (pid,) = server.workers()
    return pid


def killed(server, load):
    os.kill(worker(server), signal.SIGKILL)
    return load.wait_for(100)


def frozen(server, load):
    pid = worker(server)
    os.kill(pid, signal.SIGSTOP)
    try:
        return load.wait_for(100, 3.0)  # before the gateway gives it up
    finally:
        os.kill(pid, signal.SIGCONT)


def told(density, count=100, **more):
    """A row that tells models to misbehave, for so many requests."""

    def inflict(_server, load):
        load.request = asked(density, **more)
        return load.wait_for(count)

    return inflict


FAULTS = {
    "killed": (killed, SECOND),
    "frozen": (frozen, SECOND),
    "slow": (told(moody.SLOW), SECOND),
    "raising": (told(moody.RAISE), SECOND),
    "not a number": (told(moody.NOT_A_NUMBER), SECOND),
    "second not finite": (told(ROW["density"], ph=HUGE), BEST),
    "third not finite": (told(ROW["density"], alcohol=HUGE), BEST),
    "two of three": (told(moody.NOT_A_NUMBER, ph=HUGE), THIRD),
    "all three": (told(moody.RAISE, ph=HUGE, alcohol=HUGE), "default"),
}


def best_that_reported(prediction):
    came = {score.model for score in prediction.scores if score.state == "in_time"}
    return next((model for model in (BEST, SECOND, THIRD) if model in came), "default")


@pytest.mark.parametrize("fault", FAULTS)
def test_a_model_s_fault_costs_no_request_its_answer(served, unharmed, figure, fault):
    """The timer that ends a wait, the check of scores, the order of the schedule, the commit before the reply.

    Without the first, what is asked of a frozen or slow model is answered when it likes; without the second, NaN is
    an answer; without the third another than the best that reported; without the last the log lacks replies.
    """
    project, server = served
    before = len(logged(project))
    inflict, instead = FAULTS[fault]
    load = OpenLoad(server.port, asked())
    load.wait_for_winner(BEST)
    during = inflict(server, load)
    load.request = asked()
    load.wait_for_winner(BEST)
    load.end()
    assert (len(load.replies), load.broken) == (load.sent, 0)
    assert {reply.status for reply in load.replies} == {200}
    assert instead in {reply.winner for reply in during}
    log = logged(project)[before:]
    unharmed(f"model {fault}", [load], log)
    if instead == BEST:  # no answer shows what happened to those behind it
        assert any(score.state == "failed" for p in log for score in p.scores)
    assert len(log) == load.sent
    assert [p.winner for p in log] == [best_that_reported(p) for p in log]
    in_time, soon = (
        sum(reply.elapsed_s <= DEADLINE_S + late for reply in load.replies) / load.sent for late in (GRACE_S, BOUND_S)
    )
    figure(f"rendezvous.by_deadline_share, model {fault}", in_time)
    assert soon >= SHARE


def test_a_front_door_that_froze_answers_what_waited_once(served, unharmed):
    """That a score is taken for a request once: what came late for those under way finds them answered.

    Times go on while it is frozen, so what waited has passed its deadline when it wakes.
    """
    project, server = served
    before = len(logged(project))
    load = OpenLoad(server.port, asked(moody.SLOW))
    load.wait_for_winner(SECOND)
    until(lambda: load.sent > len(load.replies) + 1)
    os.kill(server.pid, signal.SIGSTOP)
    try:
        until(lambda upto=load.sent + 40: load.sent >= upto)
    finally:
        os.kill(server.pid, signal.SIGCONT)
    load.wait_for(100)
    load.request = asked()
    load.wait_for_winner(BEST)
    load.end()
    assert (len(load.replies), load.broken) == (load.sent, 0)
    assert {reply.status for reply in load.replies} == {200}
    assert any(reply.elapsed_s > DEADLINE_S + GRACE_S for reply in load.replies)  # and they say so
    log = logged(project)[before:]
    unharmed("front door frozen", [load], log)
    assert len(log) == load.sent
    assert [p.winner for p in log] == [best_that_reported(p) for p in log]


@contextmanager
def commits_withheld(project):
    """Nobody else can write the endpoint's log meanwhile."""
    *_, newest = sorted((project.root / ".headrace" / "stream" / "requests.wine").glob("*.log"))
    with newest.open("rb") as writer:
        fcntl.flock(writer, fcntl.LOCK_EX)
        yield


@pytest.mark.slow
@pytest.mark.parametrize("case", range(20 if SOAK else 1))
def test_kill_9_of_the_front_door_loses_nothing_acknowledged(tmp_path, unharmed, case):
    """The commit before the reply, and the supervisor.

    When it is killed, requests wait for a commit that will not come: were they answered before it, they would be lost.
    """
    project, chance = three_models(tmp_path), random.Random(case)
    services = project.platform.services()
    try:
        state = services.start(gateway_spec(project.root, ["wine"]))
        load = OpenLoad(int(state.address.rpartition(":")[2]), asked())
        for _ in range(2):
            load.wait_for(chance.randrange(20, 200))
            pid, sent = services.state(GATEWAY).pid, load.sent
            with commits_withheld(project):
                until(lambda upto=sent + 20: load.sent >= upto)
                os.kill(pid, signal.SIGKILL)
                until(lambda dead=pid: not alive(dead))
            load.wait_for_winner(BEST)
        load.end()
    finally:
        services.stop(GATEWAY)
        project.close()
    assert len(load.replies) + load.broken == load.sent
    assert load.broken >= 2
    statuses = [reply.status for reply in load.replies]
    assert set(statuses) <= {200, 503}  # a server that starts says that it does, and no more once it has answered
    assert list(pairwise(statuses)).count((200, 503)) <= 2
    unharmed(f"front door killed, {case}", [load], logged(project))


@pytest.mark.slow
def test_kill_9_across_flips_serves_old_or_new_never_none(tmp_path, unharmed):
    """A restart goes by the whole ledger: without what came before the newest deployment, one that fails serves none.

    Every third deployment cannot be served, for its model does not give the answers that were recorded with it.
    """
    project, chance, loads = WineProject(tmp_path), random.Random(7), []
    old = new = str(project.register(0))
    project.deploy(old)
    for flip in range(1, FLIPS + 1):
        with serving(project.root) as server:
            load = OpenLoad(server.port, asked())
            loads.append(load)
            assert load.wait_for(1)[0].winner in {old, new}
            load.wait_for_winner(new)
            bad = flip % 3 == 0
            deployed = str(project.register(flip, claimed=float(bad)))
            project.deploy(deployed)
            load.wait_for(chance.randrange(1, 40))
            server.process.kill()
            load.end()
        assert {reply.status for reply in load.replies} == {200}
        assert {reply.winner for reply in load.replies} <= ({old, new} if bad else {old, new, deployed})
        old, new = new, new if bad else deployed
    log = logged(project)
    project.close()
    unharmed("killed across flips", loads, log)
    assert len({prediction.winner for prediction in log}) >= FLIPS / 2


SPRING, AUTUMN = (datetime.fromisoformat(f"{day}T00:59:59.9Z").timestamp() for day in ("2026-03-29", "2026-10-25"))
"""A moment before the clocks of Europe are put forward, and back."""


@pytest.fixture
def stepped(tmp_path):
    """A gateway whose wall clock the test steps, in a time zone with summer time; and how to step it."""
    file = tmp_path / "clock"
    step(file, 0.0)
    project = three_models(tmp_path)
    for bias in (0.5, 0.7):
        project.register(bias)
    project.deploy("wine@1", endpoint="grows")
    path = Path(sys.modules[step.__module__].__file__).parent
    before = ("env", f"PYTHONPATH={path}", f"{FILE}={file}", "TZ=CET-1CEST,M3.5.0,M10.5.0/3")
    with serving(project.root, before=before) as server:
        yield project, server, lambda seconds: step(file, seconds)
    project.close()


def test_a_stepped_clock_moves_no_deadline_and_no_canary(stepped, unharmed):
    """Waits, deadlines, queues and steps of a canary go by the monotonic clock.

    By the wall clock an hour forth would end them all at once, and an hour back would keep callers waiting for one.
    """
    project, server, set_clock = stepped
    ledger, every_s = project.platform.ledger(), 1.5
    load = OpenLoad(server.port, asked(moody.SLOW))
    other = OpenLoad(server.port, asked(endpoint="grows"))
    other.wait_for_winner("wine@1")
    plain = load.wait_for(30)
    begun = time.monotonic()
    begin(ledger, "grows", "wine@2", Plan(("50%", "100%"), every_s, least=5), Said("test"))
    other.wait_for_winner("wine@2")
    spans = {}
    for name, ahead in (("forth", HOUR_S), ("back", -HOUR_S), ("spring", SPRING), ("autumn", AUTUMN)):
        now = time.time()
        set_clock(ahead if abs(ahead) <= HOUR_S else ahead - now)
        load.wait_for(5)  # whose requests may have come before
        spans[name] = load.wait_for(40)
    until(lambda: current(ledger, "grows").canary is None)
    assert time.monotonic() - begun >= 2 * every_s
    set_clock(0.0)
    load.wait_for(30)
    for one in (load, other):
        one.end()
        assert (len(one.replies), one.broken) == (one.sent, 0)
        assert {reply.status for reply in one.replies} == {200}
        assert all(0 <= reply.elapsed_s < HOUR_S / 2 for reply in one.replies)
        assert sum(reply.elapsed_s <= DEADLINE_S + BOUND_S for reply in one.replies) >= SHARE * one.sent
    log = logged(project)
    unharmed("clock stepped", [load, other], log + logged(project, "grows"))
    assert sum(prediction.winner != "default" for prediction in log) >= SHARE * load.sent
    first = {"plain": plain[0]} | {name: replies[0] for name, replies in spans.items()}
    order = [prediction.id for prediction in log]
    places = [order.index(reply.id) for reply in first.values()]
    assert places == sorted(places)  # in order of answering, whatever the time says
    for reply in first.values():
        assert explained(project, reply.id)["winner"] == reply.winner
    times = {name: id_time_ms(reply.id) / 1000 for name, reply in first.items()}
    assert times["forth"] - times["plain"] > HOUR_S
    assert times["plain"] - times["back"] > HOUR_S / 2
    assert (times["spring"], times["autumn"]) == pytest.approx((SPRING, AUTUMN), abs=10)


def explained(project, identifier):
    command = [sys.executable, "-m", "headrace", "serving", "explain", identifier, "--json"]
    return json.loads(subprocess.run(command, cwd=project.root, capture_output=True, check=True, timeout=60).stdout)
