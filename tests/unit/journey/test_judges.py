"""The rubric is scored from facts alone: each test begins without evidence and gains its point by one fact."""

import time
from pathlib import Path

import pytest

from headrace import assembly
from headrace.datasets.version import DatasetVersion
from headrace.errors import NotFound, UsageError
from headrace.journey.evidence import ATTESTATION_DAYS, ATTESTED, attest
from headrace.journey.judges import judge
from headrace.models.signature import Column, Signature
from headrace.models.version import ModelVersion
from headrace.refs import new_id
from headrace.serving.deployment import Deployment
from headrace.serving.endpoint import Endpoint, Preference
from headrace.serving.log import Answered, encode, topic
from headrace.settings import Settings
from headrace.storage.ledger import Fact
from headrace.storage.stream import Record

SIGNATURE = Signature("table", (Column("alcohol", "float32"),), (Column("quality", "float32"),))

WINE = DatasetVersion("wine", 1, "d1", 5, {"alcohol": "Float64"}, "CC0-1.0", "datasets/wine/d1", "m1")


@pytest.fixture
def platform(tmp_path: Path):
    platform = assembly.open_platform(Settings(root=tmp_path))
    yield platform
    platform.close()


def points(platform, test):
    return next(s.finding.points for s in judge(platform).tests if s.test.id == test)


def add(platform, *facts):
    platform.ledger().append(facts)


def version(number=1, **more):
    told = {"datasets": {"wine@1": "d1"}, "run": "run-1", "commit": "abc", "report": {"max_difference": 1e-7}, **more}
    body = ModelVersion("quality", number, f"digest{number}", SIGNATURE, "onnx", metrics={"auc": 0.8}, **told).to_json()
    return Fact("model.version", "quality", body, unique=f"quality@{number}")


def gate(name, run="run-1", state="done"):
    return Fact("run.step", run, {"name": name, "kind": "gate", "state": state})


def deployed(number, shadows=()):
    endpoint = Endpoint("taste", (Preference("quality@champion", 0.02),), 0.05, shadows=shadows)
    models = {"quality@champion": f"quality@{number}", **{s: s for s in shadows}}
    return Fact("endpoint.deployed", "taste", Deployment(endpoint, models).to_json())


def test_without_facts_there_are_no_points(platform):
    score = judge(platform)
    assert score.total == 0
    assert set(score.sections.values()) == {0}
    assert all(scored.fix for scored in score.tests)


