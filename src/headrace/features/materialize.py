"""Materialize: the newest features of each entity, from a dataset version into the online store."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import narwhals as nw
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from headrace.datasets import catalogue, contents
from headrace.datasets.version import DatasetVersion
from headrace.errors import DataRefused, UsageError
from headrace.features.online import Cells, Key, OnlineFeatures
from headrace.features.point_in_time import latest
from headrace.features.view import DTYPES, KEY_DTYPES, FeatureView, fact_of, version_of, views
from headrace.refs import checked_name
from headrace.storage.stores import Stores

_AT = "_headrace_newest"
_BATCH_ROWS = 8192
_FLOAT32_MAX = 3.4028234663852886e38
_NAMES: Mapping[str, str] = {"double": "float64", "float": "float32", "large_string": "string"}


Allow = Callable[[FeatureView], None]


@dataclass(frozen=True)
class Materialization:
    """What is to be materialized.

    Attributes:
        view: Its name.
        data: The dataset version that it is made from (``orders``, ``orders@3``).
        by: Columns that name an entity.
        columns: Its features; empty for every column that is neither in ``by`` nor the event time.
        event_time: Column that says when a row became known: of each entity the newest row counts. Empty where each
            entity has one row.
    """

    view: str
    data: str
    by: Sequence[str]
    columns: Sequence[str] = ()
    event_time: str = ""


def _anything(_: FeatureView) -> None:
    """Nobody needs the view."""


def materialize(
    stores: Stores, online: OnlineFeatures, asked: Materialization, *, allow: Allow = _anything
) -> FeatureView:
    """Write the newest features of each entity; readers see the version before, or this one.

    The newest are what ``point_in_time.latest`` joins to a row at the end of all time, so that training and serving
    have one definition. Rows whose key or event time is null are of no entity. The version is recorded before it is
    written: whatever is read online, the ledger knows where it comes from.

    Args:
        stores: Where the dataset and the ledger are.
        online: Where the features are written.
        asked: What is to be materialized.
        allow: Raises where who reads the view could not do with this version of it; nothing is written then.

    Raises:
        NotFound: No such dataset or version.
        UsageError: A column is missing, or of a type that cannot be a key or a feature; or an entity has more than
            one row and no event time tells the newest.
        DataRefused: A feature is infinite, or too large for a model.
        Conflict: Somebody else materializes this view now.
        Unavailable: The store cannot be written.
    """
    checked_name(asked.view, of="feature view")
    data = catalogue.find(stores.ledger, asked.data)
    rows = newest(contents.table(stores, data), asked, where=str(data))
    with stores.folder("features-") as folder:
        path = folder / "view.parquet"
        written = stores.tables.write(rows, path)
        view = _described(path, asked, data, written.digest)
        allow(view)
        known = views(stores.ledger, view.name)
        if not known or known[-1].version != view.version or known[-1].dataset_digest != view.dataset_digest:
            stores.ledger.append([fact_of(view)])
        online.write(view, _rows(path, view))
    return view


def newest(rows: nw.LazyFrame[Any], asked: Materialization, *, where: str = "") -> nw.LazyFrame[Any]:
    """The newest row of each entity: its keys, then its features; of several at one instant as ``latest`` says.

    Raises:
        UsageError: A column is missing, or an entity has more than one row and no event time tells the newest.
    """
    columns = _chosen(rows, asked, where)
    keys, time = tuple(asked.by), asked.event_time
    present = [~nw.col(name).is_null() for name in (*keys, *([time] if time else []))]
    events = rows.select(*keys, *columns, *([time] if time else [])).filter(*present)
    if not time:
        _check_single(events, keys, where)
        return events
    entities = events.group_by(*keys).agg(nw.col(time).max().alias(_AT))
    return latest(entities, events, by=keys, at=_AT, event_time=time).select(*keys, *columns)


def _chosen(rows: nw.LazyFrame[Any], asked: Materialization, where: str) -> list[str]:
    known = rows.collect_schema().names()
    time = [asked.event_time] if asked.event_time else []
    for name in (*asked.by, *asked.columns, *time):
        if name not in known:
            raise UsageError(f"no column {name!r}", where=where, why=f"there are {', '.join(known)}")
    if not asked.by:
        raise UsageError("no column names an entity", where=asked.view, fix="--by COLUMN")
    columns = list(asked.columns) or [name for name in known if name not in (*asked.by, *time)]
    if twice := [name for name in columns if name in (*asked.by, *time) or columns.count(name) > 1]:
        raise UsageError(
            f"column {twice[0]!r} has two parts", where=asked.view, why="it is a key, a time, or a feature"
        )
    if not columns:
        raise UsageError("no features are left", where=where, why=f"every column is in --by: {', '.join(asked.by)}")
    return columns


def _check_single(rows: nw.LazyFrame[Any], keys: Sequence[str], where: str) -> None:
    counted = rows.group_by(*keys).agg(nw.len().alias(_AT)).filter(nw.col(_AT) > 1).head(1).collect("pyarrow")
    for row in counted.iter_rows(named=True):
        entity = ", ".join(f"{name} {row[name]!r}" for name in keys)
        raise UsageError(
            f"entity {entity} has {row[_AT]} rows",
            where=where,
            why="nothing says which of them is the newest",
            fix="--event-time COLUMN, or --by more columns",
        )


def _described(path: Path, asked: Materialization, data: DatasetVersion, digest: str) -> FeatureView:
    dtypes = {field.name: _NAMES.get(str(field.type), str(field.type)) for field in pq.read_schema(path)}
    for name, dtype in dtypes.items():
        allowed = KEY_DTYPES if name in asked.by else DTYPES
        if dtype not in allowed:
            part = "a key" if name in asked.by else "a feature"
            raise UsageError(
                f"column {name!r} cannot be {part}",
                where=str(data),
                why=f"it is {dtype}; one of {', '.join(allowed)} is due",
                fix="name the others with --columns, or cast it in the dataset",
            )
    keys = {name: dtypes[name] for name in asked.by}
    columns = {name: dtype for name, dtype in dtypes.items() if name not in keys}
    return FeatureView(
        name=asked.view,
        version=version_of(digest, keys, columns),
        keys=keys,
        columns=columns,
        rows=pq.read_metadata(path).num_rows,
        dataset=str(data),
        dataset_digest=data.digest,
        event_time=asked.event_time,
    )


def _rows(path: Path, view: FeatureView) -> Iterator[tuple[Key, Cells]]:
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(_BATCH_ROWS):
            keys = [batch.column(name).to_pylist() for name in view.keys]
            cells = [_finite(batch.column(name), name, view).to_pylist() for name in view.columns]
            yield from zip(zip(*keys, strict=True), zip(*cells, strict=True), strict=True)


def _finite(column: pa.Array, name: str, view: FeatureView) -> pa.Array:
    """A feature's values, where NaN is null as well."""
    if not pa.types.is_floating(column.type):
        return column
    known = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
    highest = pc.max(pc.abs(known)).as_py()
    if highest is not None and highest > _FLOAT32_MAX:
        raise DataRefused(
            f"feature {name!r} of view {view.name} is refused",
            where=view.dataset,
            why=f"{highest} is more than a model takes (float32)",
            fix="clean the dataset, or leave the column out of --columns",
        )
    return known
