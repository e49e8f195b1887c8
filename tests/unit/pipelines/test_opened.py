"""Which opened files count as inputs."""

import os
from pathlib import Path

import pytest

from headrace.pipelines.opened import digests, recorded


@pytest.fixture
def root(tmp_path):
    for name in (
        "data/a.csv",
        ".venv/lib/site-packages/x/data.csv",
        "venv/site-packages/y.csv",
        ".git/HEAD",
        "code.py",
    ):
        path = tmp_path / "project" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (tmp_path / "outside.csv").write_text("outside")
    (tmp_path / "project" / ".env").write_text("A=1")
    return tmp_path / "project"


def read(root, *actions):
    with recorded(root, besides=root / ".headrace") as found:
        for action in actions:
            action(root)
    return found


def test_files_of_the_project_count_with_their_digest(root):
    found = read(root, lambda r: (r / "data" / "a.csv").read_bytes(), lambda r: os.open(r / ".env", os.O_RDONLY))
    assert set(found) == {"data/a.csv", ".env"}
    assert found == digests(root, list(found))
    (root / "data" / "a.csv").write_text("changed")
    assert found != digests(root, list(found))
    (root / "data" / "a.csv").unlink()
    assert digests(root, ["data/a.csv"]) == {"data/a.csv": ""}


def test_relative_paths_and_links_are_resolved(root, monkeypatch):
    monkeypatch.chdir(root)
    (root / "link.csv").symlink_to(root / "data" / "a.csv")
    assert set(read(root, lambda _: Path("data/../data/a.csv").read_text())) == {"data/a.csv"}
    assert set(read(root, lambda _: Path("link.csv").read_text())) == {"data/a.csv"}


@pytest.mark.parametrize(
    "name", ["../outside.csv", ".venv/lib/site-packages/x/data.csv", "venv/site-packages/y.csv", ".git/HEAD", "code.py"]
)
def test_other_files_do_not_count(root, name):
    assert read(root, lambda r: (r / name).read_text()) == {}


def test_missing_files_do_not_count(root):
    def probe(r):
        with pytest.raises(FileNotFoundError):
            (r / "nothing.csv").read_text()

    assert read(root, probe) == {}


def test_what_was_written_first_is_no_input(root):
    def write(r):
        (r / "out.csv").write_text("x")

    def reread(r):
        (r / "out.csv").read_text()

    assert read(root, write, reread) == {}
    assert set(read(root, reread, write)) == {"out.csv"}
    assert read(root, lambda r: (r / "data" / "a.csv").open("a").close()) == {}


def test_recordings_nest(root):
    with recorded(root, besides=root / ".headrace") as outer:
        with recorded(root, besides=root / ".headrace") as inner:
            (root / "data" / "a.csv").read_text()
        (root / ".env").read_text()
    assert set(inner) == {"data/a.csv"}
    assert set(outer) == {"data/a.csv", ".env"}
