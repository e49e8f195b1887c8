"""Streams: ordered, durable logs of records (requests, scores, labels)."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class Record(NamedTuple):
    """One record of a topic.

    Attributes:
        key: What it is found by (a prediction id); may repeat.
        value: The bytes.
        at_ms: Unix milliseconds, as the writer says.
        offset: Position in the topic, from 0, filled in by ``append``: greater than that of every record before it,
            not always by one.
    """

    key: str
    value: bytes
    at_ms: int
    offset: int = -1


class Bounds(NamedTuple):
    """What of a topic is kept.

    Attributes:
        before_ms: Records from before this Unix millisecond are forgotten; 0 keeps them whatever their age.
        most_bytes: About so much of the newest is kept, keys included; 0 sets no bound.
    """

    before_ms: int = 0
    most_bytes: int = 0


class Stream(Protocol):
    """Port: topics of records; what ``append`` returned from survives the death of every process."""

    def append(
        self, topic: str, records: Sequence[Record], *, power_safe: bool = False, keep: Bounds | None = None
    ) -> int:
        """Write a batch in one commit; return the offset of its first record.

        An empty batch makes the topic ready to write and returns -1.

        Args:
            topic: A name as ``refs`` allows; made by its first append.
            records: All of them are written, or none.
            power_safe: Also wait until the batch survives a power cut (an fsync, some milliseconds). An engine on other
                machines does what they can promise, and says what that is.
            keep: Forget what lies beyond, a bounded part with each call so that no writer waits for long; an empty
                batch is answered when that is done. The newest record is always kept, and offsets go on. An engine
                may forget whole batches only, or whole files of them, once all of their records lie beyond.

        Raises:
            Unavailable: It is not known to be kept; trying again may keep it twice.
        """

    def read(self, topic: str, *, after: int = -1, limit: int = 1000) -> list[Record]:
        """At most ``limit`` records whose offset is greater than ``after``, in order."""

    def find(self, topic: str, key: str) -> list[Record]:
        """All records with this key, in order."""

    def commit(self, topic: str, cursor: str, offset: int | None = None) -> int:
        """Remember how far ``cursor`` has read (``offset`` given), or tell (``None``); -1 when it never read."""


FAR = 1024
"""Offsets are looked for in strides that grow by this much: an engine's may have gaps of millions between them."""


def newest(stream: Stream, topic: str) -> Record | None:
    """The last record of a topic, found by bisection; None when it has none."""
    low, high = -1, FAR
    while stream.read(topic, after=high, limit=1):
        low, high = high, high * FAR
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if stream.read(topic, after=middle, limit=1) else (low, middle)
    found = stream.read(topic, after=low, limit=1)
    return found[0] if found else None


def sample(stream: Stream, topic: str, *, places: int = 10, limit: int = 1000) -> int:
    """Read a topic at its begin and at other places as far apart; return how many records were read.

    Raises:
        Unavailable: One of them cannot be read.
    """
    last = newest(stream, topic)
    if last is None:
        return 0
    read, after = 0, -1
    for place in range(places):
        found = stream.read(topic, after=max(after, last.offset * place // places - 1), limit=limit)
        if found:
            read, after = read + len(found), found[-1].offset
    return read
