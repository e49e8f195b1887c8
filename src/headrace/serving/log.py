"""The request log: every request with its answer and every score, also the late ones, on a durable stream.

One record a request, written when its answer is chosen, and one more for each score that came after. Records are
MessagePack arrays that carry their column names, so that a log can be read without the models that wrote it.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from headrace.errors import IntegrityError
from headrace.models.params import NO_PARAMS, Params
from headrace.models.tensors import to_cells
from headrace.refs import id_time_ms
from headrace.serving.arrival import Raw
from headrace.serving.records import Prediction, Score
from headrace.serving.request import Joined
from headrace.storage.stream import FAR, Record, Stream, newest

_PAGE = 1000
_ARRAY = 1  # MessagePack's extension that an array is
# How far a clock may have been stepped back for what came after it to be found in a span of time.
_STEP_MS = 2 * 3600 * 1000
# How much later than another gateway one may come to write what it answered: their records' times then fall.
_TURN_MS = 15_000


class Scored(msgspec.Struct, array_like=True, gc=False):
    """What a scorer had made of a request by the time of its answer; no ``outputs`` are those of the answer.

    ``hops`` and ``worker`` are as ``records.Score`` has them.
    """

    model: str
    outputs: Mapping[str, Any] | None
    elapsed_s: float
    error: str
    hops: tuple[float, ...] = ()
    worker: str = ""


class Answered(msgspec.Struct, array_like=True, tag="a", gc=False):
    """A request and its answer, as logged.

    Cells lie by row for a table, and by name for tensors. ``waiting`` names scorers whose scores were still to come.
    ``drawn`` is the version that a split preferred for it. ``raw`` is the request as it came (``arrival.Raw``), unless
    columns are ``masked``. ``received`` is when it came, in seconds of the server's monotonic clock.
    ``signature`` is the name of the one that it was asked by, empty for a model's default. ``params`` are those that
    its caller said. ``joined`` says where features came from (``request.Joined``).
    """

    names: tuple[str, ...]
    cells: Sequence[Sequence[Any]] | Mapping[str, Any]
    event_time: bool
    outputs: Mapping[str, Any]
    winner: str
    reason: str
    elapsed_s: float
    scores: Sequence[Scored]
    waiting: Sequence[str]
    deployment: int
    drawn: str = ""
    key: str = ""
    raw: tuple[str, str, bytes] | None = None
    masked: Sequence[str] = ()
    received: float = 0.0
    signature: str = ""
    params: Params = NO_PARAMS
    joined: Sequence[tuple[str, str, tuple[str, ...]]] = ()


class Late(msgspec.Struct, array_like=True, tag="l", gc=False):
    """A score that came after the answer, as logged."""

    model: str
    outputs: Mapping[str, Any]
    elapsed_s: float
    error: str
    hops: tuple[float, ...] = ()
    worker: str = ""


def _packed(value: Any) -> Any:
    """Numbers of an array as their bytes, which takes half the room and a fraction of the time; text as lists."""
    if not isinstance(value, np.ndarray):
        raise NotImplementedError(type(value))
    if value.dtype.kind == "O":
        return to_cells(value)
    about = value.dtype.str, value.shape, np.ascontiguousarray(value).data.cast("B") if value.size else b""
    return msgspec.msgpack.Ext(_ARRAY, _pack(about))


def _unpacked(code: int, data: memoryview) -> Any:
    if code != _ARRAY:
        raise IntegrityError("the request log holds what was not written by this version", why=f"extension {code}")
    dtype, shape, cells = _unpack(data)
    return np.frombuffer(cells, dtype).reshape(shape).tolist()


_pack, _unpack = msgspec.msgpack.encode, msgspec.msgpack.Decoder(tuple[str, tuple[int, ...], bytes]).decode
encode = msgspec.msgpack.Encoder(enc_hook=_packed).encode
"""A record's bytes."""
_decoder = msgspec.msgpack.Decoder(Answered | Late, ext_hook=_unpacked)


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

    def predictions(self, after: int = -1, limit: int = 1000, *, late: bool = True) -> list[tuple[int, Prediction]]:
        """At most ``limit`` logged requests with their offsets, in order of answering; empty at the end of the log.

        Args:
            after: Only those at a greater offset: the last one read, to go on.
            limit: How many at most.
            late: Whether to add the scores that came after the answer; without them reading is faster.
        """
        found: list[tuple[int, Prediction]] = []
        while len(found) < limit and (records := self._stream.read(self._topic, after=after, limit=_PAGE)):
            after = records[-1].offset
            found += self._page(records, late=late)
        return found[:limit]

    def between(self, since_ms: int, until_ms: int | None = None) -> Iterator[list[tuple[int, Prediction]]]:
        """Logged requests of a span of time with their offsets, a page at a time, late scores left out.

        Memory holds one page, however long the span is; its begin is found by bisection, without reading what is
        before. Pages may be empty.

        Args:
            since_ms: Unix milliseconds of the first.
            until_ms: Of the last; None for all that is there.
        """
        after, last_ms = self._before(since_ms - _TURN_MS), math.inf if until_ms is None else until_ms
        while records := self._stream.read(self._topic, after=after, limit=_PAGE):
            after = records[-1].offset
            # Before they are decoded, which takes longest: after the span come hours that are looked through.
            asked = [record for record in records if since_ms <= id_time_ms(record.key) <= last_ms]
            yield list(self._page(asked, late=False))
            if records[-1].at_ms > last_ms + _STEP_MS:
                return

    def last(self) -> int:
        """The offset of its newest record, found by bisection; -1 of an empty log."""
        found = newest(self._stream, self._topic)
        return -1 if found is None else found.offset

    def find(self, identifier: str) -> Prediction | None:
        """The logged request with this id, or None."""
        records = self._stream.find(self._topic, identifier)
        return next((prediction for _, prediction in self._page(records, late=True)), None)

    def _before(self, moment_ms: int) -> int:
        """The offset before the first record of ``moment_ms`` or later; a gateway's times never fall."""

        def later(offset: int) -> bool:
            found = self._stream.read(self._topic, after=offset, limit=1)
            return not found or found[0].at_ms >= moment_ms

        low, high = -1, FAR
        while not later(high):
            low, high = high, high * FAR
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if later(middle) else (middle, high)
        return -1 if later(-1) else high

    def _page(self, records: Sequence[Record], *, late: bool) -> Iterator[tuple[int, Prediction]]:
        entries = [(record, _decoder.decode(record.value)) for record in records]
        came: dict[str, list[Late]] = {}
        for record, entry in entries:
            if isinstance(entry, Late):
                came.setdefault(record.key, []).append(entry)
        for record, entry in entries:
            if isinstance(entry, Answered):
                later = came.get(record.key, [])
                if late and len(entry.waiting) > len(later):  # the others lie beyond this page, if they came at all
                    later = self._late(record.key)
                yield record.offset, _join(record, self._endpoint, entry, later if late else ())

    def _late(self, key: str) -> list[Late]:
        entries = (_decoder.decode(record.value) for record in self._stream.find(self._topic, key))
        return [entry for entry in entries if isinstance(entry, Late)]


