"""Forgetting: the broker is told from which message on a topic is kept; no writer waits for it."""

import itertools
import threading
import time
from collections.abc import Sequence

from headrace.engines.kafka.batches import Joined, Part, decode
from headrace.engines.kafka.reading import Reader
from headrace.engines.kafka.topics import Topics
from headrace.errors import HeadraceError
from headrace.serving.report import report
from headrace.storage.stream import Bounds

_EVERY_S = 10.0
_AGAIN_S = 600.0
_SAMPLES = 24


class Forgetter:
    """Has a cluster delete the oldest messages of topics; safe to share between threads.

    Args:
        reader: For this alone.
        topics: The cluster's.
    """

    def __init__(self, reader: Reader, topics: Topics) -> None:
        self._reader, self._topics = reader, topics
        self._lock = threading.Lock()
        self._due: dict[str, float] = {}
        self._trouble: dict[str, str] = {}

    def forget(self, name: str, keep: Bounds) -> None:
        """Delete what lies beyond, and wait for it.

        Raises:
            Unavailable: The broker did not answer, or does not know how to delete records.
            Unauthorized: We may not delete records of this topic.
        """
        with self._lock:
            low, high = self._reader.span(name)
            if high - low > 1:
                until = min(max(self._old(name, keep, high), self._beyond(name, keep, low, high)), high)
                until = min(until, self._newest(name, high))
                if until > low:
                    self._topics.delete_before(name, until)

    def forget_beside(self, name: str, keep: Bounds) -> None:
        """Do so in a thread, now and then; what goes wrong is said on standard error, once."""
        now = time.monotonic()
        if now >= self._due.get(name, 0.0):
            self._due[name] = now + _EVERY_S
            threading.Thread(target=self._try, args=(name, keep), name=f"forget {name}", daemon=True).start()

    def close(self) -> None:
        """End the reader, once what is being forgotten is."""
        with self._lock:
            self._reader.close()

    def _try(self, name: str, keep: Bounds) -> None:
        try:
            self.forget(name, keep)
        except HeadraceError as error:
            self._due[name] = time.monotonic() + _AGAIN_S
            if self._trouble.get(name) != error.why:
                report(f"{name} keeps more than it should: {error}")
            self._trouble[name] = error.why
        else:
            self._trouble.pop(name, None)

    def _old(self, name: str, keep: Bounds, high: int) -> int:
        """The first message that is young enough."""
        if not keep.before_ms:
            return 0
        found = self._reader.since(name, keep.before_ms)
        return high if found < 0 else found

    def _beyond(self, name: str, keep: Bounds, low: int, high: int) -> int:
        """The first message of the newest ``most_bytes``, judged by the sizes of some messages."""
        if not keep.most_bytes:
            return 0
        count = min(_SAMPLES, high - low)
        bounds = [low + (high - low) * i // count for i in range(count + 1)]
        sizes = [self._size(name, start, end) for start, end in itertools.pairwise(bounds)]
        return cut(bounds, sizes, keep.most_bytes)

    def _size(self, name: str, start: int, end: int) -> int:
        got = self._reader.next(name, (start + end) // 2, end)
        return 0 if got is None else len(got[1])

    def _newest(self, name: str, high: int) -> int:
        """Where the newest batch begins; 0 when it is only being written."""
        got = self._reader.next(name, high - 1, high)
        self._reader.release()
        found = None if got is None else decode(got[1])
        if isinstance(found, Part):
            return 0
        return min(found.parts, default=high - 1) if isinstance(found, Joined) else high - 1


def cut(bounds: Sequence[int], sizes: Sequence[int], most_bytes: int) -> int:
    """From which message on ``most_bytes`` are left, where each message of a stretch has about its sample's size."""
    left = most_bytes
    for start, end, size in zip(bounds[-2::-1], bounds[:0:-1], sizes[::-1], strict=True):
        if size * (end - start) > left:
            return end - left // size
        left -= size * (end - start)
    return bounds[0]
