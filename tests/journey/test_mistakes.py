"""Ordinary mistakes at the command line: one line each, with the place and what to do, and no traceback."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from headrace.models.signature import Signature

GOOD = """
import headrace as hr

@hr.step
def one(n: int) -> int:
    return n

@hr.pipeline
def main(n: int = 1):
    return one(n)
"""


def headrace(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    variables = {**os.environ, "NO_COLOR": "1", **environment}
    command = [sys.executable, "-m", "headrace", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=variables, check=False)


@pytest.fixture
def project(tmp_path):
    (tmp_path / "pipeline.py").write_text(GOOD)
    return tmp_path


def refused(folder: Path, *arguments: str, code: int, **environment: str) -> str:
    done = headrace(folder, *arguments, **environment)
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    (line,) = done.stderr.splitlines()
    assert " - fix: " in line
    return line


@pytest.mark.parametrize(
    ("old", "new", "due"),
    [
        ("def main(", "def main((", "module 'pipeline' cannot be imported - pipeline.py:9 - SyntaxError: "),
        ("import headrace as hr", "import no_such_thing", "pipeline.py:2 - ModuleNotFoundError: No module named"),
        ("@hr.pipeline", "limit = 1 / 0\n@hr.pipeline", "pipeline.py:8 - ZeroDivisionError: division by zero"),
        ("@hr.pipeline", "raise SystemExit(4)\n@hr.pipeline", "pipeline.py:8 - SystemExit: 4"),
        ("return one(n)", "return one(wrong=n)", "pipeline 'main' cannot be planned - pipeline.py:10 - TypeError: "),
        ("n: int = 1", "n: Missing = 1", "NameError: name 'Missing' is not defined"),
    ],
)
def test_what_the_projects_code_raises_comes_with_its_line(project, old, new, due):
    (project / "pipeline.py").write_text(GOOD.replace(old, new))
    line = refused(project, "run", "main", code=2)
    assert line.startswith("error [usage] ")
    assert due in line


def test_a_traceback_comes_only_when_asked_for(project):
    (project / "pipeline.py").write_text(GOOD.replace("@hr.pipeline", "1 / 0\n@hr.pipeline"))
    told = headrace(project, "run", "main", HEADRACE_DEBUG="1").stderr
    assert told.startswith("Traceback")
    assert told.splitlines()[-1].startswith("error [usage] ")


def test_a_state_folder_that_cannot_be_made(project):
    (project / ".headrace").write_text("")
    assert f"{project}/.headrace - File exists - fix: move " in refused(project, "run", "main", code=2)
    elsewhere = refused(project, "run", "main", code=2, HEADRACE_HOME="/proc/nothing")
    assert "error [settings] the state folder cannot be made - /proc/nothing - " in elsewhere


def test_a_folder_that_the_system_refuses(project):
    assert "/proc/foo" in refused(project, "init", "/proc/foo", code=1)


@pytest.mark.parametrize(
    ("environment", "due"),
    [
        ({"HEADRACE_ENV": "laptpo"}, "no environment 'laptpo' - no file has a table [env.laptpo] - fix: did you mean"),
        ({"HEADRACE_ENV": "prod"}, "fix: one of laptop, staging; or add [env.prod] to headrace.toml"),
        ({"HEADRACE_PORT": "many"}, "setting 'port' is 'many' - environment HEADRACE_PORT - a whole number is due"),
    ],
)
def test_settings_that_mean_nothing(project, environment, due):
    (project / "headrace.toml").write_text("[env.staging]\nworkers = 1\n")
    assert due in refused(project, "config", "list", code=2, **environment)
    assert headrace(project, "config", "list", "--env", "staging").returncode == 0


def test_settings_that_are_not_toml(project):
    (project / "headrace.toml").write_text("store = here\n")
    assert "headrace.toml - Invalid value (at line 1" in refused(project, "config", "list", code=2)


def test_a_wrong_call_is_json_too(project):
    done = headrace(project, "run", "main", "--no-such", "--json")
    assert done.returncode == 2
    error = json.loads(done.stderr)["error"]
    assert error["code"] == "usage"
    assert "--no-such" in error["what"]
    assert set(error) == {"code", "what", "where", "why", "fix"}


def test_several_runs_that_an_id_may_mean(project):
    for _ in range(2):
        assert headrace(project, "run", "main").returncode == 0
    runs = json.loads(headrace(project, "runs", "ls", "--json").stdout)
    line = refused(project, "runs", "show", "0", code=2)
    assert all(run["run"] in line for run in runs)
    assert line.startswith("error [usage] 2 runs match '0' - ")


def test_silence_is_told(project):
    headrace(project, "run", "main")
    done = headrace(project, "runs", "logs")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.startswith("nothing was printed by any step of run ")


@pytest.mark.parametrize("group", ["serving", "models", "tokens"])
def test_a_group_without_a_command_shows_its_help_with_whole_sentences(tmp_path, group):
    shown = headrace(tmp_path, group)
    assert (shown.returncode, shown.stdout) == (2, "")
    assert shown.stderr.startswith(f"Usage: headrace {group} ")
    assert "..." not in shown.stderr.partition("Commands:")[2]


def test_an_endpoint_that_is_not_written_yet_is_shown(tmp_path):
    line = refused(tmp_path, "serving", "deploy", "late", code=5)
    assert '[endpoint.late] with deadline_ms = 50 and schedule = [{ model = "late@champion", wait_ms = 40 }]' in line


@pytest.mark.parametrize("given", ['{"kind": "table", "inputs": ["amount"], "outputs": []}', "[1]"])
def test_a_signature_that_is_none_is_answered_with_one(tmp_path, given):
    (tmp_path / "model.onnx").write_bytes(b"")
    asked = ["model.onnx", "--name", "late", "--licence", "MIT", "--example", "{}", "--signature", given]
    line = refused(tmp_path, "models", "import", *asked, code=2)
    shown = json.loads(line.partition(" - fix: say it like ")[2])
    assert [one.name for one in Signature.from_json(shown).inputs] == ["amount"]


def test_a_folder_that_is_no_project_is_named_where_nothing_is_found(tmp_path):
    elsewhere = f"; {tmp_path} has no headrace.toml or pipeline.py: is the project elsewhere?"
    assert refused(tmp_path, "serving", "run", code=5).endswith(elsewhere)
    for asked in (["models", "ls"], ["serving", "ls"]):
        assert headrace(tmp_path, *asked).stderr.rstrip().endswith(elsewhere)
    (tmp_path / "headrace.toml").write_text("")
    assert "elsewhere" not in refused(tmp_path, "serving", "run", code=5)
