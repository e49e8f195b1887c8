"""Streams in files: a folder a topic, in it segments that are written at their end and deleted as a whole."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from headrace.engines.local.appending import Roll, TopicWriter
from headrace.engines.local.cursors import remember, remembered
from headrace.engines.local.reading import TopicReader
from headrace.errors import Unavailable
from headrace.refs import checked_name
from headrace.settings import Settings
from headrace.storage.stream import Bounds, Record

_USUAL = Roll()
_End = TypeVar("_End", TopicWriter, TopicReader)


def open_stream(settings: Settings, uri: str) -> "LocalStream":  # noqa: ARG001 - every factory takes its URI
    """The project's streams, below ``.headrace/stream``."""
    return LocalStream(settings.home_path / "stream")


class LocalStream:
    """Stream port on files; safe to share between threads, and between processes on one machine.

    Args:
        folder: Where the topics' folders lie; made by the first append.
        roll: When a topic goes on to a new segment.
    """

    def __init__(self, folder: Path, roll: Roll = _USUAL) -> None:
        self._folder, self._roll = folder, roll
        self._lock = threading.Lock()
        self._writers: dict[str, TopicWriter] = {}
        self._readers: dict[str, TopicReader] = {}

    def append(
        self, topic: str, records: Sequence[Record], *, power_safe: bool = False, keep: Bounds | None = None
    ) -> int:
        """Write a batch as one frame; see the port. A segment is forgotten once all of it lies beyond."""
        writer = self._end(self._writers, topic, lambda folder: TopicWriter(folder, self._roll))
        with self._translated(topic):
            return writer.append(records, power_safe=power_safe, keep=keep)

    def read(self, topic: str, *, after: int = -1, limit: int = 1000) -> list[Record]:
        """At most ``limit`` records after an offset; none when the topic does not exist yet."""
        with self._translated(topic):
            return self._end(self._readers, topic, TopicReader).read(after, limit)

    def find(self, topic: str, key: str) -> list[Record]:
        """All records with this key, in order."""
        with self._translated(topic):
            return self._end(self._readers, topic, TopicReader).find(key)

    def commit(self, topic: str, cursor: str, offset: int | None = None) -> int:
        """Remember or tell how far a reader is; see the port."""
        folder = self._folder / checked_name(topic, of="topic")
        with self._translated(topic):
            if offset is None:
                return remembered(folder, cursor)
            remember(folder, cursor, offset)
            return offset

    def close(self) -> None:
        """Close every file; what was appended is already durable."""
        with self._lock:
            for writer in self._writers.values():
                writer.close()
            for reader in self._readers.values():
                reader.close()
            self._writers.clear()
            self._readers.clear()

    def _end(self, ends: dict[str, _End], topic: str, opened: Callable[[Path], _End]) -> _End:
        found = ends.get(topic)
        if found is None:
            folder = self._folder / checked_name(topic, of="topic")
            with self._lock:
                found = ends.setdefault(topic, opened(folder))
        return found

    @contextmanager
    def _translated(self, topic: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise Unavailable(
                "the log cannot be read or written", where=str(self._folder / topic), why=str(error),
                fix="see that its disk has room, and that it may be written",
            ) from error  # fmt: skip
