"""A gateway that is killed while its log cannot be written: the alert does not stay open for ever."""

import sqlite3
from contextlib import ExitStack, closing

import pytest
from server_process import serving, until
from wine_project import ROW, WineProject

from headrace.monitoring.alerts import alerts


@pytest.fixture
def project(tmp_path):
    opened = WineProject(tmp_path)
    opened.deploy(opened.register(0.5), deadline_s=5.0)
    yield opened
    opened.close()


@pytest.mark.slow
@pytest.mark.parametrize("beside", [False, True], ids=["the one that follows it", "one that runs beside it"])
def test_the_alert_of_a_gateway_that_was_killed_is_ended_by_another(project, beside):
    found = project.platform.ledger()
    path = project.root / ".headrace" / "stream" / "requests.wine.db"
    with ExitStack() as running:
        if beside:
            running.enter_context(serving(project.root))
        killed = running.enter_context(serving(project.root))
        assert killed.client.predict("wine", rows=[ROW]).logged
        with closing(sqlite3.connect(path, isolation_level=None)) as holder:
            holder.execute("BEGIN IMMEDIATE")
            assert not killed.client.predict("wine", rows=[ROW]).logged
            until(lambda: len(alerts(found, "wine")) == 1)
            killed.process.kill()
            killed.process.wait()
            assert [fact.body["over"] for fact in alerts(found, "wine")] == [False]
            holder.execute("ROLLBACK")
        if not beside:
            running.enter_context(serving(project.root))
        until(lambda: len(alerts(found, "wine")) == 2)
    begun, over = alerts(found, "wine")
    assert begun.body["by"]["pid"] == killed.pid
    assert (over.body["over"], over.unique) == (True, f"{begun.unique} over")
    assert over.body["message"].startswith("requests were answered without being logged until the gateway was killed")


@pytest.mark.slow
def test_a_gateway_that_is_told_to_end_says_itself_that_its_alert_is_over(project):
    found = project.platform.ledger()
    path = project.root / ".headrace" / "stream" / "requests.wine.db"
    with serving(project.root) as server:
        assert server.client.predict("wine", rows=[ROW]).logged
        with closing(sqlite3.connect(path, isolation_level=None)) as holder:
            holder.execute("BEGIN IMMEDIATE")
            assert not server.client.predict("wine", rows=[ROW]).logged
            until(lambda: len(alerts(found, "wine")) == 1)
            server.process.terminate()
            until(lambda: len(alerts(found, "wine")) == 2)
            holder.execute("ROLLBACK")
        assert server.ended()[0] == 0
    assert alerts(found, "wine")[1].body["message"].startswith("the gateway ended after ")
