"""Files in a local folder: temporary name, fsync, rename; a key is a path below the root."""

import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from headrace.errors import NotFound
from headrace.refs import contained
from headrace.settings import Settings
from headrace.storage.durable import keep_names, make_folders, sync

_HALF = ".half-"


class LocalFiles:
    """Objects as files below ``root``; see ``storage.files.Files``."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, source: Path, key: str) -> None:
        """Copy under a temporary name, fsync, rename, fsync the folder; see ``Files.put``."""
        target = contained(self._root, key)
        make_folders(target.parent)
        keep_names(target.parent)
        half = target.parent / f"{_HALF}{secrets.token_hex(8)}"
        try:
            with source.open("rb") as reading, half.open("xb") as writing:
                shutil.copyfileobj(reading, writing, 1 << 20)
                writing.flush()
                os.fsync(writing.fileno())
            half.replace(target)
        except BaseException:
            half.unlink(missing_ok=True)
            raise
        sync(target.parent)

    def get(self, key: str, *, keep: bool = True) -> Path:  # noqa: ARG002 - nothing is copied
        """The object's own path; see ``Files.get``."""
        path = contained(self._root, key)
        if not path.is_file():
            raise NotFound(f"no object {key!r}", where=str(self._root))
        return path

    def list(self, prefix: str) -> list[str]:
        """Keys below the root that begin with ``prefix``; see ``Files.list``."""
        folder, _, _ = prefix.rpartition("/")
        start = contained(self._root, folder) if folder else self._root
        return sorted(key for key in self._keys(start) if key.startswith(prefix))

    def delete(self, key: str) -> None:
        """Unlink the object and the folders it leaves empty; see ``Files.delete``."""
        path = contained(self._root, key)
        path.unlink(missing_ok=True)
        for folder in path.parents:
            if folder == self._root or not folder.is_relative_to(self._root):
                return
            try:
                folder.rmdir()
            except OSError:  # not empty, or never there
                return

    def _keys(self, start: Path) -> Iterator[str]:
        for folder, _, names in os.walk(start):
            for name in names:
                if not name.startswith(_HALF):
                    yield Path(folder, name).relative_to(self._root).as_posix()


def open_files(settings: Settings, uri: str) -> LocalFiles:
    """Factory ``files.local``: ``<home>/store``, or the folder of ``local:<path>``."""
    _, _, path = uri.partition(":")
    return LocalFiles(settings.root / path if path else settings.home_path / "store")
