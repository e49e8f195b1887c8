"""Online features in SQLite: each version of a view is a file that is never changed, put in its place by its name.

A reader keeps the file open that it found, and looks now and then whether the name means another one by now. What is
read often is copied to memory, so that an event loop can read it however the disk is.
"""

import fcntl
import os
import sqlite3
import threading
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import msgspec

from headrace.errors import Conflict, HeadraceError, IntegrityError, NotFound, Unavailable, UsageError
from headrace.features.online import Cells, Found, Key
from headrace.features.view import FeatureView
from headrace.refs import checked_name
from headrace.settings import Settings
from headrace.storage.durable import make_folders, sync

_SCHEMA = """
CREATE TABLE about (view BLOB NOT NULL);
CREATE TABLE features (key BLOB PRIMARY KEY, cells BLOB NOT NULL) WITHOUT ROWID;
"""
# Nothing but the rename makes a file known, and it is synced before that.
_BUILD = "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -65536;"
_AT_ONCE = 500
_HALF = ".half"
_SUM_BYTES = 4
_CLOSE_S = 1.0
_LOOK_S = 0.05
"""To look what a name means costs a system call, as much as a read."""
_OFTEN = 64
"""A version that was read so often is copied to memory."""
_HELD_BYTES = 128 * 1024 * 1024
"""So much of all views together; what is larger is read from its file."""
_PAGES = 256
"""Copied at a time; other threads have their turn in between."""
_HARM = (sqlite3.Error, msgspec.DecodeError, IntegrityError)

_pack = msgspec.msgpack.encode
_unpack = msgspec.msgpack.Decoder().decode


def open_online(settings: Settings, uri: str) -> "SqliteOnline":
    """Factory ``online.sqlite``: the folder ``<home>/online``, or that of ``sqlite:<path>``."""
    _, _, path = uri.partition(":")
    return SqliteOnline(settings.root / path if path else settings.home_path / "online")


class SqliteOnline:
    """Online features on one machine; see ``features.online.OnlineFeatures``.

    Args:
        folder: Where the files lie; made by the first write.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._open: dict[str, _Version] = {}

    def write(self, view: FeatureView, rows: Iterable[tuple[Key, Cells]]) -> None:
        """Write a file beside the one that is read, then give it its name; see the port."""
        path = self._path(view.name)
        with _translated(path), self._alone(path):
            half = path.with_suffix(_HALF)
            half.unlink(missing_ok=True)  # of a process that died
            try:
                _build(half, view, rows)
                sync(half)
                half.replace(path)
            finally:
                half.unlink(missing_ok=True)
            sync(path.parent)
        self._forget(view.name)

    def read(self, name: str, keys: Sequence[Key]) -> Found:
        """Look entities up in the file that the name means, or meant a moment ago; see the port."""
        with self._lock:
            version = self._open.get(name)
            if version is None or time.monotonic() > version.until:
                version = self._version(name, version)
            try:
                found = version.read(keys)
            except _HARM as error:
                del self._open[name]
                version.close()
                raise _told(version.path, error) from error
            if version.reads == _OFTEN:
                self._hold(version)
            return found

    def at_hand(self, name: str, keys: Sequence[Key]) -> Found | None:
        """Look entities up in a copy in memory, for as long as the last ``read`` knew which version the name means."""
        version = self._open.get(name)
        if version is None or time.monotonic() > version.until:
            return None
        return version.at_hand(keys)

    def close(self) -> None:
        """Close every file; one whose reader hangs is left to the end of the process."""
        if not self._lock.acquire(timeout=_CLOSE_S):
            return
        try:
            for version in self._open.values():
                version.close()
            self._open.clear()
        finally:
            self._lock.release()

    def _hold(self, version: "_Version") -> None:
        """Have a version copied, by a thread of its own: nobody waits for it, and it may hang."""
        held = sum(other.held_bytes for other in self._open.values())
        if held + version.size_bytes <= _HELD_BYTES:
            version.held_bytes = version.size_bytes
            threading.Thread(target=version.hold, name=f"features {version.path.stem}", daemon=True).start()

    def _path(self, name: str) -> Path:
        return self._folder / f"{checked_name(name, of='feature view')}.sqlite"

    def _forget(self, name: str) -> None:
        with self._lock:
            known = self._open.pop(name, None)
            if known is not None:
                known.close()

    def _version(self, name: str, known: "_Version | None") -> "_Version":
        """The file that the name means now."""
        path = self._path(name)
        with _translated(path):
            try:
                now = path.stat()
            except FileNotFoundError:
                raise NotFound(
                    f"no feature view {name!r} is online",
                    where=str(path),
                    fix=f"headrace features materialize {name} --from DATASET --by COLUMN",
                ) from None
            identity = (now.st_dev, now.st_ino, now.st_mtime_ns)
            if known is None or known.identity != identity:
                self._open[name] = _Version(path, identity, now.st_size)
                if known is not None:
                    known.close()
        found = self._open[name]
        found.until = time.monotonic() + _LOOK_S
        return found

    @contextmanager
    def _alone(self, path: Path) -> Iterator[None]:
        """Hold the view's lock, which goes with the process."""
        make_folders(path.parent)
        handle = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError as error:
            raise Conflict(f"feature view {path.stem!r} is being written", why="by another process") from error
        finally:
            os.close(handle)


