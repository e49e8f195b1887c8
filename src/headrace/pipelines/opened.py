"""Project files that a step opened: an audit hook sees every ``open`` of Python itself.

Native readers (DuckDB, Arrow) open files unseen: pass what they read as a parameter of type ``pathlib.Path``, or as a
dataset.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from headrace.storage.manifest import file_digest

_CODE = (".py", ".pyc")
_WRITING = os.O_WRONLY
_recording: list[set[str]] = []
_hooked = False


@contextmanager
def recorded(root: Path, *, besides: Path) -> Iterator[dict[str, str]]:
    """Project files opened for reading meanwhile; relative path to SHA-256 is filled in at the end.

    Args:
        root: The project: files outside it are not followed.
        besides: The state folder: files inside it are not followed.
    """
    _hook()
    paths: set[str] = set()
    found: dict[str, str] = {}
    _recording.append(paths)
    try:
        yield found
    finally:
        _recording.remove(paths)
        found.update(digests(root, _within(paths, root, besides)))


def digests(root: Path, names: Iterator[str] | list[str]) -> dict[str, str]:
    """SHA-256 of project files by relative path; an empty text for one that is not there."""
    return {name: file_digest(root / name) if (root / name).is_file() else "" for name in names}


def _within(paths: set[str], root: Path, besides: Path) -> Iterator[str]:
    top, state = os.path.realpath(root) + os.sep, os.path.realpath(besides) + os.sep
    for path in sorted({os.path.realpath(p) for p in paths}):
        if path.startswith(top) and not path.startswith(state) and os.path.isfile(path):  # noqa: PTH113 - hot
            yield path[len(top) :]


def _hook() -> None:
    global _hooked  # noqa: PLW0603 - a hook cannot be removed, so it is set once a process
    if not _hooked:
        _hooked = True
        sys.addaudithook(_on_audit)


def _on_audit(event: str, arguments: tuple[object, ...]) -> None:
    if event != "open" or not _recording:
        return
    path, _, flags = arguments
    if isinstance(flags, int) and flags & _WRITING:
        return
    if isinstance(path, bytes):
        path = os.fsdecode(path)
    if isinstance(path, str) and not path.endswith(_CODE):
        for paths in _recording:
            paths.add(path if path.startswith("/") else os.path.abspath(path))  # noqa: PTH100 - hot
