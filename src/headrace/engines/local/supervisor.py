"""A tiny process that keeps a service running: ``python -m headrace.engines.local.supervisor LIFE_FILE COMMAND...``.

It imports only the standard library, so that it costs little memory; it passes SIGTERM and SIGHUP on, and ends with the
service.
"""

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

_BACKOFF_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_STEADY_S = 10.0
_HOPELESS = frozenset({2, 4})
"""Exit codes of a wrong call and of what is not available (a taken port): at the very start, nothing mends them."""
_PR_SET_PDEATHSIG = 1


class Supervisor:
    """Runs ``command`` again, later each time, until it ends well, is told to end, or dies too often at once.

    One that says at the start of its first life that it cannot be is not started again.

    Args:
        life_file: Where the service's life is written: its process id, how often it was started again, and when last.
        command: Argument list.
    """

    def __init__(self, life_file: Path, command: Sequence[str]) -> None:
        self._life_file, self._command = life_file, command
        self._restarts = -1
        self._stopping = False
        self._child: subprocess.Popen[bytes] | None = None

    def run(self) -> int:
        """Return the exit code of the service's last life."""
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGHUP, self._pass_on)
        failures = 0
        while True:
            begun = time.monotonic()
            code = self._live()
            if self._stopping or code == 0:
                return code
            steady = time.monotonic() - begun > _STEADY_S
            failures = 1 if steady else failures + 1
            hopeless = code in _HOPELESS and not self._restarts and not steady
            if hopeless or failures > len(_BACKOFF_S):
                return code
            sys.stderr.write(f"supervisor: service ended with {code}, starting it again\n")
            sys.stderr.flush()
            time.sleep(_BACKOFF_S[failures - 1])

    def _live(self) -> int:
        self._child = subprocess.Popen(self._command, preexec_fn=_die_with_parent)  # noqa: S603, PLW1509 - one thread
        self._restarts += 1
        life = {"pid": self._child.pid, "restarts": self._restarts, "at": time.time()}
        with contextlib.suppress(OSError):  # on a full disk the service runs all the same
            written = self._life_file.with_suffix(".new")
            written.write_text(json.dumps(life))
            written.replace(self._life_file)
        if self._stopping:
            self._child.terminate()
        return self._child.wait()

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stopping = True
        if self._child is not None:
            self._child.terminate()

    def _pass_on(self, number: int, _frame: FrameType | None) -> None:
        if self._child is not None:
            self._child.send_signal(number)


def _die_with_parent() -> None:
    """Have the kernel end the service when its supervisor is killed (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


if __name__ == "__main__":
    os.umask(0o077)
    sys.exit(Supervisor(Path(sys.argv[1]), sys.argv[2:]).run())
