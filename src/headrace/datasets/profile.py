"""Profiles: exact statistics of every column, and counts in bins that later data is compared in."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from typing import Any, Literal

import narwhals as nw
import numpy as np
from numpy.typing import NDArray

from headrace.datasets.bins import BLOCK, MAX_CATEGORIES, TRUTH, Bins, Counts, as_category, quantile_edges

Frame = nw.LazyFrame[Any] | nw.DataFrame[Any]
Family = Literal["number", "boolean", "text", "time", "other"]
TOP = 5
_N = "_headrace_n"
_HEAD_ROWS = 4096


@dataclass(frozen=True)
class ColumnProfile:
    """What one column holds.

    Attributes:
        dtype: narwhals dtype, as text.
        family: How it is described.
        nulls: Null cells.
        nans: NaN cells of a float column; they are not among ``nulls``.
        distinct: Different values, null and NaN not counted; None for nested and binary columns.
        minimum: Least finite number, or earliest time in ISO 8601; None without one.
        maximum: Greatest, likewise.
        mean: Of finite numbers.
        std: Of finite numbers, of the population.
        top: Most frequent values with their counts, at most five; ties in order of value.
        bins: How cells are told apart for drift; None for times and nested columns.
        counts: Cells per bin.
    """

    dtype: str
    family: Family
    nulls: int
    nans: int = 0
    distinct: int | None = None
    minimum: float | str | None = None
    maximum: float | str | None = None
    mean: float | None = None
    std: float | None = None
    top: tuple[tuple[Any, int], ...] = ()
    bins: Bins | None = None
    counts: tuple[int, ...] = ()


@dataclass(frozen=True)
class Profile:
    """Statistics of a table.

    Attributes:
        rows: Number of rows.
        columns: By name, in the table's order.
    """

    rows: int
    columns: Mapping[str, ColumnProfile]

    @property
    def bins(self) -> dict[str, Bins]:
        """The bins of each column that has some."""
        return {name: column.bins for name, column in self.columns.items() if column.bins is not None}

    def count(self, frame: Frame) -> dict[str, Counts]:
        """Exact counts of another table in this profile's bins; columns it lacks are left out."""
        lazy = frame.lazy()
        names = set(lazy.collect_schema())
        return {name: _count(lazy, name, bins) for name, bins in self.bins.items() if name in names}

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        columns = {name: asdict(c) | {"bins": c.bins and c.bins.to_json()} for name, c in self.columns.items()}
        return {"rows": self.rows, "columns": columns}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Profile":
        """Back from ``to_json``."""
        return cls(data["rows"], {name: _column_of(column) for name, column in data["columns"].items()})


def profile(frame: Frame, *, columns: Sequence[str] | None = None, edges_from: Profile | None = None) -> Profile:
    """Describe a table, each column from the exact counts of its values.

    Args:
        frame: A stored table; a plan with joins would run once per column.
        columns: Only these.
        edges_from: Take the bins of this profile instead of fixing new ones.
    """
    lazy = frame.lazy()
    schema = lazy.collect_schema()
    chosen = {name: schema[name] for name in (schema if columns is None else columns)}
    fixed = edges_from.bins if edges_from else {}
    facts = _facts(lazy, chosen)
    described = {
        name: _describe(lazy, name, dtype, facts=facts, bins=fixed.get(name)) for name, dtype in chosen.items()
    }
    return Profile(facts[_N], described)


def family_of(dtype: Any) -> Family:
    """How columns of a narwhals dtype are described."""
    if dtype == nw.Boolean:
        return "boolean"
    if dtype.is_numeric():
        return "number"
    if isinstance(dtype, nw.String | nw.Categorical | nw.Enum):
        return "text"
    return "time" if isinstance(dtype, nw.Datetime | nw.Date) else "other"


