"""The commit of the project, for lineage."""

import subprocess
from pathlib import Path


def commit_of(root: Path) -> str:
    """Git commit of the folder, with ``+dirty`` when it holds what that commit does not; empty when git does not know it.

    A folder that a repository around it ignores has no commit: the one of that repository says nothing of its content.
    """
    head = _git(root, "rev-parse", "HEAD")
    if not head or not _git(root, "ls-files", "--", "."):
        return ""
    return f"{head}+dirty" if _git(root, "status", "--porcelain", "--", ".") else head


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)  # noqa: S603 - a list, no shell
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
