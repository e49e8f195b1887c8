"""What was known at an instant: the last event before it, and sums over the events of a window that ends there.

Both are a union of the rows' instants with the events, ordered in time, and window functions over it, in narwhals
alone: the same code gives the same answer on every table engine. An event at exactly the row's instant counts as known;
where it must not, declare it known a microsecond later.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import narwhals as nw

from headrace.errors import UsageError

Frame = nw.LazyFrame[Any]
By = str | Sequence[str]

_AT, _KIND, _GROUP = "_headrace_at", "_headrace_kind", "_headrace_group"
_SIGN, _COUNT = "_headrace_sign", "_headrace_count"
_EVENT, _ROW = 0, 1  # at one instant events come first, so that a row sees them


def latest(
    rows: Frame, events: Frame, *, by: By, at: str, event_time: str, within: timedelta | int | None = None
) -> Frame:
    """Add to each row the values of the newest event known at its instant.

    Args:
        rows: What is asked about; every row is kept, in no particular order.
        events: What became known. Each of its columns besides ``by`` and ``event_time`` is added to the rows.
        by: Column or columns that must be equal; null equals nothing.
        at: Column of ``rows``: the instant that is asked about.
        event_time: Column of ``events``: when it became known; of the same type as ``at``.
        within: The oldest event that still counts (a duration; a number where the times are integers).

    Returns:
        The rows with the events' columns, null where no event was known. The event's nulls are its values and are not
        replaced by older ones. Of several events at one instant the greatest by value counts, column by column in
        their order, so that the result does not depend on the order of the input.

    Raises:
        UsageError: A column is missing, is in both frames, or the times have different types.
    """
    keys = _keys(by)
    row_schema, values = _checked(rows, events, keys, at, event_time)
    stamp = f"{_AT}_event"
    past = events.filter(~nw.any_horizontal(*(nw.col(c).is_null() for c in (*keys, event_time)), ignore_nulls=False))
    past = past.select(
        *keys,
        *(nw.lit(None).cast(dtype).alias(name) for name, dtype in row_schema.items() if name not in keys),
        *values,
        nw.col(event_time).alias(_AT),
        nw.col(event_time).alias(stamp),
        nw.lit(_EVENT).alias(_KIND),
    )
    asked = rows.select(
        *keys,
        *(name for name in row_schema if name not in keys),
        *(nw.lit(None).cast(dtype).alias(name) for name, dtype in values.items()),
        nw.col(at).alias(_AT),
        nw.lit(None).cast(row_schema[at]).alias(stamp),
        nw.lit(_ROW).alias(_KIND),
    )
    # Each event opens a group that holds it and the rows up to the next one: a maximum over the group is its value.
    grouped = nw.concat([past, asked]).with_columns(
        (1 - nw.col(_KIND)).cum_sum().over(*keys, order_by=[_AT, _KIND, *values]).alias(_GROUP)
    )
    known = grouped.with_columns(*(nw.col(name).max().over(*keys, _GROUP) for name in (*values, stamp)))
    known = known.filter(nw.col(_KIND) == _ROW)
    if within is not None:
        fresh = nw.col(stamp) >= nw.col(at) - within
        known = known.with_columns(*(nw.when(fresh).then(nw.col(name)).alias(name) for name in values))
    return known.select(*row_schema, *values)


def recent(rows: Frame, events: Frame, *, by: By, at: str, event_time: str, window: timedelta | int) -> Frame:
    """Add to each row sums over the events that became known in ``(at - window, at]``.

    Args:
        rows: What is asked about; every row is kept, in no particular order.
        events: What became known. For each of its columns besides ``by`` and ``event_time`` (numbers or truth values)
            the sum is added to the rows; the sum of a column of ones is a count.
        by: Column or columns that must be equal; null equals nothing.
        at: Column of ``rows``: the instant that is asked about.
        event_time: Column of ``events``: when it became known; of the same type as ``at``.
        window: How far back to look (a duration; a number where the times are integers).

    Returns:
        The rows with the sums: 0 where nothing happened, null where the instant or a key is null. Nulls, NaN and
        infinities among the events add nothing. Sums of integers and truth values are ``Int64`` and exact; sums of
        floats are differences of running sums and exact to the rounding of those.

    Raises:
        UsageError: A column is missing, is in both frames, cannot be summed, or the times have different types.
    """
    keys = _keys(by)
    row_schema, values = _checked(rows, events, keys, at, event_time)
    summed = {name: _summable(name, dtype) for name, dtype in values.items()}
    summed[_COUNT] = (nw.lit(1), nw.Int64)
    present = [~nw.col(c).is_null() for c in (*keys, at)]
    instants = rows.filter(*present).select(*keys, at).unique()

    def edge(when: nw.Expr, sign: int) -> Frame:
        zeros = (nw.lit(0).cast(kind).alias(name) for name, (_, kind) in summed.items())
        return instants.select(*keys, at, when.alias(_AT), *zeros, nw.lit(_ROW).alias(_KIND), nw.lit(sign).alias(_SIGN))

    happened = events.filter(*(~nw.col(c).is_null() for c in (*keys, event_time))).select(
        *keys,
        nw.lit(None).cast(row_schema[at]).alias(at),
        nw.col(event_time).alias(_AT),
        *(expression.cast(kind).alias(name) for name, (expression, kind) in summed.items()),
        nw.lit(_EVENT).alias(_KIND),
        nw.lit(0).alias(_SIGN),
    )
    union = nw.concat([happened, edge(nw.col(at), 1), edge(nw.col(at) - window, -1)])
    running = union.with_columns(
        *(nw.col(name).cum_sum().over(*keys, order_by=[_AT, _KIND, name]).alias(name) for name in summed)
    ).filter(nw.col(_KIND) == _ROW)
    sums = running.group_by(*keys, at).agg(
        *((nw.col(name) * nw.col(_SIGN)).sum().cast(kind).alias(name) for name, (_, kind) in summed.items())
    )
    # A window without events sums to 0, not to what rounding left of two equal running sums.
    happened_at_all = nw.col(_COUNT) > 0
    sums = sums.with_columns(
        *(nw.when(happened_at_all).then(nw.col(n)).otherwise(nw.lit(0).cast(summed[n][1])).alias(n) for n in values)
    )
    return rows.join(sums, on=[*keys, at], how="left").select(*row_schema, *values)


def _keys(by: By) -> tuple[str, ...]:
    return (by,) if isinstance(by, str) else tuple(by)


def _checked(
    rows: Frame, events: Frame, keys: Sequence[str], at: str, event_time: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Columns of the rows, and the events' columns that will be added, each with its dtype."""
    left, right = dict(rows.collect_schema()), dict(events.collect_schema())
    for schema, needed, frame in ((left, (*keys, at), "rows"), (right, (*keys, event_time), "events")):
        for name in needed:
            if name not in schema:
                raise UsageError(f"no column {name!r} in {frame}", why=f"its columns are {', '.join(schema)}")
    if left[at] != right[event_time]:
        raise UsageError(
            f"times {at!r} and {event_time!r} cannot be compared",
            why=f"{left[at]} in rows, {right[event_time]} in events",
            fix="cast one to the type of the other",
        )
    values = {name: dtype for name, dtype in right.items() if name not in (*keys, event_time)}
    if clash := sorted(values.keys() & left.keys()):
        raise UsageError(
            f"column {clash[0]!r} is in rows and in events", fix="select the events' columns you need, or rename it"
        )
    return left, values


def _summable(name: str, dtype: Any) -> tuple[nw.Expr, Any]:
    """What of a column is summed, and as which dtype."""
    column = nw.col(name)
    if dtype.is_float():
        return nw.when(column.is_finite()).then(column).otherwise(0.0), nw.Float64
    if dtype.is_decimal():
        return column.cast(nw.Float64).fill_null(0.0), nw.Float64
    if dtype.is_integer() or dtype == nw.Boolean:
        return column.cast(nw.Int64).fill_null(0), nw.Int64
    raise UsageError(
        f"column {name!r} cannot be summed", why=f"it is {dtype}", fix="select numbers or truth values only"
    )
