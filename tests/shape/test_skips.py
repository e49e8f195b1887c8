"""``--no-skips`` (what .ci/run uses) turns a skip into a failure, unless the machine lacks a GPU."""

import os
import shutil
import subprocess
import sys

import pytest

CASES = """
import pytest

def test_passes(): pass

def test_inside(): pytest.skip("no service here")

@pytest.mark.skip(reason="not today")
def test_marked(): pass

@pytest.mark.skip(reason="no GPU on this machine")
def test_gpu(): pass
"""


@pytest.fixture
def folder(tmp_path, root):
    shutil.copy(root / "tests/conftest.py", tmp_path)
    return tmp_path


def _run(folder, *options):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(folder), *options, "."]
    plain = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # starts in a third of the time
    done = subprocess.run(command, cwd=folder, env=plain, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout.strip().splitlines()[-1]


def test_skips_are_refused_but_for_a_gpu(folder):
    (folder / "test_cases.py").write_text(CASES)
    assert _run(folder)[0] == 0
    code, closing = _run(folder, "--no-skips")
    assert code == 1
    assert "1 failed, 1 passed, 1 skipped, 1 error" in closing  # a mark skips during set-up, hence the error


def test_a_module_that_skips_itself_is_refused(folder):
    (folder / "test_whole.py").write_text("import pytest\npytest.importorskip('no_such_module')\ndef test_a(): pass\n")
    assert _run(folder, "--no-skips")[0] != 0


def test_skips_are_refused_by_workers_too(folder):
    (folder / "test_cases.py").write_text(CASES)
    assert _run(folder, "--no-skips", "-p", "xdist", "-n", "2")[0] == 1
