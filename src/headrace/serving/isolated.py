"""Models in worker processes of their own: they can hang, crash or fill memory alone.

A worker is a fresh interpreter that holds one model; batches and answers travel as plain arrays (``frames``). One that
dies is started again, later each time; after three deaths in a row the breaker opens for a while, so that a model that
cannot live does not keep a core busy with dying.
"""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from headrace.errors import HeadraceError, IntegrityError, MissingExtra, Refused, RunFailed, SignatureError
from headrace.models.params import Params
from headrace.models.runtime import Batch
from headrace.models.signature import Signature
from headrace.serving.frames import Channel, Frame, packed, unpacked
from headrace.serving.lifeline import lifeline
from headrace.serving.outcome import AWAY, BUSY, DIED, Answers
from headrace.serving.worker import OUT_OF_MEMORY
from headrace.storage.manifest import file_digest

_AS_IT_COMES: Mapping[str, Any] = {}
_PASSED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "SYSTEMROOT")
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_RAISED: Mapping[str, type[HeadraceError]] = {
    kind.code: kind for kind in (IntegrityError, MissingExtra, Refused, RunFailed, SignatureError)
}


@dataclass(frozen=True)
class Limits:
    """What a model in a worker may cost, and what it may see.

    Attributes:
        memory_bytes: Private memory of its process (enforced on Linux).
        call_s: Seconds for one score; a worker that takes longer is killed. Less than the five after which a scorer
            gives up a thread, so that a hanging model costs a process and not a thread of the server.
        load_s: Seconds for loading.
        backoff_s: How long to wait before the first, second, … new life.
        deaths: So many in a row open the breaker.
        open_s: How long the breaker stays open; then one life is tried.
        steady_s: A life so long makes the deaths before it forgotten.
        passed: Environment variables of the server that its process sees besides the harmless ones.
    """

    memory_bytes: int = 2 << 30
    call_s: float = 4.0
    load_s: float = 60.0
    backoff_s: tuple[float, ...] = (0.05, 0.5)
    deaths: int = 3
    open_s: float = 30.0
    steady_s: float = 60.0
    passed: tuple[str, ...] = ()


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
        return self._asked(self._shows, Frame("show", said=signature.to_json()), folder) or None

    def _asked(self, function: str, asked: Frame, folder: Path) -> dict[str, Any]:
        """What a worker says that calls ``function`` and ends; nothing where the format has no such function."""
        if not function:
            return {}
        worker = _born(function, folder, self._limits)
        try:
            return worker.first(asked, self._limits.load_s, folder)
        finally:
            worker.ended(EOFError())
            worker.channel.close()


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
        self._worker: _Worker | None = _started(recipe, limits)
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

    def _scored(self, worker: "_Worker", batch: Batch, how: Mapping[str, Any]) -> Mapping[str, NDArray[Any]]:
        try:
            return worker.score(batch, how, self._limits.call_s)
        except _RaisedThere as error:
            raise RunFailed("the model did not score", why=str(error)) from error
        except (OSError, EOFError, ValueError, TypeError) as error:
            # Nothing more of this worker can be trusted: what it sends next may answer another call.
            self._worker = None
            self._why = worker.ended(error)
            raise RunFailed(DIED, why=self._why) from error

    def _keep(self, worker: "_Worker | None") -> None:
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

    def _again(self) -> "_Worker | None":
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


class _RaisedThere(Exception):
    """The model raised, in its worker; this is what it said."""


