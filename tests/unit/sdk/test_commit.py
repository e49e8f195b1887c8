import subprocess

import pytest

from headrace.sdk.commit import commit_of


@pytest.fixture
def repository(tmp_path):
    def git(*arguments):
        identity = ["-c", "user.name=ada", "-c", "user.email=ada@example.org", "-c", "commit.gpgsign=false"]
        done = subprocess.run(
            ["git", "-C", str(tmp_path), *identity, *arguments], check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    git("init", "-q")
    (tmp_path / "pipeline.py").write_text("x = 1\n")
    git("add", "pipeline.py")
    git("commit", "-q", "-m", "Begin")
    return tmp_path, git("rev-parse", "HEAD")


def test_a_clean_project_is_its_commit(repository):
    root, commit = repository
    (root / "notes.txt").write_text("not tracked")
    assert commit_of(root) == commit


def test_changes_show(repository):
    root, commit = repository
    (root / "pipeline.py").write_text("x = 2\n")
    assert commit_of(root) == f"{commit}+dirty"


def test_code_that_is_not_tracked_shows(repository):
    root, commit = repository
    (root / "features.py").write_text("y = 1\n")
    assert commit_of(root) == f"{commit}+dirty"


def test_a_folder_that_the_repository_ignores_has_none(repository):
    root, _ = repository
    (root / ".gitignore").write_text("copy/\n")
    (root / "copy").mkdir()
    (root / "copy" / "pipeline.py").write_text("x = 3\n")
    assert commit_of(root / "copy") == ""


def test_outside_git_there_is_none(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert commit_of(tmp_path) == ""
    monkeypatch.setenv("PATH", "")
    assert commit_of(tmp_path) == ""
