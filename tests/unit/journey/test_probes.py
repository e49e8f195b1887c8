"""Probes try the real parts: a broken one says FAIL with its reason, the others stay ok."""

import dataclasses
import sqlite3
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from memory_exchange import MemoryExchange
from served import Gated, endpoint, linear, model, until

from headrace import assembly
from headrace.errors import IntegrityError, Unavailable
from headrace.features.view import FeatureView
from headrace.journey.doctor import diagnose
from headrace.journey.probes import PROBES, probe_all
from headrace.models.aliases import Move, move
from headrace.placement.services import ServiceState
from headrace.serving import desk as desk_module
from headrace.serving.deployment import KIND, Deployment
from headrace.serving.exchange import Present, pack
from headrace.serving.join import Join
from headrace.settings import Settings
from headrace.storage.ledger import Fact


@pytest.fixture
def platform(tmp_path: Path):
    platform = assembly.open_platform(Settings(root=tmp_path, tracking="off"))
    yield platform
    platform.close()


def states(components):
    return {component.name: component.state for component in components}


def test_every_part_works_once_in_an_empty_project(platform):
    found = diagnose(platform)
    expected = dict.fromkeys(
        ("ledger", "files", "tables", "features", "steps", "search", "export", "scoring", "request log"), "ok"
    )
    assert states(found.components) == expected | {"tracking": "off", "gateway": "off"}
    assert found.healthy
    assert found.score is not None


def test_a_damaged_request_log_fails_and_hides_no_other_part(tmp_path):
    (tmp_path / ".headrace").mkdir()
    (tmp_path / ".headrace" / "stream").write_text("a file where the folder should be")
    again = assembly.open_platform(Settings(root=tmp_path, tracking="off"))
    found = diagnose(again)
    assert {name for name, state in states(found.components).items() if state == "FAIL"} == {"request log"}
    assert not found.healthy
    assert found.score is None
    assert found.to_json()["ml_test_score"] is None
    again.close()


def test_an_altered_promotion_fails_the_ledger(platform):
    _, probe = PROBES["ledger"]
    for version in (1, 2):
        move(platform.ledger(), "late", Move("champion", version, "ann", "better"))
    assert "2 moves of aliases are as they were made" in probe(platform)
    with sqlite3.connect(platform.settings.root / ".headrace" / "ledger.db") as ledger:
        altered = ledger.execute("UPDATE facts SET body = replace(body, 'ann', 'bob') WHERE kind = 'alias.moved'")
        assert altered.rowcount == 2
    with pytest.raises(IntegrityError, match=r"history of aliases of late was altered.*headrace restore"):
        probe(platform)


def test_a_view_that_an_endpoint_joins_and_nobody_can_read_fails_the_features(platform):
    deployed = endpoint(("wine@1", 0.02), join=(Join("cellars"),))
    about = Deployment(deployed, {"wine@1": "wine@1"}).to_json()
    platform.ledger().append([Fact(KIND, "wine", about)])

    def probed():
        (found,) = [component for component in probe_all(platform) if component.name == "features"]
        return found

    found = probed()
    assert (found.state, "no feature view 'cellars' is online" in found.detail) == ("FAIL", True)
    view = FeatureView("cellars", "a" * 64, {"cellar": "string"}, {"ph": "float64"}, 1)
    platform.online().write(view, iter([(("north",), (3.5,))]))
    found = probed()
    assert (found.state, found.detail) == ("ok", "wrote and read features; endpoints can join cellars")


def test_a_model_that_no_worker_scores_fails_the_gateway(platform, tmp_path, monkeypatch):
    monkeypatch.setattr(desk_module, "_ABSENT_S", 60.0)
    exchange = MemoryExchange()
    gate = Gated(tmp_path / "gate", exchange=exchange)
    gate.flip(endpoint(("wine@1", 0.02)), {"wine@1": model("wine@1", linear)})
    running = ServiceState("gateway", "running", 1, f"http://127.0.0.1:{gate.port}")
    services = SimpleNamespace(state=lambda _: running)
    watched = dataclasses.replace(platform, services=lambda: services)

    def probed():
        (found,) = [component for component in probe_all(watched) if component.name == "gateway"]
        return found

    desk = gate.desks.of("wine")
    until(lambda: not desk.trouble)
    found = probed()
    assert (found.state, found.fix) == ("FAIL", "headrace serving ls shows how each model runs")
    assert found.detail == "wine@1 cannot score where it should: no worker has it"
    exchange.tell("wine", pack(Present("w", {"wine@1": ""})))
    until(lambda: desk.workers("wine@1"))
    assert probed().state == "ok"
    exchange.trouble = "no broker answers"
    assert probed().detail == "wine@1 cannot score where it should: the exchange is away: no broker answers"
    gate.close()


def test_a_gateway_elsewhere_is_asked_by_its_url_and_fails_while_it_follows_no_ledger(platform, tmp_path):
    gate = Gated(tmp_path / "gate")
    gate.flip(endpoint(("wine@1", 0.02)), {"wine@1": model("wine@1", linear)})
    url = f"http://127.0.0.1:{gate.port}"
    there = dataclasses.replace(platform, settings=dataclasses.replace(platform.settings, gateway=url))
    probe = PROBES["gateway"][1]
    assert probe(there) == f"ready at {url}"
    gate.plane.unfollowed = "no route to host"
    with pytest.raises(Unavailable, match=r"does not follow what is deployed.*no route to host"):
        probe(there)
    gate.close()


def test_a_part_that_does_not_answer_has_failed_in_time(platform):
    released = threading.Event()
    stuck = released.wait
    begun = time.monotonic()
    found = probe_all(dataclasses.replace(platform, sampler=stuck), within_s=2.0)
    assert time.monotonic() - begun < 5
    released.set()
    (failed,) = [component for component in found if component.state == "FAIL"]
    assert (failed.name, failed.detail) == ("search", "no answer within 2 s")


def test_layers_say_where_each_engine_was_chosen(tmp_path, monkeypatch):
    monkeypatch.setenv("HEADRACE_TRACKING", "off")
    from headrace.journey.layers import layers
    from headrace.settings import load_settings

    found = {layer.port: layer for layer in layers(load_settings(tmp_path))}
    assert (found["tables"].engine, found["tables"].origin) == ("duckdb", "default")
    assert found["tables"].version.startswith("duckdb ")
    assert (found["tracking"].engine, found["tracking"].origin) == ("off", "environment HEADRACE_TRACKING")
