"""Labels that come after the prediction: what really happened, and since when that is known."""

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import msgspec

from headrace.errors import NotFound, UsageError
from headrace.serving.moments import instant
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


def read_file(path: Path) -> Iterator[Label]:
    """Labels of a CSV file with a header, or of JSON lines: ``id``, ``label``, and if wanted ``known_at`` and ``row``.

    A label without ``known_at`` is known now. Truth values count as 0 and 1.

    Raises:
        NotFound: There is no such file.
        UsageError: A line is no label; nothing after it is read.
    """
    if not path.is_file():
        raise NotFound("no such file", where=str(path), fix="name a CSV or JSON lines file")
    now = datetime.now(UTC).isoformat()
    with path.open(encoding="utf-8-sig", newline="") as lines:
        first = lines.read(1)
        lines.seek(0)
        rows = map(msgspec.json.decode, lines) if first == "{" else csv.DictReader(lines)
        try:
            for row in rows:
                known_at = str(row.get("known_at") or now)
                instant(known_at)
                yield Label(str(row["id"]), _number(row["label"]), known_at, int(row.get("row") or 0))
        except KeyError as error:
            raise UsageError(
                f"no column {error} in the labels",
                where=path.name,
                fix="the columns are id and label, and if wanted known_at and row",
            ) from error
        except (ValueError, TypeError, AttributeError, msgspec.DecodeError) as error:
            raise UsageError("a line is no label", where=path.name, why=str(error)) from error


def _number(value: object) -> float:
    truth = {"true": 1.0, "false": 0.0}
    text = str(value).strip()
    return truth[text.lower()] if text.lower() in truth else float(text)


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
