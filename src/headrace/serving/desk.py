"""A front door's desk at the exchange: sends each request once, and hands the scores that come to who waits."""

import asyncio
import contextlib
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from headrace.errors import HeadraceError, NameRefused, Unavailable
from headrace.refs import id_time_ms
from headrace.serving.exchange import Asked, Exchange, Present, Scored, answers, pack
from headrace.serving.frames import packed
from headrace.serving.lane import Ticket
from headrace.serving.outcome import UNANSWERED
from headrace.serving.report import in_words, report

_ABSENT_S = 3.5
_KEEP_S = 10.0
_SWEEP_S = 0.25
_AGAIN_S = 1.0
_MEET_S = 3.0
_LOOK_S = 0.02
_STANDS_S = 1.0

Took = Callable[[Ticket, int, Scored], None]
"""Takes the score of a version, on the event loop: the ticket, its slot, what came."""


class Errand(NamedTuple):
    """What requests of a deployment are sent for.

    Attributes:
        wanted: Every model version that is to score them.
        contract: The one whose inputs they hold.
        deadline_s: When their answer is due, counted from arrival.
        signature: By which of the models' signatures; empty for the one they serve unasked.
    """

    wanted: tuple[str, ...]
    contract: str
    deadline_s: float
    signature: str = ""


@dataclass(slots=True)
class _Open:
    """A request that was sent.

    Attributes:
        ticket: Who waits.
        until: When it is given up.
        due: Model version to where its score belongs.
    """

    ticket: Ticket
    until: float
    due: dict[str, tuple[int, Took]] = field(default_factory=dict)


class Desk:
    """Requests of one endpoint that are scored elsewhere; all methods run on the event loop.

    Args:
        endpoint: Its name.
        exchange: Carries them.
        loop: The event loop.

    Attributes:
        loop: The same.
        repeated: Scores that came once more, or too late to be of any use.
    """

    def __init__(self, endpoint: str, exchange: Exchange, loop: asyncio.AbstractEventLoop) -> None:
        self._endpoint, self._exchange, self.loop = endpoint, exchange, loop
        self._address: int | None = None
        self._open: dict[str, _Open] = {}
        self._rows: dict[str, int] = {}
        self._workers: dict[str, tuple[float, Mapping[str, str]]] = {}
        self._waits: dict[str, tuple[float, float]] = {}
        self._deadline_s = math.inf
        self._swept = time.monotonic()
        self._trouble = ""
        self._closed = False
        self.repeated = 0
        threading.Thread(target=self._listen, name=f"exchange {endpoint}", daemon=True).start()

    @property
    def trouble(self) -> str:
        """Why nothing can be sent now; empty when it can."""
        if self._address is None:
            return self._trouble or "the exchange is being opened"
        return self._exchange.trouble

    def workers(self, version: str) -> list[str]:
        """Who scores a model version now."""
        return [worker for worker, (_, versions) in list(self._workers.items()) if versions.get(version) == ""]

    def why_not(self, version: str) -> str:
        """Why nobody does, as far as workers say."""
        said = (f"{worker}: {v[version]}" for worker, (_, v) in list(self._workers.items()) if v.get(version))
        return "; ".join(said) or "no worker has it"

    def behind_s(self, version: str) -> float:
        """How long what workers of a version scored lately had waited for them, in seconds; 0 of nothing.

        At the brokers, at the worker and on the way, by the front door's own clock: the id of a request was made by it.
        """
        at, waited_s = self._waits.get(version, (-math.inf, 0.0))
        return waited_s if time.monotonic() - at < _ABSENT_S else 0.0

    @property
    def behind(self) -> str:
        """Which versions' workers do not keep up: when a model begins, nobody waits for its score any more."""
        waits = {version: self.behind_s(version) for version in list(self._waits)}
        late = {version: waited_s for version, waited_s in waits.items() if waited_s > self._deadline_s}
        return ", ".join(f"requests for {name} wait {waited_s:.1f} s for workers" for name, waited_s in late.items())

    def rows(self, version: str) -> int:
        """How many rows a version was sent that it has not answered."""
        return self._rows.get(version, 0)

    def ask(self, ticket: Ticket, errand: Errand) -> None:
        """Send a request, once however many versions are to score it.

        Raises:
            Unavailable: It cannot be sent.
        """
        if ticket.id in self._open:
            return
        if self._address is None:
            raise Unavailable("the exchange is not open")
        given, now = ticket.input, time.monotonic()
        left_ms = max(errand.deadline_s - (now - ticket.started), 0.0) * 1000
        about = (ticket.id, self._address, errand.wanted, errand.contract, time.time() * 1000, left_ms)
        rows = given.count, packed(given.batch), given.params, errand.signature
        self._exchange.ask(self._endpoint, pack(Asked(*about, *rows)))
        self._open[ticket.id] = _Open(ticket, now + errand.deadline_s + _KEEP_S)
        self._deadline_s = errand.deadline_s

    def await_score(self, ticket: Ticket, version: str, slot: int, took: Took) -> None:
        """Have ``took`` called once, with the score of a version for a request that was sent."""
        self._open[ticket.id].due[version] = (slot, took)
        self._rows[version] = self._rows.get(version, 0) + ticket.input.count

    def give_up(self, ticket: Ticket, version: str) -> bool:
        """Wait for the score of a version no more; False when it came."""
        opened = self._open.get(ticket.id)
        return opened is not None and self._due(ticket.id, opened, version) is not None

    def check(self, now: float) -> None:
        """Forget workers that are silent, and requests that nobody answers."""
        if now - self._swept < _SWEEP_S:
            return
        self._swept = now
        for worker in [worker for worker, (at, _) in self._workers.items() if now - at > _ABSENT_S]:
            report(f"{self._endpoint}: worker {worker} is silent")
            del self._workers[worker]
        for identifier, opened in [each for each in self._open.items() if each[1].until < now]:
            for version in list(opened.due):
                self._settle(identifier, opened, Scored(identifier, version, "", [], UNANSWERED, 0.0, 0.0, 0.0))

    def close(self) -> None:
        """Try no more to open the exchange."""
        self._closed = True

    def _listen(self) -> None:
        while not self._closed:
            try:
                address = self._exchange.listen(self._endpoint, self._came)
            except HeadraceError as error:
                if in_words(error) != self._trouble:
                    self._trouble = in_words(error)
                    report(f"{self._endpoint}: {self._trouble}")
                time.sleep(_AGAIN_S)
            else:
                self._tell(self._opened, address)
                return

    def _opened(self, address: int) -> None:
        self._address = address

    def _came(self, messages: Sequence[bytes]) -> None:
        found: list[Scored | Present] = []
        for message in messages:
            try:
                found.append(answers.decode(message))
            except msgspec.DecodeError as error:  # of another release, or not ours: it must not stop the others
                report(f"{self._endpoint}: an answer cannot be read: {error}")
        if found:
            self._tell(self._take, found)

    def _tell(self, call: Callable[..., None], *arguments: Any) -> None:
        try:
            self.loop.call_soon_threadsafe(call, *arguments)
        except RuntimeError:  # the event loop has ended
            self._closed = True

    def _take(self, messages: Sequence[Scored | Present]) -> None:
        self._see_how_late({message.model: message for message in messages if isinstance(message, Scored)})
        for message in messages:
            if isinstance(message, Present):
                self._meet(message)
            elif (opened := self._open.get(message.id)) is None or message.model not in opened.due:
                self.repeated += 1
            else:
                self._settle(message.id, opened, message)

    def _see_how_late(self, scores: Mapping[str, Scored]) -> None:
        """One score a version says it, whether anybody still waits for it or not; the worst stands for a second."""
        now, wall_ms = time.monotonic(), time.time() * 1000
        for version, scored in scores.items():
            with contextlib.suppress(NameRefused):  # no id of ours
                waited_s = (wall_ms - id_time_ms(scored.id)) / 1000 - scored.took_s
                at, before_s = self._waits.get(version, (-math.inf, 0.0))
                if waited_s >= before_s or now - at > _STANDS_S:
                    self._waits[version] = now, max(waited_s, 0.0)

    def _meet(self, present: Present) -> None:
        if present.leaving:
            self._workers.pop(present.worker, None)
        else:
            self._workers[present.worker] = (time.monotonic(), present.versions)

    def _settle(self, identifier: str, opened: _Open, scored: Scored) -> None:
        found = self._due(identifier, opened, scored.model)
        if found is not None:
            slot, took = found
            took(opened.ticket, slot, scored)

    def _due(self, identifier: str, opened: _Open, version: str) -> tuple[int, Took] | None:
        found = opened.due.pop(version, None)
        if found is not None:
            self._rows[version] -= opened.ticket.input.count
            if not opened.due:
                del self._open[identifier]
        return found


