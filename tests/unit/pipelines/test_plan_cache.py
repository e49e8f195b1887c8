"""A kept plan is used exactly as long as nothing that planning depended on has changed."""

import pytest

from headrace.errors import NotFound, UsageError
from headrace.pipelines.explain import forecast
from headrace.pipelines.history import log_of, past_run, past_runs, steps_of
from headrace.placement.processes import own_life
from headrace.sdk import ambient
from headrace.storage.ledger import Fact

SOURCE = """
import os
from pathlib import Path
from headrace.sdk import ambient
PLANNED = Path(__file__).parent / "planned.txt"
@hr.step
def first(n: int) -> int:
    print("made", n)
    return n
@hr.step(environment=("MADE_UP",))
def second(n: int) -> int:
    return n + 1
@hr.pipeline
def main(n: int = 1):
    with open(PLANNED, "a") as planned:
        planned.write("x")
    plan = ambient.planning()
    if plan is not None:
        plan.latest(ambient.platform().ledger(), "dataset.version", "orders")
    (Path(__file__).parent / "settings.txt").read_text() if n == 5 else None
    return second(first(n))
"""


@pytest.fixture
def planned(project):
    project.write(SOURCE)

    def times(**params):
        project.run(**params)
        return len((project.root / "planned.txt").read_text())

    return times


def test_an_unchanged_project_is_planned_once(planned):
    assert [planned(), planned(), planned()] == [1, 1, 1]


def test_each_parameter_has_its_plan(planned):
    assert [planned(), planned(n=2), planned(n=2), planned()] == [1, 2, 2, 2]


@pytest.mark.parametrize("new", ["# a comment\n", "OTHER = 1\n"])
def test_any_change_of_the_source_plans_anew(planned, project, new):
    planned()
    project.write(SOURCE + new)
    assert planned() == 2


def test_a_new_fact_plans_anew(planned, project):
    planned()
    project.platform.ledger().append([Fact("dataset.version", "orders")])
    assert [planned(), planned()] == [2, 2]
    project.platform.ledger().append([Fact("dataset.version", "customers")])
    assert planned() == 2


def test_a_changed_variable_plans_anew(planned, monkeypatch):
    planned()
    monkeypatch.setenv("MADE_UP", "1")
    assert [planned(), planned()] == [2, 2]


def test_a_changed_package_plans_anew(planned, monkeypatch):
    planned()
    monkeypatch.setattr("headrace.pipelines.plan_cache.installed", lambda: {"made-up": ("2.0", None)})
    assert [planned(), planned()] == [2, 2]


def test_a_file_read_while_planning_plans_anew(planned, project):
    (project.root / "settings.txt").write_text("a")
    planned(n=5)
    assert planned(n=5) == 1
    (project.root / "settings.txt").write_text("b")
    assert planned(n=5) == 2


def test_a_damaged_plan_is_made_again(planned, project):
    planned()
    for path in (project.root / ".headrace" / "cache" / "plans").iterdir():
        path.write_text("{")
    assert planned() == 2


def test_a_forecast_runs_nothing(project):
    project.write(SOURCE)
    run = project.prepared()
    assert [(f.name, f.state, f.why) for f in forecast(run.plan, run.workspace)] == [
        ("first", "run", ["it has not finished before"]),
        ("second", "unknown", ["first has to run first"]),
    ]
    assert project.platform.ledger().query("run.*") == []


def _why(project, step, **options):
    run = project.prepared(**options)
    return next((f.state, list(f.why)) for f in forecast(run.plan, run.workspace) if f.name == step)


def test_a_forecast_says_what_changed(project, monkeypatch):
    project.write(SOURCE)
    report = project.run()
    state, why = _why(project, "first")
    assert state == "cached"
    assert why[0].startswith(f"nothing changed since run {report.run} made it in ")
    assert _why(project, "first", n=2) == ("run", ["parameter n changed from 1 to 2"])
    monkeypatch.setenv("MADE_UP", "1")
    assert _why(project, "second") == ("run", ["variable MADE_UP changed"])
    project.write(SOURCE.replace("return n\n", "return n * 2\n"))
    assert _why(project, "first") == ("run", [f"code {project.module}:first changed"])
    assert _why(project, "second")[0] == "unknown"
    assert _why(project, "first", overrides={"first": {"cache": "false"}})[1] == [
        "it is never taken from the cache (cache=False)"
    ]


def test_a_forecast_names_changed_files(project):
    (project.root / "table.csv").write_text("1")
    project.write(SOURCE.replace("return n\n", "return int((Path(__file__).parent / 'table.csv').read_text())\n"))
    project.run()
    (project.root / "table.csv").write_text("2")
    assert _why(project, "first") == ("run", ["file table.csv changed"])


def test_past_runs(project):
    project.write(SOURCE)
    first, second = project.run(), project.run(n=2)
    third = project.run()
    ledger = project.platform.ledger()
    assert [(r.run, r.state, dict(r.counts)) for r in past_runs(ledger, 2)] == [
        (second.run, "succeeded", {"done": 2}),
        (third.run, "succeeded", {"cached": 2}),
    ]
    assert past_run(ledger, "last").run == third.run
    assert past_run(ledger, first.run[-8:]).params == {"n": 1}
    with pytest.raises(NotFound, match="headrace runs ls"):
        past_run(ledger, "no-such")
    with pytest.raises(UsageError, match="3 runs match"):
        past_run(ledger, first.run[:4])
    (step, _) = steps_of(ledger, third.run)
    workspace = ambient.workspace(project.platform)
    assert log_of(workspace, third.run, step).read_text() == "made 1\n"  # of the run that made it


def test_runs_without_an_end_are_running_or_died(project):
    ledger = project.platform.ledger()
    here = own_life()
    for run, process in (("a", here), ("b", {**here, "pid": 2**22 + 1}), ("c", {**here, "pid": 1, "host": "another"})):
        ledger.append([Fact("run.started", run, {"pipeline": "main", "process": process, "params": {}})])
    ledger.append([Fact("run.step", "b", {"name": "x", "state": "done"})])
    assert [(r.state, r.seconds, dict(r.counts)) for r in past_runs(ledger, 5)] == [
        ("running", None, {}),
        ("died", None, {"done": 1}),
        ("running", None, {}),
    ]
