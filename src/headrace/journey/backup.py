"""The ledger and all objects as one file, and a project made of such a file again.

Facts are read first and objects after: what a fact names was durable before the fact. A restore puts the objects first
and appends all facts in one commit last, so that a half restored project is an empty one.
"""

import hashlib
import json
import os
import secrets
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import msgspec

from headrace.datasets import catalogue
from headrace.errors import HeadraceError, IntegrityError, NameRefused, NotFound, Refused
from headrace.models import aliases, registry
from headrace.refs import checked_name
from headrace.storage import manifest
from headrace.storage.durable import sync
from headrace.storage.files import Files
from headrace.storage.ledger import Fact, Ledger
from headrace.storage.stores import Stores

FORMAT = "headrace-backup-1"
MOST_ENTRIES = 1_000_000
_CONTENTS, _FACTS, _FILES = "contents.json", "facts.jsonl", "files/"
_MOST_CONTENTS_BYTES = 512 << 20
_CHUNK_BYTES = 1 << 20
_UNREADABLE = (
    *(zipfile.BadZipFile, NotImplementedError, EOFError, msgspec.MsgspecError),
    *(KeyError, TypeError, ValueError, AttributeError, RecursionError),
)


@dataclass(frozen=True)
class Backup:
    """What a backup holds.

    Attributes:
        facts: How many.
        objects: How many.
        size_bytes: Of the objects.
        digest: SHA-256 of its list of contents, which names the SHA-256 of everything in it.
    """

    facts: int
    objects: int
    size_bytes: int
    digest: str


def backup(stores: Stores, path: Path) -> Backup:
    """Write every fact and object as the new file ``path``, whole or not at all, while others go on writing.

    Raises:
        Refused: ``path`` exists.
        IntegrityError: A stored file of a model or dataset version is not what was stored.
    """
    if path.exists():
        raise Refused(f"{path} exists", why="a backup is never written over", fix="name a new file")
    path.parent.mkdir(parents=True, exist_ok=True)
    facts = stores.ledger.query("*")
    _verify(stores.files, facts)
    half = path.with_name(f"{path.name}.half-{secrets.token_hex(4)}")
    try:
        with half.open("xb") as file:
            made = _write(file, facts, stores.files)
            file.flush()
            os.fsync(file.fileno())
        os.link(half, path)
    except FileExistsError as error:
        raise Refused(f"{path} exists", why="somebody else wrote it meanwhile", fix="name a new file") from error
    finally:
        half.unlink(missing_ok=True)
    sync(path.parent)
    with zipfile.ZipFile(path) as archive:  # what was written is read again before anybody relies on it
        _checked(archive, path)
    return made


def restore(stores: Stores, path: Path) -> Backup:
    """Make an empty project hold what a backup holds; killed at any moment, it goes on being empty.

    Raises:
        NotFound: There is no such file.
        Refused: The project is not empty, or the file holds what no backup does (links, escapes, packed entries).
        IntegrityError: The file was altered, or cut off.
    """
    if not path.is_file():
        raise NotFound("no such backup", where=str(path))
    if stores.ledger.query("*", newest=1):
        raise Refused("the project is not empty", why="its ledger has facts", fix="restore into a new folder")
    try:
        with zipfile.ZipFile(path) as archive:
            contents, made = _checked(archive, path)
            facts = _facts_of(archive)
            _put(stores, archive, contents)
        _verify(stores.files, facts)
    except _UNREADABLE as error:
        raise IntegrityError("the backup cannot be read", where=str(path), why=str(error)) from error
    if facts:
        _append(stores.ledger, facts)
    return made


def _write(file: IO[bytes], facts: list[Fact], files: Files) -> Backup:
    digests: dict[str, str] = {}
    size = 0
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        lines = (json.dumps(vars(fact), ensure_ascii=False).encode() + b"\n" for fact in facts)
        digests[_FACTS] = _entry(archive, _FACTS, lines)
        for key in files.list(""):
            try:
                source = files.get(key, keep=False)
            except NotFound:  # removed since it was listed: no fact that was read names it
                continue
            size += source.stat().st_size
            with source.open("rb") as reading:
                digests[_FILES + key] = _entry(archive, _FILES + key, iter(lambda: reading.read(_CHUNK_BYTES), b""))
        about = {"format": FORMAT, "facts": len(facts), "size_bytes": size, "sha256": digests}
        text = json.dumps(about, sort_keys=True).encode()
        archive.writestr(_CONTENTS, text)
    return Backup(len(facts), len(digests) - 1, size, hashlib.sha256(text).hexdigest())


