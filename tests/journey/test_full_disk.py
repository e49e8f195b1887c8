"""A disk that fills while a gateway answers from it: scoring goes on, every reply says whether it is in the log."""

import fcntl
import os
import resource
import shutil
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest
from load import Load
from mixed_project import WINE, MixedProject, asked
from rpc_load import RpcLoad, infer
from server_process import serving, until
from wine_project import ROW

from headrace.engines.local.stream import LocalStream
from headrace.monitoring.alerts import alerts
from headrace.serving.log import RequestLog

TMPFS = ("unshare", "-rm", "sh", "-c", 'mount -t tmpfs -o size=128m none "$0" && exec "$@"')
FEW_BYTES = 4096
SOAK = bool(os.environ.get("HEADRACE_SOAK"))
EXIT_S = 10.0


class SmallDisk:
    """A disk of its own under the log, where this system lets us have one; filled with a file."""

    @staticmethod
    def before(folder):
        return (*TMPFS, str(folder))

    def __init__(self, server, folder):
        self.folder = Path(f"/proc/{server.pid}/root{folder}")
        self._filler = self.folder / "filler"

    def fill(self):
        with suppress(OSError), self._filler.open("wb", buffering=0) as filler:
            while filler.write(bytes(1 << 16)):
                pass
            while filler.write(b"0"):
                pass

    def free(self):
        self._filler.unlink()


class SmallFiles:
    """No file that the server writes may grow: what a full disk is like to the one process that meets it."""

    @staticmethod
    def before(folder):
        return ()

    def __init__(self, server, folder):
        self.folder, self._pid = folder, server.pid
        self._usual = resource.prlimit(self._pid, resource.RLIMIT_FSIZE)

    def fill(self):
        resource.prlimit(self._pid, resource.RLIMIT_FSIZE, (FEW_BYTES, self._usual[1]))

    def free(self):
        resource.prlimit(self._pid, resource.RLIMIT_FSIZE, self._usual)


def _mounts():
    done = subprocess.run([*TMPFS, "/mnt", "true"], capture_output=True, check=False)
    return done.returncode == 0


@pytest.fixture
def project(tmp_path):
    opened = MixedProject(tmp_path)
    opened.deploy(opened.register(0.5), deadline_s=5.0)
    opened.double("steady", deadline_s=5.0)
    (tmp_path / ".headrace" / "stream").mkdir()
    yield opened
    opened.close()


def logged(folder):
    stream = LocalStream(folder)
    found = set()
    for name in ("wine", "steady"):
        log, after = RequestLog(stream, name), -1
        while page := log.predictions(after=after, limit=1000, late=False):
            after = page[-1][0]
            found |= {p.id for _, p in page}
    stream.close()
    return found


@pytest.mark.slow
@pytest.mark.parametrize("disk", [SmallFiles, *([SmallDisk] if _mounts() else [])], ids=lambda kind: kind.__name__)
def test_scoring_goes_on_while_the_disk_is_full_and_logging_when_it_is_not(project, disk):
    folder = project.root / ".headrace" / "stream"
    with serving(project.root, "--grpc-port", "0", before=disk.before(folder)) as server:
        small = disk(server, folder)
        http = Load(server.port, [WINE, asked("steady")])
        rpc = RpcLoad(server.rpc, [infer("wine", ROW)], threads=1)
        for load in (http, rpc):
            load.wait_for(50)
            assert load.unlogged == []
        assert server.metric("headrace_log_up", endpoint="wine") == 1

        small.fill()
        until(lambda: len(http.unlogged) > 200 and len(rpc.unlogged) > 10)
        assert "its requests are not logged: the log cannot be " in server.reason("wine")
        assert server.metric("headrace_log_up", endpoint="wine") == 0
        assert server.metric("headrace_log_lost_total", endpoint="wine") > 100
        assert not server.client.predict("wine", rows=[ROW]).logged

        small.free()
        until(lambda: server.metric("headrace_log_up", endpoint="wine") == 1)
        until(lambda: server.metric("headrace_log_up", endpoint="steady") == 1)
        assert server.reason("wine") == ""
        last = server.client.predict("wine", rows=[ROW])
        assert last.logged
        for name in ("wine", "steady"):
            until(lambda name=name: len(alerts(project.platform.ledger(), name)) == 2)
            begun, over = (fact.body["message"] for fact in alerts(project.platform.ledger(), name))
            assert begun.startswith("requests are answered without being logged: the log cannot be ")
            assert over.startswith("requests are logged again after ")
        for load in (http, rpc):  # replies of before may be on their way
            load.wait_for(len(load.ids) + 20)
        lost = len(http.unlogged), len(rpc.unlogged)
        for load in (http, rpc):
            load.wait_for(len(load.ids) + 100)
        seen, calls = http.end(), rpc.end()
        assert (len(http.unlogged), len(rpc.unlogged)) == lost
        assert set(seen) == {(200, "wine@1"), (200, "steady@1")}
        assert set(calls) == {("OK", "")}
        copy = Path(shutil.copytree(small.folder, project.root / "copy"))
        assert logged(copy) == {last.id, *http.ids, *rpc.ids} - {*http.unlogged, *rpc.unlogged}
        # Not for every request, but a short record may fit into what is left of a page where a long one did not.
        assert 2 <= server.said().count("answered without being logged") <= 6
        assert server.said().count("answered without being logged") == server.said().count("are logged again")
        assert server.end()[0] == 0


@pytest.mark.slow
def test_a_log_that_hangs_keeps_nobody_waiting(project):
    """Somebody else holds its lock: for who writes, that is a disk that takes its time."""
    with serving(project.root) as server:
        assert server.client.predict("wine", rows=[ROW]).logged
        *_, newest = sorted((project.root / ".headrace" / "stream" / "requests.wine").glob("*.log"))
        with newest.open("rb") as holder:
            fcntl.flock(holder, fcntl.LOCK_EX)
            begun = time.monotonic()
            kept = server.client.predict("wine", rows=[ROW])
            assert not kept.logged
            assert 0.9 < time.monotonic() - begun < 3.0
            assert "a commit has taken more than 1 s" in server.reason("wine")
            if SOAK:  # it takes as long as it may
                assert server.end()[1] <= EXIT_S
                return
            fcntl.flock(holder, fcntl.LOCK_UN)
        until(lambda: server.metric("headrace_log_up", endpoint="wine") == 1)
        assert server.client.predict("wine", rows=[ROW]).logged
        assert kept.id in logged(project.root / ".headrace" / "stream")
        assert server.metric("headrace_log_lost_total", endpoint="wine") == 0
