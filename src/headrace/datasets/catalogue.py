"""Which datasets there are."""

import difflib
from dataclasses import replace

from headrace.datasets.version import DatasetVersion
from headrace.errors import NotFound
from headrace.refs import Ref
from headrace.storage.ledger import Fact, Ledger

KIND = "dataset.version"


def versions(ledger: Ledger, name: str | None = None) -> list[DatasetVersion]:
    """Every stored version of dataset ``name`` (of all datasets when None), oldest first.

    A later fact about a stored version (its licence, say) replaces what the earlier one said; its time stays.
    """
    stored: dict[tuple[str, int], DatasetVersion] = {}
    for fact in ledger.query(KIND, name):
        version = DatasetVersion.from_json({**fact.body, "at": fact.at})
        known = stored.get((version.name, version.version))
        stored[version.name, version.version] = replace(version, at=known.at) if known else version
    return list(stored.values())


def fact_of(version: DatasetVersion, *, new: bool) -> Fact:
    """The fact that makes a ``new`` version exist, its number taken by nobody else, or says more about a stored one."""
    body = {key: value for key, value in version.to_json().items() if key != "at"}
    return Fact(KIND, version.name, body, unique=str(version) if new else None)


def find(ledger: Ledger, ref: str) -> DatasetVersion:
    """The version that ``name`` (the newest) or ``name@version`` means.

    Raises:
        NotFound: There is none; the message names the nearest dataset.
        NameRefused: ``ref`` is not a reference.
    """
    wanted = Ref.parse(ref)
    stored = versions(ledger, wanted.name)
    if not stored:
        raise _unknown(ledger, wanted.name)
    if not wanted.selector:
        return stored[-1]
    for version in stored:
        if version.version == wanted.version:
            return version
    raise NotFound(
        f"no version {wanted.selector!r} of dataset {wanted.name!r}",
        why=f"there are {', '.join(str(v.version) for v in stored)}",
        fix=f"headrace data show {wanted.name}",
    )


def _unknown(ledger: Ledger, name: str) -> NotFound:
    names = sorted({fact.subject for fact in ledger.query(KIND)})
    near = difflib.get_close_matches(name, names, 1)
    why = f"did you mean {near[0]!r}?" if near else (f"there are {', '.join(names)}" if names else "none is stored yet")
    return NotFound(f"no dataset {name!r}", why=why, fix="headrace data ls, or headrace data put FILE")
