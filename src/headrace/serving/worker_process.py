"""A worker as its server sees it: a process that is sent a model to load and batches to score, and may die of them."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headrace.errors import HeadraceError, IntegrityError, MissingExtra, Refused, RunFailed, SignatureError
from headrace.models.runtime import Batch
from headrace.models.signature import Signature
from headrace.serving.frames import Channel, Frame, packed, unpacked
from headrace.serving.lifeline import lifeline
from headrace.serving.outcome import DIED, Answers
from headrace.serving.worker import OUT_OF_MEMORY

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


class _RaisedThere(Exception):
    """The model raised, in its worker; this is what it said."""


@dataclass(eq=False)
class WorkerProcess:
    """One process and the channel to it.

    Attributes:
        process: It.
        channel: To it.
        memory_bytes: What it may take.
        born: When it was started, in monotonic seconds.
        why: What it died of.
        models: How many it was asked about.
        idle_since: When it was last given back.
    """

    process: "subprocess.Popen[bytes]"
    channel: Channel
    memory_bytes: int
    born: float = field(default_factory=time.monotonic)
    why: str = ""
    models: int = 0
    idle_since: float = 0.0

    @property
    def alive(self) -> bool:
        """Whether its process runs."""
        return self.process.poll() is None

    def score(self, batch: Batch, how: Mapping[str, Any], within_s: float) -> Answers:
        """What the model that it holds answers.

        Raises:
            RunFailed: The model raised, or the batch cannot be sent; or the worker died, took too long or sent what is
                no answer, and is not alive any more.
        """
        try:
            return self._scored(batch, how, within_s)
        except _RaisedThere as error:
            raise RunFailed("the model did not score", why=str(error)) from error
        except (OSError, EOFError, ValueError, TypeError) as error:
            # Nothing more of it can be trusted: what it sends next may answer another call.
            raise RunFailed(DIED, why=self.ended(error)) from error

    def _scored(self, batch: Batch, how: Mapping[str, Any], within_s: float) -> Answers:
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

    def ask(self, about: "About", asked: Frame, within_s: float) -> dict[str, Any]:
        """What it says of a model; of ``load``, that it holds it.

        Args:
            about: The model.
            asked: ``load``, ``declare`` or ``show``.
            within_s: It is killed when it takes longer.

        Raises:
            HeadraceError: What the model's code raised there, or how the worker died.
        """
        deadline = time.monotonic() + within_s
        self.models += 1
        asked = Frame(asked.kind, said={**asked.said, "function": about.function, "folder": str(about.folder)})
        try:
            self.channel.send(asked, deadline)
            answer = self.channel.receive(deadline)
        except (OSError, EOFError, ValueError) as error:
            why = self.ended(error)
            raise RunFailed("the model's worker died while loading", where=str(about.folder), why=why) from error
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
        code = self.process.wait()
        self.why = self.why or self._death(code)
        return self.why

    def dismiss(self) -> None:
        """End it, whatever it does."""
        self.process.kill()
        self.process.wait()
        self.channel.close()

    def _death(self, code: int) -> str:
        if code == OUT_OF_MEMORY:
            return f"it took more memory than its {self.memory_bytes >> 20} MiB"
        return f"killed by signal {-code}" if code < 0 else f"exit code {code}"


@dataclass(frozen=True)
class About:
    """What a worker is asked about.

    Attributes:
        function: ``module:function`` that takes the folder (``worker.Score``, ``worker.Declare``, ``worker.Show``).
        folder: The model's files.
    """

    function: str
    folder: Path


def loading(signature: Signature) -> Frame:
    """Asks a worker to load a model that takes this."""
    return Frame("load", said={"signature": signature.to_json()})


def born(limits: Limits) -> WorkerProcess:
    """A worker that waits to be asked."""
    ours, its = socket.socketpair()
    program = (
        f"import sys; sys.path[:] = {sys.path!r}; from headrace.serving.worker import work; "
        f"work(({its.fileno()}, {lifeline()}), {limits.memory_bytes})"
    )
    with its:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and program
            [sys.executable, "-c", program],
            stdin=subprocess.DEVNULL,
            stdout=2,  # a model that prints does not write into what the server prints
            pass_fds=(its.fileno(), lifeline()),
            env=_environment(limits.passed),
        )
    return WorkerProcess(process, Channel(ours), limits.memory_bytes)


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
