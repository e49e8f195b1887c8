"""What the system says of the gateway's process, under the names that Prometheus' client libraries agree on (Linux)."""

import os
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from headrace.gateway.metrics.exposition import Family

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
# Places in /proc/<pid>/stat behind the command: proc(5) counts from the process id.
_USER, _SYSTEM, _STARTED, _VIRTUAL, _RESIDENT = 11, 12, 19, 20, 21


def families() -> Iterator[Family]:
    """The process alone, without the workers of its models; nothing where there is no ``/proc``."""
    own = Path("/proc/self")
    try:
        fields = (own / "stat").read_text("ascii", "replace").rpartition(")")[2].split()
        machine = Path("/proc/stat").read_text("ascii").splitlines()
        files = len(list((own / "fd").iterdir())) - 1  # but for the look itself
    except OSError:
        return
    booted = next(int(line.split()[1]) for line in machine if line.startswith("btime"))
    ticks = int(fields[_USER]) + int(fields[_SYSTEM])
    yield _one("process_cpu_seconds_total", "CPU that the gateway's process has taken.", ticks * _TICK_S, "counter")
    yield _one("process_resident_memory_bytes", "Its memory in RAM.", int(fields[_RESIDENT]) * _PAGE_BYTES)
    yield _one("process_virtual_memory_bytes", "Its address space.", int(fields[_VIRTUAL]))
    yield _one("process_start_time_seconds", "When it started, Unix time.", booted + int(fields[_STARTED]) * _TICK_S)
    yield _one("process_open_fds", "Files and connections that it holds open.", files)
    yield _one("process_max_fds", "How many it may.", resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def _one(name: str, text: str, value: float, kind: Literal["counter", "gauge"] = "gauge") -> Family:
    return Family(name, text, kind, [({}, value)])
