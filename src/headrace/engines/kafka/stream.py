"""Streams in Kafka: one partition a topic, one message a batch, found by key through an index on this machine."""

import time
from collections.abc import Sequence
from pathlib import Path

from headrace.engines.kafka import batches
from headrace.engines.kafka.address import Address
from headrace.engines.kafka.cursors import Cursors
from headrace.engines.kafka.forgetting import Forgetter
from headrace.engines.kafka.lookup import Lookup
from headrace.engines.kafka.paging import Pages
from headrace.engines.kafka.reading import Reader
from headrace.engines.kafka.topics import Topics
from headrace.engines.kafka.writing import Writer
from headrace.settings import Settings
from headrace.storage.stream import Bounds, Record


def open_stream(settings: Settings, uri: str) -> "KafkaStream":
    """The streams of the project on the cluster that ``uri`` names; connects when first used."""
    return KafkaStream(Address.parse(uri), settings.home_path / "stream" / "kafka")


class KafkaStream:
    """Stream port on Kafka; safe to share between threads, and between processes on any number of hosts.

    Args:
        address: The cluster.
        folder: Where this machine keeps its indexes.
    """

    def __init__(self, address: Address, folder: Path) -> None:
        self._topics = Topics(address)
        self._writer = Writer(address)
        self._pages = Pages(Reader(address, self._topics))
        self._lookup = Lookup(Reader(address, self._topics), folder / address.brokers.replace(":", "_"))
        self._forgetter = Forgetter(Reader(address, self._topics), self._topics)
        self._cursors = Cursors(Reader(address, self._topics), self._topics.cursors)

    def append(
        self,
        topic: str,
        records: Sequence[Record],
        *,
        power_safe: bool = False,  # noqa: ARG002 - every batch waits for all replicas in sync: none is safer
        keep: Bounds | None = None,
    ) -> int:
        """Write a batch in one commit; see the port.

        Whole batches are forgotten: before an empty one is answered, and beside any other.
        """
        name = self._topics.named(topic)
        with self._writer.reaching(name):
            self._topics.make(name)
        if not records:
            self._writer.start(name)
            if keep is not None:
                self._forgetter.forget(name, keep)
            return -1
        messages, at_ms = batches.encode(records, topic), _moment(records)
        if len(messages) > 1:
            messages = [batches.joined(self._writer.send(name, messages, at_ms=at_ms))]
        (message,) = self._writer.send(name, messages, at_ms=at_ms)
        self._lookup.keep_up(name)
        if keep is not None:
            self._forgetter.forget_beside(name, keep)
        return batches.offset_of(message)

    def read(self, topic: str, *, after: int = -1, limit: int = 1000) -> list[Record]:
        """At most ``limit`` records after an offset; none when the topic does not exist yet."""
        return self._pages.read(self._topics.named(topic), after, limit)

    def find(self, topic: str, key: str) -> list[Record]:
        """All records with this key, in order; what the index lacks of the topic is read first."""
        return self._lookup.find(self._topics.named(topic), key)

    def commit(self, topic: str, cursor: str, offset: int | None = None) -> int:
        """Remember or tell how far a reader is; see the port."""
        name = self._topics.named(topic)
        if offset is None:
            return self._cursors.tell(name, cursor)
        with self._writer.reaching(name):
            self._topics.make(self._topics.cursors, compact=True)
        key, value = self._cursors.said(name, cursor, offset)
        self._writer.send(self._topics.cursors, [value], key=key)
        return offset

    def close(self) -> None:
        """End every client; what was appended is already safe."""
        for part in (self._writer, self._pages, self._lookup, self._forgetter, self._cursors, self._topics):
            part.close()


def _moment(records: Sequence[Record]) -> int:
    """When a batch was written, as brokers are told: by its newest record; not in the future, which they refuse."""
    return max(min(max(record.at_ms for record in records), int(time.time() * 1000)), 1)
