"""Alerts of gateways that are gone: another gateway says that they are over."""

import time
from collections.abc import Callable
from contextlib import suppress

from headrace.errors import HeadraceError
from headrace.monitoring.alerts import KIND, OVER, STILL, called, raise_once
from headrace.placement.processes import ended
from headrace.storage.ledger import Fact, Ledger

_SAID = {
    "log": "requests were answered without being logged until the gateway {}; nobody knows how many",
    "exchange": "workers were not asked until the gateway {}",
    "workers": "workers did not keep up until the gateway {}",
    "features": "requests were answered by the default until the gateway {}; nobody knows how many",
    "ledger": "deployments were not followed until the gateway {}",
}
_SILENT_S = 600.0
"""Who says nothing for so long of what goes on is gone: a gateway says it every two minutes."""
_GAP_S = 60.0
"""Who could not look for longer than that has not heard what others said, nor could they say it."""


class LeftOpen:
    """Looks for alerts that nobody is there to end; what it has read it does not read again.

    A process of this machine is looked at. One of another machine is gone when it is silent, by the monotonic clock
    here: what its own clock says does not count.

    Args:
        ledger: Where alerts are.
        clock: Monotonic seconds.
    """

    def __init__(self, ledger: Ledger, clock: Callable[[], float] = time.monotonic) -> None:
        self._ledger, self._clock, self._after, self._after_still = ledger, clock, 0, 0
        self._looked_at = clock()
        self._open: dict[str, Fact] = {}
        self._heard: dict[str, float] = {}

    def look(self) -> None:
        """End those of processes that are gone."""
        with suppress(HeadraceError):  # a full disk is the ledger's too: the next look finds the same
            self._read()
            self._end()

    def _read(self) -> None:
        alerts = self._ledger.query(KIND, after=self._after)
        said = self._ledger.query(STILL, after=self._after_still)
        now = self._clock()
        for fact in alerts:
            self._after = fact.seq
            mark = fact.unique or ""
            if fact.body.get("over"):
                self._open.pop(mark.removesuffix(OVER), None)
            elif "by" in fact.body:
                self._open[mark], self._heard[mark] = fact, now
        for fact in said:
            self._after_still = fact.seq
            self._heard[fact.body["mark"]] = now
        heard = self._heard if now - self._looked_at < _GAP_S else dict.fromkeys(self._open, now)
        self._heard = {mark: at for mark, at in heard.items() if mark in self._open}
        self._looked_at = now

    def _end(self) -> None:
        over = []
        for mark, fact in self._open.items():
            if ended(fact.body["by"]):
                over.append(_over(mark, fact, "was killed"))
            elif self._looked_at - self._heard[mark] > _SILENT_S:
                over.append(_over(mark, fact, "was not heard of any more"))
        if over:
            raise_once(self._ledger, over)


def _over(mark: str, fact: Fact, how: str) -> Fact:
    said = _SAID[fact.body["about"]].format(how) + called(fact.body["by"]["name"])
    return Fact(KIND, fact.subject, {**fact.body, "over": True, "message": said}, unique=mark + OVER)
