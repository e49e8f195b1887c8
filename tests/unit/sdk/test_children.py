"""Children of a running step: keyed, cached, parallel, recorded."""

import importlib
import sys

import pytest

from headrace.assembly import open_platform
from headrace.errors import RunFailed
from headrace.sdk import ambient
from headrace.sdk.children import run_children
from headrace.sdk.decorators import step
from headrace.sdk.running import Request, run
from headrace.settings import Settings

SOURCE = """
import os, time
from pathlib import Path
import headrace as hr
import polars as pl
from headrace.pipelines.references import Reference
from headrace.sdk.children import inside_run, run_children, value

@hr.step
def rows() -> pl.DataFrame:
    return pl.DataFrame({"x": [1, 2, 3]})

@hr.step
def trial(rows: pl.DataFrame, factor: int, folder: str = "") -> dict:
    if folder:
        (Path(folder) / str(factor)).touch()
        end = time.monotonic() + 60
        while len(list(Path(folder).iterdir())) < 2:
            assert time.monotonic() < end
            time.sleep(0.01)
    if factor < 0:
        raise ValueError(factor)
    return {"total": int(rows["x"].sum()) * factor, "pid": os.getpid()}

@hr.step(main_process=True)
def search(rows: Reference, factors: list, folder: str = "") -> Reference:
    assert inside_run()
    results = run_children(trial, [{"rows": rows, "factor": f, "folder": folder} for f in factors])
    best = max(results, key=lambda r: value(r.reference)["total"])
    return best.reference

@hr.step
def beside(n: int) -> int:
    return n

@hr.pipeline
def main(factors: list, folder: str = ""):
    t = rows()
    found = search(t, factors, folder)
    return found
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "made_children.py").write_text(SOURCE)
    importlib.invalidate_caches()
    sys.modules.pop("made_children", None)
    platform = open_platform(Settings(root=tmp_path, workers=2))
    with ambient.use(platform):
        yield lambda **params: run(Request("made_children:main", params))
    platform.close()


def states(report):
    return {s.name: s.state for s in report.steps if "/" in s.name}


def test_children_are_cached_one_by_one(project):
    report = project(factors=[1, 3, 2])
    assert report.exit_code == 0, report.steps
    assert states(report) == {f"search/trial-{n}": "done" for n in (1, 2, 3)}
    assert report.result.tree["total"] == 18
    more = project(factors=[1, 3, 2, 5])
    assert states(more) == {**{f"search/trial-{n}": "cached" for n in (1, 2, 3)}, "search/trial-4": "done"}
    assert states(project(factors=[1, 3, 2, 5])) == {}  # the search itself is cached


def test_children_run_at_once(project, tmp_path):
    (tmp_path / "meet").mkdir()
    report = project(factors=[1, 2], folder=str(tmp_path / "meet"))
    assert report.exit_code == 0, report.steps
    assert len({s.reference.tree["pid"] for s in report.steps if "/" in s.name}) == 2


def test_a_failing_child_fails_its_parent_after_the_others_ended(project):
    report = project(factors=[1, -1, 2])
    assert states(report) == {"search/trial-1": "done", "search/trial-2": "failed", "search/trial-3": "done"}
    assert report.step("search").error.startswith("1 of 3 calls of 'trial' failed - search/trial-2: ValueError: -1")
    assert report.exit_code == 1


def test_children_are_on_record(project):
    report = project(factors=[2])
    ledger = ambient.platform().ledger()
    assert [f.body["name"] for f in ledger.query("run.step", report.run)] == ["rows", "search/trial-1", "search"]
    (fact,) = ledger.query("step.finished", report.step("search/trial-1").key)
    assert fact.body["parts"]["params"]["factor"] == 2
    assert (ambient.platform().home / "runs" / report.run / "search" / "trial-1.log").is_file()


@step
def plain(n: int) -> int:
    return n


def test_outside_a_run_there_are_no_children():
    with pytest.raises(RunFailed, match="no run to make children of"):
        run_children(plain, [{"n": 1}])
