"""Records by key: an index on this machine follows the topic, and what it points to is fetched and compared."""

import contextlib
import threading
from collections import OrderedDict
from pathlib import Path

from headrace.engines.kafka.batches import Joined, Whole, keys_of, message_of, offset_of, place_of
from headrace.engines.kafka.index import KeyIndex
from headrace.engines.kafka.reading import Reader
from headrace.errors import HeadraceError
from headrace.storage.stream import Record

_FETCHED = 16
_EVERY_S = 5.0


class Lookup:
    """Finds records by key; safe to share between threads.

    Args:
        reader: For this alone.
        folder: Where the indexes of the cluster's topics lie.
    """

    def __init__(self, reader: Reader, folder: Path) -> None:
        self._reader, self._folder, self._lock = reader, folder, threading.Lock()
        self._begin = threading.Lock()
        self._kept: list[str] = []
        self._ended = threading.Event()
        self._indexes: dict[str, KeyIndex] = {}
        self._fetched: OrderedDict[tuple[str, int], Whole] = OrderedDict()

    def find(self, name: str, key: str) -> list[Record]:
        """All records of a topic with this key, in order."""
        with self._lock:
            low, high = self._reader.span(name)
            if low == high:
                return []
            index = self._followed(name, low, high)
            found = [self._record(name, offset) for offset in index.find(key) if message_of(offset) >= low]
            return [record for record in found if record is not None and record.key == key]

    def keep_up(self, name: str) -> None:
        """Follow a topic in the background from now on, so that whoever looks something up here has little to read."""
        if name in self._kept:
            return
        with self._begin:
            if name not in self._kept:
                self._kept.append(name)
            if len(self._kept) == 1:
                threading.Thread(target=self._run, name="kafka index", daemon=True).start()

    def close(self) -> None:
        """End the reader."""
        self._ended.set()
        with self._lock:
            self._reader.close()

    def _run(self) -> None:
        while not self._ended.wait(_EVERY_S):
            for name in self._kept:
                with contextlib.suppress(HeadraceError, OSError), self._lock:  # whoever looks something up is told
                    self._followed(name, *self._reader.span(name))

    def _followed(self, name: str, low: int, high: int) -> KeyIndex:
        """The index, with all that came since it was last asked."""
        index = self._indexes.get(name)
        if index is None:
            index = self._indexes[name] = KeyIndex(self._folder / f"{name}-{self._reader.identity(name)}")
        if index.covered > high and not self._reader.holds(name, index.covered - 1):  # made anew, or lost its end
            index.restart(low)
            self._fetched.clear()
        self._read_on(index, name, low, high)
        # Some brokers say, after a restart, that a topic ends before it does; what they send says better.
        self._read_on(index, name, low, self._reader.seen(name))
        return index

    def _read_on(self, index: KeyIndex, name: str, low: int, high: int) -> None:
        """Take up what the topic holds before ``high`` and the index has not."""
        position = max(index.covered, low)
        while not self._ended.is_set() and (got := self._reader.next(name, position, high)):
            message, body = got
            keys = keys_of(body)
            if isinstance(keys, Joined):
                batch = self._reader.batch(name, message, body)
                keys = [] if batch is None else batch.keys
            index.add(message, keys, offset_of(message))
            position = message + 1
        index.reach(position, low)

    def _record(self, name: str, offset: int) -> Record | None:
        message, place = message_of(offset), place_of(offset)
        batch = self._batch(name, message)
        if batch is None or place >= len(batch.keys):
            return None
        return Record(batch.keys[place], batch.values[place], batch.at_ms[place], offset)

    def _batch(self, name: str, message: int) -> Whole | None:
        """A batch, fetched unless it was one of the last."""
        found = self._fetched.get((name, message))
        if found is None:
            got = self._reader.next(name, message, message + 1)
            self._reader.release()
            found = None if got is None else self._reader.batch(name, *got)
            if found is not None:
                self._fetched[name, message] = found
                if len(self._fetched) > _FETCHED:
                    self._fetched.popitem(last=False)
        return found
