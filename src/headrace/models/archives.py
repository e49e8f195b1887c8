"""Archives that models are kept in: opened only when no entry is a link, leaves its folder or unpacks beyond belief."""

import lzma
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import IO

from headrace.errors import Refused
from headrace.models.reading import MOST_BYTES

ZIPPED = b"PK\x03\x04"
"""What a zip archive begins with."""

_MOST_ENTRIES = 100_000
_MOST_RATIO = 1000
_DAMAGED = (
    *(zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, lzma.LZMAError),
    *(NotImplementedError, EOFError, ValueError, OSError),
)


_PLAIN = frozenset({0, stat.S_IFREG, stat.S_IFDIR})  # 0 where the archive does not say
_LOCKED = 1
_HEADER_BYTES = 30  # before the content of each entry, and its name


@contextmanager
def opened(file: Path | IO[bytes]) -> Iterator[zipfile.ZipFile]:
    """A zip archive whose entries have been checked, for the length of a ``with`` block.

    Raises:
        Refused: It cannot be read, has two entries of one name or in one place, or an entry that is a link or locked,
            would leave its folder, or is packed beyond belief; there are too many, or they are longer than a model may
            be.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            _check(archive.infolist())
            yield archive
    except _DAMAGED as error:
        raise Refused("the archive cannot be read", why=str(error)) from error


def _check(entries: list[zipfile.ZipInfo]) -> None:
    if len(entries) > _MOST_ENTRIES or sum(e.file_size for e in entries) > MOST_BYTES:
        raise Refused("the archive is too large", why=f"{len(entries)} entries")
    for one, other in pairwise(sorted(entries, key=lambda e: e.header_offset)):
        if one.header_offset + one.compress_size + _HEADER_BYTES > other.header_offset:
            why = f"{one.filename!r} and {other.filename!r}"
            raise Refused("the archive has two entries in one place", why=why)
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
    if stat.S_IFMT(entry.external_attr >> 16) not in _PLAIN:
        raise Refused(f"the archive's entry {name!r} is a link or a device")
    if entry.flag_bits & _LOCKED:
        raise Refused(f"the archive's entry {name!r} needs a password")
    if entry.file_size > _MOST_RATIO * max(entry.compress_size, 1):
        raise Refused(f"the archive's entry {name!r} is packed beyond belief", why=f"{entry.file_size} bytes")
