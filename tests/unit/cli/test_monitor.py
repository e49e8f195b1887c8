"""``headrace monitor``: tables for people, JSON for programs, one name too few or too many."""

import json

import pytest

from headrace.cli import main
from headrace.monitoring.labels import Label, add


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    (tmp_path / "headrace.toml").write_text("")
    monkeypatch.chdir(tmp_path)

    def call(*args):
        with pytest.raises(SystemExit) as done:
            main(["monitor", *args])
        said = capsys.readouterr()
        return done.value.code, said.out, said.err

    return call


@pytest.fixture
def asked(run, endpoints, sensors_of):
    endpoints.deploy()
    for when, warmer in (("2024-03-05", 0.0), ("2024-07-05", 9.0)):
        ids = endpoints.ask(sensors_of(300, warmer), when=[when] * 300, answers=[0.2] * 300)
    add(endpoints.stream, "wear", [Label(i, float(n % 2), "2024-07-06") for n, i in enumerate(ids)])


def test_show_and_alerts(run, asked):
    code, out, err = run("show")
    assert code == 0
    assert out.splitlines()[2].split() == [
        "WINDOW",
        "ROWS",
        "DRIFTED",
        "LABELLED",
        "PREDICTED",
        "ACTUAL",
        "CALIBRATION",
    ]
    assert out.splitlines()[4].split() == ["2024-07", "300", "heat", "300", "0.2", "0.5", "ALARM"]
    assert "alert: heat drifted in 2024-07" in err
    assert "alert" not in run("show", "wear")[2]
    raised = json.loads(run("alerts", "--json")[1])
    assert [(a["subject"], a["about"], a["window"]) for a in raised] == [
        ("wear", "drift", "2024-07"),
        ("wear", "calibration", "2024-07"),
    ]
    assert "heat drifted" in run("alerts", "wear")[1]


def test_drift_marks_alarms(run, asked):
    _, out, _ = run("drift", "wear")
    lines = {line.split()[0]: line.split()[1:] for line in out.splitlines()[2:]}
    assert lines["COLUMN"] == ["2024-03", "2024-07"]
    assert [cell.endswith("*") for cell in lines["heat"]] == [False, True]
    body = json.loads(run("drift", "wear", "--json")[1])
    assert body["drift"]["2024-07"]["heat"]["alarm"] is True
    assert body["drift"]["2024-07"]["load"]["alarm"] is False


def test_labels_after_a_moment_are_not_used(run, asked):
    seen = json.loads(run("show", "wear", "--as-of", "2024-07-01", "--json")[1])
    assert seen["calibration"]["2024-07"] == {"rows": 0, "waiting": 300, "defaults": 0, "alarm": False}


def test_mistakes_are_named(run, asked):
    code, _, err = run("show", "weer")
    assert (code, "did you mean 'wear'" in err) == (5, True)
    code, _, err = run("drift", "--every", "week")
    assert (code, "month, day, hour" in err) == (2, True)


def test_before_anything_is_deployed(run):
    assert run("show")[0] == 5
    code, out, err = run("alerts", "--json")
    assert (code, json.loads(out), "no alerts" in err) == (0, [], True)


def test_labels_come_from_a_file(run, endpoints, sensors_of, tmp_path):
    endpoints.deploy()
    ids = endpoints.ask(sensors_of(3), when=["2024-03-05"] * 3, answers=[0.2] * 3)
    csv = tmp_path / "labels.csv"
    csv.write_text("id,label,known_at\n" + f"{ids[0]},1,2024-03-06\n{ids[1]},true,2024-03-06\nunknown,0,2024-03-06\n")
    code, out, err = run("label", "wear", str(csv), "--json")
    assert (code, json.loads(out)) == (0, {"endpoint": "wear", "labels": 3, "unmatched": 1})
    assert "1 of them name no logged request" in err
    lines = tmp_path / "labels.jsonl"
    lines.write_text(json.dumps({"id": ids[2], "label": False}) + "\n")
    assert run("label", "wear", str(lines))[0] == 0
    seen = json.loads(run("show", "--json")[1])["calibration"]["2024-03"]
    assert (seen["rows"], seen["waiting"], seen["actual"], seen["alarm"]) == (3, 0, 0.666667, False)
    assert "too few rows" in run("show")[1]


@pytest.mark.parametrize(("text", "said"), [("id,value\na,1\n", "no column 'label'"), ("id,label\na,maybe\n", "maybe")])
def test_what_is_no_label_is_named(run, endpoints, tmp_path, text, said):
    endpoints.deploy()
    (tmp_path / "labels.csv").write_text(text)
    code, _, err = run("label", "wear", "labels.csv")
    assert (code, said in err) == (2, True)
    assert run("label", "wear", "absent.csv")[0] == 5
