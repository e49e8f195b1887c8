"""``GET /overview``: what operators see of a gateway, the same numbers as in its metrics."""

import os
from dataclasses import replace

import numpy as np
import pytest
from served import ROW, WINE, Held, constant, endpoint, gated, linear, model, until

from headrace.cli.scoreboard import lines as scoreboard
from headrace.conformance.runtime import SUM
from headrace.models.version import ModelVersion
from headrace.placement.memory import pss_bytes
from headrace.serving.endpoint import Endpoint, Preference
from headrace.serving.isolated import IsolatedRuntime
from headrace.serving.status import Note
from headrace.serving.versions import Model
from headrace.serving.worker_process import Limits


def only(overview):
    (served,) = overview.endpoints
    return served


def test_an_endpoint_with_its_versions_and_what_they_did(tmp_path):
    deployed = endpoint(("wine@3", 2.0), ("plain@1", 2.5), deadline_s=3.0, standby=("wine@2",), log="async")
    models = {
        "wine@3": model("wine@3", linear, fast=True),
        "plain@1": model("plain@1", constant(1.0)),
        "wine@2": model("wine@2", linear),
    }
    with gated(tmp_path, deployed, models) as gate:
        for rows in (1, 5):
            gate.client.predict("wine", rows=[ROW] * rows)
        gate.client.predict("wine", rows=[ROW], version=2)
        assert gate.client.raw("wine", b"{}").status == 400
        until(lambda: gate.plane.counters["wine"].scorers["plain@1"].calls.rows == 6)
        served, metrics = only(gate.client.overview()), gate.client.metrics()
    assert (served.name, served.state, served.why, served.deployment) == ("wine", "serving", "", 1)
    assert [(p.model, p.wait_s) for p in served.schedule] == [("wine@3", 2.0), ("plain@1", 2.5)]
    assert (served.deadline_s, served.log) == (3.0, "async")
    traffic = served.traffic
    assert (traffic.requests, traffic.errors, traffic.refused, traffic.defaults) == (3, 1, 1, 0)
    assert traffic.requests == metrics['headrace_requests_total{endpoint="wine"}']
    assert 0 < traffic.p50_s <= traffic.p99_s
    bucket = 'headrace_request_duration_seconds_bucket{endpoint="wine",le="%r"}'
    assert metrics[bucket % traffic.p99_s] == 3
    assert metrics[bucket % traffic.p50_s] >= 2
    told = {one.name: one for one in served.versions}
    assert list(told) == ["wine@3", "plain@1", "wine@2"]
    assert [one.runs for one in told.values()] == ["inline", "thread", "thread"]
    assert [one.scores for one in told.values()] == [2, 2, 1]
    assert [one.answered for one in told.values()] == [2, 0, 1]
    assert {one.memory.of for one in told.values()} == {"files"}


def test_why_a_version_is_refused_and_what_nobody_asked(tmp_path):
    with gated(tmp_path, endpoint(("wine@3", 2.0)), {"wine@3": model("wine@3", linear)}) as gate:
        notes = {"wine@4": Note("failed", "a flipped bit"), "wine@5": Note("loading")}
        gate.loop.call_soon_threadsafe(gate.plane.note, "wine", "wine@4: a flipped bit", notes)
        gate.loop.call_soon_threadsafe(gate.plane.note, "beer")
        served, other = gate.client.overview().endpoints
    assert (served.state, served.why) == ("serving", "wine@4: a flipped bit")
    assert [(one.name, one.state, one.why, one.memory) for one in served.versions[1:]] == [
        ("wine@4", "failed", "a flipped bit", None),
        ("wine@5", "loading", "", None),
    ]
    assert (served.traffic.p50_s, served.versions[0].p99_s) == (None, None)
    assert (other.name, other.state, other.schedule, other.versions) == ("beer", "loading", [], [])
    assert other.traffic.requests == 0


def test_memory_of_a_worker_is_its_process_and_of_others_their_files(tmp_path):
    (tmp_path / "model.txt").write_text("2")
    loaded = IsolatedRuntime("test", "worker_models:adds", Limits()).load(tmp_path, SUM)
    held = np.ones(64 << 20, np.uint8)  # as this process grows, the worker must not
    try:
        isolated = Model(ModelVersion("sum", 1, "00", SUM, "test"), loaded, 1.0, 0, {}, size_bytes=1)
        deployed = Endpoint("wine", (Preference("sum@1", 4.0),), 5.0)
        with gated(tmp_path / "log", deployed, {"sum@1": isolated}) as gate:
            overview = gate.client.overview()
            (one,) = only(overview).versions
            assert (one.runs, one.memory.of, one.memory.pid) == ("worker", "process", loaded.pid)
            assert one.memory.size_bytes == pytest.approx(pss_bytes(loaded.pid), rel=0.5)
            assert overview.pid == os.getpid()
            assert overview.memory_bytes > held.nbytes > 1 << 20
    finally:
        loaded.close()
    assert loaded.pid is None or pss_bytes(loaded.pid) is None
    inside = Model(ModelVersion("wine", 1, "00", WINE, "onnx"), model("wine@1", linear).loaded, 1.0, 0, {}, 4321)
    with gated(tmp_path / "other", endpoint(("wine@1", 2.0)), {"wine@1": inside}) as gate:
        (one,) = only(gate.client.overview()).versions
    assert (one.memory.size_bytes, one.memory.of, one.memory.pid) == (4321, "files", None)


