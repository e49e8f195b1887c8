"""Observing an endpoint: windows, drift, calibration, alerts; twice is once."""

from dataclasses import asdict, replace

import numpy as np
import pytest

from headrace.errors import NotFound, UsageError
from headrace.monitoring.alerts import alerts
from headrace.monitoring.labels import Label, add, known
from headrace.monitoring.observe import UNKNOWN, observe
from headrace.serving.outcome import CANCELLED, UNJOINED
from headrace.serving.provenance import KIND as FOLDER
from headrace.serving.provenance import Loading
from headrace.storage.ledger import Fact

MARCH, JULY = "2024-03-05T10:00:00Z", "2024-07-05T10:00:00Z"
ROWS = 400


@pytest.fixture
def asked(endpoints, sensors_of):
    """An endpoint that was asked in March as in training, and in July when it was warmer; answers are always 0.25."""
    endpoints.deploy()
    ids = {}
    for when, warmer in ((MARCH, 0.0), (JULY, 9.0)):
        ids[when] = endpoints.ask(sensors_of(ROWS, warmer), when=[when] * ROWS, answers=[0.25] * ROWS)
    return ids


def watch(endpoints, **options):
    return observe(endpoints.stores, endpoints.stream, "wear", **options)


def test_only_what_moved_alarms(endpoints, asked):
    seen = watch(endpoints)
    assert (seen.model, dict(seen.rows)) == ("wear@1", {"2024-03": ROWS, "2024-07": ROWS})
    alarms = {(w, c) for w, columns in seen.drift.items() for c, d in columns.items() if d.alarm}
    assert alarms == {("2024-07", "heat")}
    assert seen.drift["2024-07"]["heat"].psi > 1
    assert seen.drift["2024-03"]["heat"].psi < 0.1
    (alert,) = seen.alerts
    assert (alert.body["about"], alert.body["column"], alert.body["window"]) == ("drift", "heat", "2024-07")
    assert seen.calibration == {}


def test_observing_again_writes_nothing(endpoints, asked):
    first = watch(endpoints)
    before = endpoints.ledger.query("monitor.*") + endpoints.ledger.query("alert")
    again = watch(endpoints)
    assert again.alerts == []
    assert again.drift == first.drift
    assert endpoints.ledger.query("monitor.*") + endpoints.ledger.query("alert") == before


def test_a_window_that_grew_is_told_anew_but_its_alert_is_not(endpoints, asked, sensors_of):
    watch(endpoints)
    endpoints.ask(sensors_of(50, 9.0), when=[JULY] * 50, answers=[0.25] * 50)
    assert watch(endpoints).alerts == []
    facts = endpoints.ledger.query("monitor.drift", "wear")
    assert [(f.body["window"], f.body["rows"]) for f in facts] == [
        ("2024-03", ROWS),
        ("2024-07", ROWS),
        ("2024-07", ROWS + 50),
    ]
    assert len(alerts(endpoints.ledger, "wear")) == 1


def test_counts_do_not_depend_on_pages_or_order(endpoints, sensors_of, monkeypatch):
    endpoints.deploy()
    cells = sensors_of(300)
    endpoints.ask(cells, when=[MARCH] * 300, answers=[0.0] * 300)
    whole = watch(endpoints)
    monkeypatch.setattr("headrace.monitoring.observe._PAGE", 7)
    assert watch(endpoints).drift == whole.drift


def test_labels_are_used_once_they_are_known(endpoints, asked):
    march = [Label(i, float(n % 4 == 0), "2024-03-06T10:00:00Z") for n, i in enumerate(asked[MARCH])]
    july = [Label(i, float(n % 2 == 0), "2024-07-06T10:00:00Z") for n, i in enumerate(asked[JULY])]
    assert add(endpoints.stream, "wear", march + july) == 2 * ROWS
    early = watch(endpoints, as_of="2024-07-01").calibration
    assert (early["2024-03"].rows, early["2024-03"].actual) == (ROWS, 0.25)
    assert (early["2024-07"].rows, early["2024-07"].waiting) == (0, ROWS)
    seen = watch(endpoints)
    assert (seen.calibration["2024-07"].predicted, seen.calibration["2024-07"].actual) == (0.25, 0.5)
    assert [a.body["about"] for a in seen.alerts] == ["calibration"]
    facts = endpoints.ledger.query("monitor.calibration", "wear")
    assert [(f.body["window"], f.body["rows"]) for f in facts] == [("2024-03", ROWS), ("2024-07", 0), ("2024-07", ROWS)]


def test_more_labels_than_memory_allows_are_looked_up(endpoints, asked, monkeypatch):
    add(endpoints.stream, "wear", [Label(i, 1.0, "2024-07-06") for i in asked[MARCH] + asked[JULY]])
    in_memory = watch(endpoints, as_of="2024-07-06").to_json()
    monkeypatch.setattr("headrace.monitoring.labels.IN_MEMORY", 10)
    looked_up = watch(endpoints, as_of="2024-07-06").to_json()
    assert looked_up["calibration"] == in_memory["calibration"]
    assert looked_up["calibration"]["2024-07"]["rows"] == ROWS


def test_a_later_label_replaces_an_earlier_one(endpoints):
    add(
        endpoints.stream,
        "wear",
        [Label("a", 0.0, "2024-01-02"), Label("a", 1.0, "2024-01-05"), Label("a", 3.0, "2024-01-02", row=1)],
    )
    assert known(endpoints.stream, "wear", "a") == {0: 1.0, 1: 3.0}
    assert known(endpoints.stream, "wear", "b") == {}


