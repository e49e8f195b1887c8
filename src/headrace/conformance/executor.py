"""What every Executor engine must do. Subclass ``ExecutorSuite`` and give it an ``executor`` fixture of two slots."""

import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from pathlib import Path

import pytest

from headrace.errors import HeadraceError, NotFound, RunFailed
from headrace.pipelines.ports import Executor

WAIT_S = 60.0
SLOTS = 2


class ExecutorSuite:
    """The cases. Each engine's test subclasses this with a fixture ``executor`` that opens an engine of two slots."""

    @pytest.fixture
    def executor(self) -> Executor:
        """The engine under test."""
        raise NotImplementedError

    def test_calls_run_in_other_processes(self, executor: Executor) -> None:
        """Arguments go there, the result comes back, and the process is not this one."""
        assert executor.slots == SLOTS
        assert executor.submit(divmod, 17, 5).result(WAIT_S) == (3, 2)
        assert executor.submit(os.getpid).result(WAIT_S) != os.getpid()

    def test_a_worker_serves_many_calls(self, executor: Executor) -> None:
        """Fifty calls in order take no more processes than there are slots."""
        assert len({executor.submit(os.getpid).result(WAIT_S) for _ in range(50)}) <= SLOTS

    def test_two_calls_run_at_once(self, executor: Executor, tmp_path: Path) -> None:
        """Each of two calls waits for the other to begin, so both must be running."""
        calls = [executor.submit(meet, tmp_path, name, other) for name, other in (("a", "b"), ("b", "a"))]
        assert [call.result(WAIT_S) for call in calls] == [True, True]

    def test_no_more_than_its_slots_at_once(self, executor: Executor, tmp_path: Path) -> None:
        """Of six calls never more than two overlap."""
        calls = [executor.submit(overlap, tmp_path, str(n)) for n in range(6)]
        assert max(call.result(WAIT_S) for call in calls) <= SLOTS

    def test_large_values_travel(self, executor: Executor) -> None:
        """Ten megabytes there and back."""
        data = os.urandom(10_000_000)
        assert executor.submit(bytes.swapcase, data).result(WAIT_S) == data.swapcase()

    def test_errors_come_back(self, executor: Executor) -> None:
        """An exception is raised by the future as it was in the call; the worker goes on."""
        with pytest.raises(ZeroDivisionError):
            executor.submit(divmod, 1, 0).result(WAIT_S)
        with pytest.raises(NotFound, match="no such thing - here - fix: look elsewhere"):
            executor.submit(fail_as_headrace).result(WAIT_S)
        assert executor.submit(abs, -1).result(WAIT_S) == 1

    def test_what_cannot_travel_is_an_error(self, executor: Executor) -> None:
        """A function or result that cannot be pickled fails its own call only."""
        with pytest.raises(HeadraceError, match="another process"):
            executor.submit(lambda: 1)
        with pytest.raises(Exception, match="pickle"):
            executor.submit(unpicklable).result(WAIT_S)
        assert executor.submit(abs, -1).result(WAIT_S) == 1

    def test_a_dead_worker_fails_its_call_and_is_replaced(self, executor: Executor) -> None:
        """The call says that its process died; the others and later calls are served."""
        dying = executor.submit(os.kill, executor.submit(os.getpid).result(WAIT_S), 0)
        dying.result(WAIT_S)
        killed = executor.submit(kill_self)
        with pytest.raises(RunFailed, match="worker process died"):
            killed.result(WAIT_S)
        assert [executor.submit(abs, -n).result(WAIT_S) for n in range(5)] == list(range(5))

    def test_a_waiting_call_can_be_taken_back(self, executor: Executor, tmp_path: Path) -> None:
        """Cancelled before a worker took it, a call never runs."""
        blocking = [executor.submit(meet, tmp_path, f"x{n}", "go") for n in range(SLOTS)]
        waiting = executor.submit(touch, tmp_path / "ran")
        assert waiting.cancel()
        (tmp_path / "go").touch()
        for call in blocking:
            call.result(WAIT_S)
        executor.submit(abs, -1).result(WAIT_S)
        assert not (tmp_path / "ran").exists()

    def test_close_ends_the_workers(self, executor: Executor, tmp_path: Path) -> None:
        """Running and waiting calls end, none succeeds, and the processes are gone."""
        running = [executor.submit(report_and_wait, tmp_path, str(n)) for n in range(SLOTS)]
        waiting = executor.submit(abs, -1)
        pids = [int(content(tmp_path / str(n))) for n in range(SLOTS)]
        executor.close()
        for call in [*running, waiting]:
            assert failed(call)
        until(lambda: not any(alive(pid) for pid in pids), "the workers to end")


def meet(folder: Path, name: str, other: str) -> bool:
    """Leave a mark and wait for the other's."""
    (folder / name).touch()
    until((folder / other).exists, other)
    return True


def overlap(folder: Path, name: str) -> int:
    """How many calls were running at once, this one included."""
    (folder / name).touch()
    try:
        time.sleep(0.02)  # the length of the work, not a wait for something
        return len(list(folder.iterdir()))
    finally:
        (folder / name).unlink()


def touch(path: Path) -> None:
    """Leave a mark."""
    path.touch()


def fail_as_headrace() -> None:
    """Raise an error that carries more than its message."""
    raise NotFound("no such thing", where="here", fix="look elsewhere")


def unpicklable() -> object:
    """Return what cannot travel."""
    return lambda: 1


def kill_self() -> None:
    """Die as the system kills when memory runs out."""
    os.kill(os.getpid(), signal.SIGKILL)


def report_and_wait(folder: Path, name: str) -> None:
    """Say which process this is, then never end."""
    half = folder / f"{name}.half"
    half.write_text(str(os.getpid()))
    half.replace(folder / name)
    signal.pause()


def content(path: Path) -> str:
    """What a file holds, once it is there."""
    until(path.exists, str(path))
    return path.read_text()


def failed(call: "Future[object]") -> bool:
    """Whether a call ended without a result."""
    try:
        return call.exception(WAIT_S) is not None
    except CancelledError:
        return True


def alive(pid: int) -> bool:
    """Whether a process exists and is not merely waiting to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def until(holds: Callable[[], bool], what: str) -> None:
    """Wait for a condition, at most ``WAIT_S``."""
    end = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < end, f"waited {WAIT_S} s for {what}"
        time.sleep(0.005)
