"""Files in a store that is reached over the network, with local copies; see ``cache`` for those."""

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import IO, TypeVar

from headrace.engines.fsspec.address import Address
from headrace.engines.fsspec.cache import Cache
from headrace.engines.fsspec.remote import Changed, Remote, Stat
from headrace.engines.fsspec.s3 import S3
from headrace.errors import Conflict, IntegrityError, NotFound, Unauthorized, Unavailable
from headrace.refs import contained
from headrace.settings import Settings
from headrace.storage.manifest import file_digest

T = TypeVar("T")
_CHUNK_BYTES = 1 << 20
_TRIES = 5
_AWAY_S = 5.0
"""Who does not answer is not asked again so long, where there is something to go on with or to say."""


class RemoteFiles:
    """Objects of a store; see ``storage.files.Files``.

    A copy is used when it is the object's present version, which costs one question to the store, and whole, which
    costs reading it. While the store is away what was copied before is given.

    Args:
        remote: The store.
        home: Folder in which stores have folders for their copies.
        most_bytes: How much copies may take.
    """

    def __init__(self, remote: Remote, home: Path, most_bytes: int) -> None:
        self._remote, self._home, self._most = remote, home, most_bytes
        self._away: tuple[float, Unavailable] | None = None
        self._lock = threading.Lock()

    @cached_property
    def _cache(self) -> Cache:
        name = hashlib.sha256(self._remote.name.encode()).hexdigest()[:16]
        return Cache(self._home / name, self._most)

    def put(self, source: Path, key: str) -> None:
        """Copy, then upload the copy, which then answers ``get``; see ``Files.put``."""
        path = self._cache.path(key)
        with ExitStack() as stack:
            reading = stack.enter_context(source.open("rb"))
            half = self._room_for(source, stack)
            digest = _copied(reading, half)
            version = self._remote.write(Path(half.name) if half else source, key, reading.tell(), digest)
            self._away = None
            if half is not None:
                self._cache.install(half, key, version)
            elif path.exists():
                self._cache.forget(key)

    def get(self, key: str, *, keep: bool = True) -> Path:
        """A copy below the project's home; see ``Files.get``.

        Raises:
            Unavailable: The store is away and there is no copy, or no copy can be written.
        """
        path = self._cache.path(key)
        copied = self._cache.use(key, keep=keep)
        try:
            present = self._ask(lambda: self._remote.stat(key, hurry=copied is not None))
        except Unauthorized:
            raise
        except Unavailable:
            if copied is None or not self._cache.whole(key, copied):
                raise
            return path
        if present is None:
            self._cache.forget(key)
            raise NotFound(f"no object {key!r}", where=self._remote.name)
        if copied is not None and _same(copied, present) and self._cache.whole(key, copied):
            return path
        return self._fetched(key, present)

    def list(self, prefix: str) -> list[str]:
        """Keys of the store; copies of others go. See ``Files.list``."""
        contained(self._home, prefix)
        started = time.time()
        keys = sorted(self._ask(lambda: list(self._remote.keys(prefix))))
        self._cache.forget_all_but(set(keys), prefix, started)
        return keys

    def delete(self, key: str) -> None:
        """Remove the object, then its copy; see ``Files.delete``."""
        self._cache.path(key)
        self._remote.remove(key)
        self._cache.forget(key)

    def close(self) -> None:
        """Close connections; what ``get`` gave is in no use any more."""
        self._remote.close()
        if "_cache" in self.__dict__:
            self._cache.close()

    def _room_for(self, source: Path, stack: ExitStack) -> IO[bytes] | None:
        """Where the source is copied to; nowhere, when there is no room for a copy."""
        size = source.stat().st_size
        if size > self._most:
            return None
        try:
            return stack.enter_context(self._cache.half(size))
        except Unavailable:
            return None

    def _fetched(self, key: str, version: Stat) -> Path:
        for _ in range(_TRIES):
            with self._cache.half(version.size) as half:
                try:
                    with self._cache.told():
                        self._remote.read(key, version, half.fileno())
                except Changed:
                    version = self._again(key)
                    continue
                digest = file_digest(Path(half.name))
                if version.sha256 not in {"", digest}:
                    raise IntegrityError(
                        "an object is not the one that was put", where=f"{self._remote.name}/{key}",
                        why=f"SHA-256 {digest[:16]}… instead of {version.sha256[:16]}…", fix="put it again",
                    )  # fmt: skip
                return self._cache.install(half, key, Stat(version.tag, version.size, digest))
        raise Conflict("an object is put again all the time", where=f"{self._remote.name}/{key}", fix="try again")

    def _again(self, key: str) -> Stat:
        version = self._remote.stat(key, hurry=False)
        if version is None:
            self._cache.forget(key)
            raise NotFound(f"no object {key!r}", where=self._remote.name)
        return version

    def _ask(self, question: Callable[[], T]) -> T:
        away = self._away
        if away is not None and time.monotonic() < away[0]:
            raise away[1]
        try:
            answer = question()
        except Unauthorized:
            raise
        except Unavailable as error:
            self._away = time.monotonic() + _AWAY_S, error
            raise
        self._away = None
        return answer


def _copied(reading: IO[bytes], half: IO[bytes] | None) -> str:
    """The SHA-256 of what was read, which is in ``half`` then."""
    digest = hashlib.sha256()
    for chunk in _chunks(reading):
        digest.update(chunk)
        if half is not None:
            half.write(chunk)
    if half is not None:
        half.truncate(reading.tell())
        half.flush()
    return digest.hexdigest()


def _chunks(reading: IO[bytes]) -> Iterator[bytes]:
    return iter(lambda: reading.read(_CHUNK_BYTES), b"")


def _same(copied: Stat, present: Stat) -> bool:
    return (copied.tag, copied.size) == (present.tag, present.size)


def open_files(settings: Settings, uri: str) -> RemoteFiles:
    """Factory ``files.s3``: the bucket and prefix that ``uri`` names, copies below ``<home>/cache/store``."""
    remote = S3(Address.parse(uri))
    return RemoteFiles(remote, settings.home_path / "cache" / "store", settings.store_cache_mb << 20)
