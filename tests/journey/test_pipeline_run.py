"""``headrace run`` and ``headrace runs`` on a generated project, in a process of their own."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PIPELINE = '''
"""A project made for this test."""
import time
from dataclasses import dataclass
from pathlib import Path

import narwhals as nw
import numpy as np
import polars as pl

import headrace as hr

HERE = Path(__file__).parent


def note(text: str) -> None:
    with open(HERE / "notes.txt", "a") as notes:
        notes.write(text + "\\n")


@dataclass
class Scores:
    auc: float
    rows: int


@hr.step
def rows(count: int) -> pl.DataFrame:
    """Some rows."""
    note("rows")
    print("making", count, "rows")
    return pl.DataFrame({"id": range(count), "x": [i % 7 / 7 for i in range(count)]})


@hr.step
def half(rows: nw.LazyFrame, part: int) -> nw.LazyFrame:
    note(f"half{part}")
    return rows.filter(nw.col("id") % 2 == part)


@hr.step
def weights(rows: nw.DataFrame) -> np.ndarray:
    note("weights")
    return np.full((len(rows), 50), 0.5)


@hr.step
def measure(left: np.ndarray, right: np.ndarray) -> Scores:
    note("measure")
    return Scores(float((left.mean() + right.mean()) / 2), len(left) + len(right))


@hr.gate
def good(scores: Scores, bound: float) -> None:
    note("good")
    assert scores.auc > bound


@hr.step(effect=True)
def publish(scores: Scores) -> Path:
    note("publish")
    path = HERE / "published.json"
    path.write_text(str(scores.rows))
    return path


@hr.pipeline
def main(count: int = 1000, bound: float = 0.4):
    table = rows(count)
    scores = measure(weights(half(table, 0)), weights(half(table, 1)))
    good(scores, bound)
    return publish(scores)
'''
STEPS = ["rows", "half", "half-2", "weights", "weights-2", "measure", "good", "publish"]


@pytest.fixture
def project(tmp_path):
    (tmp_path / "pipeline.py").write_text(PIPELINE)
    return tmp_path


def headrace(project: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "headrace", *arguments]
    variables = {**os.environ, "HEADRACE_WORKERS": "2", "NO_COLOR": "1", **environment}
    return subprocess.run(command, cwd=project, capture_output=True, text=True, env=variables, check=False)


def answer(project: Path, *arguments: str):
    done = headrace(project, *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def states(report) -> dict[str, str]:
    return {step["name"]: step["state"] for step in report["steps"]}


def test_first_run_second_run_and_a_change(project):
    first = headrace(project, "run", "main")
    assert first.returncode == 0, first.stderr
    assert re.fullmatch(r"main: succeeded in [\d.]+ s \(8 done\), run [0-9a-f-]{36}\n", first.stdout)
    lines = first.stderr.splitlines()
    assert lines[0].startswith("main: 8 steps, run ")
    assert re.fullmatch(r"  rows +done +[\d.]+ s  [0-9a-f]{8}  1,000 rows", lines[1])
    assert "\x1b" not in first.stderr
    assert "making" not in first.stdout + first.stderr
    assert (project / ".headrace" / ".gitignore").read_text() == "*\n"

    second = answer(project, "run", "main", "-q")
    assert states(second) == dict.fromkeys(STEPS, "cached")

    text = (project / "pipeline.py").read_text().replace('"""Some rows."""', '"""Other words."""  # and a comment')
    (project / "pipeline.py").write_text(text)
    assert states(answer(project, "run", "main")) == dict.fromkeys(STEPS, "cached")

    (project / "pipeline.py").write_text(text.replace("0.5)", "0.75)"))
    third = answer(project, "run", "main")
    assert states(third) == {
        **dict.fromkeys(["rows", "half", "half-2"], "cached"),
        **dict.fromkeys(["weights", "weights-2", "measure", "good", "publish"], "done"),
    }


def test_a_failing_gate_exits_3_with_its_values(project):
    refused = headrace(project, "run", "main", "--param", "bound=0.7")
    assert refused.returncode == 3
    assert not (project / "published.json").exists()
    _says_why_it_refused(refused.stderr)
    assert "7 done" not in refused.stdout
    assert "1 refused, 1 skipped" in refused.stdout
    passed = answer(project, "run", "main")
    assert states(passed) == {**dict.fromkeys(STEPS, "cached"), "good": "done", "publish": "done"}


def _says_why_it_refused(text: str) -> None:
    lines = [line.strip() for line in text.splitlines()]
    at = next(i for i, line in enumerate(lines) if line.startswith("error [gate-failed] gate 'good' - "))
    line = PIPELINE.splitlines().index("    assert scores.auc > bound") + 1
    assert lines[at].endswith(f" - assert scores.auc > bound (pipeline.py:{line})")
    assert lines[at + 1 : at + 4] == ["0.5 > 0.7", "scores.auc = 0.5", "bound = 0.7"]
    assert lines[at + 4].startswith("fix: headrace runs logs ")


def test_quiet_says_what_failed_and_nothing_else(project):
    refused = headrace(project, "run", "main", "--param", "bound=0.7", "-q")
    assert refused.returncode == 3
    assert refused.stderr.startswith("error [gate-failed] gate 'good' - ")
    _says_why_it_refused(refused.stderr)
    as_json = headrace(project, "run", "main", "--param", "bound=0.7", "-q", "--json")
    assert json.loads(as_json.stdout)["state"] == "refused"
    error = json.loads(as_json.stderr)["error"]
    assert (error["code"], error["what"]) == ("gate-failed", "gate 'good'")
    assert "0.5 > 0.7" in error["why"]


def test_a_failing_step_exits_1_and_its_log_says_why(project):
    text = PIPELINE.replace('    note("weights")\n', '    note("weights")\n    raise ValueError("too heavy")\n')
    (project / "pipeline.py").write_text(text)
    failed = headrace(project, "run", "main")
    assert failed.returncode == 1
    assert "ValueError: too heavy (pipeline.py:" in failed.stderr
    log = headrace(project, "runs", "logs", "last", "weights")
    assert log.returncode == 0
    assert 'raise ValueError("too heavy")' in log.stdout


DEADLY = """
import os
import headrace as hr

