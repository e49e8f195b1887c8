"""How much memory a process tree takes, seen from outside (Linux ``/proc``)."""

import os
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

_PROC = Path("/proc")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class PeakMemory:
    """The largest resident memory of this process and all its descendants while the block runs.

    Shared pages count once for every process that maps them, so the figure errs on the large side.

    Attributes:
        peak_bytes: The largest sum seen so far; 0 where ``/proc`` does not exist.
    """

    def __init__(self, *, every_s: float = 0.1) -> None:
        self.peak_bytes = 0
        self._every_s = every_s
        self._done = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="peak-memory", daemon=True)

    def __enter__(self) -> Self:
        """Start watching."""
        self._watcher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop watching."""
        self._done.set()
        self._watcher.join()

    def _watch(self) -> None:
        while not self._done.wait(self._every_s):
            self.peak_bytes = max(self.peak_bytes, tree_bytes(os.getpid()))


def tree_bytes(pid: int) -> int:
    """Resident bytes of ``pid`` and its descendants now; processes that end while we look count as 0."""
    children: dict[int, list[int]] = {}
    for entry in _PROC.glob("[0-9]*"):
        parent = _parent(entry)
        if parent:
            children.setdefault(parent, []).append(int(entry.name))
    todo, total = [pid], 0
    while todo:
        one = todo.pop()
        total += _resident_bytes(one)
        todo += children.get(one, [])
    return total


def pss_bytes(pid: int) -> int | None:
    """What a process takes now, its share of what it shares with others counted; None where nobody can tell."""
    try:
        lines = (_PROC / str(pid) / "smaps_rollup").read_text("ascii").splitlines()
    except OSError:  # it has ended, is another user's, or this is not Linux
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), None)


def _parent(entry: Path) -> int:
    try:
        # The command may hold spaces and brackets; what follows the last bracket is regular.
        return int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, IndexError, ValueError):
        return 0


def _resident_bytes(pid: int) -> int:
    try:
        return int((_PROC / str(pid) / "statm").read_text().split()[1]) * _PAGE_BYTES
    except (OSError, IndexError):
        return 0