def _facts(frame: nw.LazyFrame[Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """What one query over the whole table can say: rows, nulls of each column, the extent of times."""
    asked = [nw.len().alias(_N)]
    for i, (name, dtype) in enumerate(schema.items()):
        column = nw.col(name)
        asked.append(column.null_count().alias(f"nulls{i}"))
        if family_of(dtype) == "time":
            asked += [
                column.min().alias(f"min{i}"),
                column.max().alias(f"max{i}"),
                column.n_unique().alias(f"distinct{i}"),
            ]
    row = _first(frame.select(*asked))
    facts: dict[str, Any] = {_N: int(row[_N])}
    for i, name in enumerate(schema):
        facts[name] = {k: row[f"{k}{i}"] for k in ("nulls", "min", "max", "distinct") if f"{k}{i}" in row}
    numbers = [name for name, dtype in schema.items() if family_of(dtype) == "number"]
    head: Any = _collect(frame.select(*numbers).head(_HEAD_ROWS)) if numbers else {}
    for name in numbers:
        facts[name]["dense"] = len(head[name].unique()) * 2 > len(head[name])
    return facts


def _describe(
    frame: nw.LazyFrame[Any], name: str, dtype: Any, *, facts: Mapping[str, Any], bins: Bins | None
) -> ColumnProfile:
    family, known = family_of(dtype), facts[name]
    nulls = int(known["nulls"] or 0)  # a sum: null over no rows, and a decimal on some engines
    plain = ColumnProfile(str(dtype), family, nulls)
    if family == "other":
        return plain
    if family == "time":
        distinct = int(known["distinct"]) - bool(nulls)  # null counts as a value there
        return replace(plain, distinct=distinct, minimum=_iso(known["min"]), maximum=_iso(known["max"]))
    if family == "number":
        return _with_numbers(plain, *_value_counts(frame, name, dtype, dense=known["dense"]), bins=bins)
    if family == "boolean":
        bins = Bins("category", categories=TRUTH)
    return _with_categories(plain, frame, name, rows=facts[_N], bins=bins)


def _with_numbers(plain: ColumnProfile, values: NDArray[Any], counts: Counts, *, bins: Bins | None) -> ColumnProfile:
    finite = _finite(values)
    v, c = values[finite], counts[finite]
    bins = bins or Bins("number", edges=quantile_edges(v, c))
    binned = bins.count(values, counts)
    binned[-1] += plain.nulls
    facts: dict[str, Any] = {}
    if len(v):
        mean = _mean(v, c)
        std = _mean(v, c, from_mean=mean) ** 0.5
        top = tuple((v[i].item(), int(c[i])) for i in _most_frequent(c))
        facts = {"minimum": v[0].item(), "maximum": v[-1].item(), "mean": mean, "std": std, "top": top}
    beyond = int(np.count_nonzero(np.isnan(values[finite.stop :])))
    nans, distinct = int(counts[len(values) - beyond :].sum()), len(values) - beyond
    return replace(plain, nans=nans, distinct=distinct, bins=bins, counts=tuple(binned.tolist()), **facts)


def _finite(values: NDArray[Any]) -> slice:
    """Where the finite ones of ascending values lie; NaN is last."""
    if values.dtype.kind != "f":
        return slice(0, len(values))
    return slice(int(np.searchsorted(values, -np.inf, "right")), int(np.searchsorted(values, np.inf, "left")))


def _mean(values: NDArray[Any], counts: Counts, from_mean: float | None = None) -> float:
    """The mean of numbers, or of their squared distances from it; each counts so often."""
    total = 0.0
    for start in range(0, len(values), BLOCK):
        part = values[start : start + BLOCK].astype(np.float64)
        if from_mean is not None:
            part = (part - from_mean) ** 2
        total += float((part * counts[start : start + BLOCK]).sum())
    return total / float(counts.sum())


def _most_frequent(counts: Counts) -> NDArray[np.int64]:
    """Places of the ``TOP`` greatest counts, greatest first, equal ones in order; without sorting all of them."""
    blocks = range(0, len(counts), BLOCK)
    places = np.concatenate([start + _greatest(counts[start : start + BLOCK]) for start in blocks])
    return places[np.argsort(-counts[places], kind="stable")][:TOP]


def _greatest(counts: Counts) -> NDArray[np.int64]:
    """Places in one block, equal counts in order, among them its ``TOP`` greatest."""
    if len(counts) <= TOP or counts.min() == counts.max():
        return np.arange(min(TOP, len(counts)))
    least = np.partition(counts, -TOP)[-TOP]
    return np.concatenate([np.flatnonzero(counts > least), np.flatnonzero(counts == least)[:TOP]])


def _with_categories(
    plain: ColumnProfile, frame: nw.LazyFrame[Any], name: str, *, rows: int, bins: Bins | None
) -> ColumnProfile:
    grouped = _grouped(frame, name)
    head = _collect(grouped.sort(_N, name, descending=[True, False]).head(MAX_CATEGORIES + 1))
    most = {as_category(v): int(n) for v, n in zip(head[name].to_list(), head[_N].to_list(), strict=True)}
    distinct = len(most)
    if distinct > MAX_CATEGORIES:
        distinct = int(_first(grouped.select(nw.len().alias(_N)))[_N])
        most.popitem()
    if bins is None:
        bins, found = Bins("category", categories=tuple(most)), most
    elif distinct > len(most):
        found = _category_counts(frame, name, bins)
    else:
        found = most
    binned = _fill(bins, found, rows - plain.nulls, plain.nulls)
    top = tuple(list(most.items())[:TOP])
    return replace(plain, distinct=distinct, top=top, bins=bins, counts=tuple(binned.tolist()))


def _count(frame: nw.LazyFrame[Any], name: str, bins: Bins) -> Counts:
    facts = _first(frame.select(nw.len().alias("rows"), nw.col(name).null_count().alias("nulls")))
    rows, nulls = int(facts["rows"]), int(facts["nulls"] or 0)
    if bins.kind == "category":
        return _fill(bins, _category_counts(frame, name, bins), rows - nulls, nulls)
    values, counts = _value_counts(frame, name, frame.collect_schema()[name])
    binned = bins.count(values, counts)
    binned[-1] += nulls
    return binned


def _category_counts(frame: nw.LazyFrame[Any], name: str, bins: Bins) -> dict[str, int]:
    dtype = frame.collect_schema()[name]
    wanted: Any = [False, True] if dtype == nw.Boolean else list(bins.categories)
    if not wanted:
        return {}
    found = _collect(_grouped(frame.filter(nw.col(name).is_in(wanted)), name))
    return {as_category(v): int(n) for v, n in zip(found[name].to_list(), found[_N].to_list(), strict=True)}


def _fill(bins: Bins, found: Mapping[str, int], present: int, nulls: int) -> Counts:
    counts = [found.get(category, 0) for category in bins.categories]
    return np.array([*counts, present - sum(counts), nulls], dtype=np.int64)


def _value_counts(
    frame: nw.LazyFrame[Any], name: str, dtype: Any, *, dense: bool = False
) -> tuple[NDArray[Any], Counts]:
    """Different values of a number column, ascending, and how often each occurs; nulls left out.

    Where nearly every value is another one (``dense``) sorting them is cheaper than grouping them.
    """
    if dtype.is_decimal():
        frame = frame.with_columns(nw.col(name).cast(nw.Float64))
    if dense:
        cells = _cells_of(_collect(frame.select(name).filter(~nw.col(name).is_null()))[name].to_native())
        return _told_apart(cells)
    grouped = _collect(_grouped(frame, name))
    values, counts = grouped[name].to_numpy(), grouped[_N].to_numpy().astype(np.int64)
    order = np.argsort(values)
    return values[order], counts[order]


def _cells_of(column: Any) -> NDArray[Any]:
    """The cells of an Arrow column, the caller's last reference to it: each chunk is freed once copied."""
    cells = np.empty(len(column), dtype=column.slice(0, 0).to_numpy().dtype)
    chunks, filled = column.chunks, 0
    del column
    chunks.reverse()
    while chunks:
        part = chunks.pop().to_numpy(zero_copy_only=False)
        cells[filled : filled + len(part)] = part
        filled += len(part)
    return cells


def _told_apart(cells: NDArray[Any]) -> tuple[NDArray[Any], Counts]:
    """Different values, ascending, and how often each occurs; cells that may be written are sorted in place."""
    ordered = cells if cells.flags.writeable else cells.copy()
    ordered.sort()
    new = np.ones(len(ordered), dtype=bool)
    np.not_equal(ordered[1:], ordered[:-1], out=new[1:])
    if ordered.dtype.kind == "f":
        new[np.searchsorted(ordered, np.nan) + 1 :] = False  # NaN differs from itself, and is one value
    if new.all():
        return ordered, np.broadcast_to(np.int64(1), len(ordered))
    return _drawn_together(ordered, new)


def _drawn_together(ordered: NDArray[Any], new: NDArray[np.bool_]) -> tuple[NDArray[Any], Counts]:
    """The values that are ``new``, moved to the front of ``ordered``, and how far each is from the next new one."""
    distinct, filled = int(np.count_nonzero(new)), 0
    starts = np.empty(distinct + 1, dtype=np.int64)
    starts[-1] = len(ordered)
    for start in range(0, len(ordered), BLOCK):
        places = start + np.flatnonzero(new[start : start + BLOCK])
        part = slice(filled, filled + len(places))
        starts[part], ordered[part] = places, ordered[places]
        filled += len(places)
    for start in range(0, distinct, BLOCK):
        starts[start : min(start + BLOCK, distinct)] = np.diff(starts[start : start + BLOCK + 1])
    return ordered[:distinct], starts[:distinct]


def _grouped(frame: nw.LazyFrame[Any], name: str) -> nw.LazyFrame[Any]:
    return frame.filter(~nw.col(name).is_null()).group_by(name).agg(nw.len().alias(_N))


def _collect(frame: nw.LazyFrame[Any]) -> nw.DataFrame[Any]:
    return frame.collect("pyarrow")


def _first(frame: nw.LazyFrame[Any]) -> dict[str, Any]:
    return next(iter(_collect(frame).iter_rows(named=True)))


def _iso(value: date | None) -> str | None:
    return None if value is None else value.isoformat()


def _column_of(data: Mapping[str, Any]) -> ColumnProfile:
    bins = Bins.from_json(data["bins"]) if data["bins"] else None
    top = tuple((value, count) for value, count in data["top"])
    return ColumnProfile(**{**data, "bins": bins, "top": top, "counts": tuple(data["counts"])})
