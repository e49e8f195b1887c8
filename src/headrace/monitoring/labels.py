"""Labels that come after the prediction: what really happened, and since when that is known."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

import msgspec

from headrace.monitoring.windows import instant
from headrace.storage.stream import Record, Stream

IN_MEMORY = 200_000
_BATCH = 1000


@dataclass(frozen=True)
class Label:
    """What really became of one row of one request.

    Attributes:
        id: The request's id, as its reply returned it.
        value: The outcome, as the output it is compared with: 0 or 1 for a probability.
        known_at: Since when it is known, in event time: ISO 8601 or Unix seconds.
        row: Which row of the request, from 0.
    """

    id: str
    value: float
    known_at: str
    row: int = 0


class _Body(msgspec.Struct):
    row: int
    label: float
    known_at: str


_encoder, _decoder = msgspec.json.Encoder(), msgspec.json.Decoder(_Body)


def topic(endpoint: str) -> str:
    """The stream topic of an endpoint's labels."""
    return f"labels.{endpoint}"


def add(stream: Stream, endpoint: str, labels: Iterable[Label]) -> int:
    """Keep labels, durably; a later label of the same row replaces an earlier one. Returns how many were kept."""
    kept, left = 0, iter(labels)
    while batch := [_record(label) for label in islice(left, _BATCH)]:
        stream.append(topic(endpoint), batch)
        kept += len(batch)
    return kept


def known(stream: Stream, endpoint: str, identifier: str, as_of: datetime | None = None) -> Mapping[int, float]:
    """Row to label of one request, as far as known at ``as_of`` (now, when None)."""
    found: dict[int, float] = {}
    for record in stream.find(topic(endpoint), identifier):
        body = _decoder.decode(record.value)
        if as_of is None or instant(body.known_at) <= as_of:
            found[body.row] = body.label
    return found


def reader(stream: Stream, endpoint: str, as_of: datetime | None = None) -> Callable[[str], Mapping[int, float]] | None:
    """A way to look up what ``known`` says of many requests; None when no label was ever kept.

    Up to ``IN_MEMORY`` labels are read at once; of more each is looked up in the stream.
    """
    found: dict[str, dict[int, float]] = {}
    after, count = -1, 0
    while records := stream.read(topic(endpoint), after=after, limit=_BATCH):
        after, count = records[-1].offset, count + len(records)
        if count > IN_MEMORY:
            return lambda identifier: known(stream, endpoint, identifier, as_of)
        for record in records:
            body = _decoder.decode(record.value)
            if as_of is None or instant(body.known_at) <= as_of:
                found.setdefault(record.key, {})[body.row] = body.label
    nothing: Mapping[int, float] = {}
    return (lambda identifier: found.get(identifier, nothing)) if count else None


def _record(label: Label) -> Record:
    at = instant(label.known_at)
    body = _Body(label.row, float(label.value), label.known_at)
    return Record(label.id, _encoder.encode(body), int(at.timestamp() * 1000))
