"""What a model in a worker does to itself costs nobody else a reply, through a real gateway under load."""

import json
import os

import fragile
import pytest
from load import Load
from mixed_project import DEFAULT, WINE, MixedProject, asked
from server_process import alive, serving, until

SOAK = bool(os.environ.get("HEADRACE_SOAK"))
BACK_S = 5.0
OPEN_S = 30.0
DEATHS = {
    "crashing": (fragile.SEGFAULT, "killed by signal 11"),
    "exiting": (fragile.EXIT, "exit code 3"),
    "swelling": (fragile.MEMORY, "more memory than its 384 MiB"),
    "hanging": (fragile.HANG, "did not answer in time"),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A gateway whose models are one in its process and one of each way to die; and the load of two of them."""
    project = MixedProject(tmp_path_factory.mktemp("project"), memory_mb=384)
    project.deploy(project.register(0.5), deadline_s=5.0)
    project.double("steady", deadline_s=5.0)
    for name in ("failing", *DEATHS):
        project.double(name)
    project.close()
    with serving(project.root) as found:
        yield found


@pytest.fixture
def others(server):
    """Load on models that do no harm: every request must be answered by its model."""
    load = Load(server.port, [WINE, asked("steady")])
    load.wait_for(100)
    yield load
    seen = load.end()
    assert set(seen) == {(200, "wine@1"), (200, "steady@1")}, seen


def ask(server, name, x=1.5):
    """What a model of this name says to a number, and who said so."""
    reply = server.client.raw(name, json.dumps({"instances": [{"x": x}]}).encode())
    assert reply.status == 200, reply.body
    return json.loads(reply.body)["predictions"], reply.header("x-headrace-winner")


@pytest.mark.slow
@pytest.mark.parametrize("name", DEATHS)
def test_a_worker_that_dies_is_back_soon_and_nobody_else_notices(server, others, figure, name):
    how, said = DEATHS[name]
    until(lambda: ask(server, name) == ([3.0], f"{name}@1"))
    before = len(server.workers())
    done = others.done
    assert ask(server, name, how) == ([DEFAULT], "default")
    why = []
    until(lambda: why.append(server.reason(name)) or why[-1])  # a hang is known after its four seconds
    took = until(lambda: ask(server, name)[1] == f"{name}@1")
    figure(f"serving.worker_back_s, {name}", took)
    assert took < BACK_S
    assert said in why[-1]
    assert "starting" in why[-1]
    assert (server.reason(name), len(server.workers())) == ("", before)
    assert others.done > done


@pytest.mark.slow
def test_three_deaths_open_the_breaker(server, others):
    name = "failing"
    for death in range(3):
        until(lambda: ask(server, name) == ([3.0], f"{name}@1"))
        assert server.metric("headrace_model_up", endpoint=name, model=f"{name}@1") == 1
        assert ask(server, name, fragile.SEGFAULT) == ([DEFAULT], "default"), death
    until(lambda: "breaker open" in server.reason(name))
    assert "killed by signal 11" in server.reason(name)
    assert server.metric("headrace_model_up", endpoint=name, model=f"{name}@1") == 0
    assert server.metric("headrace_model_up", endpoint="steady", model="steady@1") == 1
    (status,) = server.client.status(name)
    assert (status["state"], status["status"]["error_message"]) == ("AVAILABLE", server.reason(name))
    assert ask(server, name) == ([DEFAULT], "default")  # at once, without waiting for the deadline
    alone = server.client.raw(name, b'{"instances": [{"x": 1.5}]}', version=1)
    assert alone.status == 503
    assert b"no model answered" in alone.body
    if SOAK:  # the unit tests have a shorter pause
        assert OPEN_S / 2 < until(lambda: ask(server, name) == ([3.0], f"{name}@1"), 2 * OPEN_S) < OPEN_S + BACK_S
        assert server.reason(name) == ""


def test_workers_die_with_a_server_that_is_killed_even_if_they_hang(tmp_path):
    project = MixedProject(tmp_path)
    for name in ("steady", "hanging"):
        project.double(name, deadline_s=0.2)
    project.close()
    with serving(tmp_path) as server:
        workers = server.workers()
        assert len(workers) == 2
        assert ask(server, "hanging", fragile.HANG) == ([DEFAULT], "default")
        server.process.kill()
        server.ended()
        until(lambda: not any(alive(pid) for pid in workers), 3.0)
