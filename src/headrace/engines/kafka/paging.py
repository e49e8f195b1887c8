"""Records in order, page by page; a page may end inside a batch, and the next begins there without a fetch."""

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
        self._last: tuple[str, int, list[Record]] = ("", -1, [])

    def read(self, name: str, after: int, limit: int) -> list[Record]:
        """At most ``limit`` records with a greater offset than ``after``."""
        with self._lock:
            low, high = self._reader.span(name)
            position, found = max(message_of(after), low), list[Record]()
            if self._last[:2] == (name, position) and position < high:
                found, position = [r for r in self._last[2] if r.offset > after], position + 1
            while len(found) < limit and (got := self._reader.next(name, position, high)):
                position = got[0] + 1
                batch = self._reader.batch(name, *got)
                if batch is not None:
                    self._last = name, got[0], records_of(batch, got[0])
                    found += [record for record in self._last[2] if record.offset > after]
            return found[:limit]

    def close(self) -> None:
        """End the reader."""
        with self._lock:
            self._reader.close()
