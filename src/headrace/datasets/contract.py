"""Contracts: what a dataset promises, inferred from its first version and stated in the project.

What was inferred is an observation: data outside it is an anomaly, reported. What the project states in
``[contract.<dataset>]`` of ``headrace.toml`` is a promise, and so are the columns and their types: data that breaks it
is refused.
"""

import difflib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from headrace.datasets.profile import ColumnProfile, Profile
from headrace.errors import SettingsError
from headrace.settings import is_number

RANGE_SLACK = 0.1
"""Share of the range seen by which later numbers may lie outside it."""
MAX_CATEGORIES = 30
MIN_REPEATS = 20
"""Text is a category when its values occur this often on average."""
MIN_UNIQUE_ROWS = 20


@dataclass(frozen=True)
class Column:
    """What was seen of one column.

    Attributes:
        dtype: narwhals dtype, as text.
        nullable: Whether nulls occurred.
        minimum: Least number seen, less some slack; None for other types.
        maximum: Greatest number seen, and some slack.
        categories: All values, where they are few and repeat; else empty.
        unique: Whether no two rows had the same value: it may be a key.
    """

    dtype: str
    nullable: bool = False
    minimum: float | None = None
    maximum: float | None = None
    categories: tuple[str, ...] = ()
    unique: bool = False


@dataclass(frozen=True)
class Contract:
    """What a dataset's later versions are held against.

    Attributes:
        columns: By name, in the table's order.
    """

    columns: Mapping[str, Column]

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {"columns": {name: asdict(column) for name, column in self.columns.items()}}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Contract":
        """Back from ``to_json``."""
        return cls({n: Column(**{**c, "categories": tuple(c["categories"])}) for n, c in data["columns"].items()})


@dataclass(frozen=True)
class Expectations:
    """What a project states about a dataset: a table ``[contract.<dataset>]`` of ``headrace.toml``.

    Attributes:
        required: Columns that exist and are never null.
        unique: Columns, or lists of columns that together name a row once.
        range: Column to ``{min, max}``, either absent.
        categories: Column to all values it may have.
        max_nulls: Column to the greatest share of nulls.
        references: Column to ``dataset.column`` that its values must be found in; what is not found is counted.
        max_unmatched: Column of ``references`` to the greatest share of rows without a match.
    """

    required: tuple[str, ...] = ()
    unique: tuple[tuple[str, ...], ...] = ()
    range: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    max_nulls: Mapping[str, float] = field(default_factory=dict)
    references: Mapping[str, str] = field(default_factory=dict)
    max_unmatched: Mapping[str, float] = field(default_factory=dict)

    @property
    def columns(self) -> set[str]:
        """Every column that something is stated about."""
        grouped = (self.range, self.categories, self.max_nulls, self.references)
        return {*self.required, *(c for key in self.unique for c in key), *(c for group in grouped for c in group)}


NOTHING = Expectations()
"""Nothing stated."""


def infer(seen: Profile) -> Contract:
    """The contract that a first version suggests."""
    return Contract({name: _infer(column, seen.rows) for name, column in seen.columns.items()})


def expectations(contracts: Mapping[str, Any], dataset: str) -> Expectations:
    """What ``[contract.<dataset>]`` states; nothing when there is no such table.

    Args:
        contracts: The tables ``[contract.*]`` as ``headrace.toml`` has them.
        dataset: Name of the dataset.

    Raises:
        SettingsError: Unknown key, or a value of the wrong form.
    """
    table, where = contracts.get(dataset, {}), f"[contract.{dataset}]"
    if not isinstance(table, Mapping):
        raise SettingsError(f"{where} is {table!r}", why="a table is due")
    names = [f.name for f in fields(Expectations)]
    for key in table:
        if key not in names:
            near = difflib.get_close_matches(key, names, 1)
            fix = f"did you mean {near[0]!r}?" if near else f"one of {', '.join(names)}"
            raise SettingsError(f"unknown key {key!r}", where=where, fix=fix)
    stated = Expectations(**{key: _READ[key](value, f"{where} {key}") for key, value in table.items()})
    if loose := sorted(stated.max_unmatched.keys() - stated.references.keys()):
        raise SettingsError(
            f"max_unmatched of {loose[0]!r} without a reference", where=where, fix="state references too"
        )
    return stated


def _infer(column: ColumnProfile, rows: int) -> Column:
    low, high = column.minimum, column.maximum
    if isinstance(low, int | float) and isinstance(high, int | float):
        slack = (high - low) * RANGE_SLACK
        low = max(low - slack, 0.0) if low >= 0 else low - slack  # what was never negative stays so
        high = min(high + slack, 0.0) if high <= 0 else high + slack
    else:
        low = high = None
    distinct, present = column.distinct or 0, rows - column.nulls
    few = column.family == "text" and 0 < distinct <= MAX_CATEGORIES and present >= distinct * MIN_REPEATS
    key = column.family == "text" or column.dtype.startswith(("Int", "UInt"))
    return Column(
        dtype=column.dtype,
        nullable=column.nulls > 0,
        minimum=low,
        maximum=high,
        categories=tuple(sorted(column.bins.categories)) if few and column.bins else (),
        unique=key and rows >= MIN_UNIQUE_ROWS and distinct == rows,
    )


def _names(value: Any, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        raise SettingsError(f"{where} is {value!r}", why="a list of texts is due")
    return tuple(value)


def _keys(value: Any, where: str) -> tuple[tuple[str, ...], ...]:
    if not isinstance(value, list):
        raise SettingsError(f"{where} is {value!r}", why='a list is due: ["id"] or [["shop", "day"]]')
    return tuple((key,) if isinstance(key, str) else _names(key, where) for key in value)


def _mapping(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise SettingsError(f"{where} is {value!r}", why="a table of columns is due")
    return value


def _shares(value: Any, where: str) -> dict[str, float]:
    shares = _mapping(value, where)
    for column, share in shares.items():
        if not is_number(share) or not 0 <= share <= 1:
            raise SettingsError(f"{where}.{column} is {share!r}", why="a share from 0 to 1 is due")
    return {column: float(share) for column, share in shares.items()}


def _ranges(value: Any, where: str) -> dict[str, dict[str, float]]:
    ranges = _mapping(value, where)
    for column, ends in ranges.items():
        formed = isinstance(ends, Mapping) and ends and ends.keys() <= {"min", "max"}
        if not formed or not all(is_number(end) for end in ends.values()):
            raise SettingsError(
                f"{where}.{column} is {ends!r}", why="{ min = …, max = … } is due, either may be absent"
            )
    return {column: dict(ends) for column, ends in ranges.items()}


def _categories(value: Any, where: str) -> dict[str, tuple[str, ...]]:
    return {column: _names(values, f"{where}.{column}") for column, values in _mapping(value, where).items()}


def _references(value: Any, where: str) -> dict[str, str]:
    references = _mapping(value, where)
    for column, target in references.items():
        if not isinstance(target, str) or not re.fullmatch(r"[A-Za-z0-9_.-]+\.[^.]+", target):
            raise SettingsError(f"{where}.{column} is {target!r}", why="text like customers.id is due")
    return dict(references)


_READ: Mapping[str, Any] = {
    "required": _names,
    "unique": _keys,
    "range": _ranges,
    "categories": _categories,
    "max_nulls": _shares,
    "references": _references,
    "max_unmatched": _shares,
}