def _entry(archive: zipfile.ZipFile, name: str, parts: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    with archive.open(name, "w", force_zip64=True) as writing:
        for part in parts:
            digest.update(part)
            writing.write(part)
    return digest.hexdigest()


def _checked(archive: zipfile.ZipFile, path: Path) -> tuple[Mapping[str, str], Backup]:
    """The contents, after every entry was read and found to be what they say."""
    entries = archive.infolist()
    names = [entry.filename for entry in entries]
    if len(entries) > MOST_ENTRIES or len(set(names)) != len(names):
        raise Refused("the backup is not allowed", where=str(path), why=f"{len(entries)} entries, or one stands twice")
    for entry in entries:
        _check_entry(entry, path)
    try:
        text = archive.read(_CONTENTS)
        about = json.loads(text)
        digests, facts, size = dict(about["sha256"]), int(about["facts"]), int(about["size_bytes"])
    except _UNREADABLE as error:
        raise IntegrityError("the backup has no list of contents", where=str(path), why=str(error)) from error
    if about["format"] != FORMAT:
        raise Refused("the backup is of another format", where=str(path), why=f"{about['format']!r}, not {FORMAT!r}")
    if {*digests, _CONTENTS} != set(names) or _FACTS not in digests:
        raise IntegrityError("the backup lacks an entry, or has one too many", where=str(path))
    for name, due in digests.items():
        with archive.open(name) as reading:
            if _digest(reading) != due:
                raise IntegrityError("the backup was altered", where=f"{path}, entry {name}")
    return digests, Backup(facts, len(digests) - 1, size, hashlib.sha256(text).hexdigest())


def _check_entry(entry: zipfile.ZipInfo, path: Path) -> None:
    name, kind = entry.filename, entry.external_attr >> 16
    if name not in {_CONTENTS, _FACTS}:
        try:
            for part in name.removeprefix(_FILES).split("/"):
                checked_name(part, of="object of a backup")
            known = name.startswith(_FILES)
        except NameRefused:
            known = False
        if not known:
            raise Refused("the backup is not allowed", where=str(path), why=f"entry {name[:200]!r}")
    plain = entry.compress_type == zipfile.ZIP_STORED and entry.compress_size == entry.file_size
    if not plain or entry.flag_bits & 1 or (stat.S_IFMT(kind) and not stat.S_ISREG(kind)):
        raise Refused("the backup is not allowed", where=str(path), why=f"entry {name!r} is packed, locked or a link")
    if name == _CONTENTS and entry.file_size > _MOST_CONTENTS_BYTES:
        raise Refused("the backup is not allowed", where=str(path), why="its list of contents is too long")


def _digest(reading: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while part := reading.read(_CHUNK_BYTES):
        digest.update(part)
    return digest.hexdigest()


def _facts_of(archive: zipfile.ZipFile) -> list[Fact]:
    with archive.open(_FACTS) as reading:
        return [msgspec.json.decode(line, type=Fact) for line in reading]


def _put(stores: Stores, archive: zipfile.ZipFile, contents: Mapping[str, str]) -> None:
    keys = [name.removeprefix(_FILES) for name in contents if name.startswith(_FILES)]
    standing = set(stores.files.list(""))
    with stores.folder("restore-") as folder:
        for key in keys:
            if key in standing:
                if manifest.file_digest(stores.files.get(key, keep=False)) == contents[_FILES + key]:
                    continue  # of a restore that was cut off
                raise Refused("the store is not empty", where=key, fix="restore into a new folder")
            half = Path(tempfile.mkstemp(dir=folder)[1])
            with archive.open(_FILES + key) as reading, half.open("wb") as writing:
                shutil.copyfileobj(reading, writing, _CHUNK_BYTES)
            if manifest.file_digest(half) != contents[_FILES + key]:
                raise IntegrityError("the backup changed while it was read", where=key)
            stores.files.put(half, key)
            half.unlink()


def _append(ledger: Ledger, facts: list[Fact]) -> None:
    if [fact.seq for fact in facts] != list(range(1, len(facts) + 1)):
        raise IntegrityError("facts are missing in the backup", why="their numbers have gaps")
    if ledger.append(facts)[0].seq != 1:
        raise Refused("somebody else wrote into the project meanwhile", fix="restore into a new folder")


def _verify(files: Files, facts: Iterable[Fact]) -> None:
    """Every model and dataset version has its files as they were stored, and every chain of aliases is whole."""
    ledger = _Read(list(facts))
    for model in registry.versions(ledger):
        manifest.fetch(files, model.folder, model.manifest, keep=False)
    for data in catalogue.versions(ledger):
        manifest.fetch(files, data.folder, data.manifest, keep=False)
    aliases.verify_all(ledger)


class _Read:
    """Facts in memory, as a ledger to query."""

    def __init__(self, facts: list[Fact]) -> None:
        self._kinds: dict[str, list[Fact]] = {}
        for fact in facts:
            self._kinds.setdefault(fact.kind, []).append(fact)

    def append(self, facts: Any) -> list[Fact]:
        """Never."""
        raise HeadraceError("a backup is not written to", why=str(facts)[:100])

    def query(self, kind: str, subject: str | None = None, *, after: int = 0, newest: int | None = None) -> list[Fact]:
        """See ``Ledger.query``."""
        found = [f for f in self._kinds.get(kind, []) if f.seq > after and subject in {None, f.subject}]
        return found if newest is None else found[-newest:]

    def close(self) -> None:
        """Nothing to release."""
