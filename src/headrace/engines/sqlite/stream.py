"""Streams in SQLite: one WAL database a topic, one commit a batch, found again by offset and by key.

Reader cursors live in a database of their own, so that committing one never waits for the log's writer.
"""

import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from headrace.errors import Unavailable
from headrace.refs import checked_name
from headrace.settings import Settings
from headrace.storage.durable import make_folders
from headrace.storage.stream import Bounds, Record

_BUSY_S = 10.0
_CLOSE_S = 0.5
_AGAIN_S = 0.005
_CHUNK = 64
_FORGOTTEN = 5000
_LOG = """
CREATE TABLE IF NOT EXISTS records (
    offset INTEGER PRIMARY KEY, key TEXT NOT NULL, at_ms INTEGER NOT NULL, value BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS records_by_key ON records (key);
"""
_FIRST = "INSERT INTO records VALUES ((SELECT coalesce(max(offset), -1) + 1 FROM records),?,?,?)"
_CURSORS = """
CREATE TABLE IF NOT EXISTS cursors (
    topic TEXT, name TEXT, offset INTEGER NOT NULL, PRIMARY KEY (topic, name)
) WITHOUT ROWID;
"""


def open_stream(settings: Settings, uri: str) -> "SqliteStream":  # noqa: ARG001 - every factory takes its URI
    """The project's streams, below ``.headrace/stream``."""
    return SqliteStream(settings.home_path / "stream")


