"""What a scorer makes of a request: outputs, or why there are none."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

QUEUE_FULL = "dropped: the queue is full"
EXPIRED = "dropped: the deadline passed while it waited"
CANCELLED = "cancelled: the caller had gone"
BREAKER_OPEN = "breaker open: the model hangs"
NO_WORKER = "no worker has the model"
UNANSWERED = "no worker answered"
UNJOINED = "not asked: its features could not be joined"
SHED = "dropped: so much is asked that only who may answer scores"

DROPPED: Mapping[str, str] = {
    QUEUE_FULL: "queue_full",
    EXPIRED: "expired",
    CANCELLED: "cancelled",
    BREAKER_OPEN: "breaker_open",
    NO_WORKER: "no_worker",
    UNANSWERED: "unanswered",
    SHED: "shed",
    UNJOINED: "unjoined",
}
"""Errors of requests that no model has seen, each with its short name in the metrics."""

DIED = "the model's worker died"
AWAY = "the model's worker is not running"
BUSY = "the model's worker is busy"


def passes(error: str) -> bool:
    """Whether an error is of the moment: the model was not asked, or its process is to blame, and not its answer."""
    return error in DROPPED or any(why in error for why in (DIED, AWAY, BUSY))


_UNTOLD = "its text may quote what is masked"


def untold(error: str) -> str:
    """An error without what a model said, which may be a cell that the log is to hold hashed only."""
    if not error or error in DROPPED:
        return error
    kind = error.partition(":")[0]
    return f"{kind} ({_UNTOLD})" if kind.isidentifier() else f"failed ({_UNTOLD})"


class Answers(dict[str, Any]):
    """Outputs by name, of a model in another process.

    Attributes:
        within: When it began there and when it had them, in monotonic seconds; None where that is not known.
    """

    within: tuple[float, float] | None = None


class Outcome(NamedTuple):
    """What a scorer made of one request.

    Attributes:
        outputs: By name; empty where there are none.
        at: When it was known, in monotonic seconds.
        error: Why there are no outputs; empty for a score.
        begun: When the scorer took the request up; 0 when it never did.
        within: When the model's own process began and ended; None without one.
        worker: Which worker made it, where workers score; empty otherwise.
    """

    outputs: Mapping[str, Sequence[Any]]
    at: float
    error: str
    begun: float = 0.0
    within: tuple[float, float] | None = None
    worker: str = ""
