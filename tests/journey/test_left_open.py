"""A gateway that is killed while its log cannot be written: the alert does not stay open for ever."""

import fcntl
from contextlib import ExitStack, contextmanager

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


@contextmanager
def held(project):
    """Somebody else holds the log's lock: for who writes, that is a disk that takes its time."""
    *_, newest = sorted((project.root / ".headrace" / "stream" / "requests.wine").glob("*.log"))
    with newest.open("rb") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        yield


@pytest.mark.slow
@pytest.mark.parametrize("beside", [False, True], ids=["the one that follows it", "one that runs beside it"])
def test_the_alert_of_a_gateway_that_was_killed_is_ended_by_another(project, beside):
    found = project.platform.ledger()
    with ExitStack() as running:
        if beside:
            running.enter_context(serving(project.root))
        killed = running.enter_context(serving(project.root))
        assert killed.client.predict("wine", rows=[ROW]).logged
        with held(project):
            assert not killed.client.predict("wine", rows=[ROW]).logged
            until(lambda: len(alerts(found, "wine")) == 1)
            killed.process.kill()
            killed.process.wait()
            assert [fact.body["over"] for fact in alerts(found, "wine")] == [False]
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
    with serving(project.root) as server:
        assert server.client.predict("wine", rows=[ROW]).logged
        with held(project):
            assert not server.client.predict("wine", rows=[ROW]).logged
            until(lambda: len(alerts(found, "wine")) == 1)
            server.process.terminate()
            until(lambda: len(alerts(found, "wine")) == 2)
        assert server.ended()[0] == 0
    assert alerts(found, "wine")[1].body["message"].startswith("the gateway ended after ")
