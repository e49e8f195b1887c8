"""Alerts about what an endpoint's requests go through: a log that cannot be written, an exchange that takes nothing.

Requests are answered meanwhile: from the models, and not logged; from the model at the front door, and not by workers.
One alert says when that begins and one when it is over. A disk that is all but full takes some records and refuses
others: that is one interruption, over once nothing was refused for a while. The ledger may lie on the same disk: an
alert that cannot be kept now is kept when it can. A gateway that ends says so of what it leaves; of one that was killed
another says it (``monitoring.left_open``), by the process that the alert names, or by its silence where that is on
another host. Who was silent because it was cut off from the ledger, and finds that, says anew what still goes on.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

from headrace.errors import HeadraceError
from headrace.monitoring.alerts import KIND, OVER, STILL, called, raise_once
from headrace.placement.processes import own_life
from headrace.refs import new_id
from headrace.serving.counters import EndpointCounters
from headrace.serving.log_writer import LogWriter
from headrace.storage.ledger import Fact, Ledger

_AGAIN_S = 1.0
_STILL_S = 120.0
_NOBODY: Mapping[str, str] = {}
_UNCOUNTED: Mapping[str, EndpointCounters] = {}
_SAID = {
    "exchange": ("workers are not asked, the gateway scores itself", "workers are asked again"),
    "workers": ("workers do not keep up", "workers keep up again"),
    "ledger": ("deployments are not followed", "deployments are followed again"),
}
"""What an alert says when that begins, and when it is over."""
_COUNTED = {
    "log": ("requests are answered without being logged", "requests are logged again", "were answered and not logged"),
    "features": (
        "requests are answered by the default",
        "features are joined again",
        "requests were answered by the default",
    ),
}
"""The same of what requests suffer at once, and what befell so many of them."""

Do = Callable[[Callable[[], None]], None]
"""Does something that may take a while, elsewhere than on the event loop."""


@dataclass
class _Interruption:
    """Something takes no requests.

    Attributes:
        since: When it began, in monotonic seconds.
        last: When it was last so.
        before: How many records of a log were lost before it, or requests went without features.
        told: Whether there is an alert of its begin.
        said: What that says.
        mark: Unlike that of any other.
        began: Its begin by the wall clock.
    """

    since: float
    last: float
    before: int = 0
    told: bool = False
    said: str = ""
    mark: str = field(default_factory=new_id)
    began: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))


class Interruptions:
    """Looks after the logs and exchanges of a gateway; all methods run on its event loop.

    Args:
        ledger: Where alerts are kept.
        do: Writes to it elsewhere than on the event loop.
        steady_s: All is well again when it was for so long; and an exchange is away when it was for so long, since one
            that is being opened is no matter.
        clock: Monotonic seconds.
        gateway: What its alerts call the gateway; empty where it is the only one.
    """

    def __init__(
        self,
        ledger: Ledger,
        do: Do,
        *,
        steady_s: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
        gateway: str = "",
    ) -> None:
        self._ledger, self._do, self._steady_s, self._clock = ledger, do, steady_s, clock
        self._by = {**own_life(), "name": gateway}
        self._open: dict[tuple[str, str], _Interruption] = {}
        self._counts: dict[tuple[str, str], tuple[int, int]] = {}
        self._untold: list[Fact] = []
        self._ended: list[str] = []
        self._telling, self._again_at = False, 0.0
        self._still_at = self._clock()

    def look(
        self,
        logs: Mapping[str, LogWriter],
        exchanges: Mapping[str, str],
        behind: Mapping[str, str] = _NOBODY,
        counters: Mapping[str, EndpointCounters] = _UNCOUNTED,
        ledgers: Mapping[str, str] = _NOBODY,
    ) -> None:
        """See how all is, and have alerts kept.

        Args:
            logs: Endpoint to what writes its log.
            exchanges: Endpoint to why its workers cannot be asked; empty text while they can.
            behind: Endpoint to which of its workers do not keep up; empty text while all do.
            counters: Endpoint to how many of its requests went without features, and why.
            ledgers: Endpoint to why its deployments are not followed; empty text while they are.
        """
        now = self._clock()
        for endpoint, log in logs.items():
            self._log(endpoint, log, now)
        for about, troubles in (("exchange", exchanges), ("workers", behind), ("ledger", ledgers)):
            for endpoint, trouble in troubles.items():
                self._steady(about, endpoint, trouble, now)
        for endpoint, counted in counters.items():
            self._features(endpoint, counted, now)
        self._open_again()
        if now - self._still_at > _STILL_S:
            self._still_at = now
            self._go_on()
        if self._untold and not self._telling and now >= self._again_at:
            self._telling = True
            self._do(self._tell)

    def end(self) -> None:
        """Say of what goes on that the gateway ends, and nobody sees any more how it goes on."""
        for (about, endpoint), found in self._open.items():
            if found.told:
                lost = self._counts.get((about, endpoint), (0, 0))[1] - found.before
                counted = f"; {lost} requests were answered and not logged" if about == "log" else ""
                self._alert(about, endpoint, found, f"the gateway ended after {_span(found)} of it{counted}", over=True)
        self._open.clear()
        self._do(self._tell)

    def _go_on(self) -> None:
        """Say of what goes on that it does, and see whether others said meanwhile that it is over."""
        marks = {_mark(*key, found): key[1] for key, found in self._open.items() if found.told}
        facts = [Fact(STILL, endpoint, {"mark": mark}) for mark, endpoint in marks.items()]

        def say() -> None:
            with suppress(HeadraceError):  # a full disk is the ledger's too: the next time says the same
                self._ledger.append(facts)
                said = {fact.unique for fact in self._ledger.query(KIND)}
                self._ended = [mark for mark in marks if mark + OVER in said]

        if facts:
            self._do(say)

    def _open_again(self) -> None:
        """Say anew what goes on although others ended its alert: they had not heard of this gateway for too long."""
        ended, self._ended = self._ended, []
        for (about, endpoint), found in self._open.items():
            if _mark(about, endpoint, found) in ended:
                found.mark = new_id()
                self._alert(about, endpoint, found, f"{found.said} (still, since {found.began})")

    def _log(self, endpoint: str, log: LogWriter, now: float) -> None:
        grew = self._grew("log", endpoint, log.failed)
        self._counted("log", endpoint, log.reason if log.trouble or grew else "", now)

    def _features(self, endpoint: str, counted: EndpointCounters, now: float) -> None:
        grew = self._grew("features", endpoint, counted.unjoined)
        self._counted("features", endpoint, counted.unjoined_why if grew else "", now)

    def _grew(self, about: str, endpoint: str, count: int) -> bool:
        """Whether more requests suffered than at the last look."""
        before = self._counts.get((about, endpoint), (0, 0))[1]
        self._counts[about, endpoint] = before, count
        return count > before

    def _counted(self, about: str, endpoint: str, why: str, now: float) -> None:
        """What is told at once, and when it is over with how many requests suffered."""
        found = self._seen(about, endpoint, why, now)
        if found is None:
            return
        begun, over, suffered = _COUNTED[about]
        before, count = self._counts[about, endpoint]
        if why and not found.told:
            found.before, found.told = before, True
            found.said = f"{begun}: {why}"
            self._alert(about, endpoint, found, found.said)
        elif not why:
            said = f"{over} after {_span(found)}; {count - found.before} {suffered}"
            self._alert(about, endpoint, found, said, over=True)

    def _steady(self, about: str, endpoint: str, trouble: str, now: float) -> None:
        """What is no matter unless it lasts for a while."""
        found = self._seen(about, endpoint, trouble, now)
        if found is None:
            return
        begun, over = _SAID[about]
        if trouble and not found.told and now - found.since >= self._steady_s:
            found.told, found.said = True, f"{begun}: {trouble}"
            self._alert(about, endpoint, found, found.said)
        elif not trouble and found.told:
            self._alert(about, endpoint, found, f"{over} after {_span(found)}", over=True)

    def _seen(self, about: str, endpoint: str, why: str, now: float) -> _Interruption | None:
        """The interruption that goes on, or that is over by this look; None when there is none, or nothing to say."""
        found = self._open.get((about, endpoint))
        if why:
            if found is None:
                found = self._open[about, endpoint] = _Interruption(now, now)
            found.last = now
            return found
        if found is None or now - found.last < self._steady_s:
            return None
        return self._open.pop((about, endpoint))

    def _alert(self, about: str, endpoint: str, found: _Interruption, message: str, *, over: bool = False) -> None:
        body = {
            "about": about,
            "window": found.began,
            "over": over,
            "message": message + called(self._by["name"]),
            "by": self._by,
        }
        mark = _mark(about, endpoint, found)
        self._untold.append(Fact(KIND, endpoint, body, unique=f"{mark}{OVER * over}"))

    def _tell(self) -> None:
        """On another thread, which alone takes away what is told."""
        found, self._again_at = tuple(self._untold), self._clock() + _AGAIN_S
        try:
            with suppress(HeadraceError):  # a full disk is the ledger's too
                raise_once(self._ledger, found)
                del self._untold[: len(found)]
                self._again_at = 0.0
        finally:
            self._telling = False


def _mark(about: str, endpoint: str, found: _Interruption) -> str:
    return f"{about} {endpoint} {found.mark}"


def _span(found: _Interruption) -> str:
    return f"{found.last - found.since:.0f} s"
