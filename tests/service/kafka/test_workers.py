"""An endpoint in several processes, over a real broker, while what it is made of is killed, frozen, slow or wrong."""

import os
import signal
from contextlib import ExitStack, contextmanager

import moody
import pytest
from kafka_brokers import noida as broker_of_its_own
from kafka_echo import echoing, set_aside
from open_load import OpenLoad
from programs import running
from server_process import alive, serving, until
from three_models import BEST, DEADLINE_S, SECOND, THIRD, asked, logged, three_models
from wine_project import ROW
from worker_process import working

from headrace.monitoring.alerts import alerts

pytestmark = pytest.mark.service

GRACE_S = 0.01
SHARE, BOUND_S = 0.9, 0.5
"""A busy machine is no fault of ours: this is what it must keep to, the figure says how it did."""


class Fleet:
    """A project on a broker, with workers and front doors."""

    def __init__(self, root, broker, figure):
        self.broker, self.figure = broker, figure
        self.uri = broker.uri()
        self.project = three_models(root, f'stream = "{self.uri}"\nscorers = "workers"\n')
        self.stack = ExitStack()

    def worker(self, *options):
        return self.stack.enter_context(working(self.project.root, "wine", *options))

    def door(self):
        return self.stack.enter_context(serving(self.project.root))

    def ready(self, door, workers=1):
        """Wait until so many workers score each of the three models."""
        until(lambda: runs(door) == [f"{workers} worker{'s' * (workers > 1)}"] * 3)

    def close(self):
        self.stack.close()
        self.project.close()

    def judged(self, case, unharmed, *loads, within=SHARE):
        """End the load; nothing is lost or answered twice, and most came by their deadline."""
        for load in loads:
            load.end()
        replies = [reply for load in loads for reply in load.replies]
        assert {reply.status for reply in replies} == {200}
        log = logged(self.project)
        unharmed(f"workers, {case}", loads, log)
        in_time = sum(reply.elapsed_s <= DEADLINE_S + GRACE_S for reply in replies) / len(replies)
        self.figure(f"rendezvous.by_deadline_share, workers, {case}", in_time)
        assert sum(reply.elapsed_s <= DEADLINE_S + BOUND_S for reply in replies) >= within * len(replies)
        return log


def alerted(fleet):
    """What alerts are about, and whether it is over."""
    return {(fact.body["about"], fact.body["over"]) for fact in alerts(fleet.project.platform.ledger(), "wine")}


def runs(door):
    """How each version runs."""
    return [version.runs for version in door.client.overview().endpoints[0].versions]


@pytest.fixture
def fleet(tmp_path, noida, figure):
    made = Fleet(tmp_path, noida, figure)
    yield made
    made.close()


