"""The broker that keeps the log is killed, frozen or not there yet, while an endpoint is asked: it answers on."""

import contextlib
import os
import time
from collections import Counter

import kafka_brokers
import pytest
from kafka_project import KafkaProject
from load import Load
from mixed_project import WINE
from programs import running
from s3_store import weed
from server_process import serving, until
from wine_project import ROW

from headrace.engines.kafka.stream import open_stream
from headrace.errors import Unavailable
from headrace.serving.log import RequestLog
from headrace.settings import Settings
from headrace.storage.stream import Record

pytestmark = pytest.mark.service

KILLS = 10 if os.environ.get("HEADRACE_SOAK") else 2
DEADLINE_S = 5.0


@pytest.fixture
def project_on(tmp_path):
    """Makes a project on a broker, with a model of its own."""
    made = []

    def make(broker):
        project = KafkaProject(tmp_path / "project", broker)
        project.deploy(project.register(0.5), deadline_s=DEADLINE_S)
        made.append(project)
        return project

    yield make
    for project in made:
        project.close()


@pytest.fixture
def unharmed(figure):
    """Says what was acknowledged and is not in the log, and what was answered or logged twice; neither may be."""

    def check(case, project, load):
        log, ids, after = RequestLog(project.platform.stream(), "wine"), Counter(), -1
        while page := log.predictions(after, 1000, late=False):
            after = page[-1][0]
            ids.update(prediction.id for _, prediction in page)
        answered = Counter(load.ids)
        lost = (answered.keys() - set(load.unlogged)) - ids.keys()
        twice = {one for one, times in (*answered.items(), *ids.items()) if times > 1}
        figure(f"rendezvous.lost_acknowledged, {case}", len(lost))
        figure(f"rendezvous.answered_twice, {case}", len(twice))
        assert (len(lost), len(twice)) == (0, 0)
        assert len(answered) > len(load.unlogged)

    return check


def alerted(server):
    """Whether the gateway says that it does not log, and why."""
    return server.metric("headrace_log_up", endpoint="wine") == 0 and "not logged" in server.reason("wine")


def logging(server):
    return server.metric("headrace_log_up", endpoint="wine") == 1 and server.client.predict("wine", rows=[ROW]).logged


def answers_on(load, server):
    """With the live model, unlogged, until it is said that it does not log."""
    before = len(load.unlogged)
    until(lambda: len(load.unlogged) > before + 200)
    until(lambda: alerted(server))
    assert not server.client.predict("wine", rows=[ROW]).logged


def all_answered(load, server):
    """By the model, every one; and the alert was one line with a fix."""
    assert set(load.end()) == {(200, "wine@1")}
    said = [line for line in server.said().splitlines() if "answered without being logged" in line]
    assert said
    assert all(" - fix: " in line for line in said)
    return said


def test_a_broker_that_is_killed_loses_nothing_that_was_acknowledged(tmp_path, project_on, unharmed):
    (tmp_path / "store").mkdir()
    with (
        running(weed(tmp_path / "store")) as store,
        running(kafka_brokers.tansu_on(store, tmp_path)) as broker,
    ):
        project = project_on(broker)
        with serving(project.root) as server:
            load = Load(server.port, [WINE])
            for _ in range(KILLS):
                load.wait_for(load.done + 300)
                broker.kill()
                answers_on(load, server)
                broker.start()
                until(lambda: logging(server))
            load.wait_for(load.done + 300)
            said = all_answered(load, server)
            assert len(said) == server.said().count("are logged again") == KILLS
            assert server.end()[0] == 0
        unharmed(f"{KILLS} deaths of the broker", project, load)


def test_the_newest_is_found_from_anywhere_after_a_restart_of_the_broker(tmp_path, hosts):
    """This one says afterwards that a topic ends where it did at its last start, and sends what comes after all the same."""
    (tmp_path / "store").mkdir()
    with (
        running(weed(tmp_path / "store")) as store,
        running(kafka_brokers.tansu_on(store, tmp_path)) as broker,
    ):
        uri = broker.uri()
        for life in range(2):
            writer = hosts(open_stream, uri)
            for number in range(20):
                writer.append("orders", [Record(f"{life}-{number}", b"x", 1)])
            other = hosts(open_stream, uri)
            assert [r.key for r in other.find("orders", f"{life}-19")] == [f"{life}-19"]
            assert other.find("orders", "none") == []
            again = open_stream(Settings(root=tmp_path / "host-1"), uri)  # on an index that reaches the true end
            assert [r.key for r in again.find("orders", "0-5")] == ["0-5"]
            again.close()
            broker.kill()
            broker.start()


def test_a_broker_that_forgot_who_wrote_is_written_by_another_producer(tmp_path, hosts):
    """What the library calls a fatal error ends its producer, and nothing else."""
    with running(kafka_brokers.tansu(tmp_path)) as broker:  # all in its memory
        stream = hosts(open_stream, broker.uri())

        def written():
            with contextlib.suppress(Unavailable):
                return stream.append("orders", [Record("a", b"x", 1)]) >= 0

        for _ in range(3):
            for _ in range(20):
                assert written()
            broker.kill()
            assert not written()
            broker.start()
            until(written)


def test_a_broker_that_is_frozen_keeps_nobody_waiting(tmp_path, project_on, unharmed):
    with running(kafka_brokers.noida(tmp_path)) as broker:
        project = project_on(broker)
        with serving(project.root) as server:
            load = Load(server.port, [WINE])
            load.wait_for(300)
            assert load.unlogged == []
            broker.freeze()
            try:
                answers_on(load, server)
                # Once the broker is given up, nobody waits for it any more.
                until(lambda: "no broker answers" in server.reason("wine"))
                done = load.done
                assert until(lambda: load.done > done + 1000) < DEADLINE_S
            finally:
                broker.thaw()
            until(lambda: logging(server))
            load.wait_for(load.done + 300)
            all_answered(load, server)
            assert server.end()[0] == 0
        unharmed("a frozen broker", project, load)


def test_a_gateway_starts_before_its_broker(tmp_path, project_on, unharmed):
    broker = kafka_brokers.noida(tmp_path)
    project = project_on(broker)
    with serving(project.root) as server:
        begun = time.monotonic()
        assert not server.client.predict("wine", rows=[ROW]).logged
        assert time.monotonic() - begun < 3.0
        load = Load(server.port, [WINE])
        answers_on(load, server)
        with running(broker):
            until(lambda: logging(server))
            load.wait_for(load.done + 300)
            all_answered(load, server)
            assert server.end()[0] == 0
            unharmed("a broker that came late", project, load)
