"""Processes, seen from outside."""

import os
from pathlib import Path


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended, and that nobody has asked for its exit code yet, does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    stat = _stat(pid)
    return not stat or stat[0] != "Z"


def start_time(pid: int) -> str:
    """Start of the process in clock ticks since boot; empty where the system has no /proc."""
    stat = _stat(pid)
    return stat[19] if stat else ""


def _stat(pid: int) -> list[str]:
    """Fields of /proc/<pid>/stat from the state on: the name before it may hold blanks and brackets."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []
