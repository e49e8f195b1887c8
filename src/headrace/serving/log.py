"""The request log: every request with its answer and every score, also the late ones, on a durable stream.

One record a request, written when its answer is chosen, and one more for each score that came after. Records are
MessagePack arrays that carry their column names, so that a log can be read without the models that wrote it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from headrace.refs import id_time_ms
from headrace.serving.records import Prediction, Score
from headrace.storage.stream import Record, Stream

_PAGE = 1000


class Answered(msgspec.Struct, array_like=True, tag="a", gc=False):
    """A request and its answer, as logged; ``waiting`` names scorers whose scores were still to come."""

    names: tuple[str, ...]
    rows: Sequence[Sequence[Any]]
    event_time: bool
    outputs: Mapping[str, Sequence[Any]]
    winner: str
    reason: str
    elapsed_s: float
    scores: Sequence[tuple[str, Mapping[str, Sequence[Any]], float, str]]
    waiting: Sequence[str]
    deployment: int


class Late(msgspec.Struct, array_like=True, tag="l", gc=False):
    """A score that came after the answer, as logged."""

    model: str
    outputs: Mapping[str, Sequence[Any]]
    elapsed_s: float
    error: str


_decoder = msgspec.msgpack.Decoder(Answered | Late)


def topic(endpoint: str) -> str:
    """The stream topic of an endpoint's log."""
    return f"requests.{endpoint}"


class RequestLog:
    """Reads the log of one endpoint.

    Args:
        stream: Where it is kept.
        endpoint: Its name.
    """

    def __init__(self, stream: Stream, endpoint: str) -> None:
        self._stream, self._endpoint = stream, endpoint
        self._topic = topic(endpoint)

    def predictions(self, after: int = -1, limit: int = 1000) -> list[tuple[int, Prediction]]:
        """At most ``limit`` logged requests with their offsets, in order of answering; empty at the end of the log.

        Args:
            after: Only those at a greater offset: the last one read, to go on.
            limit: How many at most.
        """
        found: list[tuple[int, Prediction]] = []
        while len(found) < limit and (records := self._stream.read(self._topic, after=after, limit=_PAGE)):
            after = records[-1].offset
            found += [(r.offset, p) for r in records if (p := self._prediction(r, records)) is not None]
        return found[:limit]

    def find(self, identifier: str) -> Prediction | None:
        """The logged request with this id, or None."""
        records = self._stream.find(self._topic, identifier)
        found = (self._prediction(r, records, complete=True) for r in records)
        return next((p for p in found if p is not None), None)

    def _prediction(self, record: Record, near: Sequence[Record], *, complete: bool = False) -> Prediction | None:
        entry = _decoder.decode(record.value)
        if isinstance(entry, Late):
            return None
        late: list[Late] = []
        if entry.waiting:  # late scores lie further on; they are looked up by id
            later = near if complete else self._stream.find(self._topic, record.key)
            late = [e for r in later if r.key == record.key and isinstance(e := _decoder.decode(r.value), Late)]
        return _join(record, self._endpoint, entry, late)


def _join(record: Record, endpoint: str, entry: Answered, late: Sequence[Late]) -> Prediction:
    columns: dict[str, Sequence[Any]] = dict(zip(entry.names, zip(*entry.rows, strict=True), strict=True))
    moments = [str(v) for v in columns.pop(entry.names[-1])] if entry.event_time else []
    scores = [Score(m, "failed" if error else "in_time", o, s, error) for m, o, s, error in entry.scores]
    scores += [Score(e.model, "failed" if e.error else "late", e.outputs, e.elapsed_s, e.error) for e in late]
    return Prediction(
        id=record.key,
        endpoint=endpoint,
        at_ms=record.at_ms or id_time_ms(record.key),
        columns=columns,
        event_time=moments,
        outputs=entry.outputs,
        winner=entry.winner,
        reason=entry.reason
        or f"{entry.winner} is the first preference and answered in {entry.elapsed_s * 1000:.1f} ms",
        elapsed_s=entry.elapsed_s,
        scores=tuple(scores),
        deployment=entry.deployment,
    )
