"""Cursors: one compacted topic that keeps the newest message of each, so that a reader goes on from any host."""

import json
import threading

from headrace.engines.kafka.reading import Reader


class Cursors:
    """What the topic of cursors says; safe to share between threads.

    Args:
        reader: For this alone.
        name: The topic.
    """

    def __init__(self, reader: Reader, name: str) -> None:
        self._reader, self._name, self._lock = reader, name, threading.Lock()
        self._known: dict[tuple[str, str], int] = {}
        self._position = 0

    def said(self, topic: str, cursor: str, offset: int) -> tuple[bytes, bytes]:
        """Key and value of the message that moves a cursor."""
        return json.dumps([topic, cursor]).encode(), json.dumps([topic, cursor, offset]).encode()

    def tell(self, topic: str, cursor: str) -> int:
        """Where a cursor is; -1 when it never moved."""
        with self._lock:
            low, high = self._reader.span(self._name)
            if high < self._position:
                self._known, self._position = {}, 0
            self._position = max(self._position, low)
            while got := self._reader.next(self._name, self._position, high):
                said = json.loads(got[1])
                self._known[said[0], said[1]] = said[2]
                self._position = got[0] + 1
            return self._known.get((topic, cursor), -1)

    def close(self) -> None:
        """End the reader."""
        with self._lock:
            self._reader.close()
