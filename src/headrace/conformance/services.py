"""What every Services engine must do. Subclass ``ServicesSuite`` and return the engine from ``services``."""

import http.server
import os
import re
import signal
import socketserver
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from headrace.errors import NameRefused, Unavailable
from headrace.placement.services import Services, ServiceSpec, free_port

WITHIN_S = 10.0

_SERVER = """
import http.server, os, signal, sys
signal.signal(signal.SIGTERM, lambda *_: (print("asked to end", flush=True), os._exit(0)))
class Hello(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(os.environ.get("SAID", "").encode())
print("begins", flush=True)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Hello).serve_forever()
"""


class _Hello(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Stay silent."""


def server(name: str, *, restart: bool = False, said: str = "") -> ServiceSpec:
    """A small HTTP server as a service."""
    port = free_port()
    command = [sys.executable, "-c", _SERVER, str(port)]
    return ServiceSpec(name, command, {"SAID": said}, f"http://127.0.0.1:{port}/", WITHIN_S, restart)


def wait_until(holds: Callable[[], bool]) -> None:
    """Return once ``holds()``; fail when that takes too long."""
    until = time.monotonic() + WITHIN_S
    while not holds():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.01)


class ServicesSuite:
    """Cases for the port ``placement.services.Services``."""

    @pytest.fixture
    def services(self) -> Services:
        """The engine under test; stops what was started when the test ends."""
        raise NotImplementedError

    def test_a_service_runs_until_it_is_stopped(self, services: Services) -> None:
        """Ready when ``start`` returns, gone when ``stop`` does."""
        state = services.start(server("web"))
        assert state.state == "running"
        assert state.address.startswith("http://127.0.0.1:")
        os.kill(state.pid, 0)
        assert services.state("web") == state
        services.stop("web")
        assert services.state("web").state == "stopped"
        with pytest.raises(ProcessLookupError):
            os.kill(state.pid, 0)

    def test_starting_twice_is_starting_once(self, services: Services) -> None:
        """The running one is returned."""
        first = services.start(server("web"))
        assert services.start(server("web")) == first

    def test_an_address_that_is_taken_is_refused(self, services: Services) -> None:
        """Another server's answer is not taken for the service's."""
        spec = server("web")
        with socketserver.TCPServer(("127.0.0.1", int(spec.command[-1])), _Hello) as taken:
            threading.Thread(target=taken.serve_forever, daemon=True).start()
            try:
                with pytest.raises(Unavailable, match="answers there already"):
                    services.start(spec)
            finally:
                taken.shutdown()
        assert services.state("web").state == "stopped"

    def test_what_was_never_started_is_stopped(self, services: Services) -> None:
        """And stopping it is no error."""
        assert services.state("web").state == "stopped"
        services.stop("web")

    def test_a_killed_service_is_seen_as_failed(self, services: Services) -> None:
        """From the process, not from memory."""
        state = services.start(server("web"))
        os.kill(state.pid, signal.SIGKILL)
        wait_until(lambda: services.state("web").state == "failed")

    def test_a_killed_service_is_started_again_where_asked(self, services: Services) -> None:
        """With another process id."""
        state = services.start(server("web", restart=True))
        os.kill(state.pid, signal.SIGKILL)
        wait_until(lambda: services.state("web").state == "running" and services.state("web").pid != state.pid)
        assert not state.detail
        # More than once where another process took the port while nobody listened on it.
        assert re.match(r"restarted (1 time|\d+ times), last ", services.state("web").detail)
        services.stop("web")
        assert services.state("web").state == "stopped"

    def test_a_service_that_cannot_start_says_why(self, services: Services) -> None:
        """The end of its log is in the error."""
        command = [sys.executable, "-c", "import sys; sys.exit('no such model')"]
        spec = ServiceSpec("web", command, ready_url=f"http://127.0.0.1:{free_port()}/", restart=False)
        with pytest.raises(Unavailable, match="no such model"):
            services.start(spec)

    @pytest.mark.parametrize("code", [2, 4])
    def test_a_service_that_cannot_be_is_not_tried_again(self, services: Services, tmp_path: Path, code: int) -> None:
        """Its exit code says that its call is wrong or that what it needs is not there; its last line is the error."""
        note = tmp_path / "lives"
        program = (
            f"import sys; open({str(note)!r}, 'a').write('.'); print('line before', flush=True);"
            f"sys.stderr.write('no room\\n'); sys.exit({code})"
        )
        ready = f"http://127.0.0.1:{free_port()}/"
        with pytest.raises(Unavailable, match="no room") as refused:
            services.start(ServiceSpec("web", [sys.executable, "-c", program], ready_url=ready))
        assert note.read_text() == "."
        assert "line before" not in str(refused.value)

    def test_a_service_that_is_never_ready_is_ended(self, services: Services, tmp_path: Path) -> None:
        """Nothing is left behind."""
        note = tmp_path / "pid"
        code = f"import os, time; open({str(note)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
        spec = ServiceSpec("web", [sys.executable, "-c", code], {}, f"http://127.0.0.1:{free_port()}/", 1.0)
        with pytest.raises(Unavailable, match="not ready within 1 s"):
            services.start(spec)
        pid = int(note.read_text())
        wait_until(lambda: not Path(f"/proc/{pid}").exists())

    def test_a_service_that_ignores_the_request_to_end_is_ended(self, services: Services, tmp_path: Path) -> None:
        """After ``within_s``."""
        note = tmp_path / "ready"
        code = (
            "import pathlib, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
            f"pathlib.Path({str(note)!r}).touch(); time.sleep(60)"
        )
        state = services.start(ServiceSpec("web", [sys.executable, "-c", code], restart=True))
        wait_until(note.exists)
        begun = time.monotonic()
        services.stop("web", within_s=0.2)
        assert time.monotonic() - begun < WITHIN_S
        assert services.state("web").state == "stopped"
        assert not state.pid or not Path(f"/proc/{state.pid}").exists()

    def test_names_are_names(self, services: Services) -> None:
        """A service's name never becomes a path of the caller's choice."""
        with pytest.raises(NameRefused):
            services.start(server("../web"))
