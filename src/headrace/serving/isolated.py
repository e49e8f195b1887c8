"""Models in worker processes of their own: they can hang, crash or fill memory alone.

A worker is a fresh interpreter that holds one model; batches and answers travel as plain arrays (``frames``). One that
dies is started again, later each time; after three deaths in a row the breaker opens for a while, so that a model that
cannot live does not keep a core busy with dying.
"""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from headrace.errors import HeadraceError, IntegrityError, RunFailed
from headrace.models.params import Params
from headrace.models.runtime import Batch
from headrace.models.signature import Signature
from headrace.serving.frames import Frame
from headrace.serving.outcome import AWAY, BUSY
from headrace.serving.worker_process import About, Limits, WorkerProcess, born, loading
from headrace.storage.manifest import file_digest

_AS_IT_COMES: Mapping[str, Any] = {}


class IsolatedRuntime:
    """Runtime whose models live in worker processes.

    Args:
        format: Of the models.
        loader: ``module:function``, called in the worker with the model's folder and signature; returns what scores
            (``worker.Score``).
        limits: For each model.
        declares: ``module:function``, called in a worker with a model's folder and the name of one of its signatures
            (``worker.Declare``); empty where the format does not say what a model takes.
        shows: ``module:function``, called in a worker with a model's folder and signature (``worker.Show``); empty
            where no rows come with a model.
    """

    def __init__(
        self,
        format: str,  # noqa: A002 - the port's word
        loader: str,
        limits: Limits,
        declares: str = "",
        shows: str = "",
    ) -> None:
        self.format, self._loader, self._limits = format, loader, limits
        self._declares, self._shows = declares, shows

    def load(self, folder: Path, signature: Signature) -> "IsolatedModel":
        """Start a worker that holds the model.

        Raises:
            IntegrityError: A file is missing or not of the format.
            SignatureError: The model does not fit the signature.
            Refused: The files hold what is not trusted.
            RunFailed: The worker died while loading.
        """
        return IsolatedModel(Recipe(self._loader, folder, signature), self._limits)

    def declared(self, folder: Path, name: str = "") -> Signature | None:
        """Ask a worker that ends afterwards; see ``Runtime.declared``.

        Raises:
            IntegrityError: A file is missing or not of the format.
            SignatureError: It has no signature of that name, or one that cannot be served as it is.
            Refused: The files hold what is not trusted.
            RunFailed: The worker died while it looked.
        """
        said = self._asked(self._declares, Frame("declare", said={"name": name}), folder)
        return Signature.from_json(said) if said else None

    def examples(self, folder: Path, signature: Signature) -> Mapping[str, Any] | None:
        """Ask a worker that ends afterwards; see ``Runtime.examples``.

        Raises:
            IntegrityError: A file is missing or not of the format.
            SignatureError: The rows or the answers are not the signature's.
            Refused: The files hold what is not trusted.
            RunFailed: The worker died while it looked.
        """
        return self._asked(self._shows, Frame("show", said={"signature": signature.to_json()}), folder) or None

    def _asked(self, function: str, asked: Frame, folder: Path) -> dict[str, Any]:
        """What a worker says that calls ``function`` and ends; nothing where the format has no such function."""
        if not function:
            return {}
        worker = born(self._limits)
        try:
            return worker.ask(About(function, folder), asked, self._limits.load_s)
        finally:
            worker.dismiss()


@dataclass(frozen=True)
class Recipe:
    """How a worker is made: loader, files, signature; the files must stay what they are now."""

    loader: str
    folder: Path
    signature: Signature
    digests: Mapping[str, str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "digests", self._found())

    def check(self) -> None:
        """Raise ``IntegrityError`` when a file is no longer what the first worker loaded."""
        if self._found() != self.digests:
            raise IntegrityError("the model's files have changed since it was loaded", where=str(self.folder))

    def _found(self) -> dict[str, str]:
        files = (path for path in sorted(self.folder.rglob("*")) if path.is_file())
        return {path.relative_to(self.folder).as_posix(): file_digest(path) for path in files}


