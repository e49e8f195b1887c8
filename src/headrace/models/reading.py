"""Read a model's files from where somebody put them: no links, no devices, and only so many and so much."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from headrace.errors import NameRefused, Refused, UsageError
from headrace.refs import checked_path

MOST_BYTES = 2 << 30
"""A longer model is refused, all its files together."""

MOST_FILES = 1000
"""A folder with more files is no model."""

_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def read_file(path: Path) -> bytes:
    """The bytes of a plain file.

    Raises:
        Refused: It is a link, a folder, a device, or longer than ``MOST_BYTES``.
        UsageError: It cannot be read.
    """
    return _read(str(path), path, MOST_BYTES)


def read_folder(path: Path) -> dict[str, bytes]:
    """The bytes of every file in a folder, by relative path (``variables/variables.index``).

    Raises:
        Refused: There is a link or a device in it, a name that no model's file may have, more than ``MOST_FILES``
            files, or more than ``MOST_BYTES`` bytes.
        UsageError: It cannot be read.
    """
    if path.is_symlink():
        raise _linked(path)
    found: dict[str, bytes] = {}
    left = MOST_BYTES
    for name, opener, folder in _walked(path):
        if len(found) == MOST_FILES:
            raise Refused("a model of too many files", where=str(path), why=f"more than {MOST_FILES}")
        found[name] = _read(opener, path / name, left, folder)
        left -= len(found[name])
    return found


def _walked(path: Path) -> Iterator[tuple[str, str, int]]:
    """Relative path, name, and the open folder that has it, of every file."""
    for root, folders, files, opened in os.fwalk(path, onerror=_unreadable, follow_symlinks=False):
        folders.sort()
        for folder in folders:
            if stat.S_ISLNK(os.stat(folder, dir_fd=opened, follow_symlinks=False).st_mode):
                raise _linked(Path(root, folder))
        for file in sorted(files):
            name = Path(root, file).relative_to(path).as_posix()
            try:
                yield checked_path(name, of="file of a model"), file, opened
            except NameRefused as error:
                raise Refused(str(error.what), where=str(path), why=error.why, fix="remove or rename it") from error


def _read(name: str, path: Path, most: int, folder: int | None = None) -> bytes:
    """The bytes of a plain file, called ``path`` in errors; ``name`` is relative to ``folder``, an open one."""
    try:
        opened = os.open(name, _OPEN, dir_fd=folder)
    except OSError as error:
        if path.is_symlink():
            raise _linked(path) from error
        raise UsageError("the model cannot be read", where=str(path), why=error.strerror or str(error)) from error
    try:
        found = os.fstat(opened)
        if not stat.S_ISREG(found.st_mode):
            raise Refused("a model is plain files", where=str(path), why="this is none")
        if found.st_size > most:
            raise Refused("the model is too long", where=str(path), why=f"more than {MOST_BYTES} bytes")
        with os.fdopen(opened, "rb", closefd=False) as file:
            return file.read(most)
    finally:
        os.close(opened)


def _linked(path: Path) -> Refused:
    return Refused("a model is not read through a link", where=str(path), fix="name the file or folder itself")


def _unreadable(error: OSError) -> None:
    where = str(error.filename or "")
    raise UsageError("the model cannot be read", where=where, why=error.strerror or str(error)) from error
