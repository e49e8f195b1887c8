"""Archives that models are kept in: opened only when no entry is a link, leaves its folder or unpacks beyond belief."""

import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from headrace.errors import Refused
from headrace.models.reading import MOST_BYTES

ZIPPED = b"PK\x03\x04"
"""What a zip archive begins with."""

_MOST_ENTRIES = 100_000
_MOST_RATIO = 1000


@contextmanager
def opened(file: Path | IO[bytes]) -> Iterator[zipfile.ZipFile]:
    """A zip archive whose entries have been checked, for the length of a ``with`` block.

    Raises:
        Refused: It cannot be read, has two entries of one name, or an entry that is a link, would leave its folder, or
            is packed beyond belief; there are too many, or they are longer than a model may be.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            _check(archive.infolist())
            yield archive
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, EOFError, ValueError, OSError) as error:
        raise Refused("the archive cannot be read", why=str(error)) from error


def _check(entries: list[zipfile.ZipInfo]) -> None:
    if len(entries) > _MOST_ENTRIES or sum(e.file_size for e in entries) > MOST_BYTES:
        raise Refused("the archive is too large", why=f"{len(entries)} entries")
    seen = set()
    for entry in entries:
        _check_entry(entry)
        if entry.filename in seen:  # one reader would take the first, another the last
            raise Refused(f"the archive has two entries {entry.filename!r}")
        seen.add(entry.filename)


def _check_entry(entry: zipfile.ZipInfo) -> None:
    name = entry.filename
    if name.startswith("/") or "\\" in name or "\0" in entry.orig_filename or ".." in name.split("/"):
        raise Refused(f"the archive's entry {name!r} would leave its folder")
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise Refused(f"the archive's entry {name!r} is a link")
    if entry.file_size > _MOST_RATIO * max(entry.compress_size, 1):
        raise Refused(f"the archive's entry {name!r} is packed beyond belief", why=f"{entry.file_size} bytes")
