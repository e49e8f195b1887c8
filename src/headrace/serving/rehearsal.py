"""Models that are tried in a worker before they are let into this process; one worker tries many, one after another.

An interpreter of its own for each model costs a third of a second, which a folder of hundreds multiplies. So a worker
that is done waits a moment for the next model. That is for formats whose files are read and not run, such as ONNX; and
no model is refused because a used worker died of it: a fresh one is asked then.
"""

import threading
import time
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from headrace.errors import HeadraceError, RunFailed
from headrace.models.runtime import Batch
from headrace.models.signature import Signature
from headrace.serving.frames import Frame
from headrace.serving.worker_process import About, Limits, WorkerProcess, born, loading

_IDLE_S = 5.0
_MOST = 64  # models of one worker: what a library leaks goes with it
_AS_IT_COMES: Mapping[str, Any] = {}


class Rehearsal:
    """Runtime that has models tried in workers.

    Args:
        format: Of the models.
        loader: ``module:function`` as ``IsolatedRuntime`` has it.
        limits: For each model.
        declares: As ``IsolatedRuntime`` has it.
        idle_s: How long a worker waits for another model.
    """

    def __init__(
        self,
        format: str,  # noqa: A002 - the port's word
        loader: str,
        limits: Limits,
        declares: str = "",
        idle_s: float = _IDLE_S,
    ) -> None:
        self.format, self._loader, self._declares = format, loader, declares
        self._limits, self._idle_s = limits, idle_s
        self._lock = threading.Lock()
        self._spares: list[WorkerProcess] = []
        self._retiring = False
        weakref.finalize(self, _dismiss_all, self._spares)

    @property
    def spares(self) -> tuple[int, ...]:
        """Process ids of the workers that wait for a model."""
        return tuple(worker.process.pid for worker in self._spares)

    def load(self, folder: Path, signature: Signature) -> "RehearsedModel":
        """Have a worker load the model; raises as ``IsolatedRuntime.load``."""
        return RehearsedModel(self, About(self._loader, folder), signature)

    def declared(self, folder: Path, name: str = "") -> Signature | None:
        """Have a worker look; raises as ``IsolatedRuntime.declared``."""
        if not self._declares:
            return None
        worker, said = self.asked(About(self._declares, folder), Frame("declare", said={"name": name}))
        self.back(worker)
        return Signature.from_json(said)

    def examples(self, folder: Path, signature: Signature) -> None:
        """None: what only holds a model keeps no rows; see ``Runtime.examples``."""

    def asked(self, about: About, asked: Frame, *, fresh: bool = False) -> tuple[WorkerProcess, dict[str, Any]]:
        """A worker, to be given back, and what it says of a model.

        Args:
            about: The model.
            asked: What of it.
            fresh: The worker must not have seen a model before.

        Raises:
            HeadraceError: What the model's code raised there, or how a fresh worker died of it.
        """
        worker = None if fresh else self._spare()
        while True:
            used, worker = worker is not None, worker or born(self._limits)
            try:
                return worker, worker.ask(about, asked, self._limits.load_s)
            except HeadraceError as error:
                if worker.alive:
                    self.back(worker)
                    raise
                worker.dismiss()
                if not used or _took_long(error):
                    raise
                worker = None

    def scored(self, worker: WorkerProcess, batch: Batch) -> Mapping[str, NDArray[Any]]:
        """What the model that a worker holds answers; raises as ``WorkerProcess.score``."""
        return worker.score(batch, _AS_IT_COMES, self._limits.call_s)

    def close(self) -> None:
        """End the workers that wait."""
        with self._lock:
            ended = self._spares[:]
            self._spares.clear()
        _dismiss_all(ended)

    def back(self, worker: WorkerProcess) -> None:
        """Take a worker back: it waits for the next model, for a while."""
        try:
            worker.channel.send(Frame("forget"), time.monotonic() + self._limits.call_s)
        except OSError:  # it died
            worker.dismiss()
            return
        if worker.models >= _MOST:
            worker.dismiss()
            return
        worker.idle_since = time.monotonic()
        with self._lock:
            self._spares.append(worker)
            if self._retiring:
                return
            self._retiring = True
        threading.Thread(target=self._retire, name=f"rehearsal {self.format}", daemon=True).start()

    def _spare(self) -> WorkerProcess | None:
        with self._lock:
            return self._spares.pop() if self._spares else None

    def _retire(self) -> None:
        """End workers that no model comes for, as long as there are any."""
        left_s = self._idle_s
        while True:
            time.sleep(left_s)
            with self._lock:
                now = time.monotonic()
                ended = [w for w in self._spares if now - w.idle_since >= self._idle_s]
                self._spares[:] = [w for w in self._spares if w not in ended]
                self._retiring = more = bool(self._spares)
                left_s = min((w.idle_since + self._idle_s - now for w in self._spares), default=0.0)
            _dismiss_all(ended)
            if not more:
                return


class RehearsedModel:
    """A model in a worker that is given back; see ``models.runtime.Loaded``.

    Args:
        rehearsal: Whose worker.
        about: Its loader and files.
        signature: What it takes.

    Raises:
        HeadraceError: It cannot be loaded.
    """

    def __init__(self, rehearsal: Rehearsal, about: About, signature: Signature) -> None:
        self._rehearsal, self._about, self._signature = rehearsal, about, signature
        self._worker, _ = rehearsal.asked(about, loading(signature))

    def score(self, batch: Batch) -> Mapping[str, NDArray[Any]]:
        """Outputs by name.

        Raises:
            RunFailed: The model raised, died or took too long.
        """
        used = self._worker.models > 1
        try:
            return self._rehearsal.scored(self._worker, batch)
        except RunFailed as error:
            if self._worker.alive or not used or _took_long(error):
                raise
        self._worker.dismiss()
        self._worker, _ = self._rehearsal.asked(self._about, loading(self._signature), fresh=True)
        return self._rehearsal.scored(self._worker, batch)

    def close(self) -> None:
        """Give the worker back."""
        if self._worker.alive:
            self._rehearsal.back(self._worker)
        else:
            self._worker.dismiss()


def _took_long(error: HeadraceError) -> bool:
    return isinstance(error.__cause__, TimeoutError)


def _dismiss_all(workers: list[WorkerProcess]) -> None:
    while workers:
        workers.pop().dismiss()
