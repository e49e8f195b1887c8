"""Alerts of gateways that were killed: another gateway says that they are over."""

from contextlib import suppress

from headrace.errors import HeadraceError
from headrace.monitoring.alerts import KIND, OVER, called, raise_once
from headrace.placement.processes import ended
from headrace.storage.ledger import Fact, Ledger

_SAID = {
    "log": "requests were answered without being logged until the gateway was killed; nobody knows how many",
    "exchange": "workers were not asked until the gateway was killed",
    "workers": "workers did not keep up until the gateway was killed",
}


class LeftOpen:
    """Looks for alerts that nobody is there to end; what it has read it does not read again.

    Args:
        ledger: Where alerts are.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger, self._after = ledger, 0
        self._open: dict[str, Fact] = {}

    def look(self) -> None:
        """End those of processes that are gone. The process of another machine is left to gateways there."""
        with suppress(HeadraceError):  # a full disk is the ledger's too: the next look finds the same
            self._end()

    def _end(self) -> None:
        for fact in self._ledger.query(KIND, after=self._after):
            self._after = fact.seq
            mark = fact.unique or ""
            if fact.body.get("over"):
                self._open.pop(mark.removesuffix(OVER), None)
            elif "by" in fact.body:
                self._open[mark] = fact
        left = {mark: fact for mark, fact in self._open.items() if ended(fact.body["by"])}
        raise_once(self._ledger, [_over(mark, fact) for mark, fact in left.items()])


def _over(mark: str, fact: Fact) -> Fact:
    body = {**fact.body, "over": True, "message": _SAID[fact.body["about"]] + called(fact.body["by"]["name"])}
    return Fact(KIND, fact.subject, body, unique=mark + OVER)