@hr.step
def die(n: int) -> int:
    print("about to die")
    if n:
        os._exit(3)
    return n

@hr.step
def after(n: int) -> int:
    return n

@hr.pipeline
def main(n: int = 3):
    return after(die(n))
"""


def test_a_step_that_kills_the_process_is_named_and_then_run_apart(project):
    (project / "pipeline.py").write_text(DEADLY)
    assert headrace(project, "run", "main").returncode == 3
    listed = headrace(project, "runs", "ls")
    assert "died in die" in listed.stdout
    shown = headrace(project, "runs", "show")
    assert re.search(r"^die +step +died", shown.stdout, re.MULTILINE)
    assert "fix: headrace runs logs" in shown.stderr
    assert headrace(project, "runs", "logs", "last", "die").stdout == "about to die\n"

    for _ in range(2):  # it stays apart until it ends well
        again = headrace(project, "run", "main", "-q")
        assert again.returncode == 1
        assert "error [run-failed] step 'die' - the worker process died - exit code 3" in again.stderr
        assert "1 failed, 1 skipped" in again.stdout
    assert states(answer(project, "run", "main", "--param", "n=0")) == {"die": "done", "after": "done"}


def test_explain_and_dry_run_change_nothing(project):
    dry = headrace(project, "run", "main", "--dry-run")
    assert dry.returncode == 0
    assert "rows       run" in dry.stdout
    assert not (project / "notes.txt").exists()
    headrace(project, "run", "main", "-q")
    same = headrace(project, "run", "main", "--explain", "measure")
    assert re.match(r"measure: taken from the cache [0-9a-f]{8}\n  nothing changed since run ", same.stdout)
    other = headrace(project, "run", "main", "--param", "count=10", "--explain", "rows")
    assert other.stdout.splitlines()[1] == "  parameter count changed from 1000 to 10"
    unknown = headrace(project, "run", "main", "--explain", "nothing")
    assert unknown.returncode == 2
    assert "no step named 'nothing'" in unknown.stderr
    assert len(answer(project, "runs", "ls")) == 1


def test_set_and_only(project):
    report = answer(project, "run", "main", "--set", "rows.count=10", "--only", "half-2")
    assert states(report) == {"rows": "done", "half-2": "done"}


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["run", "mian"], 5, "there is main"),
        (["run", "main", "--param", "count"], 2, "'count' is not NAME=VALUE"),
        (["run", "main", "--param", "count=many"], 2, "count is 'many' - int is due"),
        (["run", "main", "--param", "cuont=1"], 2, "one of count, bound"),
        (["run", "main", "--set", "rows=1"], 2, "is not STEP.OPTION"),
        (["run", "main", "--only", "row"], 2, "no step named 'row'"),
        (["runs", "show", "nothing"], 5, "no run 'nothing'"),
        (["runs", "logs"], 5, "no run 'last'"),
        (["run", "main", "--env", "prod"], 2, "no environment 'prod'"),
        (["run", "main", "--what", "--json"], 2, '"code":"usage"'),
    ],
)
def test_wrong_calls_say_what_to_do(project, arguments, code, text):
    done = headrace(project, *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert text in done.stderr
    assert "Traceback" not in done.stderr


def test_misuse_while_planning_says_where(project):
    (project / "pipeline.py").write_text(PIPELINE.replace("scores = measure", "len(table)\n    scores = measure"))
    done = headrace(project, "run", "main")
    assert done.returncode == 2
    assert (
        "cannot take len() of the output of step 'rows' - fix: move that line into a @hr.step (pipeline.py:"
        in done.stderr
    )


def test_gates_are_not_skipped_by_python_o(project):
    done = headrace(project, "run", "main", "--param", "bound=0.7", PYTHONOPTIMIZE="1")
    assert done.returncode == 2
    assert "python -O removes assertions" in done.stderr


def test_runs_are_listed_and_shown(project):
    run = answer(project, "run", "main")["run"]
    answer(project, "run", "main")
    rows = answer(project, "runs", "ls")
    assert [(row["pipeline"], row["state"], row["counts"]) for row in rows] == [
        ("main", "succeeded", {"done": 8}),
        ("main", "succeeded", {"cached": 8}),
    ]
    shown = answer(project, "runs", "show", run)
    assert sorted(step["name"] for step in shown["steps"]) == sorted(STEPS)
    assert headrace(project, "runs", "logs", "last", "rows").stdout == "making 1000 rows\n"
    assert "== rows\nmaking 1000 rows\n" in headrace(project, "runs", "logs").stdout


def test_an_unchanged_run_imports_nothing_of_the_project(project):
    headrace(project, "run", "main", "-q")
    program = (
        "import sys; sys.argv = ['headrace', 'run', 'main', '-q']\nfrom headrace.cli import main\n"
        "try: main()\nexcept SystemExit as done: code = done.code\n"
        "names = ['pipeline', 'narwhals', 'polars', 'numpy', 'pyarrow', 'duckdb', 'importlib.metadata', 'subprocess']\n"
        "print(code, [n for n in names if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=project, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 []"


def test_killed_at_any_moment_a_run_goes_on(project):
    """Ten kills at random moments of the whole work, then one run to the end.

    No step whose result was on record runs again, and no artifact is half-written: the last run verifies what it loads,
    and every manifest that is there describes its files.
    """
    random_ = random.Random(20130101)
    slow = PIPELINE.replace("def note(text: str) -> None:\n", "def note(text: str) -> None:\n    time.sleep(0.05)\n")
    (project / "pipeline.py").write_text(slow)
    began = time.monotonic()
    whole = project / "whole"
    whole.mkdir()
    (whole / "pipeline.py").write_text(slow)
    due = answer(whole, "run", "main")
    seconds = time.monotonic() - began

    for _ in range(10):
        recorded = _recorded(project)
        notes = _notes(project)
        process = subprocess.Popen(
            [sys.executable, "-m", "headrace", "run", "main"],
            cwd=project,
            env={**os.environ, "HEADRACE_WORKERS": "2"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            process.wait(random_.uniform(0.1, seconds / 2))
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
        assert _repeated(recorded, _notes(project)[len(notes) :]) == []
        _verify(project)
    recorded, notes = _recorded(project), _notes(project)
    report = answer(project, "run", "main")
    assert set(states(report)) == set(STEPS)
    assert {n for n, s in states(report).items() if s == "cached"} == recorded
    assert _repeated(recorded, _notes(project)[len(notes) :]) == []
    assert [s.get("digest") for s in report["steps"]] == [s.get("digest") for s in due["steps"]]
    assert (project / "published.json").read_text() == "1000"
    _verify(project)


def _notes(project: Path) -> list[str]:
    path = project / "notes.txt"
    return path.read_text().split() if path.exists() else []


def _ledger(project: Path):
    from headrace.engines.sqlite.ledger import SqliteLedger

    return SqliteLedger(project / ".headrace" / "ledger.db")


def _recorded(project: Path) -> set[str]:
    ledger = _ledger(project)
    names = {fact.body["name"] for fact in ledger.query("step.finished")}
    ledger.close()
    return names


def _repeated(recorded: set[str], notes: list[str]) -> list[str]:
    """Steps that were on record and ran all the same; ``weights`` notes one name for its two calls."""
    both = {"weights", "weights-2"} <= recorded
    names = {"half0": "half", "half1": "half-2"}
    found = [n for n in notes if names.get(n, n) in recorded and (n != "weights" or both)]
    if "weights" in notes and not both and recorded & {"weights", "weights-2"}:
        found += ["weights"] * (notes.count("weights") - 1)
    return found


def _verify(project: Path) -> None:
    from headrace.engines.local.files import LocalFiles
    from headrace.storage import manifest

    files = LocalFiles(project / ".headrace" / "store")
    for key in files.list("artifacts/"):
        if key.endswith("/" + manifest.NAME):
            manifest.fetch(files, key.removesuffix("/" + manifest.NAME))
    ledger = _ledger(project)
    for fact in ledger.query("step.finished"):
        folder = fact.body["result"]["folder"]
        if folder:
            manifest.fetch(files, folder, fact.body["result"]["manifest"])
    ledger.close()
