"""Hold a table against its contract: what is merely dirty, what is unusual, what is refused."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import narwhals as nw

from headrace.datasets.catalogue import find
from headrace.datasets.contents import contract_of, profile_of, table
from headrace.datasets.contract import NOTHING, Column, Contract, Expectations
from headrace.datasets.profile import ColumnProfile, Profile
from headrace.datasets.report import Finding, Level, Report
from headrace.errors import Conflict, NotFound
from headrace.storage.ledger import Fact, Ledger
from headrace.storage.stores import Stores

KIND = "dataset.checked"
ALERT = "alert"
_LEVELS: tuple[Level, ...] = ("broken", "anomaly", "dirt")


@dataclass(frozen=True)
class Subject:
    """A table to be checked.

    Attributes:
        dataset: Its name.
        frame: Its rows.
        seen: Its profile.
    """

    dataset: str
    frame: nw.LazyFrame[Any]
    seen: Profile


def check(stores: Stores, ref: str, expect: Expectations = NOTHING) -> Report:
    """Check a stored version against its contract and what the project states, and record the result as a fact.

    Args:
        stores: Where it is kept.
        ref: ``name`` or ``name@version``.
        expect: What the project states about the dataset.

    Raises:
        NotFound: There is no such version.
    """
    version = find(stores.ledger, ref)
    subject = Subject(version.name, table(stores, version), profile_of(stores.files, version))
    report = replace(examine(stores, subject, contract_of(stores.files, version), expect), version=version.version)
    stores.ledger.append([fact_of(report)])
    _alert(stores.ledger, report)
    return report


def fact_of(report: Report) -> Fact:
    """The report as a fact; of very many findings the gravest."""
    body = report.to_json()
    return Fact(KIND, report.dataset, {**body, "findings": body["findings"][:100]})


def _alert(ledger: Ledger, report: Report) -> None:
    """Say once of each broken promise of a stored version that it needs a look."""
    told = {fact.unique for fact in ledger.query(ALERT, report.dataset)}
    for found in report.of("broken"):
        mark = f"{report.dataset}@{report.version}/{found.rule}/{found.column}"
        about = {"about": "contract", "window": "", "version": report.version, "column": found.column}
        fact = Fact(ALERT, report.dataset, {**about, "value": found.count, "message": found.message}, unique=mark)
        with suppress(Conflict):  # another check tells it at this moment
            if mark not in told:
                ledger.append([fact])


def examine(stores: Stores, subject: Subject, contract: Contract, expect: Expectations) -> Report:
    """All findings about a table, each with its exact count.

    Args:
        stores: Where datasets that it refers to are kept.
        subject: The table.
        contract: What was seen before.
        expect: What the project states.
    """
    found = [
        *_structure(subject.seen, contract, expect),
        *_nulls(subject.seen, contract, expect),
        *_values(subject, contract, expect),
        *_keys(subject, contract, expect),
        *_references(stores, subject, expect),
    ]
    findings = tuple(sorted(found, key=lambda f: (_LEVELS.index(f.level), -f.count)))
    return Report(subject.dataset, subject.seen.rows, findings)


def _structure(seen: Profile, contract: Contract, expect: Expectations) -> Iterator[Finding]:
    for name in [*contract.columns, *sorted(expect.columns - contract.columns.keys())]:
        if name not in seen.columns:
            yield Finding("broken", "missing", name, 0, 0.0, f"column {name!r} is missing")
        elif name in contract.columns and (due := contract.columns[name].dtype) != (is_ := seen.columns[name].dtype):
            yield Finding("broken", "dtype", name, 0, 0.0, f"column {name!r} is {is_} instead of {due}")
    for name in seen.columns:
        if name not in contract.columns:
            yield Finding("anomaly", "extra", name, 0, 0.0, f"column {name!r} was not there before")


def _nulls(seen: Profile, contract: Contract, expect: Expectations) -> Iterator[Finding]:
    for name, column in seen.columns.items():
        known = contract.columns.get(name)
        if column.nulls:
            level, why = _null_level(name, column.nulls / seen.rows, known, expect)
            message = f"{column.nulls:,} null{'s' * (column.nulls > 1)} in {name!r}{why}"
            yield Finding(level, "nulls", name, column.nulls, column.nulls / seen.rows, message)
        if column.nans:
            message = f"{column.nans:,} NaN in {name!r}"
            yield Finding("dirt", "nan", name, column.nans, column.nans / seen.rows, message)


def _null_level(name: str, share: float, known: Column | None, expect: Expectations) -> tuple[Level, str]:
    if name in expect.required:
        return "broken", ", which is required"
    if share > (most := expect.max_nulls.get(name, 1.0)):
        return "broken", f": {share:.2%}, at most {most:.2%} are allowed"
    if known is not None and not known.nullable and name not in expect.max_nulls:
        return "anomaly", ", which had none"
    return "dirt", ""


def _values(subject: Subject, contract: Contract, expect: Expectations) -> Iterator[Finding]:
    """Numbers out of range and unknown categories; one query counts all that the profile makes suspicious."""
    suspects: dict[str, tuple[Level, str, nw.Expr, str]] = {}
    for name, column in subject.seen.columns.items():
        for suspect in (
            _range_suspect(name, column, contract, expect),
            _category_suspect(name, column, contract, expect),
        ):
            if suspect is not None:
                suspects[name] = suspect
    if not suspects:
        return
    asked = [s[2].cast(nw.Int64).sum().alias(str(i)) for i, s in enumerate(suspects.values())]
    counts = next(iter(subject.frame.select(*asked).collect("pyarrow").iter_rows(named=True)))
    for i, (name, (level, rule, _, message)) in enumerate(suspects.items()):
        if count := int(counts[str(i)] or 0):
            yield Finding(
                level, rule, name, count, count / subject.seen.rows, f"{count:,} values of {name!r} {message}"
            )


def _range_suspect(
    name: str, column: ColumnProfile, contract: Contract, expect: Expectations
) -> tuple[Level, str, nw.Expr, str] | None:
    stated, known = expect.range.get(name), contract.columns.get(name)
    if column.family != "number" or not isinstance(column.minimum, int | float):
        return None
    level: Level = "anomaly" if stated is None else "broken"
    low, high = (stated.get("min"), stated.get("max")) if stated is not None else _inferred_range(known)
    least, most = column.minimum, column.maximum
    tests = []
    if low is not None and least < low:
        tests.append(nw.col(name) < low)
    if high is not None and isinstance(most, int | float) and most > high:
        tests.append(nw.col(name) > high)
    if not tests:
        return None
    wrong = [f"below {low:g}" if low is not None else "", f"above {high:g}" if high is not None else ""]
    ends = " or ".join(filter(None, wrong))
    return level, "range", nw.any_horizontal(*tests, ignore_nulls=True), f"{ends} (from {least:g} to {most:g})"


def _inferred_range(known: Column | None) -> tuple[float | None, float | None]:
    return (known.minimum, known.maximum) if known is not None else (None, None)


def _category_suspect(
    name: str, column: ColumnProfile, contract: Contract, expect: Expectations
) -> tuple[Level, str, nw.Expr, str] | None:
    stated, known = expect.categories.get(name), contract.columns.get(name)
    allowed = stated if stated is not None else (known.categories if known is not None else ())
    if not allowed or column.family != "text" or column.bins is None:
        return None
    strange = [c for c in column.bins.categories if c not in allowed]
    if not strange and (column.distinct or 0) <= len(column.bins.categories):
        return None
    level: Level = "anomaly" if stated is None else "broken"
    test = ~nw.col(name).is_in(list(allowed)) & ~nw.col(name).is_null()
    return level, "categories", test, f"are unknown categories: {', '.join(strange[:5])}"


def _keys(subject: Subject, contract: Contract, expect: Expectations) -> Iterator[Finding]:
    seen = subject.seen
    levels: dict[tuple[str, ...], Level] = {(n,): "anomaly" for n, column in contract.columns.items() if column.unique}
    levels.update(dict.fromkeys(expect.unique, "broken"))
    for key, level in levels.items():
        if not seen.columns.keys() >= set(key):
            continue
        column = seen.columns[key[0]]
        if len(key) == 1 and column.distinct is not None:
            count = seen.rows - column.nulls - column.nans - column.distinct
        else:
            distinct = subject.frame.select(*key).unique().select(nw.len().alias("n")).collect("pyarrow")["n"][0]
            count = seen.rows - int(distinct)
        if count:
            names = ", ".join(key)
            yield Finding(
                level, "duplicates", names, count, count / seen.rows, f"{count:,} rows repeat a key ({names})"
            )


def _references(stores: Stores, subject: Subject, expect: Expectations) -> Iterator[Finding]:
    for name, target in expect.references.items():
        if name not in subject.seen.columns:
            continue
        dataset, _, column = target.rpartition(".")
        try:
            other = table(stores, find(stores.ledger, dataset))
        except NotFound:
            yield Finding(
                "anomaly", "unchecked", name, 0, 0.0, f"{name!r} refers to {target}, but there is no {dataset}"
            )
            continue
        is_, due = subject.seen.columns[name].dtype, other.collect_schema().get(column)
        if str(due) != is_:
            yield Finding("broken", "unmatched", name, 0, 0.0, f"{name!r} is {is_}, but {target} is {due or 'missing'}")
            continue
        # Left rows whose value is null match nothing, and count.
        missing = subject.frame.select(name).join(other.select(column), left_on=name, right_on=column, how="anti")
        count = int(missing.select(nw.len().alias("n")).collect("pyarrow")["n"][0])
        if count:
            yield _unmatched(subject.seen, name, target, count=count, most=expect.max_unmatched.get(name, 1.0))


def _unmatched(seen: Profile, name: str, target: str, *, count: int, most: float) -> Finding:
    share, nulls = count / seen.rows, seen.columns[name].nulls
    message = f"{count:,} rows ({share:.1%}) whose {name!r} is not in {target}, {nulls:,} of them null"
    if share > most:
        return Finding("broken", "unmatched", name, count, share, f"{message}; at most {most:.1%} are allowed")
    return Finding("dirt", "unmatched", name, count, share, message)