def _join(record: Record, endpoint: str, entry: Answered, late: Sequence[Late]) -> Prediction:
    columns: dict[str, Sequence[Any]] = (
        dict(entry.cells)
        if isinstance(entry.cells, Mapping)
        else dict(zip(entry.names, zip(*entry.cells, strict=True), strict=True))
    )
    moments = [str(v) for v in columns.pop(entry.names[-1])] if entry.event_time else []
    scores = [
        Score(
            s.model,
            "failed" if s.error else "in_time",
            entry.outputs if s.outputs is None else s.outputs,
            s.elapsed_s,
            s.error,
            s.hops,
            s.worker,
        )
        for s in entry.scores
    ]
    scores += [
        Score(e.model, "failed" if e.error else "late", e.outputs, e.elapsed_s, e.error, e.hops, e.worker) for e in late
    ]
    return Prediction(
        id=record.key,
        endpoint=endpoint,
        at_ms=id_time_ms(record.key),
        columns=columns,
        event_time=moments,
        outputs=entry.outputs,
        winner=entry.winner,
        reason=_reason(entry),
        elapsed_s=entry.elapsed_s,
        scores=tuple(scores),
        deployment=entry.deployment,
        drawn=entry.drawn,
        key=entry.key,
        raw=Raw(*entry.raw) if entry.raw else None,
        masked=tuple(entry.masked),
        received=entry.received,
        signature=entry.signature,
        params=entry.params,
        joined=tuple(Joined(*one) for one in entry.joined),
    )


def _reason(entry: Answered) -> str:
    said = entry.reason or f"{entry.winner} is preferred, and was there after {entry.elapsed_s * 1000:.1f} ms"
    if not entry.drawn:
        return said
    return f"{entry.drawn} was drawn{f' for key {entry.key}' if entry.key else ''}; {said}"
