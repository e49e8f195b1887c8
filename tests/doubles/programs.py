"""Real servers of other projects, started by tests on ports of 127.0.0.1 and stopped by them."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).parents[2] / ".venv-brokers"


def program(name):
    """Where a program of brokers.txt lies."""
    if not (PROGRAMS / ".ready").exists():
        pytest.skip("`make test-services` installs the brokers in .venv-brokers")
    return next(str(path) for path in PROGRAMS.rglob(name) if path.is_file() and os.access(path, os.X_OK))


class Program:
    """A server in a process of its own.

    Args:
        command: What to run.
        port: Where it listens.
        log: File of its output.
        environment: Variables besides ours.
    """

    def __init__(self, command, port, log, environment=None):
        self.command, self.port, self.log = command, port, log
        self.environment = {**os.environ, **(environment or {})}
        self.process = None

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def start(self, within_s=30):
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log, env=self.environment)
        until = time.monotonic() + within_s
        while not listens(self.port):
            assert self.process.poll() is None, self.log.read_text()[-2000:]
            assert time.monotonic() < until, f"nothing listens on {self.port}"
            time.sleep(0.02)
        return self

    def kill(self):
        self.process.kill()
        self.process.wait(10)

    def freeze(self):
        os.kill(self.process.pid, signal.SIGSTOP)

    def thaw(self):
        os.kill(self.process.pid, signal.SIGCONT)


def listens(port):
    with socket.socket() as asked:
        return asked.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def running(server):
    """The server, started, and killed at the end."""
    try:
        yield server.start()
    finally:
        if server.process is not None:
            server.kill()