class _Version:
    """One file, open to be read.

    Args:
        path: Where it is.
        identity: What tells it from those before and after it under the same name.
        size_bytes: Of it.

    Attributes:
        until: So long it is taken for what its name means, in monotonic seconds.
        reads: How often it was read.
        held_bytes: What its copy in memory takes, or will; 0 without one.
    """

    def __init__(self, path: Path, identity: tuple[int, int, int], size_bytes: int) -> None:
        self.path, self.identity, self.size_bytes, self.until = path, identity, size_bytes, 0.0
        self.reads = self.held_bytes = 0
        self._turn, self._closed = threading.Lock(), False
        self._copy: sqlite3.Connection | None = None
        self._file = _opened(path)
        try:
            self._view = _view_of(self._file)
        except BaseException:
            self._file.close()
            raise

    def read(self, keys: Sequence[Key]) -> Found:
        """From the copy, or else from the file."""
        self.reads += 1
        return self.at_hand(keys) or self._found(self._file, keys)

    def at_hand(self, keys: Sequence[Key]) -> Found | None:
        """From the copy; None without one, while another thread reads it, or where it is damaged as its file is."""
        if self._copy is None or not self._turn.acquire(blocking=False):
            return None
        try:
            return self._found(self._copy, keys)
        except _HARM:
            return None
        finally:
            self._turn.release()

    def hold(self) -> None:
        """Copy the file to memory, unless its name means another one by now."""
        with suppress(*_HARM, OSError, MemoryError):
            copy = sqlite3.connect(":memory:", check_same_thread=False)
            with closing(_opened(self.path)) as file:
                file.backup(copy, pages=_PAGES, sleep=0)
            with self._turn:
                if self._closed or _view_of(copy) != self._view:
                    copy.close()
                else:
                    self._copy = copy

    def close(self) -> None:
        """Close the file, and the copy."""
        with self._turn:
            self._closed = True
            self._file.close()
            if self._copy is not None:
                self._copy.close()

    def _found(self, db: sqlite3.Connection, keys: Sequence[Key]) -> Found:
        if len(keys) == 1:
            key = _pack(keys[0])
            row = db.execute("SELECT cells FROM features WHERE key = ?", (key,)).fetchone()
            return Found(self._view, (None if row is None else self._cells(key, row[0]),))
        wanted = [_pack(key) for key in keys]
        found: dict[bytes, Cells] = {}
        each = list(dict.fromkeys(wanted))
        for start in range(0, len(each), _AT_ONCE):
            some = each[start : start + _AT_ONCE]
            marks = ",".join("?" * len(some))
            rows = db.execute(f"SELECT key, cells FROM features WHERE key IN ({marks})", some)  # noqa: S608 - ours
            found |= {key: self._cells(key, cells) for key, cells in rows}
        return Found(self._view, [found.get(key) for key in wanted])

    def _cells(self, key: bytes, data: bytes) -> Cells:
        cells = tuple(_unpack(_checked(key, data)))
        if len(cells) != len(self._view.columns):
            raise IntegrityError("a row has another number of features than its view")
        return cells


def _opened(path: Path) -> sqlite3.Connection:
    # Immutable: nothing is locked, and nobody can lock us out.
    return sqlite3.connect(f"file:{quote(str(path))}?mode=ro&immutable=1", uri=True, check_same_thread=False)


def _view_of(db: sqlite3.Connection) -> FeatureView:
    about = db.execute("SELECT view FROM about").fetchone() or (b"",)
    return msgspec.msgpack.decode(_checked(b"", about[0]), type=FeatureView)


def _build(path: Path, view: FeatureView, rows: Iterable[tuple[Key, Cells]]) -> None:
    db = sqlite3.connect(path, isolation_level=None)
    try:
        db.executescript(_BUILD + _SCHEMA)
        db.execute("BEGIN")
        db.execute("INSERT INTO about VALUES (?)", (_summed(b"", _pack(view)),))
        packed = ((key, _summed(key, _pack(cells))) for key, cells in ((_pack(key), cells) for key, cells in rows))
        db.executemany("INSERT INTO features VALUES (?, ?)", packed)
        db.execute("COMMIT")
    except sqlite3.IntegrityError as error:
        raise UsageError(f"an entity comes twice in feature view {view.name!r}", why=str(error)) from error
    finally:
        db.close()


def _summed(key: bytes, data: bytes) -> bytes:
    """Bytes with a checksum that also tells whose they are: SQLite has none of its own."""
    return zlib.crc32(data, zlib.crc32(key)).to_bytes(_SUM_BYTES) + data


def _checked(key: bytes, data: bytes) -> bytes:
    cells = data[_SUM_BYTES:]
    if data[:_SUM_BYTES] != zlib.crc32(cells, zlib.crc32(key)).to_bytes(_SUM_BYTES):
        raise IntegrityError("a row does not have the checksum that it was written with")
    return cells


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, msgspec.DecodeError, IntegrityError, OSError) as error:
        raise _told(path, error) from error


def _told(path: Path, error: Exception) -> HeadraceError:
    """What went wrong, in our words."""
    fix = f"headrace features materialize {path.stem} ... again"
    if isinstance(error, sqlite3.OperationalError | OSError):
        what = "online features cannot be read or written"
        return Unavailable(what, where=str(path), why=str(error), fix=fix)
    why = error.what if isinstance(error, IntegrityError) else str(error)
    return IntegrityError("online features are damaged", where=str(path), why=why, fix=fix)
