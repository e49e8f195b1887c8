"""A project whose ledger is in PostgreSQL: the main flow, and gateways while the server dies, hangs and comes back."""

import json
import os
import statistics
import subprocess
import sys

import pytest
from server_process import serving, until
from wine_project import ROW, WineProject, asking

from headrace.client import Client

pytestmark = pytest.mark.service

SEES_S = 4.0
"""Within which a gateway says that its ledger is away, on a machine that is busy."""
MOVES = 60 if os.environ.get("HEADRACE_SOAK") else 12


@pytest.fixture
def uri(postgres):
    return postgres.uri(connect_timeout=2)


@pytest.fixture
def project(uri, tmp_path):
    opened = WineProject(tmp_path, f'ledger = "{uri}"\n')
    for bias in (0.5, 0.7):
        opened.register(bias)
    opened.deploy("wine@1", deadline_s=5.0)
    yield opened
    opened.close()


def headrace(root, *arguments, code=0):
    command = [sys.executable, "-m", "headrace", *arguments]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code, done.stderr
    return done


def followed(server):
    return not server.client.overview().unfollowed


def winner(server):
    return server.client.predict("wine", rows=[ROW]).winner


def test_from_a_model_to_its_explanation(project):
    with serving(project.root) as server:
        answer = server.client.predict("wine", rows=[ROW])
        assert list(answer.values) == pytest.approx([project.answer(0.5)])
        told = json.loads(headrace(project.root, "serving", "explain", answer.id, "--json").stdout)
        assert (told["winner"], told["deployment"]["who"]) == ("wine@1", "test")
        project.deploy("wine@1", "wine@2", deadline_s=5.0)
        until(lambda: len(server.client.overview().endpoints[0].schedule) == 2)
        headrace(project.root, "serving", "promote", "wine", "wine@2")
        until(lambda: winner(server) == "wine@2")
    assert "***@" in headrace(project.root, "config", "list").stdout
    assert not (project.root / ".headrace" / "ledger.db").exists()


def test_changes_are_followed_within_a_look(project, figure):
    with serving(project.root) as server:
        took = []
        for n in range(MOVES):
            first, second = (f"wine@{1 + (n + more) % 2}" for more in (0, 1))  # nothing is loaded anew
            project.deploy(first, second, deadline_s=5.0)
            took.append(until(lambda first=first: winner(server) == first))
        figure("serving.followed_s, PostgreSQL, median", statistics.median(took))
        assert statistics.median(took) < 1.0


@pytest.mark.parametrize("how", ["killed", "frozen"])
def test_a_gateway_goes_on_while_its_ledger_is_away(project, postgres, how, figure):
    away, back = {"killed": (postgres.kill, postgres.start), "frozen": (postgres.freeze, postgres.thaw)}[how]
    with serving(project.root) as server, asking(server.client) as winners:
        until(lambda: len(winners) > 20)
        assert followed(server)
        away()
        try:
            figure(f"serving.sees_ledger_away_s, {how}", until(lambda: not followed(server), SEES_S))
            standing = len(winners)
            until(lambda: len(winners) > standing + 20, SEES_S)  # not one of them waited for a connection
        finally:
            back()
        until(lambda: followed(server))
        project.deploy("wine@2", deadline_s=5.0)
        until(lambda: winners[-1] == "wine@2")
        assert set(winners) == {"wine@1", "wine@2"}
        assert server.end()[0] == 0


def test_a_gateway_may_be_started_before_its_ledger(project, postgres):
    postgres.kill()
    try:
        command = [sys.executable, "-m", "headrace.gateway", "--root", str(project.root), "--port", "0"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        line = process.stdout.readline()
    finally:
        postgres.start()
    with process, Client(line.split()[-1]) as client:
        client.wait_ready(30)
        until(lambda: [endpoint.state for endpoint in client.overview().endpoints] == ["serving"])
        assert client.predict("wine", rows=[ROW]).winner == "wine@1"
        process.terminate()
        assert process.wait(30) == 0
