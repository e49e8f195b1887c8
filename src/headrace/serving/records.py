"""What the request and score log says of one request: read by explain, monitoring and replay."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from headrace.models.params import Params
from headrace.serving.arrival import Raw
from headrace.serving.request import Joined

DEFAULT = "default"
"""The winner's name when no model answered in time."""

GONE = "gone"
"""The winner's name when the caller went before there was an answer."""

NO_MODEL = frozenset({DEFAULT, GONE})
"""Winners that are no model version."""


HOPS = ("started", "queued", "returned", "worker_started", "worker_scored")
"""What is known of a score besides when it was there: its scorer took the request up; it was put into the scorer's
queue; the score was back with the request; the process of the model began, and had it."""


@dataclass(frozen=True)
class Score:
    """What one scorer made of one request.

    Attributes:
        model: Model reference with its version (``late@3``).
        state: ``in_time``, ``late`` (after the reply; logged all the same) or ``failed``.
        outputs: Output name to one value per row; empty when failed.
        elapsed_s: From arrival of the request to the score.
        error: Why it failed: raised, NaN, wrong shape, breaker open, dropped.
        hops: Seconds from arrival to each moment of ``HOPS``, in that order, as far as they are known; negative for one
            that never came. A model that is called at once, on the event loop, has the first alone.
        worker: Host and process of the worker that made it; empty where the gateway did.
    """

    model: str
    state: Literal["in_time", "late", "failed"]
    outputs: Mapping[str, Sequence[float]]
    elapsed_s: float
    error: str = ""
    hops: tuple[float, ...] = ()
    worker: str = ""

    @property
    def moments(self) -> Mapping[str, float]:
        """Every known moment by its name, in order of time, in seconds from arrival; ``scored`` is ``elapsed_s``."""
        known = {name: at for name, at in zip(HOPS, self.hops, strict=False) if at >= 0}
        return dict(sorted({**known, "scored": self.elapsed_s}.items(), key=lambda pair: pair[1]))


@dataclass(frozen=True)
class Prediction:
    """One logged request with all that became of it.

    Attributes:
        id: UUIDv7, as returned in the reply's header.
        endpoint: Name of the endpoint.
        at_ms: Unix milliseconds of arrival.
        columns: Input column to one value per row, exactly as the scorers saw them.
        event_time: One value per row of the endpoint's event-time column; empty when it has none.
        outputs: What was answered: output name to one value per row.
        winner: Reference of the model that answered, ``default``, or ``gone``: the caller did not wait for an answer.
        reason: Why it was chosen, for people.
        elapsed_s: From arrival to reply, by the server's monotonic clock.
        scores: Every scorer's score.
        deployment: ``seq`` of the ledger fact ``endpoint.deployed`` that was in force.
        drawn: The model version that a split preferred for it; empty when it was no part of one.
        key: What drew it; empty when it was drawn by itself.
        raw: The request as it came; None where columns are masked.
        masked: Columns whose cells are hashes.
        received: When it arrived, in seconds of the server's monotonic clock; 0 where the log does not say.
        signature: Name of the model's signature that it was asked by; empty for its default without a name.
        params: Those that its caller said; for the others the defaults of each model held.
        joined: Where features among its columns came from.
    """

    id: str
    endpoint: str
    at_ms: int
    columns: Mapping[str, Sequence[Any]]
    event_time: Sequence[str]
    outputs: Mapping[str, Sequence[float]]
    winner: str
    reason: str
    elapsed_s: float
    scores: tuple[Score, ...]
    deployment: int
    drawn: str = ""
    key: str = ""
    raw: Raw | None = None
    masked: tuple[str, ...] = ()
    received: float = 0.0
    signature: str = ""
    params: Params = field(default_factory=dict)
    joined: tuple[Joined, ...] = ()
