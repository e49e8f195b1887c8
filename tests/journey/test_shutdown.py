"""A gateway that is told to end, or killed, under load: over HTTP and gRPC, with models in it and in workers."""

import os

import fragile
import pytest
from load import Load
from mixed_project import WINE, MixedProject, asked
from rpc_load import RpcLoad, infer
from server_process import alive, serving, until
from wine_project import ROW

from headrace.serving.log import RequestLog

SOAK = bool(os.environ.get("HEADRACE_SOAK"))
EXIT_S = 10.0
TIMES = 20 if SOAK else 3


@pytest.fixture
def project(tmp_path):
    opened = MixedProject(tmp_path)
    opened.deploy(opened.register(0.5), deadline_s=5.0)
    opened.double("steady", deadline_s=5.0)
    yield opened
    opened.close()


def logged(project):
    """Ids of every logged request, and who answered them."""
    found = {}
    for name in ("wine", "steady"):
        log, after = RequestLog(project.platform.stream(), name), -1
        while page := log.predictions(after=after, limit=1000, late=False):
            after = page[-1][0]
            assert not found.keys() & {p.id for _, p in page}
            found |= {p.id: p.winner for _, p in page}
    return found


def loads(server):
    """Three kinds of load at once, each well under way."""
    http = [Load(server.port, [WINE, WINE, asked("steady")], connections=n) for n in (1, 15)]
    rpc = RpcLoad(server.rpc, [infer("wine", ROW), infer("steady", {"x": 1.5})])
    for load in http:
        load.wait_for(200)
    rpc.wait_for(50)
    return http, rpc


@pytest.mark.slow
def test_sigterm_under_load_drops_nothing(project, figure):
    answered, refused, took = set(), 0, 0.0
    for _ in range(TIMES):
        with serving(project.root, "--grpc-port", "0") as server:
            http, rpc = loads(server)
            workers = server.workers()
            code, seconds = server.end()
            seen = [load.end() for load in http]
            calls = rpc.end()
            assert code == 0, server.said()
            assert server.said() == ""
            assert not any(alive(pid) for pid in workers)
        took = max(took, seconds)
        assert all(set(found) <= {(200, "wine@1"), (200, "steady@1")} for found in seen), seen
        refused += sum(count for (code, _), count in calls.items() if code != "OK")
        assert {code for code, _ in calls} <= {"OK", "UNAVAILABLE"}, calls
        for load in (*http, rpc):
            assert answered.isdisjoint(load.ids)
            answered |= set(load.ids)
    assert refused <= 2 * TIMES  # each connection learns once that nobody is there any more
    found = logged(project)
    assert set(found.values()) == {"wine@1", "steady@1"}
    figure("serving.sigterm_dropped", len(found.keys() ^ answered))
    figure("serving.sigterm_exit_s", took)
    assert found.keys() == answered  # what was logged was answered, and the other way round
    assert took <= EXIT_S


@pytest.mark.slow
def test_a_server_that_is_killed_leaves_no_worker_and_every_answer_in_the_log(project):
    answered = set()
    for _ in range(TIMES):
        with serving(project.root, "--grpc-port", "0") as server:
            http, rpc = loads(server)
            workers = server.workers()
            assert len(workers) == 1
            server.process.kill()
            server.ended()
            until(lambda pids=workers: not any(alive(pid) for pid in pids), 1.0)
            for load in (*http, rpc):
                load.end()
                answered |= set(load.ids)
            assert sum(load.seen["dropped"] for load in http) > 0  # it was killed in the middle of its work
    with serving(project.root) as server:
        again = Load(server.port, [WINE, asked("steady")], most=20)
        again.wait_for(20)
        assert set(again.end()) == {(200, "wine@1"), (200, "steady@1")}
    assert logged(project).keys() >= answered | set(again.ids)


def test_a_hanging_worker_holds_up_no_end(project):
    project.double("hanging", deadline_s=1.0)
    with serving(project.root) as server:
        hung = Load(server.port, [asked("hanging", fragile.HANG)], connections=1, most=1)
        until(lambda: hung.sent)
        code, seconds = server.end()
        assert dict(hung.end()) == {(200, "default"): 1}
        assert (code, server.said()) == (0, "")
    assert seconds <= EXIT_S
