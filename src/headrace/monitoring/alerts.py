"""Alerts: facts that say something needs a look. Each thing is told once."""

from collections.abc import Sequence

from headrace.errors import Conflict
from headrace.storage.ledger import Fact, Ledger

KIND = "alert"

OVER = " over"
"""What the mark of an alert ends with that says of another that it is over; before it comes the mark of that."""

STILL = "alert.still"
"""The fact that what an alert says goes on: its gateway says so now and then, for others on other hosts to hear."""

_TRIES = 20


def alerts(ledger: Ledger, subject: str | None = None) -> list[Fact]:
    """Alerts about one endpoint or dataset (about all when None), oldest first."""
    return ledger.query(KIND, subject)


def called(gateway: str) -> str:
    """How an alert names a gateway; not at all where it is the only one."""
    return f" (gateway {gateway})" if gateway else ""


def raise_once(ledger: Ledger, found: Sequence[Fact]) -> list[Fact]:
    """Append the alerts whose ``unique`` mark nobody has used yet; return those."""
    for _ in range(_TRIES):
        told = {fact.unique for fact in ledger.query(KIND)}
        fresh = [fact for fact in found if fact.unique not in told]
        try:
            return ledger.append(fresh) if fresh else []
        except Conflict:
            continue  # another observer told one of them meanwhile
    raise Conflict("others keep raising the same alerts", fix="try again")
