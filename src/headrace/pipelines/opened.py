"""Project files that a step read: an audit hook sees every ``open`` of Python itself.

Source code, hidden folders, installed packages, and files that the step wrote before it read them do not count. Native
readers (DuckDB, Arrow) open files unseen: put what they read into a dataset.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from headrace.storage.manifest import file_digest

_CODE = (".py", ".pyc")
_WRITING = os.O_WRONLY | os.O_TRUNC
_INSTALLED = {"site-packages", "dist-packages"}
_hooked = False


class _Recording:
    """Files by what was done to them first."""

    def __init__(self) -> None:
        self.read: set[str] = set()
        self._written: set[str] = set()

    def note(self, path: str, *, writing: bool) -> None:
        if writing and path not in self.read:
            self._written.add(path)
        elif not writing and path not in self._written:
            self.read.add(path)


_recordings: list[_Recording] = []


@contextmanager
def recorded(root: Path, *, besides: Path) -> Iterator[dict[str, str]]:
    """Project files opened for reading meanwhile; relative path to SHA-256 is filled in at the end.

    Args:
        root: The project: files outside it are not followed.
        besides: The state folder: files inside it are not followed.
    """
    _hook()
    recording = _Recording()
    found: dict[str, str] = {}
    _recordings.append(recording)
    try:
        yield found
    finally:
        _recordings.remove(recording)
        found.update(digests(root, _within(recording.read, root, besides)))


def digests(root: Path, names: Iterator[str] | list[str]) -> dict[str, str]:
    """SHA-256 of project files by relative path; an empty text for one that is not there."""
    return {name: file_digest(root / name) if (root / name).is_file() else "" for name in names}


def _within(paths: set[str], root: Path, besides: Path) -> Iterator[str]:
    top, state = os.path.realpath(root) + os.sep, os.path.realpath(besides) + os.sep
    for path in sorted({os.path.realpath(p) for p in paths}):
        if path.startswith(top) and not path.startswith(state):
            name = path[len(top) :]
            if not _apart(Path(name).parts[:-1]) and os.path.isfile(path):  # noqa: PTH113 - hot
                yield name


def _apart(folders: tuple[str, ...]) -> bool:
    """Whether a path leads through a hidden folder (``.venv``, ``.git``) or installed packages."""
    return any(folder.startswith(".") or folder in _INSTALLED for folder in folders)


def _hook() -> None:
    global _hooked  # noqa: PLW0603 - a hook cannot be removed, so it is set once a process
    if not _hooked:
        _hooked = True
        sys.addaudithook(_on_audit)


def _on_audit(event: str, arguments: tuple[object, ...]) -> None:
    if event != "open" or not _recordings:
        return
    path, _, flags = arguments
    if isinstance(path, bytes):
        path = os.fsdecode(path)
    if isinstance(path, str) and not path.endswith(_CODE):
        writing = isinstance(flags, int) and bool(flags & _WRITING)
        for recording in _recordings:
            recording.note(os.path.abspath(path), writing=writing)  # noqa: PTH100 - hot
