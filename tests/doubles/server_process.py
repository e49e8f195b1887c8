"""A gateway in a process of its own, seen from outside: its ports, its workers, what it holds and what it says."""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

from headrace.client import Client

BOUND_S = 30.0


def until(condition, within_s=BOUND_S):
    """Wait until it holds; return how long that took."""
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < within_s, "it did not come about in time"
        time.sleep(0.005)
    return time.monotonic() - begun


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


class ServerProcess:
    """``python -m headrace.gateway`` on a project, ready within ``ready_s``.

    Attributes:
        port: Of HTTP.
        url: Of HTTP.
        rpc: Address of gRPC; empty without.
        control: URL of the control port; empty without.
        control_rpc: Address of the same over gRPC; empty without.
    """

    def __init__(self, root, *options, before=(), ready_s=BOUND_S, client=Client):
        command = [*before, sys.executable, "-m", "headrace.gateway", "--root", str(root), "--port", "0", *options]
        # No pipe: a worker that outlives the server would keep it open.
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed when the server has ended
        self.process = subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=self._log)
        self.pid = self.process.pid
        self.port, self.url, self.rpc, self.control, self.control_rpc = 0, "", "", "", ""
        while not self.port:
            line = self.process.stdout.readline()
            assert line, self.said()
            address = re.search(r"127\.0\.0\.\d:(\d+)", line)
            if line.startswith("gateway listens on"):
                self.port, self.url = int(address[1]), line.split()[-1]
            elif line.startswith("gateway listens for gRPC"):
                self.rpc = address[0]
            elif line.startswith("control listens on"):
                self.control = line.split()[-1]
            elif line.startswith("control listens for gRPC"):
                self.control_rpc = address[0]
        self.client = client(self.url)
        try:
            self.client.wait_ready(ready_s)
        except BaseException as error:
            self.process.kill()
            self.process.wait()
            error.add_note(f"it said: {self.said()}")
            raise

    def said(self):
        """Its standard error so far."""
        return os.pread(self._log.fileno(), 1 << 20, 0).decode()

    def workers(self):
        """Process ids of its children."""
        tasks = Path(f"/proc/{self.pid}/task").glob("*/children")
        return [int(pid) for task in tasks for pid in task.read_text().split()]

    def memory_kib(self):
        """Private and shared memory in RAM."""
        return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{self.pid}/status").read_text())[1])

    def files(self):
        """How many it holds open."""
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    def threads(self):
        return len(list(Path(f"/proc/{self.pid}/task").iterdir()))

    def reason(self, name):
        """What is wrong with an endpoint, as the index of the repository says."""
        rows = json.loads(self.client.request("POST", "/v2/repository/index").body)
        return next(row["reason"] for row in rows if row["name"] == name)

    def metric(self, name, **labels):
        """The value of a metric with exactly these labels."""
        said = self.client.request("GET", "/metrics").body.decode()
        wanted = name + "{" + ",".join(f'{key}="{value}"' for key, value in labels.items()) + "} "
        return float(next(line for line in said.splitlines() if line.startswith(wanted)).rpartition(" ")[2])

    def end(self):
        """SIGTERM; return its exit code and how long it took."""
        self.process.terminate()
        return self.ended()

    def ended(self):
        """Wait until it has ended; return its exit code and how long that took."""
        begun = time.monotonic()
        code = self.process.wait(BOUND_S)
        took = time.monotonic() - begun
        self.client.close()
        return code, took

    def close(self):
        """Let go of what it said, once it has ended."""
        self.process.stdout.close()
        self._log.close()


@contextmanager
def serving(root, *options, **how):
    """A server, ended in the end whatever happens."""
    server = ServerProcess(root, *options, **how)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.process.kill()
        server.ended()
        server.close()
