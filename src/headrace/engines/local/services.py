"""Services as child processes: detached, each in a session of its own, kept running by a tiny supervisor.

What is known of a service lies in ``services/<name>.json``; whether it runs is asked of the process itself (its id and
its start time, so that a reused id is not mistaken for it).
"""

import contextlib
import http.client
import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from headrace.client.credentials import show
from headrace.errors import Unavailable
from headrace.placement.processes import alive, start_time
from headrace.placement.services import ServiceSpec, ServiceState
from headrace.refs import checked_name
from headrace.settings import Settings

_POLL_S = 0.02
_TAIL_BYTES = 2000


def open_services(settings: Settings, uri: str) -> "LocalServices":  # noqa: ARG001 - every factory takes its URI
    """The project's services, below ``.headrace/services``."""
    return LocalServices(settings.home_path / "services")


class LocalServices:
    """Services port on this machine.

    Args:
        folder: Where state and logs lie.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def start(self, spec: ServiceSpec) -> ServiceState:
        """Start it unless it runs, and wait until it is ready; see the port."""
        checked_name(spec.name, of="service")
        running = self.state(spec.name)
        if running.state == "running":
            return running
        if spec.ready_url and _answers(spec):  # it would be taken for the service that is to come
            raise Unavailable(
                f"service {spec.name!r} cannot start",
                where=spec.ready_url,
                why="something answers there already",
                fix="choose another port; 0 means a free one",
            )
        self._folder.mkdir(parents=True, exist_ok=True)
        self._file(spec.name, "life").unlink(missing_ok=True)
        pid = self._spawn(spec)
        record = {
            "pid": pid,
            "started": start_time(pid),
            "supervised": spec.restart,
            "address": spec.ready_url.rsplit("/", spec.ready_url.count("/") - 2)[0],
            "command": list(spec.command),
        }
        self._write(spec.name, record)
        try:
            self._wait(spec)
        except BaseException:  # Ctrl-C too: nobody was told of it
            self.stop(spec.name)
            raise
        return self.state(spec.name)

    def state(self, name: str) -> ServiceState:
        """How it is now; see the port."""
        record = self._read(name)
        if record is None:
            return ServiceState(name, "stopped")
        if _runs(record["pid"], record["started"]):
            pid, detail = self._life(name, record)
            if pid:
                return ServiceState(name, "running", pid, record["address"], detail, tuple(record["command"]))
            return ServiceState(name, "failed", 0, record["address"], "between two lives")
        if record.get("stopped"):
            return ServiceState(name, "stopped", 0, record["address"])
        return ServiceState(name, "failed", 0, record["address"], self._last_words(name))

    def stop(self, name: str, *, within_s: float = 10.0) -> None:
        """SIGTERM, then SIGKILL to its whole session; see the port."""
        record = self._read(name)
        if record is None:
            return
        pid, started = record["pid"], record["started"]
        if _runs(pid, started):
            os.kill(pid, signal.SIGTERM)
            until = time.monotonic() + within_s
            while _runs(pid, started) and time.monotonic() < until:
                time.sleep(_POLL_S)
            if _runs(pid, started):
                os.killpg(pid, signal.SIGKILL)
                while _runs(pid, started):
                    time.sleep(_POLL_S)
        self._write(name, {**record, "stopped": True})

    def _spawn(self, spec: ServiceSpec) -> int:
        command = list(spec.command)
        if spec.restart:
            supervisor = [sys.executable, "-m", "headrace.engines.local.supervisor", str(self._file(spec.name, "life"))]
            command = supervisor + command
        log = str(self._file(spec.name, "log"))
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ]
        environment = {**os.environ, **spec.environment}
        return os.posix_spawnp(command[0], command, environment, file_actions=actions, setsid=True)

    def _wait(self, spec: ServiceSpec) -> None:
        until = time.monotonic() + spec.ready_within_s
        record = self._read(spec.name)
        assert record is not None
        while spec.ready_url and not _answers(spec):
            dead = not _runs(record["pid"], record["started"])
            if dead or time.monotonic() > until:
                why = "it ended" if dead else f"it was not ready within {spec.ready_within_s:g} s"
                tail = self._last_words(spec.name)
                raise Unavailable(
                    f"service {spec.name!r} did not start",
                    where=str(self._file(spec.name, "log")),
                    why=f"{why}: {tail}" if tail else why,
                )
            time.sleep(_POLL_S)

    def _life(self, name: str, record: Mapping[str, Any]) -> tuple[int, str]:
        """The service's process id, 0 between two lives; and how often it was started again."""
        if not record["supervised"]:
            return int(record["pid"]), ""
        try:
            life = json.loads(self._file(name, "life").read_text())
        except FileNotFoundError:  # the supervisor is only just starting
            return 0, ""
        times, ago = life["restarts"], max(0.0, time.time() - life["at"])
        detail = f"restarted {times} time{'s' * (times > 1)}, last {_span(ago)} ago" if times else ""
        return (life["pid"] if alive(life["pid"]) else 0), detail

    def _file(self, name: str, ending: str) -> Path:
        return self._folder / f"{checked_name(name, of='service')}.{ending}"

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = json.loads(self._file(name, "json").read_text())
        except FileNotFoundError:
            return None
        return found

    def _write(self, name: str, record: Mapping[str, Any]) -> None:
        path = self._file(name, "json")
        temporary = path.with_suffix(".json.new")
        temporary.write_text(json.dumps(record))
        temporary.replace(path)

    def _last_words(self, name: str) -> str:
        """The last line of the log that the service itself wrote: where it died, its error."""
        try:
            data = self._file(name, "log").read_bytes()
        except FileNotFoundError:
            return ""
        lines = data[-_TAIL_BYTES:].decode("utf-8", "replace").splitlines()
        own = (line for line in reversed(lines) if line.strip() and not line.startswith("supervisor: "))
        return next(own, "").strip()


def _span(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _runs(pid: int, started: str) -> bool:
    """Whether the process that was started then still runs (a dead child of ours is reaped here)."""
    with contextlib.suppress(ChildProcessError):  # started by another process than this
        os.waitpid(pid, os.WNOHANG)
    return alive(pid) and start_time(pid) == started


def _answers(spec: ServiceSpec) -> bool:
    parts = urlsplit(spec.ready_url)
    host = parts.hostname or "127.0.0.1"
    plain = parts.scheme != "https"
    connection = _plain(host, parts.port) if plain else _encrypted(host, parts.port, spec.shown)
    try:
        connection.request("GET", parts.path)
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _plain(host: str, port: int | None) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(host, port, timeout=2)


def _encrypted(host: str, port: int | None, shown: Path | None) -> http.client.HTTPConnection:
    import ssl  # most services speak plainly on this machine

    # Whoever answers is told nothing: whose certificate it is does not matter yet.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if shown is not None:
        show(context, shown)
    return http.client.HTTPSConnection(host, port, timeout=2, context=context)