@pytest.mark.parametrize(
    ("test", "facts", "due"),
    [
        ("data.1", [Fact("dataset.checked", "wine", {"version": 1})], 1),
        ("data.4", [Fact("dataset.version", "wine", WINE.to_json())], 1),
        ("model.3", [Fact("trial.finished", "s", {"number": n, "params": {"rate": n}}) for n in (1, 2)], 1),
        ("model.5", [gate("beats_baseline")], 1),
        ("model.6", [gate("slices")], 1),
        ("infrastructure.4", [gate("good_enough")], 1),
        ("infrastructure.3", [Fact("run.finished", "run-1", {"state": "succeeded"})], 0.5),
        ("infrastructure.6", [deployed(1, shadows=("quality@2",)), version(2), deployed(2)], 1),
        ("infrastructure.7", [version(2), deployed(2), deployed(1)], 1),
        ("monitoring.1", [Fact("dataset.checked", "wine", {"version": n}) for n in (1, 2)], 1),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_fact_earns_its_point(platform, test, facts, due):
    add(platform, version())
    assert points(platform, test) == 0
    add(platform, *facts)
    assert points(platform, test) == due


def test_monitoring_earns_points_only_for_what_is_deployed(platform):
    windows = [Fact(kind, "taste", {}) for kind in ("monitor.drift", "monitor.calibration", "monitor.calibration")]
    add(platform, version(), *windows)
    asked = ("model.4", "monitoring.2", "monitoring.3", "monitoring.7")
    assert [points(platform, test) for test in asked] == [0, 0, 0, 0]
    add(platform, deployed(1))
    assert [points(platform, test) for test in asked] == [1, 1, 1, 1]


def test_a_gate_of_another_run_earns_nothing(platform):
    add(platform, version(), gate("slices", run="run-2"))
    assert points(platform, "model.6") == 0


def test_a_gate_counts_when_it_held_now_or_before_and_not_when_it_failed(platform):
    add(platform, version(), gate("slices", state="refused"), gate("beats_baseline", state="cached"))
    assert [points(platform, test) for test in ("model.6", "model.5")] == [0, 1]


def test_a_latency_gate_proves_nothing_while_there_is_no_champion(platform):
    add(platform, version(), gate("latency"))
    assert points(platform, "monitoring.6") == 0
    champion = {"alias": "champion", "version": 1, "hash": "", "previous": ""}
    add(platform, Fact("alias.moved", "quality", champion), version(2, run="run-2", at=time.time() + 1))
    assert points(platform, "monitoring.6") == 0
    add(platform, gate("latency", run="run-2"))
    assert points(platform, "monitoring.6") == 1


def test_fixes_name_the_project_s_own_things(platform):
    add(platform, version(), deployed(1), Fact("run.started", "run-1", {"pipeline": "train"}))
    add(platform, Fact("run.started", "run-9", {"pipeline": "another"}))
    fixes = {scored.test.id: scored.fix for scored in judge(platform).tests}
    assert fixes["data.1"] == "headrace data check wine"
    assert fixes["monitoring.2"] == "headrace monitor drift taste"
    assert fixes["infrastructure.4"].endswith("headrace run train")


def test_one_unchecked_dataset_costs_the_point(platform):
    add(platform, version(datasets={"wine@1": "d", "cork@1": "e"}), Fact("dataset.checked", "wine", {"version": 1}))
    scored = next(s for s in judge(platform).tests if s.test.id == "data.1")
    assert scored.finding.points == 0
    assert "cork@1" in scored.finding.because


def test_a_commit_earns_half_and_uncommitted_changes_none(platform):
    add(platform, version())
    assert points(platform, "model.1") == 0.5
    add(platform, version(2, commit="abc+dirty"))
    assert points(platform, "model.1") == 0


def test_what_was_done_by_hand_counts_half_and_expires(platform):
    attest(platform.ledger(), "data.5", "open data", who="ada")
    assert points(platform, "data.5") == 0.5
    old = time.time() - (ATTESTATION_DAYS + 1) * 86400
    add(platform, Fact(ATTESTED, "data.6", {"note": "long ago", "who": "ada"}, at=old))
    assert points(platform, "data.6") == 0


def test_only_tests_of_the_rubric_can_be_attested_and_only_with_a_note(platform):
    with pytest.raises(NotFound):
        attest(platform.ledger(), "data.99", "x", who="ada")
    with pytest.raises(UsageError):
        attest(platform.ledger(), "data.5", " ", who="ada")


@pytest.mark.parametrize(
    ("outputs", "due"),
    [
        ({"quality": [0.5]}, 1),
        ({"quality": [[0.25, 0.75]]}, 1),
        ({"quality": [0.5], "kind": ["red"]}, 1),
        ({"quality": [float("nan")]}, 0),
        ({"quality": [[0.25, float("inf")]]}, 0),
        ({"kind": ["red"]}, 0),
    ],
)
def test_logged_scores_of_any_shape_are_looked_at(platform, outputs, due):
    add(platform, version(), deployed(1))
    assert points(platform, "monitoring.5") == 0
    score = ("quality@1", outputs, 0.001, "")
    entry = Answered(("alcohol",), [[12.5]], False, outputs, "quality@1", "", 0.001, [score], [], 1)  # type: ignore[list-item]
    platform.stream().append(topic("taste"), [Record(new_id(), encode(entry), 0)])
    assert points(platform, "monitoring.5") == due
