"""Joining: a request waits for its features for a part of its deadline, then meets its scorers with whole rows.

Without features no model can score it. Where they are late or cannot be read the default answers, as when no model can:
a null that nobody meant would be scored as if it were data.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from headrace.errors import HeadraceError, SignatureError, Unavailable
from headrace.features.online import Key
from headrace.refs import new_id
from headrace.serving.arrival import Arrival
from headrace.serving.join_decoder import AskedInput, JoinDecoder
from headrace.serving.lookups import Lookups, Read
from headrace.serving.outcome import CANCELLED, UNJOINED
from headrace.serving.rendezvous import Answer, Live, Rendezvous, Reply
from headrace.serving.request import Input
from headrace.serving.tuned import TunedInput

WAIT = 0.5
"""Of the deadline: so long features are waited for at most; the rest is the models'."""

Enter = Callable[[Live, str, Input, Reply, Arrival | None, float], Rendezvous]
"""Has a request meet its scorers, given when it arrived."""


class Joining:
    """One request from its arrival until its features are there, or are given up.

    Args:
        live: The deployment that was in force when it arrived; its decoder is a ``JoinDecoder``.
        given: What the caller sent: an ``AskedInput``, or one whose caller said parameters.
        reply: Called exactly once, on the event loop.
        arrival: It, as it came.
        enter: Has it meet its scorers.
    """

    __slots__ = (
        "_arrival",
        "_enter",
        "_given",
        "_live",
        "_reply",
        "_timer",
        "entered",
        "id",
        "keys",
        "over",
        "started",
    )

    def __init__(self, live: Live, given: Input, reply: Reply, arrival: Arrival | None, enter: Enter) -> None:
        self._live, self._given, self._reply, self._arrival, self._enter = live, given, reply, arrival, enter
        self.id, self.started = new_id(), live.clock()
        self.keys: Sequence[Sequence[Key]] = _decoder(live).keys(_asked(given))
        self.entered: Rendezvous | None = None
        self.over = False
        self._timer: asyncio.TimerHandle | None = None

    @property
    def views(self) -> Sequence[str]:
        """What is read."""
        return _decoder(self._live).views

    def start(self, lookups: Lookups) -> None:
        """Ask for features, and wait for a part of the deadline."""
        live = self._live
        live.open += 1
        read = lookups.at_once(self)
        if read is not None:
            self.found(read)
            return
        wait_s = live.deployment.endpoint.deadline_s * WAIT
        if lookups.ask(self, wait_s):
            self._timer = live.loop.call_later(wait_s, self._late)
        else:
            self._give_up("reading features hangs, or too many wait for it")

    def found(self, read: Read) -> None:
        """Join what was read, and go on with it."""
        if self.over:
            return
        if isinstance(read, HeadraceError):
            self._give_up(read)
            return
        try:
            whole: Input = _decoder(self._live).joined(_asked(self._given), read)
        except SignatureError as error:
            self._refuse(error)
        except Unavailable as error:
            self._give_up(error)
        else:
            self._end()
            if isinstance(self._given, TunedInput):
                whole = self._given.over(whole)
            self.entered = self._enter(self._live, self.id, whole, self._reply, self._taken(), self.started)

    def cancel(self) -> None:
        """Call the request off unless it has its answer: nobody is told."""
        if self.entered is not None:
            self.entered.cancel()
        elif not self.over:
            self._end()
            self._forgone("the caller went before its features were there").forgo(CANCELLED, gone=True)

    def _late(self) -> None:
        if not self.over:
            waited_ms = self._live.deployment.endpoint.deadline_s * WAIT * 1000
            self._give_up(f"they were not there after {waited_ms:g} ms")

    def _give_up(self, why: str | HeadraceError) -> None:
        """Say why in the log and to who runs the gateway; callers do not hear where the store is."""
        self._end()
        what = f"features of {', '.join(self.views)} could not be joined"
        told = why if isinstance(why, str) else why.what
        self._live.counters.unjoined_why = f"{what}: {why}"
        self._forgone(f"{what}: {why}", f"{what}: {told}").forgo(UNJOINED)

    def _forgone(self, why: str, told: str = "") -> Rendezvous:
        self.entered = _Forgone(self._live, self.id, self._given, self._reply, self._taken())
        self.entered.started, self.entered.why, self.entered.told = self.started, why, told
        return self.entered

    def _refuse(self, error: SignatureError) -> None:
        self._end()
        self._taken()
        live = self._live
        live.counters.refused += 1
        elapsed_s = live.clock() - self.started
        self._reply(Answer(self.id, {}, "", elapsed_s, logged=True, fault=error))

    def _taken(self) -> Arrival | None:
        """It as it came, handed on: it holds us, and together we would wait for the collector of cycles."""
        arrival, self._arrival = self._arrival, None
        return arrival

    def _end(self) -> None:
        """Wait no more; whoever comes later finds it over."""
        self.over = True
        self._live.open -= 1
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _Forgone(Rendezvous):
    """A request that no model scores."""

    __slots__ = ("told", "why")

    def __init__(self, *request: Any) -> None:
        super().__init__(*request)
        self.why = self.told = ""

    def _reason(self) -> str:
        return self.why

    def _told(self) -> str:
        return self.told

    def _finish(self, elapsed: float, *, logged: bool) -> None:
        self._live.counters.unjoined += 1  # with the answer, as those who watch rates take one from the other
        super()._finish(elapsed, logged=logged)


def _asked(given: Input) -> AskedInput:
    rows = given.rows if isinstance(given, TunedInput) else given
    assert isinstance(rows, AskedInput)
    return rows


def _decoder(live: Live) -> JoinDecoder:
    decoder = live.decoder
    assert isinstance(decoder, JoinDecoder)
    return decoder
