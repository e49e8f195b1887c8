"""Folders of objects: the files first, a manifest with the SHA-256 of each last; verified at every load.

Step artifacts, dataset versions and models are kept so. Without its manifest a folder does not exist: a writer that
died half-way leaves nothing that a reader could take for whole.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headrace.errors import IntegrityError, NotFound, Unauthorized, Unavailable
from headrace.storage.files import Files

NAME = "manifest.json"


@dataclass(frozen=True)
class Manifest:
    """What a folder of objects holds.

    Attributes:
        files: Relative file name to SHA-256, hexadecimal.
        about: Small JSON facts for people and readers.
        digest: SHA-256 of the manifest itself; filled in when written or read.
    """

    files: Mapping[str, str]
    about: Mapping[str, Any] = field(default_factory=dict)
    digest: str = ""


def store(files: Files, folder: Path, prefix: str, about: Mapping[str, Any] | None = None) -> Manifest:
    """Put every file of ``folder`` under ``prefix``, and last its manifest, which is also left in ``folder``."""
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    names = [name for name in names if name != NAME]
    digests = {name: file_digest(folder / name) for name in names}
    for name in names:
        files.put(folder / name, f"{prefix}/{name}")
    text = json.dumps({"files": digests, "about": about or {}}, sort_keys=True, separators=(",", ":")).encode()
    (folder / NAME).write_bytes(text)
    files.put(folder / NAME, f"{prefix}/{NAME}")
    return Manifest(digests, about or {}, hashlib.sha256(text).hexdigest())


def read(files: Files, prefix: str, digest: str = "", *, keep: bool = False) -> Manifest:
    """The manifest of ``prefix``.

    Args:
        files: Where it is kept.
        prefix: Key of the folder.
        digest: What the manifest's own SHA-256 must be, when known.
        keep: Whether the file is used after this call; see ``Files.get``.

    Raises:
        NotFound: There is no such folder.
        IntegrityError: The manifest is not the one that was written.
    """
    text = files.get(f"{prefix}/{NAME}", keep=keep).read_bytes()
    found = hashlib.sha256(text).hexdigest()
    if digest and found != digest:
        raise _damaged(prefix, NAME, found, digest)
    try:
        data = json.loads(text)
        return Manifest(dict(data["files"]), dict(data["about"]), found)
    except (ValueError, KeyError, TypeError) as error:
        raise IntegrityError("a stored manifest cannot be read", where=f"{prefix}/{NAME}", why=str(error)) from error


def fetch(files: Files, prefix: str, digest: str = "", *, keep: bool = True) -> Path:
    """A local folder with every file of ``prefix``, each verified now, and no other file.

    Args:
        files: Where it is kept.
        prefix: Key of the folder.
        digest: What the manifest's own SHA-256 must be, when known.
        keep: Whether the folder is used after this call; see ``Files.get``.

    Raises:
        NotFound: There is no such folder.
        IntegrityError: A file is missing, not the one that was written, or was not written with the others.
    """
    written = read(files, prefix, digest, keep=keep).files
    # Whoever opens a whole folder would read what somebody laid beside its files.
    if strange := set(_listed(files, prefix)) - {f"{prefix}/{name}" for name in (*written, NAME)}:
        raise IntegrityError("a stored folder has a file that was not stored", where=min(strange), fix="delete it")
    for name, due in written.items():
        try:
            found = file_digest(files.get(f"{prefix}/{name}", keep=keep))
        except NotFound as error:
            raise IntegrityError("a stored file is missing", where=f"{prefix}/{name}") from error
        if found != due:
            raise _damaged(prefix, name, found, due)
    return files.get(f"{prefix}/{NAME}", keep=keep).parent


def _listed(files: Files, prefix: str) -> list[str]:
    """What the store has there; nothing while it is away: what could be got without it are copies of what it had."""
    try:
        return files.list(f"{prefix}/")
    except Unauthorized:
        raise
    except Unavailable:
        return []


def file_digest(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as reading:
        return hashlib.file_digest(reading, "sha256").hexdigest()


def _damaged(prefix: str, name: str, found: str, due: str) -> IntegrityError:
    return IntegrityError(
        "a stored file is not the one that was written",
        where=f"{prefix}/{name}",
        why=f"SHA-256 {found[:16]}… instead of {due[:16]}…",
        fix="delete it and run the pipeline again",
    )