class SqliteStream:
    """Stream port on SQLite; safe to share between threads, and between processes on one machine.

    Args:
        folder: Where the databases lie; made by the first append.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._open: dict[tuple[str, str], _Connection] = {}

    def append(
        self, topic: str, records: Sequence[Record], *, power_safe: bool = False, keep: Bounds | None = None
    ) -> int:
        """Write a batch in one commit; see the port. The pages of what is forgotten are used again."""
        connection = self._connection(topic, "writer")
        if keep is not None:
            # What cannot be forgotten must not keep what comes from being written.
            with connection.use() as db, suppress(sqlite3.OperationalError):
                _forget(db, keep)
        if not records:
            return -1
        with connection.use() as db:
            connection.synchronise(power_safe=power_safe)
            if len(records) <= _CHUNK:
                return _insert(db, records)  # one statement is a commit by itself
            db.execute("BEGIN IMMEDIATE")
            try:
                starts = [_insert(db, records[at : at + _CHUNK]) for at in range(0, len(records), _CHUNK)]
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise
        return starts[0]

    def read(self, topic: str, *, after: int = -1, limit: int = 1000) -> list[Record]:
        """At most ``limit`` records after an offset; none when the topic does not exist yet."""
        return self._select(topic, "WHERE offset > ? ORDER BY offset LIMIT ?", (after, limit))

    def find(self, topic: str, key: str) -> list[Record]:
        """All records with this key, in order."""
        return self._select(topic, "WHERE key = ? ORDER BY offset", (key,))

    def commit(self, topic: str, cursor: str, offset: int | None = None) -> int:
        """Remember or tell how far a reader is; see the port."""
        with self._connection("cursors", "cursor").use() as db:
            if offset is not None:
                db.execute("INSERT OR REPLACE INTO cursors VALUES (?, ?, ?)", (topic, cursor, offset))
                return offset
            row = db.execute("SELECT offset FROM cursors WHERE topic = ? AND name = ?", (topic, cursor)).fetchone()
            return int(row[0]) if row else -1

    def close(self) -> None:
        """Close every database; what was appended is already durable."""
        with self._lock:
            for connection in self._open.values():
                connection.close()
            self._open.clear()

    def _select(self, topic: str, clause: str, values: tuple[object, ...]) -> list[Record]:
        if not self._path(topic, "reader").exists():
            return []
        with self._connection(topic, "reader").use() as db:
            rows = db.execute(f"SELECT key, value, at_ms, offset FROM records {clause}", values)  # noqa: S608 - ours
            return [Record(*row) for row in rows]

    def _path(self, topic: str, role: str) -> Path:
        checked_name(topic, of="topic")
        return self._folder / ("cursors.sqlite" if role == "cursor" else f"{topic}.db")

    def _connection(self, topic: str, role: str) -> "_Connection":
        key = (topic, role)
        found = self._open.get(key)
        if found is None:
            with self._lock:
                found = self._open.get(key)
                if found is None:
                    schema = _CURSORS if role == "cursor" else _LOG
                    found = self._open[key] = _Connection(self._path(topic, role), schema)
        return found


class _Connection:
    """One SQLite connection, used by one thread at a time; its errors in our words."""

    def __init__(self, path: Path, schema: str) -> None:
        self._path, self._lock = path, threading.Lock()
        self._power_safe: bool | None = None  # what SQLite does unasked depends on how it was built
        with self._translated():
            make_folders(path.parent)
            self._db = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
            _use_wal(self._db)
            self._db.executescript(schema)

    @contextmanager
    def use(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._translated():
            yield self._db

    def synchronise(self, *, power_safe: bool) -> None:
        """NORMAL leaves a commit to the operating system, which outlives us; FULL also waits for the disk."""
        if power_safe != self._power_safe:
            self._db.execute(f"PRAGMA synchronous={'FULL' if power_safe else 'NORMAL'}")
            self._power_safe = power_safe

    def close(self) -> None:
        if self._lock.acquire(timeout=_CLOSE_S):  # else a commit hangs; it ends with the process
            self._db.close()
            self._lock.release()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise Unavailable(
                "the log cannot be read or written", where=str(self._path), why=str(error), fix="headrace doctor"
            ) from error


def _use_wal(db: sqlite3.Connection) -> None:
    """SQLite waits for other writers, but not for one that makes the same database at the same time."""
    until = time.monotonic() + _BUSY_S
    while True:
        try:
            db.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > until:
                raise
            time.sleep(_AGAIN_S)
        else:
            return


def _forget(db: sqlite3.Connection, keep: Bounds) -> None:
    """Some thousands of the oldest records that lie beyond, but never the newest, or offsets would begin anew."""
    # Two queries: SQLite reads the whole table for both in one.
    first, last = (db.execute(f"SELECT {end}(offset) FROM records").fetchone()[0] for end in ("min", "max"))  # noqa: S608 - ours
    if first is None:
        return
    until = first
    if keep.before_ms:
        # No further than is forgotten at once: to look through all that is too old would hold up the writer.
        end = min(last, first + _FORGOTTEN)
        kept = "SELECT offset FROM records WHERE offset < ? AND at_ms >= ? ORDER BY offset LIMIT 1"
        until = (db.execute(kept, (end, keep.before_ms)).fetchone() or (end,))[0]
    if keep.most_bytes:
        until = max(until, first + _beyond(db, last - first + 1, keep.most_bytes))
    db.execute("DELETE FROM records WHERE offset < ?", (min(until, last, first + _FORGOTTEN),))


def _beyond(db: sqlite3.Connection, count: int, most_bytes: int) -> int:
    """How many of ``count`` records, of average size, are more than may be kept."""
    names = ("page_count", "freelist_count", "page_size")
    pages, free, size = (db.execute(f"PRAGMA {name}").fetchone()[0] for name in names)
    used = (pages - free) * size
    return int(count * (1 - most_bytes / used)) if used > most_bytes else 0


def _insert(db: sqlite3.Connection, records: Sequence[Record]) -> int:
    """Insert in one statement and return the first offset.

    Each statement gives up the interpreter lock, which a busy server is slow to return.
    """
    values: list[object] = []
    for key, value, at_ms, _ in records:
        values += (key, at_ms, value)
    more = ",(NULL,?,?,?)" * (len(records) - 1)  # each comes one after the last
    last = db.execute(f"{_FIRST}{more}", values).lastrowid
    assert last is not None
    return last - len(records) + 1