@dataclass(eq=False)
class _Worker:
    """One process and the channel to it."""

    process: "subprocess.Popen[bytes]"
    channel: Channel
    memory_bytes: int
    born: float = field(default_factory=time.monotonic)
    why: str = ""

    def score(self, batch: Batch, how: Mapping[str, Any], within_s: float) -> Answers:
        begun = time.monotonic()
        deadline = begun + within_s
        try:
            self.channel.send(Frame("score", packed(batch), dict(how)), deadline)
        except (TypeError, ValueError) as error:  # refused here: not a byte of it was sent
            raise _RaisedThere(str(error)) from error
        answer = self.channel.receive(deadline)
        if answer.kind == "failed":
            raise _RaisedThere(str(answer.said.get("what")) + _because(answer.said))
        answers = Answers(unpacked(answer.arrays))
        if answer.within is not None and begun <= answer.within[0] <= answer.within[1] <= time.monotonic():
            answers.within = answer.within  # what a worker says may be anything
        return answers

    def first(self, asked: Frame, within_s: float, folder: Path) -> dict[str, Any]:
        """What it says to its first message.

        Raises:
            HeadraceError: What the model's code raised there, or how the worker died.
        """
        deadline = time.monotonic() + within_s
        try:
            self.channel.send(asked, deadline)
            answer = self.channel.receive(deadline)
        except (OSError, EOFError, ValueError) as error:
            why = self.ended(error)
            raise RunFailed("the model's worker died while loading", where=str(folder), why=why) from error
        if answer.kind != "ready":
            raise _error_of(answer.said)
        return answer.said

    def ended(self, error: Exception) -> str:
        """Kill it and say what it died of, seen from the error that its server met."""
        if isinstance(error, TimeoutError):
            self.why = self.why or "it did not answer in time"
        elif isinstance(error, (EOFError, ConnectionError)):
            with suppress(subprocess.TimeoutExpired):  # it is dying: how is known in a moment
                self.process.wait(1)
        else:
            self.why = self.why or f"it sent what is no answer: {error}"
        self.process.kill()
        self.why = self.why or self._death(self.process.wait())
        return self.why

    def _death(self, code: int) -> str:
        if code == OUT_OF_MEMORY:
            return f"it took more memory than its {self.memory_bytes >> 20} MiB"
        return f"killed by signal {-code}" if code < 0 else f"exit code {code}"


def _started(recipe: Recipe, limits: Limits) -> _Worker:
    """A worker that has loaded the model.

    Raises:
        HeadraceError: What the loader raised, or how the worker died.
    """
    worker = _born(recipe.loader, recipe.folder, limits)
    try:
        worker.first(Frame("load", said=recipe.signature.to_json()), limits.load_s, recipe.folder)
    except HeadraceError:
        worker.ended(EOFError())
        worker.channel.close()
        raise
    return worker


def _born(function: str, folder: Path, limits: Limits) -> _Worker:
    """A worker that waits for its first message, to call ``function`` upon it."""
    ours, its = socket.socketpair()
    program = (
        f"import sys; sys.path[:] = {sys.path!r}; from headrace.serving.worker import work; "
        f"work(({its.fileno()}, {lifeline()}), {limits.memory_bytes}, {function!r}, {str(folder)!r})"
    )
    with its:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and program
            [sys.executable, "-c", program],
            stdin=subprocess.DEVNULL,
            stdout=2,  # a model that prints does not write into what the server prints
            pass_fds=(its.fileno(), lifeline()),
            env=_environment(limits.passed),
        )
    return _Worker(process, Channel(ours), limits.memory_bytes)


def _environment(passed: tuple[str, ...]) -> dict[str, str]:
    """Little of ours: a model's code has no business with the server's secrets."""
    kept = {name: os.environ[name] for name in (*_PASSED, *passed) if name in os.environ}
    return {**dict.fromkeys(_THREADS, "1"), "PYTHONDONTWRITEBYTECODE": "1", **kept}


def _error_of(said: Mapping[str, Any]) -> HeadraceError:
    """What a loader raised, as the type of ours that it was; another library's as ``IntegrityError``."""
    kind = _RAISED.get(str(said.get("code")))
    if kind is None:
        return IntegrityError("the model cannot be loaded", why=str(said.get("what")))
    parts = {part: str(said.get(part, "")) for part in ("where", "why", "fix")}
    return kind(str(said.get("what")), **parts)


def _because(said: Mapping[str, Any]) -> str:
    return f" - {said['why']}" if said.get("why") else ""
