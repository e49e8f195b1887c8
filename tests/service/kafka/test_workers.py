"""An endpoint in several processes: front doors, and workers that score over a real broker."""

import pytest
from open_load import OpenLoad
from server_process import serving, until
from three_models import BEST, SECOND, THIRD, asked, logged, three_models
from worker_process import working

pytestmark = pytest.mark.service


def settings(broker):
    return f'stream = "{broker.uri()}"\nscorers = "workers"\n'


def scored_by_workers(server):
    """Whether workers score every model."""
    versions = server.client.overview().endpoints[0].versions
    return len(versions) == 3 and all("worker" in version.runs and version.runs[0].isdigit() for version in versions)


@pytest.fixture
def project(tmp_path, noida):
    made = three_models(tmp_path, settings(noida))
    yield made
    made.close()


def test_workers_score_what_a_front_door_is_asked(project, unharmed, figure):
    with working(project.root, "wine") as worker, serving(project.root) as server:
        until(lambda: scored_by_workers(server))
        load = OpenLoad(server.port, asked())
        load.wait_for(300)
        load.end()
        assert worker.end() == 0
    assert len(load.replies) == load.sent
    log = logged(project)
    unharmed("workers", [load], log)
    winners = [prediction.winner for prediction in log]
    times = sorted(reply.elapsed_s for reply in load.replies)
    figure("answer p50 ms", times[len(times) // 2] * 1000)
    assert BEST in winners
    assert {score.model for prediction in log[50:] for score in prediction.scores} == {BEST, SECOND, THIRD}
