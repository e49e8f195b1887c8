"""Executor on this machine: worker processes, started when work has waited for one, kept for the next call.

A worker is a fresh interpreter, so a step finds no state of another's thread or lock. Calls travel as pickles over two
pipes; a worker that sees its pipe close ends at once, so none outlives the process that started it.
"""

import os
import pickle
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Any

from headrace.engines.local.worker import receive, send
from headrace.errors import RunFailed, UsageError
from headrace.pipelines.ports import WORKER_DIED
from headrace.settings import Settings

GRACE_S = 0.03
"""How long a call waits before a process is started for it: shorter ones are taken back by the main process."""
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS")


@dataclass(eq=False)
class _Worker:
    """One process and the two ends of its pipes."""

    process: "subprocess.Popen[bytes]"
    calls: IO[bytes]
    answers: IO[bytes]

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.calls, self.answers):
            with suppress(OSError):  # what was written and never read cannot be flushed any more
                pipe.close()


class LocalExecutor:
    """A pool of at most ``slots`` processes; see ``pipelines.ports.Executor``.

    One thread a process carries messages; none runs a step.
    """

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._changed = threading.Condition()
        self._queue: deque[tuple[Future[Any], bytes]] = deque()
        self._idle = 0
        self._threads: list[threading.Thread] = []
        self._workers: set[_Worker] = set()
        self._closed = False

    def submit(self, call: Callable[..., Any], /, *args: Any) -> "Future[Any]":
        """Queue a call; see ``Executor.submit``."""
        try:
            message = pickle.dumps((call, args))
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise UsageError("the call cannot be sent to another process", why=str(error)) from error
        future: Future[Any] = Future()
        with self._changed:
            if self._closed:
                raise RunFailed("the executor is closed")
            self._queue.append((future, message))
            if self._idle < len(self._queue) and len(self._threads) < self.slots:
                self._threads.append(threading.Thread(target=self._serve, name="headrace-worker", daemon=True))
                self._threads[-1].start()
            self._changed.notify()
        return future

    def close(self) -> None:
        """Kill the workers and cancel what waits; see ``Executor.close``."""
        with self._changed:
            self._closed = True
            waiting, self._queue = self._queue, deque()
            workers = set(self._workers)
            self._changed.notify_all()
        for future, _ in waiting:
            future.cancel()
        for worker in workers:
            worker.process.kill()
        for thread in self._threads:
            thread.join()

    def _serve(self) -> None:
        """Carry calls to one process, one after the other; a dead process is replaced at the next call."""
        worker: _Worker | None = None
        while self._awaited(patient=worker is None):
            try:
                if worker is None or worker.process.poll() is not None:
                    worker = self._started()
            except OSError as error:
                self._refuse(RunFailed("no worker process could be started", why=str(error)))
                continue
            taken = self._next()
            if taken is not None:
                worker = self._made(worker, *taken)
        if worker is not None:
            worker.end()

    def _awaited(self, *, patient: bool) -> bool:
        """Wait for a call to be queued (``patient``: and still be there a moment later); False when closed."""
        waited = False
        with self._changed:
            while not self._closed:
                self._drop_cancelled()
                if not self._queue:
                    self._idle += 1
                    self._changed.wait()
                    self._idle -= 1
                    waited = False
                elif patient and not waited:
                    waited = not self._changed.wait_for(lambda: self._closed, GRACE_S)
                else:
                    return True
            return False

    def _drop_cancelled(self) -> None:
        while self._queue and self._queue[0][0].cancelled():
            self._queue.popleft()[0].set_running_or_notify_cancel()

    def _next(self) -> tuple[Future[Any], bytes] | None:
        with self._changed:
            while self._queue:
                future, message = self._queue.popleft()
                if future.set_running_or_notify_cancel():
                    return future, message
        return None

    def _refuse(self, error: RunFailed) -> None:
        taken = self._next()
        if taken is not None:
            taken[0].set_exception(error)

    def _started(self) -> _Worker:
        worker = _start(max(1, (os.cpu_count() or 1) // self.slots))
        with self._changed:
            self._workers.add(worker)
            if self._closed:
                worker.process.kill()
        return worker

    def _made(self, worker: _Worker, future: Future[Any], message: bytes) -> _Worker | None:
        try:
            send(worker.calls, message)
            done, value = pickle.loads(receive(worker.answers))  # noqa: S301 - our own process answers
        except (EOFError, OSError):
            with self._changed:
                self._workers.discard(worker)
            worker.end()
            future.set_exception(_death(worker.process.returncode))
            return None
        except Exception as error:  # noqa: BLE001 - an answer that cannot be read here is its call's failure
            future.set_exception(error)
            return worker
        if done:
            future.set_result(value)
        else:
            future.set_exception(value)
        return worker


def open_executor(settings: Settings, uri: str) -> LocalExecutor:  # noqa: ARG001 - every engine factory takes both
    """Factory ``executor.local``: ``workers`` processes, one a core when that is 0."""
    return LocalExecutor(settings.workers or os.cpu_count() or 1)


def _start(threads: int) -> _Worker:
    """A worker that has said it is ready."""
    its_calls, calls = os.pipe()
    answers, its_answers = os.pipe()
    program = (
        f"import sys; sys.path[:] = {sys.path!r}; from headrace.engines.local.worker import work; "
        f"work({its_calls}, {its_answers})"
    )
    process = subprocess.Popen(  # noqa: S603 - our own interpreter and program
        [sys.executable, "-c", program],
        stdin=subprocess.DEVNULL,
        pass_fds=(its_calls, its_answers),
        env={**{name: str(threads) for name in _THREADS}, **os.environ},
    )
    os.close(its_calls)
    os.close(its_answers)
    worker = _Worker(process, os.fdopen(calls, "wb"), os.fdopen(answers, "rb"))
    with suppress(EOFError):  # when it died, the first call finds out and says so
        receive(worker.answers)
    return worker


def _death(code: int | None) -> RunFailed:
    why = f"killed by signal {-code}" if code is not None and code < 0 else f"exit code {code}"
    hint = ", as the system does when memory runs out" if code == -9 else ""  # noqa: PLR2004 - SIGKILL
    fix = "see its log; finished steps are not repeated when you run again"
    return RunFailed(WORKER_DIED, why=why + hint, fix=fix)
