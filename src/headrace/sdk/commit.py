"""The commit of the project, for lineage."""

import subprocess
from pathlib import Path


def commit_of(root: Path) -> str:
    """Git commit of the folder; empty when git does not know its content.

    ``+dirty`` follows when tracked files have changes or a Python file is not tracked. A folder that the repository
    around it ignores has no commit: that repository's says nothing of what is in it.
    """
    head = _git(root, "rev-parse", "HEAD")
    if not head or not _git(root, "ls-files", "--", "."):
        return ""
    changed = _git(root, "status", "--porcelain", "--untracked-files=no", "--", ".")
    fresh = _git(root, "ls-files", "--others", "--exclude-standard", "--", "*.py")
    return f"{head}+dirty" if changed or fresh else head


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)  # noqa: S603 - a list, no shell
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
