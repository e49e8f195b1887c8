"""Splits by the order of a column: the past to learn from, the future to be judged on."""

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from headrace.errors import DataRefused, UsageError

if TYPE_CHECKING:
    import narwhals as nw


def split(
    rows: "nw.LazyFrame[Any]", by: str, *, test: float | None = None, at: Any = None
) -> tuple["nw.LazyFrame[Any]", "nw.LazyFrame[Any]"]:
    """Part rows into those before and those from an edge in the order of ``by``, each sorted.

    Rows with equal ``by`` stay together. Both parts are sorted by ``by``, then by all other columns, so that equal rows
    come in an equal order whichever engine made them.

    Args:
        rows: The table.
        by: A column without nulls, such as the time of each row.
        test: Share of rows in the second part, in (0, 1); a little more where the edge falls among equal values.
        at: The edge itself: first value of the second part. ISO text is read as the column's type.

    Returns:
        The rows before the edge, and those from it on.

    Raises:
        UsageError: Not exactly one of ``test`` and ``at`` is given, there is no such column, or a part would be empty.
        DataRefused: The column holds nulls, which have no order.
    """
    import narwhals as nw

    if (test is None) == (at is None):
        raise UsageError("a split needs an edge", fix="give test=0.2 (a share) or at=... (a value), not both")
    schema = rows.collect_schema()
    if by not in schema:
        raise UsageError(f"cannot split by {by!r}", why="there is no such column", fix=f"one of {', '.join(schema)}")
    column = rows.select(by).collect()[by]
    if column.is_null().any():
        raise DataRefused(
            f"cannot split by {by!r}",
            why=f"{column.null_count()} rows have none",
            fix="filter them out in a step before",
        )
    edge = _edge(column.sort(), test) if test is not None else _typed(at, schema[by])
    before = int((column < edge).sum())
    if not 0 < before < len(column):
        raise UsageError(
            f"splitting by {by!r} at {edge} leaves a part empty",
            why=f"the column goes from {column.min()} to {column.max()}",
            fix="choose another edge",
        )
    order = [by, *(name for name in schema if name != by)]
    value = nw.lit(edge)
    return rows.filter(nw.col(by) < value).sort(*order), rows.filter(nw.col(by) >= value).sort(*order)


def tail(rows: "nw.DataFrame[Any]", share: float) -> tuple["nw.DataFrame[Any]", "nw.DataFrame[Any]"]:
    """All but the last ``share`` of rows in the order they are in, and those last."""
    cut = round(len(rows) * (1 - share))
    if not 0 < cut < len(rows):
        raise UsageError(f"{len(rows)} rows are too few to set {share:.0%} aside", fix="pass valid= a table of its own")
    return rows[:cut], rows[cut:]


def _edge(ordered: "nw.Series[Any]", test: float) -> Any:
    if not 0 < test < 1:
        raise UsageError(f"test={test} is no share", fix="a number between 0 and 1, such as 0.2")
    return ordered[min(int(len(ordered) * (1 - test)), len(ordered) - 1)]


def _typed(value: Any, dtype: Any) -> Any:
    """ISO text as the type of a date or time column; everything else as it is."""
    import narwhals as nw

    if not isinstance(value, str) or not dtype.is_temporal():
        return value
    try:
        if dtype == nw.Date:
            return date.fromisoformat(value)
        moment = datetime.fromisoformat(value)
    except ValueError as error:
        raise UsageError(
            f"at={value!r} is no date or time", why=str(error), fix="2026-01-31 or 2026-01-31T12:00"
        ) from error
    zoned = getattr(dtype, "time_zone", None) is not None
    if zoned:
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return moment.replace(tzinfo=None)
