"""Open one data file that may be packed: gzip or zip, unpacked to disk in a stream, within limits.

An archive is somebody else's: its names are never used as paths, links and escapes are refused, and what it unpacks to
is counted while it is written.
"""

import gzip
import lzma
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from headrace.errors import DataRefused
from headrace.storage.half_made import half_made

MAX_BYTES = 64 << 30
MAX_RATIO = 200
RATIO_FREE_BYTES = 64 << 20
"""Unpacked size from which ``MAX_RATIO`` holds; small files may be as repetitive as they like."""
MAX_ENTRIES = 1000
_CHUNK_BYTES = 1 << 20
_DAMAGED = (
    *(zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, lzma.LZMAError),
    *(EOFError, NotImplementedError, ValueError),
)


@contextmanager
def plain(source: Path, scratch: Path | None = None) -> Iterator[Path]:
    """The data file in ``source``, unpacked where it is packed; temporary files go when the block ends.

    Args:
        source: A file: gzip and zip are told by their bytes, anything else is handed on as it is.
        scratch: Folder on a disk with room for the unpacked file; the system's temporary folder when None.

    Raises:
        DataRefused: A zip with several data files, links, escapes or a password; damaged; beyond the limits.
    """
    with source.open("rb") as file:
        magic = file.read(4)
    if magic[:2] != b"\x1f\x8b" and magic != b"PK\x03\x04":
        yield source
        return
    with half_made(scratch, "unpack-") as folder:
        unpacked = folder / f"{source.name[-60:]} (unpacked)"  # which errors name
        try:
            (_unzip if magic[:2] == b"PK" else _gunzip)(source, unpacked)
        except _DAMAGED as error:
            raise DataRefused("the archive is damaged", where=source.name, why=str(error)) from error
        yield unpacked


def _gunzip(source: Path, target: Path) -> None:
    with gzip.open(source) as packed:
        _copy(packed, target, source.stat().st_size, source.name)


def _unzip(source: Path, target: Path) -> None:
    with zipfile.ZipFile(source) as archive:
        entries = archive.infolist()
        if len(entries) > MAX_ENTRIES:
            raise _refused(source, f"it has {len(entries)} entries; at most {MAX_ENTRIES} are allowed")
        for entry in entries:
            _check(source, entry)
        found = [e for e in entries if _is_data(e)]
        if len(found) != 1:
            names = ", ".join(PurePosixPath(e.filename).name for e in found[:5]) or "none"
            raise DataRefused(
                f"the archive holds {len(found)} data files", where=source.name, why=names, fix="unpack it and put one"
            )
        with archive.open(found[0]) as packed:
            _copy(packed, target, found[0].compress_size, source.name)


def _check(source: Path, entry: zipfile.ZipInfo) -> None:
    path = PurePosixPath(entry.filename)
    if path.is_absolute() or ".." in path.parts or "\\" in entry.filename:
        raise _refused(source, f"entry {entry.filename!r} leads out of it")
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise _refused(source, f"entry {entry.filename!r} is a link")
    if entry.flag_bits & 1:
        raise _refused(source, f"entry {entry.filename!r} needs a password")


def _is_data(entry: zipfile.ZipInfo) -> bool:
    parts = PurePosixPath(entry.filename).parts
    return not entry.is_dir() and not any(p == "__MACOSX" or p.startswith(".") for p in parts)


def _copy(packed: IO[bytes] | gzip.GzipFile, target: Path, packed_bytes: int, name: str) -> None:
    limit = min(MAX_BYTES, max(RATIO_FREE_BYTES, packed_bytes * MAX_RATIO), shutil.disk_usage(target.parent).free)
    size = 0
    with target.open("wb") as out:
        while chunk := packed.read(_CHUNK_BYTES):
            size += len(chunk)
            if size > limit:
                raise DataRefused(
                    "the archive unpacks to too much",
                    where=name,
                    why=f"more than {limit >> 20} MiB from {packed_bytes >> 10} KiB (limits: {MAX_RATIO} times the "
                    f"packed size, {MAX_BYTES >> 30} GiB, free disk)",
                    fix="unpack it yourself if you trust it, and put the file",
                )
            out.write(chunk)


def _refused(source: Path, why: str) -> DataRefused:
    return DataRefused("the archive is not allowed", where=source.name, why=why, fix="unpack it and put the data file")
