"""``headrace init`` makes a project that runs, is tested, and of which doctor finds the evidence."""

import json
import subprocess
import sys

import pytest


def _run(*command, cwd, code=0):
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=110)
    assert done.returncode == code, done.stdout + done.stderr
    assert "leaked" not in done.stderr  # what a compiled library says of objects that outlive it
    return done.stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("init") / "shop"
    made = _headrace("init", str(folder), "--json", cwd=folder.parent)
    assert json.loads(made)["dataset"] == "orders@1"
    return folder


def _headrace(*arguments, cwd, code=0):
    return _run(sys.executable, "-m", "headrace", *arguments, cwd=cwd, code=code)


def test_its_pipeline_registers_and_deploys_and_doctor_scores_it(project):
    _headrace("run", "returns", cwd=project)
    found = json.loads(_headrace("doctor", "--json", cwd=project))
    assert found["healthy"]
    points = {test["id"]: test["points"] for test in found["ml_test_score"]["tests"]}
    earned = {"data.1", "data.4", "model.3", "infrastructure.4"}
    assert {test for test in earned if points[test] != 1} == set()
    assert points["infrastructure.3"] == 0.5


def test_its_own_tests_pass(project):
    assert "3 passed" in _run(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=project)


def test_a_second_init_changes_nothing(project):
    # The project's own files: below .headrace the mirror of the run before may still be at work.
    own = [path for path in project.rglob("*") if path.is_file() and ".headrace" not in path.parts]
    before = {path: path.stat().st_mtime_ns for path in own}
    _headrace("init", ".", cwd=project, code=2)
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_files_that_are_there_stay(tmp_path):
    (tmp_path / ".gitignore").write_text("mine\n")
    _headrace("init", ".", cwd=tmp_path)
    assert (tmp_path / ".gitignore").read_text() == "mine\n"
    assert (tmp_path / "pipeline.py").is_file()
