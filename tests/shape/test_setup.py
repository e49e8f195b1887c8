"""``make`` finds a Python that can make environments, or says what to install; a second call sets nothing up again."""

import os
import shutil
import subprocess

import pytest

SHELL = shutil.which("sh")


@pytest.fixture
def machine(tmp_path):
    """A machine whose PATH holds only the pythons that a test puts there."""
    (tmp_path / "bin").mkdir()

    def add(name, *, version_ok=True, ensurepip=True):
        old, bare = (0 if version_ok else 1), (0 if ensurepip else 1)
        script = f'#!{SHELL}\ncase "$2" in *ensurepip*) exit {bare};; *) exit {old};; esac\n'
        (tmp_path / "bin" / name).write_text(script)
        (tmp_path / "bin" / name).chmod(0o755)

    return tmp_path / "bin", add


def _found(root, folder):
    done = subprocess.run(
        [SHELL, root / ".ci/python"], env={"PATH": str(folder)}, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout.strip(), done.stderr.strip()


def test_the_first_that_fits_is_taken(root, machine):
    folder, add = machine
    add("python3.11", version_ok=False)
    add("python3.12", ensurepip=False)
    add("python3")
    assert _found(root, folder) == (0, str(folder / "python3"), "")


def test_a_python_without_venv_names_the_package(root, machine):
    folder, add = machine
    add("python3.11", ensurepip=False)
    code, _, said = _found(root, folder)
    assert code == 1
    assert said.endswith("fix: sudo apt-get install python3-venv")


def test_no_python_at_all_names_the_packages(root, machine):
    folder, add = machine
    add("python3", version_ok=False)
    code, _, said = _found(root, folder)
    assert code == 1
    assert said.endswith("fix: sudo apt-get install python3 python3-venv")


def test_set_up_is_done_once(root, tmp_path):
    """With the stamp newer than what it depends on, make has nothing to set up."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(root / name, tmp_path)
    shutil.copytree(root / ".ci", tmp_path / ".ci")
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / ".ready").touch()
    assert "setting up" not in _planned(tmp_path)
    os.utime(tmp_path / "constraints.txt", (4e9, 4e9))
    assert "setting up" in _planned(tmp_path)


def _planned(folder):
    """What ``make test`` would do there."""
    environment = {"PATH": os.environ["PATH"]}
    return subprocess.run(
        ["make", "-n", "test"], cwd=folder, env=environment, capture_output=True, text=True, check=True
    ).stdout


def test_every_target_says_what_it_does(root):
    said = subprocess.run(["make"], cwd=root, capture_output=True, text=True, check=True).stdout
    for target in ("setup", "demo", "test", "check", "docs", "bench", "test-services", "test-frameworks", "soak"):
        (line,) = [line for line in said.splitlines() if line.split()[:1] == [target]]
        assert len(line.split()) > 3
