"""Processes, seen from outside."""

import os
import socket
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any


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


def own_life() -> dict[str, Any]:
    """What tells this process from every other, on this machine and others: as JSON."""
    pid = os.getpid()
    return {"host": _host(), "boot": _boot(), "pids": _pids(), "pid": pid, "started": start_time(pid)}


def ended(life: Mapping[str, Any]) -> bool:
    """Whether the process of ``own_life`` is known to have ended.

    Of one on another machine nobody here knows, nor of one whose number is of another PID namespace: in a container
    that has its host's name.
    """
    if life.get("host") != _host():
        return False
    if life["boot"] != _boot():
        return True
    if life.get("pids", _pids()) != _pids():  # of a release that did not say
        return False
    pid = life["pid"]
    return not alive(pid) or start_time(pid) != life["started"]


@cache
def _host() -> str:
    """Two machines may have one name, and containers of one image the id of their image's machine; hardly both."""
    try:
        machine = Path("/etc/machine-id").read_text("ascii").strip()
    except OSError:
        machine = ""
    return f"{socket.gethostname()} {machine}".strip()


@cache
def _boot() -> str:
    """Unlike that of the same machine after a restart, when the same numbers name other processes."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return ""


@cache
def _pids() -> str:
    """The namespace in which numbers name processes; empty where the system has none."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def _stat(pid: int) -> list[str]:
    """Fields of /proc/<pid>/stat from the state on: the name before it may hold blanks and brackets."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []
