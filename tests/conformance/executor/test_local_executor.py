"""``headrace.conformance.executor`` on worker processes of this machine."""

import os

import pytest

from headrace.conformance.executor import WAIT_S, ExecutorSuite, alive, until
from headrace.engines.local.executor import GRACE_S, LocalExecutor, open_executor
from headrace.errors import RunFailed
from headrace.settings import Settings


class TestLocalExecutor(ExecutorSuite):
    @pytest.fixture
    def executor(self, tmp_path):
        executor = open_executor(Settings(root=tmp_path, workers=2), "local")
        yield executor
        executor.close()


@pytest.fixture
def one():
    executor = LocalExecutor(1)
    yield executor
    executor.close()


def test_no_process_starts_for_a_call_that_is_taken_back(one, monkeypatch):
    started = []
    monkeypatch.setattr("headrace.engines.local.executor._start", started.append)
    assert GRACE_S > 0
    assert all(one.submit(abs, -n).cancel() for n in range(20))
    until(lambda: one._idle == 1, "the queue to be empty again")
    assert started == []


def test_workers_end_when_the_main_process_is_gone(one):
    pid = one.submit(os.getpid).result(WAIT_S)
    worker = next(iter(one._workers))
    worker.calls.close()
    until(lambda: worker.process.poll() is not None, "the worker to see its pipe close")
    assert not alive(pid)


@pytest.mark.parametrize("program", ["/bin/false", "/nonexistent"])
def test_a_worker_that_cannot_start_fails_its_call(one, monkeypatch, program):
    with monkeypatch.context() as patch:
        patch.setattr("sys.executable", program)
        call = one.submit(abs, -1)
        with pytest.raises(RunFailed, match=r"worker process (died|could be started)"):
            call.result(WAIT_S)
    assert one.submit(abs, -1).result(WAIT_S) == 1


def test_an_answer_that_cannot_be_read_fails_its_call(one):
    with pytest.raises(ModuleNotFoundError, match="made_up"):
        one.submit(exec, "import sys, types; m = types.ModuleType('made_up'); sys.modules['made_up'] = m\n"
                   "exec('class C(Exception): pass', m.__dict__)\nraise m.C").result(WAIT_S)  # fmt: skip
    assert one.submit(abs, -1).result(WAIT_S) == 1


def test_workers_share_the_cores(one):
    assert one.submit(os.getenv, "OMP_NUM_THREADS").result(WAIT_S) == str(os.cpu_count() or 1)
