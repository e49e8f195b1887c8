"""Put a file into the store as a version: parsed once, digested over all content, described, held to its contract."""

import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from headrace.datasets import catalogue, check
from headrace.datasets.archives import plain
from headrace.datasets.catalogue import versions
from headrace.datasets.check import Subject, examine
from headrace.datasets.contents import contract_of
from headrace.datasets.contract import NOTHING, Expectations, infer
from headrace.datasets.profile import profile
from headrace.datasets.report import Report
from headrace.datasets.version import CONTRACT, PROFILE, TABLE, DatasetVersion
from headrace.errors import Conflict, DataRefused, NotFound
from headrace.refs import checked_name, new_id
from headrace.storage import manifest
from headrace.storage.ledger import Ledger
from headrace.storage.stores import Stores
from headrace.storage.tables import TableFacts

_TRIES = 20
_ENDINGS = frozenset({".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet", ".pq"})
_PACKED = frozenset({".gz", ".zip"})


@dataclass(frozen=True)
class Terms:
    """What data is held against when it is put.

    Attributes:
        expect: What the project states about the dataset.
        fresh: Infer the contract anew from this data, instead of holding the data against the stored one.
    """

    expect: Expectations = NOTHING
    fresh: bool = False


_USUAL = Terms()


def put(
    stores: Stores,
    name: str,
    source: Path | str,
    *,
    nulls: Sequence[str] = (),
    licence: str = "",
    terms: Terms = _USUAL,
) -> DatasetVersion:
    """Store a file as a version of dataset ``name``; equal content is the same version, however often it is put.

    Args:
        stores: Where to keep it.
        name: The dataset.
        source: CSV (also gzipped, or alone in a zip), Parquet or JSON lines, told apart by its bytes.
        nulls: Texts of a CSV that mean null, besides the empty one (``NA``).
        licence: Under which the data may be used; given later, it is added to the stored version.
        terms: What the data is held against.

    Returns:
        The new version, or the stored one with this content.

    Raises:
        NotFound: There is no such file.
        DataRefused: The file is not a table, has no rows, or breaks the contract; nothing is stored.
        NameRefused: The name is not allowed.
        Conflict: The file changed while it was read.
    """
    checked_name(name, of="dataset name")
    path = Path(source)
    if not path.is_file():
        raise NotFound("no such file", where=str(path), fix="name a CSV, JSON lines or Parquet file")
    before, raw = _mark(path), manifest.file_digest(path)
    for version in versions(stores.ledger, name):
        if (version.source_digest, version.nulls) == (raw, tuple(nulls)):
            return _licensed(stores.ledger, version, licence)
    with _scratch(stores) as folder:
        facts = _parse(stores, path, folder / TABLE, nulls)
        if _mark(path) != before:
            raise Conflict("the file changed while it was read", where=path.name, fix="put it again")
        made = DatasetVersion(
            name=name,
            version=0,
            digest=facts.digest,
            rows=facts.rows,
            schema=facts.schema,
            licence=licence,
            # A folder of its own, so that racing puts never mix their files.
            folder=f"datasets/{name}/{facts.digest[:32]}-{new_id()[-8:]}",
            manifest="",
            source=path.name,
            source_digest=raw,
            nulls=tuple(nulls),
        )
        return _keep(stores, made, folder, terms=terms)


@contextmanager
def _scratch(stores: Stores) -> Iterator[Path]:
    if stores.scratch is not None:
        stores.scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="put-", dir=stores.scratch) as folder:
        yield Path(folder)


def _parse(stores: Stores, source: Path, target: Path, nulls: Sequence[str]) -> TableFacts:
    with plain(source, stores.scratch) as data:
        facts = stores.tables.ingest(data, target, nulls=nulls)
        _check_recognised(source, data, facts)
    return facts


def _check_recognised(source: Path, data: Path, facts: TableFacts) -> None:
    """Raise unless the file is surely meant as a table: any text can be read as CSV of one column."""
    if not facts.rows:
        said = ", ".join(facts.schema) if len(facts.schema) > 1 else "not even a header of several columns"
        raise DataRefused(
            "the file has no rows", where=source.name, why=said, fix="put a file with data below its header"
        )
    ending = next((end.lower() for end in reversed(source.suffixes) if end.lower() not in _PACKED), "")
    if len(facts.schema) > 1 or ending in _ENDINGS:
        return
    with data.open("rb") as file:
        head = file.read(1024).removeprefix(b"\xef\xbb\xbf").lstrip()
    if not head.startswith((b"PAR1", b"{", b"[")):
        raise DataRefused(
            "the file is not recognised as a table",
            where=source.name,
            why=f"{ending!r} is no known ending, and its text has one column",
            fix="name it .csv if it is CSV of one column, else save it as CSV, JSON lines or Parquet",
        )


def _keep(stores: Stores, made: DatasetVersion, folder: Path, *, terms: Terms) -> DatasetVersion:
    stored = versions(stores.ledger, made.name)
    for version in stored:
        if version.digest == made.digest:
            return _licensed(stores.ledger, version, made.licence)
    frame = stores.tables.scan([folder / TABLE])
    seen = profile(frame)
    contract = infer(seen) if terms.fresh or not stored else contract_of(stores.files, stored[-1])
    report = examine(stores, Subject(made.name, frame, seen), contract, terms.expect)
    report.enforce()
    _write(folder / PROFILE, seen.to_json())
    _write(folder / CONTRACT, contract.to_json())
    kept = manifest.store(stores.files, folder, made.folder, {"rows": made.rows, "digest": made.digest})
    return _record(stores.ledger, replace(made, manifest=kept.digest), report)


def _record(ledger: Ledger, made: DatasetVersion, report: Report) -> DatasetVersion:
    """Give it the next number; when somebody else takes that first, look again whether this content is now stored."""
    for _ in range(_TRIES):
        stored = versions(ledger, made.name)
        for version in stored:
            if version.digest == made.digest:
                return _licensed(ledger, version, made.licence)
        numbered = replace(made, version=max((v.version for v in stored), default=0) + 1)
        checked = check.fact_of(replace(report, version=numbered.version))
        try:
            fact, _ = ledger.append([catalogue.fact_of(numbered, new=True), checked])
        except Conflict:
            continue
        return replace(numbered, at=fact.at)
    raise Conflict("others keep putting versions of it", where=made.name, fix="put it again")


def _licensed(ledger: Ledger, version: DatasetVersion, licence: str) -> DatasetVersion:
    """The stored version, with the licence added or changed by one more fact about it."""
    if licence in {"", version.licence}:
        return version
    amended = replace(version, licence=licence)
    ledger.append([catalogue.fact_of(amended, new=False)])
    return amended


def _mark(path: Path) -> tuple[int, int, int]:
    now = path.stat()
    return now.st_ino, now.st_size, now.st_mtime_ns


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, separators=(",", ":"), allow_nan=False), "utf-8")
