"""Records in order, page by page; going on where the last page ended fetches nothing twice."""

import threading

from headrace.engines.kafka.batches import message_of, records_of
from headrace.engines.kafka.reading import Reader
from headrace.storage.stream import Record


class Pages:
    """Reads topics in order; safe to share between threads.

    Args:
        reader: For this alone.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader, self._lock = reader, threading.Lock()
        self._ended: tuple[str, int] | None = None
        self._left: list[Record] = []
        self._position = 0

    def read(self, name: str, after: int, limit: int) -> list[Record]:
        """At most ``limit`` records with a greater offset than ``after``."""
        with self._lock:
            if self._ended == (name, after):
                found, position = self._left, self._position
            else:
                found, position = [], max(message_of(after), 0)
            low, high = self._reader.span(name)
            position = max(position, low)
            while len(found) < limit and (got := self._reader.next(name, position, high)):
                position = got[0] + 1
                batch = self._reader.batch(name, got[1])
                if batch is not None:
                    found += [record for record in records_of(batch, got[0]) if record.offset > after]
            page, self._left, self._position = found[:limit], found[limit:], position
            self._ended = (name, page[-1].offset if page else after)
            return page

    def close(self) -> None:
        """End the reader."""
        with self._lock:
            self._reader.close()
