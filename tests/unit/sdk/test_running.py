"""Runs started from Python: scripts, platforms, scratch."""

import subprocess
import sys

import pytest

from headrace.assembly import open_platform
from headrace.sdk import ambient
from headrace.settings import Settings

SCRIPT = """
import os, sys
import headrace as hr
from headrace.sdk.running import Request, run

@hr.step
def one(n: int) -> int:
    return os.getpid() - os.getpid() + n
@hr.pipeline
def main():
    return [one(n) for n in range(4)]

report = run(Request(main))
print(report.state, *(step.state for step in report.steps))
"""


@pytest.fixture
def script(tmp_path):
    (tmp_path / "headrace.toml").write_text("")

    def start(text):
        (tmp_path / "script.py").write_text(text)
        command = [sys.executable, "script.py"]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60).stdout

    return start


def test_a_script_runs_its_own_pipeline_without_a_guard(script):
    assert script(SCRIPT).split() == ["succeeded", *["done"] * 4]
    assert script(SCRIPT).split() == ["succeeded", *["cached"] * 4]
    assert script(SCRIPT.replace("+ n", "- n")).split() == ["succeeded", *["done"] * 4]


def test_code_without_a_file_is_never_cached(tmp_path):
    (tmp_path / "headrace.toml").write_text("")
    for _ in range(2):
        command = [sys.executable, "-c", SCRIPT]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60)
        assert done.stdout.split() == ["succeeded", *["done"] * 4]


def test_the_ambient_platform_can_be_replaced(tmp_path):
    one, two = (open_platform(Settings(root=tmp_path / name)) for name in "ab")
    with ambient.use(one):
        assert ambient.platform() is one
        with ambient.use(two):
            assert ambient.platform() is two
        assert ambient.platform() is one


def test_outside_a_run_effects_write_to_a_scratch_platform(tmp_path):
    with ambient.use(open_platform(Settings(root=tmp_path))) as platform:
        scratch = ambient.writable()
        assert scratch is ambient.writable()
        assert scratch is not platform
        scratch.ledger().query("*")
        assert not scratch.home.is_relative_to(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_where_there_is_no_project(tmp_path):
    command = [sys.executable, "-m", "headrace", "run", "main"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 5
    assert "run inside a project, or headrace init" in done.stderr
    assert list(tmp_path.iterdir()) == []
