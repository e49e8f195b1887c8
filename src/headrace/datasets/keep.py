"""Keep a written table as a dataset version: equal content is one version; contract and number are its own."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from headrace.datasets import catalogue, check
from headrace.datasets.catalogue import versions
from headrace.datasets.check import Subject, examine
from headrace.datasets.contents import contract_of
from headrace.datasets.contract import NOTHING, Expectations, infer
from headrace.datasets.profile import profile
from headrace.datasets.report import Report
from headrace.datasets.version import CONTRACT, PROFILE, TABLE, DatasetVersion
from headrace.errors import Conflict
from headrace.refs import new_id
from headrace.storage import manifest
from headrace.storage.ledger import Fact, Ledger
from headrace.storage.stores import Stores
from headrace.storage.tables import TableFacts

_TRIES = 20


@dataclass(frozen=True)
class Terms:
    """What data is held against when it is kept.

    Attributes:
        expect: What the project states about the dataset.
        fresh: Infer the contract anew from this data, instead of holding the data against the stored one.
    """

    expect: Expectations = NOTHING
    fresh: bool = False


USUAL = Terms()
Also = Callable[[DatasetVersion], Fact | None]
"""Another fact about a version, recorded with it in one go; None when it is recorded already."""


def unnumbered(name: str, facts: TableFacts, **about: Any) -> DatasetVersion:
    """A version that has no number yet, of a table with these ``facts``.

    Args:
        name: The dataset.
        facts: Of the table.
        **about: ``licence``, ``source``, ``source_digest`` and ``nulls``, as ``DatasetVersion`` has them.
    """
    # A folder of its own, so that racing writers never mix their files.
    folder = f"datasets/{name}/{facts.digest[:32]}-{new_id()[-8:]}"
    plain: dict[str, Any] = {"licence": "", **about}
    return DatasetVersion(
        name=name,
        version=0,
        digest=facts.digest,
        rows=facts.rows,
        schema=facts.schema,
        folder=folder,
        manifest="",
        **plain,
    )


def keep(
    stores: Stores, made: DatasetVersion, folder: Path, *, terms: Terms = USUAL, also: Also | None = None
) -> DatasetVersion:
    """Give the table in ``folder`` a profile, a contract and the next number; equal content stays what it is.

    Args:
        stores: Where to keep it.
        made: What is said of it, still without a number.
        folder: Holds the table, ``data.parquet``; its profile and contract are written beside it.
        terms: What the data is held against.
        also: Says a further fact about the version.

    Raises:
        DataRefused: The data breaks its contract; nothing is stored.
        Conflict: Others kept taking the next number.
    """
    stored = versions(stores.ledger, made.name)
    for version in stored:
        if version.digest == made.digest:
            return _known(stores.ledger, version, made.licence, also)
    frame = stores.tables.scan([folder / TABLE])
    seen = profile(frame)
    contract = infer(seen) if terms.fresh or not stored else contract_of(stores.files, stored[-1])
    report = examine(stores, Subject(made.name, frame, seen), contract, terms.expect)
    report.enforce()
    _write(folder / PROFILE, seen.to_json())
    _write(folder / CONTRACT, contract.to_json())
    kept = manifest.store(stores.files, folder, made.folder, {"rows": made.rows, "digest": made.digest})
    return _record(stores.ledger, replace(made, manifest=kept.digest), report, also)


def licensed(ledger: Ledger, version: DatasetVersion, licence: str) -> DatasetVersion:
    """The stored version, with the licence added or changed by one more fact about it."""
    if licence in {"", version.licence}:
        return version
    amended = replace(version, licence=licence)
    ledger.append([catalogue.fact_of(amended, new=False)])
    return amended


def _record(ledger: Ledger, made: DatasetVersion, report: Report, also: Also | None) -> DatasetVersion:
    """Give it the next number; when somebody else takes that first, look again whether this content is now stored."""
    for _ in range(_TRIES):
        stored = versions(ledger, made.name)
        for version in stored:
            if version.digest == made.digest:
                return _known(ledger, version, made.licence, also)
        numbered = replace(made, version=max((v.version for v in stored), default=0) + 1)
        checked = check.fact_of(replace(report, version=numbered.version))
        try:
            facts = ledger.append([catalogue.fact_of(numbered, new=True), checked, *_more(numbered, also)])
        except Conflict:
            continue
        return replace(numbered, at=facts[0].at)
    raise Conflict("others keep putting versions of it", where=made.name, fix="put it again")


def _known(ledger: Ledger, version: DatasetVersion, licence: str, also: Also | None) -> DatasetVersion:
    ledger.append(_more(version, also))
    return licensed(ledger, version, licence)


def _more(version: DatasetVersion, also: Also | None) -> list[Fact]:
    fact = also(version) if also is not None else None
    return [fact] if fact is not None else []


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, separators=(",", ":"), allow_nan=False), "utf-8")
