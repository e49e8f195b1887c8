"""``headrace serving ls``: sizes that can be read, and what was deployed at a moment."""

import os
import time
from datetime import UTC, datetime

import pytest

from headrace.cli import main
from headrace.cli import output as output_module
from headrace.cli.output import Output
from headrace.cli.scoreboard import deployed_then
from headrace.cli.served import lines
from headrace.serving.deployment import Deployment
from headrace.serving.endpoint import Endpoint, Preference
from headrace.serving.split import Split


@pytest.mark.parametrize(("size_bytes", "said"), [(23_000, "22.5 KiB file"), (3 * 2**20, "3.0 MiB file")])
def test_a_small_file_is_not_said_to_take_nothing(size_bytes, said):
    memory = {"size_bytes": size_bytes, "of": "file"}
    version = {"version": "late@1", "role": "", "state": "available", "why": "", "runs": "inline", "memory": memory}
    row = {"endpoint": "late", "state": "serving", "why": "", "traffic": None, "versions": [version]}
    assert any(said in line for line in lines([row]))


@pytest.fixture
def wine():
    """A row of an endpoint of two versions, which all columns take 110 characters to tell."""
    memory = {"size_bytes": 23 * 2**20, "of": "process"}
    version = {"role": "preferred", "state": "available", "why": "", "runs": "worker", "memory": memory}
    counted = {"scores": 123_456, "failed": 12, "p50_ms": 1.25, "p99_ms": 12.5}
    traffic = {"requests": 123_456, "errors": 12, "defaults": 7, "per_second": 250.5, "p50_ms": 1.25, "p99_ms": 12.5}
    return {
        "endpoint": "wine-quality",
        "state": "serving",
        "why": "",
        "traffic": traffic,
        "split": None,
        "schedule": "wine-quality@12 20 ms, wine-quality@11 30 ms",
        "deadline_ms": 50.0,
        "canary": None,
        "versions": [{"version": f"wine-quality@{number}", **version, **counted} for number in (12, 11)],
    }


@pytest.mark.parametrize("columns", [80, 100, 200])
def test_tables_fold_where_the_terminal_is_narrow(wine, columns, monkeypatch):
    whole = list(lines([wine]))
    monkeypatch.setattr(output_module.sys.stdout, "isatty", lambda: True)
    monkeypatch.setattr(output_module.shutil, "get_terminal_size", lambda: os.terminal_size((columns, 24)))
    folded = list(lines([wine]))
    assert max(map(len, folded)) < columns
    assert (folded == whole) is (columns == 200)
    told = " ".join(folded).split()
    assert {word for line in whole for word in line.split()} == set(told)
    assert told.count("wine-quality@12") == (2 if columns == 200 else 3)


def test_what_was_deployed_says_by_what_a_split_is_drawn(capsys):
    endpoint = Endpoint(
        "late",
        (Preference("late@1", 0.02), Preference("late@2", 0.02)),
        0.05,
        {"late": 0.5},
        split=Split({"late@2": 0.05}, "x-customer"),
    )
    deployment = Deployment(endpoint, {"late@1": "late@1", "late@2": "late@2"}, seq=3, at=time.time() - 60)
    deployed_then(Output(), [deployment], "0s")
    assert "late@2 5% by x-customer" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("said", "live"),
    [
        ("2026-11-28 00:57:27Z", "late@1"),
        ("2026-11-28 00:57:28Z", "late@2"),
        ("2026-11-28T01:57:28+01:00", "late@2"),
        ("2026-11-28 00:57:28.500Z", "late@1"),
        ("2026-11-28 00:57:28.900Z", "late@2"),
    ],
)
def test_a_moment_as_it_is_printed_means_what_is_printed_beside_it(said, live, capsys):
    began = datetime(2026, 11, 28, 0, 57, 28, 700_000, UTC).timestamp()
    deployments = [
        Deployment(Endpoint("late", (Preference(version, 0.02),), 0.05), {version: version}, seq=seq, at=at)
        for seq, (version, at) in enumerate([("late@1", began - 60), ("late@2", began)], 1)
    ]
    deployed_then(Output(), deployments, said)
    assert live in capsys.readouterr().out


def test_the_past_cannot_be_watched(tmp_path, monkeypatch, capsys):
    (tmp_path / "headrace.toml").write_text("")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as done:
        main(["serving", "ls", "late", "--watch", "--as-of", "2h"])
    assert done.value.code == 2
    assert "leave out all but one" in capsys.readouterr().err


def test_a_folder_of_models_that_is_not_there_is_not_waited_for(tmp_path, monkeypatch, capsys):
    (tmp_path / "headrace.toml").write_text("")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as done:
        main(["serving", "run", "--models", "nosuch", "--port", "0", "--detach"])
    assert done.value.code == 5
    assert "no such folder - nosuch - fix: name the folder" in capsys.readouterr().err


def test_nothing_deployed_then_is_said_without_an_empty_table(capsys):
    deployed_then(Output(), [], "2h")
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", "nothing was deployed then\n")
    deployed_then(Output(json=True), [], "2h")
    assert capsys.readouterr().out == "[]\n"
