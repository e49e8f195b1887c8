"""Probes try the real parts: a broken one says FAIL with its reason, the others stay ok."""

import dataclasses
import threading
import time
from pathlib import Path

import pytest

from headrace import assembly
from headrace.journey.doctor import diagnose
from headrace.journey.probes import probe_all
from headrace.settings import Settings


@pytest.fixture
def platform(tmp_path: Path):
    platform = assembly.open_platform(Settings(root=tmp_path, tracking="off"))
    yield platform
    platform.close()


def states(components):
    return {component.name: component.state for component in components}


def test_every_part_works_once_in_an_empty_project(platform):
    found = diagnose(platform)
    expected = dict.fromkeys(("ledger", "files", "tables", "steps", "search", "export", "scoring", "request log"), "ok")
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
