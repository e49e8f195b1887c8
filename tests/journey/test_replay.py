"""A candidate on logged traffic, as people ask for it."""

import json
import subprocess
import sys

import pytest
from wine_project import ROW, WineProject

from headrace.client import Client
from headrace.delivery.replay import KIND
from headrace.placement.gateway import GATEWAY, gateway_spec

REQUESTS = 400


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    opened = WineProject(tmp_path_factory.mktemp("wine"))
    opened.deploy(opened.register(0.5))
    opened.register(0.9)
    state = opened.platform.services().start(gateway_spec(opened.root, ["wine"]))
    client = Client(state.address)
    for number in range(REQUESTS):
        client.predict("wine", rows=[{**ROW, "alcohol": 8 + number % 7}])
    client.close()
    opened.platform.services().stop(GATEWAY)
    yield opened
    opened.close()


def headrace(project, *arguments):
    command = [sys.executable, "-m", "headrace", *arguments]
    return subprocess.run(command, cwd=project.root, capture_output=True, text=True, timeout=60, check=False)


def test_a_candidate_is_replayed_on_what_was_asked(project):
    done = headrace(project, "serving", "replay", "wine", "--model", "wine@2", "--slice", "alcohol", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["model"], found["requests"], found["skipped"]) == ("wine@2", REQUESTS, 0)
    assert found["numbers"]["disagreement"] == 1
    assert found["numbers"]["mean_difference"] == pytest.approx(0.4, abs=1e-3)
    assert set(found["slices"]["alcohol"]) == {f"{8.0 + n}" for n in range(7)}
    assert found["champion"]["p50_ms"] > 0
    (fact,) = project.platform.ledger().query(KIND, "wine@2")
    assert fact.body["endpoint"] == "wine"


def test_it_reads_well_and_only_looks_at_the_time_asked_for(project):
    done = headrace(project, "serving", "replay", "wine", "--model", "wine@1", "--since", "1h")
    assert done.returncode == 0, done.stderr
    assert f"wine@1 on {REQUESTS} logged requests of wine" in done.stdout
    assert "rows that differ" in done.stdout
    nothing = headrace(project, "serving", "replay", "wine", "--model", "wine@1", "--since", "2099-01-01")
    assert (nothing.returncode, "no request of wine to replay" in nothing.stderr) == (5, True)
    strange = headrace(project, "serving", "replay", "wine", "--model", "wine@1", "--since", "yesterday")
    assert (strange.returncode, "2h, 7d, or 2024-03-05" in strange.stderr) == (2, True)


def test_a_promotion_may_require_it(project):
    settings = project.root / "headrace.toml"
    settings.write_text('[promotion]\nrequires = ["replay"]\nreplay = ["disagreement < 5%"]\n')
    headrace(project, "serving", "replay", "wine", "--model", "wine@2")
    refused = headrace(project, "models", "promote", "wine@2")
    assert (refused.returncode, "disagreement < 5%: 1" in refused.stderr) == (3, True)
    assert headrace(project, "serving", "replay", "wine", "--model", "wine@1").returncode == 0
    assert headrace(project, "models", "promote", "wine@1").returncode == 0
    settings.write_text("")