class IsolatedModel:
    """A model in a worker process; see ``models.runtime.Loaded``. Calls are made one after the other.

    Args:
        recipe: How its worker is made.
        limits: What it may cost.

    Raises:
        HeadraceError: Its first worker could not load it.
    """

    def __init__(self, recipe: Recipe, limits: Limits) -> None:
        self._recipe, self._limits = recipe, limits
        self._turn = threading.Lock()
        self._closed = threading.Event()
        self._open = False
        self._why = ""
        self._worker: WorkerProcess | None = _started(recipe, limits)
        self._keeper = threading.Thread(target=self._keep, args=(self._worker,), name="model worker", daemon=True)
        self._keeper.start()

    @property
    def state(self) -> str:
        """``running``, ``starting``, ``breaker open`` or ``closed``."""
        if self._closed.is_set():
            return "closed"
        if self._worker is not None:
            return "running"
        return "breaker open" if self._open else "starting"

    @property
    def trouble(self) -> str:
        """Why it cannot score now; empty while its worker runs."""
        state, why = self.state, self._why
        return "" if state == "running" else f"{AWAY}: {state}{why and f' - {why}'}"

    @property
    def pid(self) -> int | None:
        """Process id of the worker; None while there is none."""
        worker = self._worker
        return None if worker is None else worker.process.pid

    def signed(self, name: str) -> "IsolatedVariant":
        """The same model by another of its signatures; see ``models.runtime.Several``."""
        return IsolatedVariant(self, {"name": name})

    def tuned(self, params: Params) -> "IsolatedVariant":
        """The same model, told parameters; see ``models.runtime.Tunable``."""
        return IsolatedVariant(self, {"params": params})

    def score(self, batch: Batch, how: Mapping[str, Any] = _AS_IT_COMES) -> Mapping[str, NDArray[Any]]:
        """Outputs by name.

        Args:
            batch: What to score.
            how: What its worker is told besides: ``name`` of one of its other signatures, or ``params``.

        Raises:
            RunFailed: The model raised, died, took too long, is starting again, or is closed.
        """
        if not self._turn.acquire(timeout=self._limits.call_s):
            raise RunFailed(BUSY, why=f"no turn within {self._limits.call_s:g} s")
        try:
            worker = self._worker
            if worker is None or self._closed.is_set():
                raise RunFailed(f"{AWAY}: {self.state}", why=self._why)
            return self._scored(worker, batch, how)
        finally:
            self._turn.release()

    def close(self) -> None:
        """End the worker, in the middle of a call too."""
        self._closed.set()
        worker = self._worker
        if worker is not None:
            worker.process.kill()
        self._keeper.join()

    def _scored(self, worker: "WorkerProcess", batch: Batch, how: Mapping[str, Any]) -> Mapping[str, NDArray[Any]]:
        try:
            return worker.score(batch, how, self._limits.call_s)
        except RunFailed:
            if not worker.alive:
                self._why, self._worker = worker.why, None
            raise

    def _keep(self, worker: "WorkerProcess | None") -> None:
        """Start a new worker whenever one dies, until closed."""
        deaths = 0
        while not self._closed.is_set():
            if worker is not None:
                worker.process.wait()
                deaths = 1 if time.monotonic() - worker.born > self._limits.steady_s else deaths + 1
                self._worker, self._why = None, worker.ended(EOFError())
                with self._turn:  # a call may still read from it
                    worker.channel.close()
            else:
                deaths += 1
            self._open = deaths >= self._limits.deaths
            backoff = self._limits.backoff_s
            if self._closed.wait(self._limits.open_s if self._open else backoff[min(deaths, len(backoff)) - 1]):
                return
            worker = self._again()

    def _again(self) -> "WorkerProcess | None":
        try:
            self._recipe.check()
            worker = _started(self._recipe, self._limits)
        except (HeadraceError, OSError) as error:
            self._why = str(error)
            return None
        self._worker = worker
        if self._closed.is_set():  # closed while it started: nobody else knows of it
            worker.process.kill()
        return worker


@dataclass(frozen=True)
class IsolatedVariant:
    """A model in a worker process by another of its signatures, or told parameters.

    Attributes:
        model: It.
        how: As ``IsolatedModel.score`` takes it.
    """

    model: IsolatedModel
    how: Mapping[str, Any]

    def score(self, batch: Batch) -> Mapping[str, NDArray[Any]]:
        """As ``IsolatedModel.score``."""
        return self.model.score(batch, self.how)

    def close(self) -> None:
        """Nothing: it ends with the model."""


def _started(recipe: Recipe, limits: Limits) -> WorkerProcess:
    """A worker that has loaded the model.

    Raises:
        HeadraceError: What the loader raised, or how the worker died.
    """
    worker = born(limits)
    try:
        worker.ask(About(recipe.loader, recipe.folder), loading(recipe.signature), limits.load_s)
    except HeadraceError:
        worker.dismiss()
        raise
    return worker
