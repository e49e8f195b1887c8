"""A server as a process tree: started, timed to its first right answer, weighed, and stopped."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_POLL_S = 0.005
_STOP_S = 10.0
_TICKS = os.sysconf("SC_CLK_TCK")


class Process:
    """One server and all its children, in a folder of its own.

    Args:
        command: What to start.
        folder: Where it runs; its output goes to ``output.log`` there.
        environment: Added to ours.
    """

    def __init__(self, command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._log = folder / "output.log"
        self.began = time.monotonic()
        with self._log.open("wb") as log:
            self._root = subprocess.Popen(
                command,
                cwd=folder,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait(self, right: Callable[[], bool], limit_s: float) -> float:
        """Seconds from its start to the first right answer.

        Raises:
            RuntimeError: It ended, or gave none in time; shows the end of its output.
        """
        while not right():
            if self._root.poll() is not None or time.monotonic() - self.began > limit_s:
                ended = "ended" if self._root.poll() is not None else f"gave no right answer in {limit_s:g} s"
                raise RuntimeError(f"{ended}: {self._log.read_text(errors='replace')[-1500:]}")
            time.sleep(_POLL_S)
        return time.monotonic() - self.began

    def cpu_s(self) -> float:
        """User and system seconds of the tree so far, its ended children included."""
        total = 0
        for pid in self._tree():
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                total += sum(map(int, fields[11:15]))
        return total / _TICKS

    def pss_mib(self) -> float:
        """Memory of the tree; what several processes share counts by parts."""
        total = 0
        for pid in self._tree():
            with contextlib.suppress(OSError):
                for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                    if line.startswith("Pss:"):
                        total += int(line.split()[1])
        return total / 1024

    def stop(self) -> None:
        """End the tree, gently first."""
        tree = self._tree()
        self._root.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._root.wait(_STOP_S)
        for pid in tree:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        self._root.wait()

    def _tree(self) -> list[int]:
        parents: dict[int, list[int]] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                    parents.setdefault(parent, []).append(int(entry.name))
        found = [self._root.pid]
        for pid in found:
            found += parents.get(pid, [])
        return found


def free_ports(count: int) -> int:
    """The first of ``count`` ports in a row that nothing listens on."""
    while True:
        with contextlib.ExitStack() as held, contextlib.suppress(OSError, OverflowError):
            first = held.enter_context(_bound(0))
            port: int = first.getsockname()[1]
            for further in range(1, count):
                held.enter_context(_bound(port + further))
            return port


def _bound(port: int) -> socket.socket:
    made = socket.socket()
    made.bind(("127.0.0.1", port))
    return made