def test_it_is_only_read(tmp_path):
    with gated(tmp_path, endpoint(("wine@3", 2.0)), {"wine@3": model("wine@3", linear)}) as gate:
        assert gate.client.request("POST", "/overview").status == 405
        assert gate.client.request("GET", "/overview/more").status == 404


def test_models_are_held_against_the_winner(tmp_path):
    deployed = endpoint(("wine@3", 0.02), ("plain@1", 0.02), shadows=("same@1",))
    functions = {"wine@3": constant(2.0), "plain@1": constant(3.0), "same@1": constant(2.005)}
    models = {name: model(name, function, fast=True) for name, function in functions.items()}
    with gated(tmp_path, deployed, models) as gate:
        for _ in range(33):
            gate.client.predict("wine", rows=[ROW])
        served, metrics = only(gate.client.overview()), gate.client.metrics()
    assert {one.name: one.agreed for one in served.versions} == {"wine@3": None, "plain@1": 0.0, "same@1": 1.0}
    # Of one request in sixteen, the first among them.
    assert metrics['headrace_compared_scores_total{endpoint="wine",model="same@1"}'] == 3
    assert [(one.name, one.role) for one in served.versions] == [
        *(("wine@3", "scheduled"), ("plain@1", "scheduled"), ("same@1", "shadow")),
    ]
    lines = list(scoreboard(served))
    assert lines[0].startswith("wine: 33 requests")
    assert lines[3].split()[:6] == ["MODEL", "ROLE", "WON", "LATE", "MISSED", "FAILED"]
    assert "100.0%" in next(line for line in lines if line.startswith("wine@3"))


def test_a_model_that_is_always_late_is_held_against_the_winner_too(tmp_path):
    deployed = endpoint(("wine@3", 0.02), shadows=("same@1", "other@1"))
    models = {"wine@3": model("wine@3", constant(2.0), fast=True)}
    models |= {name: model(name, constant(value)) for name, value in (("same@1", 2.0), ("other@1", 3.0))}
    with gated(tmp_path, deployed, models) as gate:
        for _ in range(17):
            gate.client.predict("wine", rows=[ROW])
        scorers = gate.plane.counters["wine"].scorers
        until(lambda: scorers["same@1"].late == scorers["other@1"].late == 17)
    assert [(scorers[name].compared, scorers[name].agreed) for name in ("same@1", "other@1")] == [(2, 2), (2, 0)]


def test_late_for_the_reply_is_not_late_for_the_deadline(tmp_path):
    held, slow = Held(2.0), Held(2.0)
    models = {"wine@3": model("wine@3", constant(2.0), fast=True), "held@1": model("held@1", held)}
    models |= {"slow@1": model("slow@1", slow)}
    deployed = endpoint(("wine@3", 0.02), deadline_s=5.0, shadows=("held@1", "slow@1"))
    with gated(tmp_path, deployed, models) as gate:
        gate.client.predict("wine", rows=[ROW])
        held.go.set()
        scorers = gate.plane.counters["wine"].scorers
        until(lambda: scorers["held@1"].late == 1)
        live = gate.plane.live("wine")
        live.deployment = replace(live.deployment, endpoint=replace(live.deployment.endpoint, deadline_s=0.0))
        slow.go.set()  # the deadline is over when this one comes
        until(lambda: scorers["slow@1"].late == 1)
        served, metrics = only(gate.client.overview()), gate.client.metrics()
    assert {one.name: (one.late, one.missed) for one in served.versions} == {
        "wine@3": (0, 0),
        "held@1": (1, 0),
        "slow@1": (1, 1),
    }
    assert metrics['headrace_deadline_misses_total{endpoint="wine",model="slow@1"}'] == 1
    shown = {line.split()[0]: line.split()[4] for line in list(scoreboard(served))[4:]}
    assert shown == {"wine@3": "0.0%", "held@1": "0.0%", "slow@1": "100.0%"}


def test_nobody_is_held_against_the_default(tmp_path):
    def fails(batch):
        raise ValueError("no")

    models = {"wine@3": model("wine@3", fails, fast=True), "same@1": model("same@1", constant(5.0), fast=True)}
    with gated(tmp_path, endpoint(("wine@3", 0.02), default=5.0, shadows=("same@1",)), models) as gate:
        assert gate.client.predict("wine", rows=[ROW]).winner == "default"
        assert gate.plane.counters["wine"].scorers["same@1"].compared == 0


def test_answers_of_the_default_count_against_the_service_level(tmp_path):
    def moody(batch):
        if batch["numbers"][0, 0] < 0:
            raise ValueError("no")
        return constant(2.0)(batch)

    bad = {**ROW, next(name for name, cell in ROW.items() if type(cell) is float): -1.0}
    with gated(tmp_path, endpoint(("wine@3", 0.02)), {"wine@3": model("wine@3", moody, fast=True)}) as gate:
        winners = [gate.client.predict("wine", rows=[row]).winner for row in (ROW, ROW, ROW, bad)]
        gate.plane.counters["wine"].limit_s = 0.0  # from here on every answer is late
        winners += [gate.client.predict("wine", rows=[row]).winner for row in (ROW, bad)]
        served, metrics = only(gate.client.overview()), gate.client.metrics()
    assert winners == ["wine@3"] * 3 + ["default", "wine@3", "default"]
    assert (served.traffic.defaults, served.traffic.past_deadline, served.traffic.missed) == (2, 2, 3)
    assert metrics['headrace_missed_total{endpoint="wine"}'] == 3
    assert list(scoreboard(served))[1].startswith("service level 50.000%: ")
