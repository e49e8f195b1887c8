"""What the calls of one model cost: by batch size as the model saw them, and as its requests did."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

SIZES_LIMIT = 1024
"""Batch sizes that are told apart; what comes in further sizes is counted all the same."""


class Call(NamedTuple):
    """One call that gave a score.

    Attributes:
        rows: In its batch.
        requests: Whose rows these are.
        queued_s: How long those waited, together.
        input_s: What it took to make one batch of them, with the columns that the model takes.
        model_s: What the model took.
        output_s: What it took to check its outputs.
    """

    rows: int
    requests: int
    queued_s: float
    input_s: float
    model_s: float
    output_s: float


@dataclass(slots=True)
class Spent:
    """What calls took together, in seconds.

    Attributes:
        calls: How many.
        input_s: As ``Call`` says.
        model_s: Likewise.
        output_s: Likewise.
    """

    calls: int = 0
    input_s: float = 0.0
    model_s: float = 0.0
    output_s: float = 0.0

    def add(self, other: "Spent | Call", times: int = 1, calls: int = 1) -> None:
        """Add what a call, or several, took; ``times`` as long and as ``calls`` of them."""
        self.calls += calls
        self.input_s += times * other.input_s
        self.model_s += times * other.model_s
        self.output_s += times * other.output_s


class Calls:
    """Sums over the calls of one model; all methods run on the event loop.

    Attributes:
        by_rows: Rows of a batch to its calls; of the first ``SIZES_LIMIT`` sizes that came.
        queued_s: How long requests waited for a call, together. A model on the event loop is called at once.
    """

    __slots__ = ("_more", "_more_rows", "_shared", "by_rows", "queued_s")

    def __init__(self) -> None:
        self.by_rows: dict[int, Spent] = {}
        self._more, self._more_rows = Spent(), 0
        self._shared = Spent()
        self.queued_s = 0.0

    def of(self, rows: int) -> Spent:
        """Where one call with so many rows is to be added; ask anew for each."""
        return self.by_rows.get(rows) or self._first(rows)

    def add(self, call: Call) -> None:
        """Count a call that served several requests, or one that waited."""
        self.of(call.rows).add(call)
        self.queued_s += call.queued_s
        self._shared.add(call, call.requests - 1, call.requests - 1)

    @property
    def rows(self) -> int:
        """Rows in all calls."""
        return self._more_rows + sum(rows * spent.calls for rows, spent in self.by_rows.items())

    @property
    def whole(self) -> Spent:
        """All calls, each once."""
        return _sum(self._all())

    @property
    def by_requests(self) -> Spent:
        """All calls, each once for every request that it served: what those spent in calls."""
        return _sum((*self._all(), self._shared))

    def _all(self) -> Iterator[Spent]:
        yield from self.by_rows.values()
        yield self._more

    def _first(self, rows: int) -> Spent:
        if len(self.by_rows) < SIZES_LIMIT:
            return self.by_rows.setdefault(rows, Spent())
        self._more_rows += rows
        return self._more


def _sum(parts: Iterable[Spent]) -> Spent:
    total = Spent()
    for part in parts:
        total.add(part, calls=part.calls)
    return total
