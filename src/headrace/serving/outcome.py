"""What a scorer makes of a request: outputs, or why there are none."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

QUEUE_FULL = "dropped: the queue is full"
EXPIRED = "dropped: the deadline passed while it waited"
CANCELLED = "cancelled: the caller had gone"
BREAKER_OPEN = "breaker open: the model hangs"

DROPPED: Mapping[str, str] = {
    QUEUE_FULL: "queue_full",
    EXPIRED: "expired",
    CANCELLED: "cancelled",
    BREAKER_OPEN: "breaker_open",
}
"""Errors of requests that no model has seen, each with its short name in the metrics."""


class Outcome(NamedTuple):
    """What a scorer made of one request; ``error`` is empty for a score."""

    outputs: Mapping[str, Sequence[Any]]
    at: float
    error: str
