"""Where the time of a logged request went, of a model in the server's process and of one in a process of its own."""

import json
import re
import subprocess
import sys
import time

import pytest
from mixed_project import MixedProject
from server_process import serving
from wine_project import ROW

IN_A_WORKER = ["queued", "started", "worker_started", "worker_scored", "scored", "returned"]


def explain(root, identifier, *options):
    command = [sys.executable, "-m", "headrace", "serving", "explain", identifier, *options]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=True, timeout=60).stdout


@pytest.mark.slow
def test_explain_tells_every_hop(tmp_path):
    project = MixedProject(tmp_path)
    project.deploy(project.register(0.5), deadline_s=5.0)
    project.double("steady", deadline_s=5.0)
    project.close()
    begun = time.monotonic()
    with serving(tmp_path) as server:
        here = server.client.predict("wine", rows=[ROW]).id
        there = server.client.predict("steady", rows=[{"x": 1.5}]).id
        assert server.end()[0] == 0
    ended = time.monotonic()
    told = {identifier: json.loads(explain(tmp_path, identifier, "--json")) for identifier in (here, there)}
    for one in told.values():
        assert begun < one["received"]["monotonic_s"] < ended
        assert one["received"]["at_ms"] == one["at_ms"]
        (score,) = one["scores"]
        hops = list(score["hops_ms"].values())
        assert hops[0] > 0
        assert hops == sorted(hops)
        assert hops[-1] <= one["elapsed_ms"]
        assert score["hops_ms"]["scored"] == pytest.approx(score["elapsed_ms"], abs=1e-5)
    assert list(told[here]["scores"][0]["hops_ms"]) in (["started", "scored"], IN_A_WORKER[:2] + IN_A_WORKER[4:])
    assert list(told[there]["scores"][0]["hops_ms"]) == IN_A_WORKER
    heading, line = re.search(r"(SCORER.*)\n(.*)\n", explain(tmp_path, there)).groups()
    assert heading.split() == ["SCORER", "STATE", "SCORE", "QUEUED", "STARTED", "IN", "WORKER", "SCORED", "RETURNED"]
    assert len(line.split()) == 9