def test_workers_score_what_a_front_door_is_asked(fleet, unharmed):
    worker, door = fleet.worker(), fleet.door()
    fleet.ready(door)
    load = OpenLoad(door.port, asked())
    load.wait_for_winner(BEST)
    load.wait_for(200)
    log = fleet.judged("untouched", unharmed, load)
    assert (len(load.replies), load.broken) == (load.sent, 0)
    times = sorted(reply.elapsed_s for reply in load.replies)
    fleet.figure("rendezvous answer over Kafka, p50 ms", times[len(times) // 2] * 1000)
    scores = [score for prediction in log[50:] for score in prediction.scores if score.state == "in_time"]
    assert {score.model for score in scores} == {BEST, SECOND, THIRD}
    assert {score.worker.rpartition("/")[2] for score in scores if score.worker} == {str(worker.pid)}
    assert door.metric("headrace_scored_here_total", endpoint="wine", model=SECOND) == 0
    assert worker.end() == 0
    until(lambda: runs(door) == ["worker", "no worker", "no worker"])  # the preferred model is at the front door too


def test_two_workers_share_and_one_that_is_killed_costs_no_answer(fleet, unharmed):
    one, door = fleet.worker(), fleet.door()
    fleet.ready(door)  # this broker may forget to answer who joins while the first is being given its share
    fleet.worker()
    fleet.ready(door, 2)
    load = OpenLoad(door.port, asked())
    load.wait_for_winner(BEST)
    load.wait_for(100)
    one.kill()
    load.wait_for(300)
    until(lambda: runs(door) == ["1 worker"] * 3)
    load.wait_for(100)
    fleet.judged("worker killed", unharmed, load)
    assert (len(load.replies), load.broken) == (load.sent, 0)


def test_a_frozen_worker_costs_no_answer(fleet, unharmed):
    worker, door = fleet.worker(), fleet.door()
    fleet.ready(door)
    load = OpenLoad(door.port, asked())
    load.wait_for_winner(BEST)
    worker.freeze()
    frozen = load.wait_for(200)
    worker.thaw()
    load.wait_for(100)
    until(lambda: runs(door) == ["1 worker"] * 3)
    fleet.judged("worker frozen", unharmed, load)
    assert BEST in {reply.winner for reply in frozen}  # scored at the front door
    assert door.metric("headrace_scored_here_total", endpoint="wine", model=BEST) > 0


@pytest.mark.parametrize(
    ("fault", "instead"),
    [(moody.SLOW, SECOND), (moody.RAISE, SECOND), (moody.NOT_A_NUMBER, SECOND)],
    ids=["slow", "raising", "not a number"],
)
def test_a_model_s_fault_costs_no_request_its_answer(fleet, unharmed, fault, instead):
    fleet.worker()
    door = fleet.door()
    fleet.ready(door)
    load = OpenLoad(door.port, asked())
    load.wait_for_winner(BEST)
    load.request = asked(fault)
    during = load.wait_for(60)
    load.request = asked()
    load.wait_for_winner(BEST)
    fleet.judged(f"model {fault}", unharmed, load)
    assert instead in {reply.winner for reply in during}
    assert (len(load.replies), load.broken) == (load.sent, 0)


def test_workers_that_do_not_keep_up_are_told_and_cost_no_answer(fleet, unharmed):
    """What they are asked waits until nobody wants it any more; callers have their answers meanwhile."""
    fleet.worker()
    door = fleet.door()
    fleet.ready(door)
    load = OpenLoad(door.port, asked())
    load.wait_for_winner(BEST)
    load.request = asked(moody.SLOW)
    until(lambda: ("workers", False) in alerted(fleet))
    until(lambda: "behind" in runs(door)[0])
    until(lambda: door.metric("headrace_workers_behind_seconds", endpoint="wine", model=BEST) > DEADLINE_S)
    load.request = asked()
    until(lambda: ("workers", True) in alerted(fleet))
    until(lambda: runs(door)[0] == "1 worker")
    fleet.judged("workers behind", unharmed, load)
    assert (len(load.replies), load.broken) == (load.sent, 0)


def test_a_request_that_kills_the_model_is_set_aside_and_the_group_goes_on(fleet, unharmed):
    fleet.worker()
    door = fleet.door()
    fleet.ready(door)
    load = OpenLoad(door.port, asked(), rate=20)
    load.wait_for_winner(BEST)
    load.request = asked(moody.DIE)
    load.wait_for(1)
    load.request = asked()
    until(lambda: set_aside(fleet.uri, "wine"))
    load.wait_for_winner(BEST)
    aside = set_aside(fleet.uri, "wine")
    fleet.judged("poison", unharmed, load)
    assert all("died of it 2 times" in why for why in aside)
    assert {reply.status for reply in load.replies} == {200}


def test_one_of_two_front_doors_is_killed(fleet, unharmed):
    """Who asked it sees the connection break; who asked the other notices nothing."""
    fleet.worker()
    first, second = fleet.door(), fleet.door()
    for door in (first, second):
        fleet.ready(door)
    doomed, other = OpenLoad(first.port, asked()), OpenLoad(second.port, asked())
    for load in (doomed, other):
        load.wait_for_winner(BEST)
        load.wait_for(100)
    os.kill(first.pid, signal.SIGKILL)
    until(lambda: not alive(first.pid))
    other.wait_for(200)
    fleet.judged("front door killed", unharmed, doomed, other)
    assert (len(other.replies), other.broken) == (other.sent, 0)
    assert len(doomed.replies) + doomed.broken == doomed.sent


def test_messages_that_come_twice_and_late_have_their_effect_once(fleet, unharmed):
    """Of all questions and answers a tenth is sent once more, after others."""
    fleet.worker()
    door = fleet.door()
    fleet.ready(door)
    with echoing(fleet.uri, "wine", share=0.1) as echoed:
        load = OpenLoad(door.port, asked())
        load.wait_for_winner(BEST)
        load.wait_for(600)
        until(lambda: echoed["asked.wine"] > 30 and echoed["scored.wine"] > 90)
        log = fleet.judged("messages twice", unharmed, load)
    assert (len(load.replies), load.broken) == (load.sent, 0)
    assert all(len({s.model for s in p.scores}) == len(p.scores) for p in log)


@contextmanager
def frozen(broker):
    broker.freeze()
    try:
        yield
    finally:
        broker.thaw()


def test_while_the_broker_is_frozen_the_front_door_scores(tmp_path, unharmed, figure):
    with running(broker_of_its_own(tmp_path)) as broker:
        fleet = Fleet(tmp_path, broker, figure)
        try:
            fleet.worker()
            door = fleet.door()
            fleet.ready(door)
            load = OpenLoad(door.port, asked())
            load.wait_for_winner(BEST)
            before = len(load.replies)
            with frozen(broker):
                during = load.wait_for(300)
                reply = door.client.predict("wine", rows=[ROW])
                until(lambda: alerted(fleet) >= {("log", False), ("exchange", False)})
            until(lambda: alerted(fleet) >= {("log", True), ("exchange", True)})
            until(lambda: door.client.predict("wine", rows=[ROW]).logged)
            until(lambda: runs(door) == ["1 worker"] * 3)
            load.wait_for_winner(BEST)
            load.end()
        finally:
            fleet.close()
    assert (len(load.replies), load.broken) == (load.sent, 0)
    assert {each.status for each in load.replies[before:]} == {200}
    assert BEST in {each.winner for each in during[100:]}
    assert not reply.logged
