"""Many changes of what a gateway process serves: no deadlock, nothing dropped, nothing left behind."""

import json
import os
import re
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import pytest
import served_functions
from wine_project import ROW, WineProject, asking, until

from headrace.client import Client
from headrace.models.registry import Registration, register
from headrace.placement.tokens import NAME
from headrace.sdk.functions import serve_function

pytestmark = pytest.mark.slow
SOAK = bool(os.environ.get("HEADRACE_SOAK"))
THREADS, TURNS = 32, 1024 if SOAK else 51
SWAPS = 500 if SOAK else 25
OTHERS = ("one", "two", "three", "four")


@pytest.fixture
def project(tmp_path):
    opened = WineProject(tmp_path)
    yield opened
    opened.close()


class Running:
    """A gateway in a process of its own: where it listens, and what the system says of it."""

    def __init__(self, scoring, control, pid):
        self.scoring, self.control, self._proc = scoring, control, Path(f"/proc/{pid}")

    def held(self):
        """Its open files, its threads and its child processes."""
        children = [(task / "children").read_text().split() for task in (self._proc / "task").iterdir()]
        counts = len(list((self._proc / "fd").iterdir())), len(list((self._proc / "task").iterdir()))
        return *counts, sum(map(len, children))


@contextmanager
def running(project):
    command = [sys.executable, "-m", "headrace.gateway", "--root", str(project.root)]
    command += ["--port", "0", "--control-port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as gateway:
        control, scoring = re.findall(r"http://127\.0\.0\.1:\d+", "".join(gateway.stdout.readline() for _ in range(2)))
        drain = threading.Thread(target=gateway.stdout.read)
        drain.start()
        with Client(scoring) as client:
            client.wait_ready()
        yield Running(scoring, control, gateway.pid)
        gateway.terminate()
        assert gateway.wait(15) == 0
        drain.join()


def test_loads_and_unloads_from_many_threads_end_where_the_last_ones_say(project, figure):
    """Each thread ends with what its endpoint's others end with, so that there is one right final state."""
    project.deploy(project.register(0.5), deadline_s=2.0)
    for bias, name in enumerate(OTHERS):
        project.deploy(project.register(float(bias), name=name), endpoint=name)
    token = {}

    def turn(gateway, number):
        name, last = OTHERS[number % 4], number % 2
        with Client(gateway.control, timeout_s=60) as client:
            statuses = []
            for left in reversed(range(TURNS)):
                verb = ("load", "unload")[(left + last) % 2]
                reply = client.request("POST", f"/v2/repository/models/{name}/{verb}", b"", token)
                statuses.append((reply.status, reply.body) if reply.status != 200 else 200)
        return statuses

    with running(project) as gateway:
        token["authorization"] = f"Bearer {(project.root / '.headrace' / NAME).read_text().strip()}"
        with Client(gateway.scoring) as client, asking(client) as winners, ThreadPoolExecutor(THREADS) as pool:
            replies = [reply for found in pool.map(lambda n: turn(gateway, n), range(THREADS)) for reply in found]
        assert set(replies) == {200}
        assert len(replies) == THREADS * TURNS
        with Client(gateway.scoring) as client:
            index = json.loads(client.request("POST", "/v2/repository/index").body)
            states = {row["name"]: row["state"] for row in index}
            answers = {name: client.raw(name, json.dumps({"instances": [ROW]}).encode()).status for name in OTHERS}
    wrong = [winner for winner in winners if winner != "wine@1"]
    figure(f"serving.swap_failed beside {len(replies)} loads and unloads", len(wrong))
    assert wrong == []
    loaded, unloaded = OTHERS[::2], OTHERS[1::2]
    assert states == dict.fromkeys(("wine", *loaded), "READY") | dict.fromkeys(unloaded, "UNAVAILABLE")
    assert answers == dict.fromkeys(loaded, 200) | dict.fromkeys(unloaded, 503)


def test_swaps_leave_no_file_thread_or_process_behind(project, figure):
    """An ONNX model, and a Python function that has a worker process for each version; both are asked all the time."""
    wines = [project.register(float(bias)) for bias in range(2)]
    artifact = serve_function(served_functions.sober, outputs=("quality",))
    asked = [Registration("judge", pl.DataFrame({"alcohol": [5.0 + n]}), "CC0-1.0") for n in range(2)]
    judges = [register(project.platform.stores(), artifact, wanted) for wanted in asked]
    rows = {"wine": ROW, "judge": {"alcohol": 9.0}}

    def deploy(turn):
        project.deploy(wines[turn % 2], endpoint="wine", deadline_s=10.0)
        project.deploy(judges[turn % 2], endpoint="judge", deadline_s=10.0)
        return {"wine": str(wines[turn % 2]), "judge": str(judges[turn % 2])}

    deploy(0)
    with running(project) as gateway, Client(gateway.scoring) as client:
        held = []
        with asking(client, "wine") as by_wines, asking(client, "judge", rows["judge"]) as by_judges:
            for turn in range(1, SWAPS + 1):
                due = deploy(turn)
                until(lambda due=due: {n: client.predict(n, rows=[row]).winner for n, row in rows.items()} == due)
                until(lambda: gateway.held()[2] == 1)  # the worker of the version before has ended
                held.append(gateway.held())
        least = held[1]  # what is made once is made by now
        until(lambda: all(now <= before for now, before in zip(gateway.held(), least, strict=True)))
    wrong = [w for w in by_wines + by_judges if w not in {*map(str, wines), *map(str, judges)}]
    figure(f"serving.swap_failed of {2 * SWAPS} swaps, half with workers", len(wrong))
    assert wrong == []
    assert {*by_wines, *by_judges} == {*map(str, wines), *map(str, judges)}
