import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from headrace.conformance.services import ServicesSuite, server, wait_until
from headrace.engines.local.services import LocalServices
from headrace.placement.services import ServiceSpec


class TestLocalServices(ServicesSuite):
    @pytest.fixture
    def services(self, tmp_path):
        opened = LocalServices(tmp_path / "services")
        yield opened
        opened.stop("web")

    def test_the_log_is_kept(self, services, tmp_path):
        services.start(server("web"))
        services.stop("web")
        lines = (tmp_path / "services" / "web.log").read_text().splitlines()
        assert (lines[0], lines[-1]) == ("begins", "asked to end")

    def test_a_reused_process_id_is_not_mistaken_for_the_service(self, services, tmp_path):
        services.start(server("web"))
        services.stop("web")
        path = tmp_path / "services" / "web.json"
        record = json.loads(path.read_text()) | {"pid": os.getpid(), "stopped": False}
        path.write_text(json.dumps(record))
        assert services.state("web").state == "failed"
        services.stop("web")

    def test_a_service_runs_even_if_its_life_cannot_be_written_down(self, tmp_path):
        command = [sys.executable, "-m", "headrace.engines.local.supervisor", str(tmp_path / "nowhere" / "web.life")]
        done = subprocess.run([*command, "echo", "runs"], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, "runs\n", "")

    def test_sighup_reaches_the_service(self, services, tmp_path):
        code = (
            "import signal, sys; signal.signal(signal.SIGHUP, lambda *_: print('looks again', flush=True));"
            "print('begins', flush=True)\nwhile True: signal.pause()"
        )
        services.start(ServiceSpec("web", [sys.executable, "-c", code], restart=True))
        log = tmp_path / "services" / "web.log"
        wait_until(lambda: log.read_text() == "begins\n")
        state = services.state("web")
        os.kill(json.loads((tmp_path / "services" / "web.json").read_text())["pid"], signal.SIGHUP)
        wait_until(lambda: log.read_text() == "begins\nlooks again\n")
        assert services.state("web").pid == state.pid

    def test_a_service_does_not_outlive_its_supervisor(self, services, tmp_path):
        state = services.start(server("web", restart=True))
        supervisor = json.loads((tmp_path / "services" / "web.json").read_text())["pid"]
        assert supervisor != state.pid
        os.kill(supervisor, signal.SIGKILL)
        wait_until(lambda: not Path(f"/proc/{state.pid}").exists())
        assert services.state("web").state == "failed"
