"""The commit of the project, for lineage."""

import subprocess
from pathlib import Path


def commit_of(root: Path) -> str:
    """Git commit of the folder, with ``+dirty`` when tracked files have changes; empty outside git or without it."""
    head = _git(root, "rev-parse", "HEAD")
    if not head:
        return ""
    return f"{head}+dirty" if _git(root, "status", "--porcelain", "--untracked-files=no", "--", ".") else head


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)  # noqa: S603 - a list, no shell
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
