"""Local copies of objects: whole and verified, shared by the processes of a project, bounded.

``objects`` holds them below their keys, ``known`` what is known of each, ``halves`` what is being made, ``users`` who
uses what. What is in no use goes when there is need of room, what was used longest ago first.
"""

import errno
import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

import msgspec

from headrace.engines.fsspec.leases import Leases
from headrace.engines.fsspec.remote import Stat
from headrace.errors import NameRefused, Unavailable
from headrace.refs import contained
from headrace.storage.manifest import file_digest

_FULL = {errno.ENOSPC, errno.EDQUOT}


@dataclass(frozen=True)
class _Entry:
    used_at: float
    size: int
    key: str


class Cache:
    """The local copies of one store.

    Args:
        root: Their folder.
        most_bytes: How much they may take together, but for what is in use.
    """

    def __init__(self, root: Path, most_bytes: int) -> None:
        self._root, self._most = root, most_bytes
        self._objects, self._known, self._halves = root / "objects", root / "known", root / "halves"
        for folder in (self._objects, self._known, self._halves, root / "users"):
            folder.mkdir(parents=True, exist_ok=True)
        self._leases = Leases(root / "users")
        self._room = 0

    def path(self, key: str) -> Path:
        """Where the copy of ``key`` is.

        Raises:
            NameRefused: It would be elsewhere, or another key's.
        """
        path = contained(self._objects, key)
        if PurePosixPath(key).as_posix() != key or key == ".":
            raise NameRefused(f"key {key!r} is not allowed", why="it is no plain path", fix="names with / between them")
        return path

    def use(self, key: str, *, keep: bool) -> Stat | None:
        """Keep the copy of ``key`` from now on, and say what is known of it; None without one."""
        with self.told(), self._locked(fcntl.LOCK_SH):
            self._leases.add(key, keep=keep)
            try:
                return msgspec.json.decode((self._known / key).read_bytes(), type=Stat)
            except (OSError, msgspec.MsgspecError):
                return None

    def whole(self, key: str, version: Stat) -> bool:
        """Whether the copy is that version, byte for byte; every byte is read."""
        path = self._objects / key
        try:
            if path.stat().st_size != version.size or file_digest(path) != version.sha256:
                return False
            os.utime(self._known / key)
        except OSError:
            return False
        return True

    @contextmanager
    def half(self, size: int) -> Iterator[IO[bytes]]:
        """A new file of that size beside the copies, which goes unless it is installed.

        Raises:
            Unavailable: The disk is full, and nothing is left that could go.
        """
        self.make_room(size)
        with self.told():
            file = self._new()
        try:
            with file:
                with self.told():
                    self._reserve(file, size)
                yield file
        finally:
            Path(file.name).unlink(missing_ok=True)

    def install(self, half: IO[bytes], key: str, version: Stat) -> Path:
        """Make a whole file the copy of ``key``, in one step."""
        half.flush()
        path, known = self._objects / key, self._known / key
        with self.told(), self._locked(fcntl.LOCK_EX):
            for folder in (path.parent, known.parent):
                folder.mkdir(parents=True, exist_ok=True)
            written = Path(f"{half.name}.known")  # first: what nothing is known of would take its place for ever
            written.write_bytes(msgspec.json.encode(version))
            Path(half.name).replace(path)
            # Whoever dies here leaves a copy that is not what is known of it, and is made anew.
            written.replace(known)
        return path

    def forget(self, key: str) -> None:
        """Remove the copy of ``key``: its object is gone."""
        with self._locked(fcntl.LOCK_EX):
            self._remove(key)

    def forget_all_but(self, keys: set[str], prefix: str, listed_at: float) -> None:
        """Remove copies below ``prefix`` of what was not among the store's ``keys``, and was copied before that."""
        folder = contained(self._known, prefix.rpartition("/")[0])
        for entry in self._entries(folder):
            if entry.key.startswith(prefix) and entry.key not in keys and entry.used_at < listed_at:
                self.forget(entry.key)

    def make_room(self, size: int, *, most_bytes: int | None = None) -> None:
        """Remove what is in no use, oldest use first, until ``size`` bytes more are within the bound."""
        self._room -= size
        if self._room >= 0 and most_bytes is None:
            return
        most = self._most if most_bytes is None else most_bytes
        with self._locked(fcntl.LOCK_EX):
            self._clear_halves()
            entries = sorted(self._entries(self._known), key=lambda entry: entry.used_at)
            total = sum(entry.size for entry in entries) + size
            used = self._leases.used() if total > most else set()
            for entry in entries:
                if total <= most:
                    break
                if entry.key not in used:
                    self._remove(entry.key)
                    total -= entry.size
        # Others fill it too: look again before a fourth of what is left is taken.
        self._room = max(0, (self._most - total) // 4)

    @contextmanager
    def told(self) -> Iterator[None]:
        """Say what the disk of the copies says in our words."""
        try:
            yield
        except OSError as error:
            raise Unavailable(
                "no local copy of an object can be written", where=str(self._root), why=error.strerror or str(error),
                fix="free space on that disk, or lower the setting store_cache_mb",
            ) from error  # fmt: skip

    def close(self) -> None:
        """This process uses none of the copies any more."""
        self._leases.close()

    def _reserve(self, file: IO[bytes], size: int) -> None:
        if size == 0 or not hasattr(os, "posix_fallocate"):
            return
        try:
            os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            if error.errno not in _FULL:
                return  # not every file system can
            self.make_room(size, most_bytes=0)
            os.posix_fallocate(file.fileno(), 0, size)

    def _new(self) -> IO[bytes]:
        with self._locked(fcntl.LOCK_SH):  # who clears away would take it for a dead one's before it is locked
            file = (self._halves / secrets.token_hex(8)).open("x+b")
            fcntl.flock(file, fcntl.LOCK_EX)
        return file

    def _clear_halves(self) -> None:
        """What processes that died were making."""
        for path in self._halves.iterdir():
            with suppress(OSError), path.open("rb") as half:
                fcntl.flock(half, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()

    def _entries(self, start: Path) -> Iterator[_Entry]:
        for folder, _, names in os.walk(start):
            for name in names:
                known = Path(folder, name)
                key = known.relative_to(self._known).as_posix()
                with suppress(OSError):
                    yield _Entry(known.stat().st_mtime, (self._objects / key).stat().st_size, key)

    def _remove(self, key: str) -> None:
        for root in (self._known, self._objects):
            path = root / key
            with suppress(OSError):
                path.unlink()
                for folder in path.relative_to(root).parents[:-1]:
                    (root / folder).rmdir()

    @contextmanager
    def _locked(self, how: int) -> Iterator[None]:
        with (self._root / "lock").open("ab") as lock:
            fcntl.flock(lock, how)
            yield
