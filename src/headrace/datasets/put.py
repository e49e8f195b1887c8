"""Put a file into the store as a version: parsed once, digested over all content, described, held to its contract."""

from collections.abc import Sequence
from pathlib import Path

from headrace.datasets.archives import plain
from headrace.datasets.catalogue import versions
from headrace.datasets.keep import USUAL, Terms, keep, licensed, unnumbered
from headrace.datasets.version import TABLE, DatasetVersion
from headrace.errors import Conflict, DataRefused, NotFound
from headrace.refs import checked_name
from headrace.storage import manifest
from headrace.storage.stores import Stores
from headrace.storage.tables import TableFacts

_ENDINGS = frozenset({".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet", ".pq"})
_PACKED = frozenset({".gz", ".zip"})


def put(
    stores: Stores,
    name: str,
    source: Path | str,
    *,
    nulls: Sequence[str] = (),
    licence: str = "",
    terms: Terms = USUAL,
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
            return licensed(stores.ledger, version, licence)
    with stores.folder("put-") as folder:
        facts = _parse(stores, path, folder / TABLE, nulls)
        if _mark(path) != before:
            raise Conflict("the file changed while it was read", where=path.name, fix="put it again")
        made = unnumbered(name, facts, licence=licence, source=path.name, source_digest=raw, nulls=tuple(nulls))
        return keep(stores, made, folder, terms=terms)


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


def _mark(path: Path) -> tuple[int, int, int]:
    now = path.stat()
    return now.st_ino, now.st_size, now.st_mtime_ns
