"""``headrace serving worker`` in a process of its own."""

import os
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager


class WorkerProcess:
    """Scores for an endpoint until it is ended."""

    def __init__(self, root, endpoint, *options, environment=None):
        command = [sys.executable, "-m", "headrace", "serving", "worker", endpoint, *options]
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed when the process has ended
        self.process = subprocess.Popen(
            command, cwd=root, text=True, stdout=self._log, stderr=self._log, env={**os.environ, **(environment or {})}
        )
        self.pid = self.process.pid

    def said(self):
        """What it said so far."""
        return os.pread(self._log.fileno(), 1 << 20, 0).decode()

    def freeze(self):
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self):
        os.kill(self.pid, signal.SIGCONT)

    def kill(self):
        """SIGKILL, and its models' processes end with it."""
        self.process.kill()
        self.process.wait(10)

    def end(self):
        """SIGTERM; return the exit code."""
        self.process.terminate()
        return self.process.wait(30)

    def close(self):
        if self.process.poll() is None:
            self.kill()
        self._log.close()


@contextmanager
def working(root, endpoint, *options, **how):
    """A worker, ended in the end whatever happens."""
    worker = WorkerProcess(root, endpoint, *options, **how)
    try:
        yield worker
    finally:
        worker.close()
