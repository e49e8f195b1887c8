"""Real brokers of the Kafka protocol, started by tests on ports of 127.0.0.1 and stopped by them."""

import contextlib
import os
import signal
import socket
import subprocess
import time
import uuid
from pathlib import Path

import pytest

from headrace.placement.services import free_port

PROGRAMS = Path(__file__).parents[2] / ".venv-brokers"
_BUCKET = "streams"
_PORTS = (
    *(f"{part}.port{kind}" for part in ("master", "filer", "volume", "s3", "admin") for kind in ("", ".grpc")),
    *("s3.port.iceberg", "s3.port.lance"),
)
_LEFT_OUT = ("-webdav=false", "-admin.ui=false", "-master.telemetry=false")
SECRETS = {"AWS_ACCESS_KEY_ID": "streams", "AWS_SECRET_ACCESS_KEY": "streams-secret"}


def program(name):
    """Where a program of brokers.txt lies."""
    if not (PROGRAMS / ".ready").exists():
        pytest.skip("`make test-services` installs the brokers in .venv-brokers")
    return next(str(path) for path in PROGRAMS.rglob(name) if path.is_file() and os.access(path, os.X_OK))


class Broker:
    """A broker in a process of its own.

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

    def uri(self):
        """The setting of a project that has topics of its own here."""
        return f"kafka://{self.address}/p{uuid.uuid4().hex[:12]}"

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
def running(broker):
    """The broker, started, and killed at the end."""
    try:
        yield broker.start()
    finally:
        if broker.process is not None:
            broker.kill()


def noida(folder):
    """Keeps records in memory: it may freeze, but must not die."""
    port = free_port()
    command = [program("noida-db"), "start", "--only", "kafka", "--kafka-port", str(port), "--data-dir", str(folder)]
    # Its wheel has a launcher of the same name; the program itself is a file of some MB.
    command[0] = next(str(p) for p in PROGRAMS.rglob("noida-db") if p.is_file() and p.stat().st_size > 1_000_000)
    return Broker(command, port, folder / "noida.log")


def tansu(folder, storage="memory://tansu/", environment=None):
    """Keeps records in memory, or in an object store."""
    port = free_port()
    at = f"tcp://127.0.0.1:{port}"
    command = [program("tansu"), "broker", "--listener-url", at, "--advertised-listener-url", at]
    return Broker([*command, "--storage-engine", storage], port, folder / "tansu.log", environment)


def weed(folder):
    """An S3-compatible store in whose bucket ``tansu_on`` keeps records; it outlives that broker."""
    ports = {name: free_port() for name in _PORTS}
    options = [f"-{name}={port}" for name, port in ports.items()]
    here = ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={folder}", f"-bucket={_BUCKET}", *_LEFT_OUT]
    return Broker([program("weed"), "mini", *here, *options], ports["s3.port"], folder / "weed.log", SECRETS)


def tansu_on(store, folder):
    """Keeps what it acknowledged in an object store, so that it may be killed and started again."""
    where = {"AWS_ENDPOINT": f"http://{store.address}", "AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1"}
    return tansu(folder, f"s3://{_BUCKET}/", {**SECRETS, **where})