class Desks:
    """The desks of a front door, one an endpoint; may be shared between threads.

    Args:
        exchange: Carries requests.
        loop: The event loop that serves.
    """

    def __init__(self, exchange: Exchange, loop: asyncio.AbstractEventLoop) -> None:
        self._exchange, self._loop = exchange, loop
        self._lock = threading.Lock()
        self._desks: dict[str, Desk] = {}

    def of(self, endpoint: str) -> Desk:
        """The desk of an endpoint, opened now unless it is."""
        with self._lock:
            if endpoint not in self._desks:
                self._desks[endpoint] = Desk(endpoint, self._exchange, self._loop)
            return self._desks[endpoint]

    @property
    def troubles(self) -> Mapping[str, str]:
        """Endpoint to why its workers cannot be asked; empty text while they can."""
        with self._lock:
            return {name: desk.trouble for name, desk in self._desks.items()}

    @property
    def behind(self) -> Mapping[str, str]:
        """Endpoint to which of its workers do not keep up; empty text while all do."""
        with self._lock:
            return {name: desk.behind for name, desk in self._desks.items()}

    def require(self, endpoint: str, version: str) -> None:
        """Wait a moment for a worker that scores a model version.

        Raises:
            Unavailable: There is none.
        """
        desk, until = self.of(endpoint), time.monotonic() + _MEET_S
        while not desk.workers(version):
            if time.monotonic() > until:
                fix = f"headrace serving worker {endpoint} --model {version}"
                raise Unavailable(f"no worker scores {version}", why=desk.trouble or desk.why_not(version), fix=fix)
            time.sleep(_LOOK_S)

    def close(self) -> None:
        """Try no more to open any."""
        for desk in self._desks.values():
            desk.close()