@pytest.mark.parametrize("answer", [[0.2, 0.8], "worn"])
def test_answers_that_are_no_number_are_not_averaged(endpoints, sensors_of, answer):
    endpoints.deploy()
    ids = endpoints.ask(sensors_of(5), when=[MARCH] * 5, answers=[answer] * 4 + [0.5])
    add(endpoints.stream, "wear", [Label(i, 1.0, "2024-03-06") for i in ids])
    seen = watch(endpoints)
    assert seen.rows == {"2024-03": 5}
    assert (seen.calibration["2024-03"].rows, seen.calibration["2024-03"].predicted) == (1, 0.5)


def test_an_endpoint_that_keeps_no_log_is_told_from_one_that_nobody_asked(endpoints, sensors_of):
    endpoints.deploy()
    assert watch(endpoints).rows == {}
    endpoints.deploy(log="off")
    with pytest.raises(NotFound, match=r'wear logs no requests - its log is "off" - fix: log = "durable"'):
        watch(endpoints)
    endpoints.ask(sensors_of(5), when=[MARCH] * 5, answers=[0.25] * 5)  # before its log was off
    assert watch(endpoints).rows == {"2024-03": 5}


def test_defaults_say_nothing_about_a_model(endpoints, sensors_of):
    endpoints.deploy()
    ids = endpoints.ask(sensors_of(10), when=[MARCH] * 10, answers=[0.9] * 10, winner="default")
    add(endpoints.stream, "wear", [Label(i, 0.0, MARCH) for i in ids])
    calibration = watch(endpoints).calibration["2024-03"]
    assert (calibration.defaults, calibration.rows) == (10, 0)


def test_unreadable_event_times_are_counted_apart(endpoints, sensors_of):
    endpoints.deploy()
    endpoints.ask(sensors_of(3), when=[MARCH, "soon", "1709632800"], answers=[0.1] * 3)
    assert dict(watch(endpoints).rows) == {"2024-03": 2, UNKNOWN: 1}
    assert dict(watch(endpoints, every="day").rows) == {"2024-03-05": 2, UNKNOWN: 1}


def test_new_values_and_nulls_count_as_drift(endpoints, sensors_of):
    endpoints.deploy()
    cells = sensors_of(200)
    cells["site"] = ["east"] * 200
    cells["load"] = [None] * 200
    endpoints.ask(cells, when=[MARCH] * 200, answers=[0.1] * 200)
    drift = watch(endpoints).drift["2024-03"]
    assert {name for name, distance in drift.items() if distance.alarm} == {"site", "load"}


@pytest.mark.parametrize("error", [UNJOINED, CANCELLED])
def test_features_that_were_never_there_are_no_drift(endpoints, sensors_of, error):
    """The log has nulls in their place; a store that is away is no change of the data, and what was sent still counts."""
    endpoints.deploy()
    cells = sensors_of(200)
    cells["site"], cells["load"] = ["east"] * 200, [None] * 200
    endpoints.ask(cells, when=[MARCH] * 200, answers=[0.1] * 200, winner="default", error=error)
    seen = watch(endpoints)
    assert {name for name, distance in seen.drift["2024-03"].items() if distance.alarm} == {"site"}
    assert dict(seen.rows) == {"2024-03": 200}


def test_what_cannot_be_observed(endpoints):
    with pytest.raises(NotFound, match="no endpoint 'wear'"):
        watch(endpoints)
    endpoints.deploy(profiled=False)
    with pytest.raises(UsageError, match="no training profile"):
        watch(endpoints)


def test_what_a_folder_serves_is_compared_with_what_its_equal_was_trained_on(endpoints, sensors_of):
    version = endpoints.deploy()
    loading = Loading(1, version.digest, "onnx", "models/wind/1")
    endpoints.ledger.append([Fact(FOLDER, "wind", asdict(loading))])
    endpoints.ask(sensors_of(ROWS, 9.0), when=[JULY] * ROWS, answers=[0.25] * ROWS, name="wind", winner="wind@1")
    seen = observe(endpoints.stores, endpoints.stream, "wind")
    assert (seen.endpoint, seen.model) == ("wind", str(version))
    assert [column for column, distance in seen.drift["2024-07"].items() if distance.alarm] == ["heat"]
    endpoints.ledger.append([Fact(FOLDER, "wind", asdict(replace(loading, digest="another")))])
    with pytest.raises(UsageError, match=r"models/wind/1 - no registered version equals"):
        observe(endpoints.stores, endpoints.stream, "wind")


def test_the_scores_of_the_reference_move_when_the_inputs_do(endpoints):
    endpoints.deploy(reference="old")
    rng = np.random.default_rng(1)
    heats = {when: rng.normal(20 + warmer, 3, ROWS) for when, warmer in ((MARCH, 0), ("2024-05-05", 0), (JULY, 9))}
    for when, heat in heats.items():
        columns = {"heat": heat.tolist(), "load": [1.0] * ROWS, "site": ["north"] * ROWS}
        endpoints.ask(columns, when=[when] * ROWS, answers=[0.25] * ROWS, reference=(heat / 40).tolist())
    seen = watch(endpoints)
    assert seen.reference == "old@1"
    assert list(seen.shift) == ["2024-05", "2024-07"]  # the first window is what they are compared with
    assert (seen.shift["2024-05"].alarm, seen.shift["2024-07"].alarm) == (False, True)
    assert [a.body["message"] for a in seen.alerts if a.body["about"] == "reference"] == [
        f"the scores of the reference old@1 moved in 2024-07: PSI {seen.shift['2024-07'].psi:.2f}"
    ]
    assert watch(endpoints, min_rows=ROWS + 1).shift == {}  # no window has enough of them
