"""Point-in-time joins and windows against a brute-force oracle, on two engines."""

from datetime import UTC, datetime, timedelta

import duckdb
import narwhals as nw
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import headrace as hr
from headrace.errors import UsageError
from headrace.features import latest, recent

START = datetime(2024, 1, 1, tzinfo=UTC)
ROWS = pa.schema([("key", pa.string()), ("asked", pa.timestamp("us", "UTC")), ("id", pa.int64())])
EVENTS = pa.schema(
    [
        ("key", pa.string()),
        ("known", pa.timestamp("us", "UTC")),
        ("amount", pa.float64()),
        ("paid", pa.bool_()),
        ("n", pa.int64()),
    ]
)
connection = duckdb.connect(config={"threads": 1})
connection.execute("SET TimeZone = 'UTC'")


def on_duckdb(table):
    return nw.from_native(connection.from_arrow(table))


def on_polars(table):
    return nw.from_native(pl.from_arrow(table).lazy())


ENGINES = pytest.mark.parametrize("lazy", [on_duckdb, on_polars])
keys = st.sampled_from(["a", "b", None])
minutes = st.one_of(st.none(), st.integers(0, 12))
rows_of = st.lists(st.tuples(keys, minutes), max_size=12)
amounts = st.one_of(st.none(), st.integers(-4, 4).map(lambda i: i / 4))
events_of = st.lists(st.tuples(keys, minutes, amounts, st.one_of(st.none(), st.booleans())), max_size=12)
spans = st.integers(1, 6)


def instant(minute):
    return None if minute is None else START + timedelta(minutes=minute)


def rows_table(rows):
    return pa.table(
        {"key": [k for k, _ in rows], "asked": [instant(m) for _, m in rows], "id": list(range(len(rows)))}, schema=ROWS
    )


def events_table(events):
    columns = list(zip(*events, strict=True)) or [()] * 4
    return pa.table(
        {
            "key": list(columns[0]),
            "known": [instant(m) for m in columns[1]],
            "amount": list(columns[2]),
            "paid": list(columns[3]),
            "n": [1] * len(events),
        },
        schema=EVENTS,
    )


def collected(frame):
    return sorted(frame.collect("pyarrow").to_arrow().to_pylist(), key=lambda row: row["id"])


def nulls_first(event):
    return [(value is not None, value) for value in event[2:]]


@ENGINES
@settings(max_examples=40, deadline=None, derandomize=True)
@given(rows=rows_of, events=events_of, within=st.one_of(st.none(), spans))
def test_latest_is_the_newest_event_at_or_before(lazy, rows, events, within):
    got = collected(
        latest(
            lazy(rows_table(rows)),
            lazy(events_table(events)),
            by="key",
            at="asked",
            event_time="known",
            within=None if within is None else timedelta(minutes=within),
        )
    )
    assert [row["id"] for row in got] == list(range(len(rows)))
    for row, (key, minute) in zip(got, rows, strict=True):
        known = [e for e in events if None not in (key, minute, e[1]) and e[0] == key and e[1] <= minute]
        newest = max(known, key=lambda e: (e[1], nulls_first(e)), default=None)
        if newest is None or (within is not None and minute - newest[1] > within):
            newest = (None,) * 4
        assert (row["amount"], row["paid"]) == newest[2:]


@ENGINES
@settings(max_examples=40, deadline=None, derandomize=True)
@given(rows=rows_of, events=events_of, window=spans)
def test_recent_sums_exactly_the_window(lazy, rows, events, window):
    frames = lazy(rows_table(rows)), lazy(events_table(events))
    got = collected(recent(*frames, by=["key"], at="asked", event_time="known", window=timedelta(minutes=window)))
    assert [row["id"] for row in got] == list(range(len(rows)))
    for row, (key, minute) in zip(got, rows, strict=True):
        if None in (key, minute):
            assert (row["amount"], row["paid"], row["n"]) == (None, None, None)
            continue
        seen = [e for e in events if e[0] == key and e[1] is not None and minute - window < e[1] <= minute]
        assert row["amount"] == sum(e[2] or 0.0 for e in seen)  # quarters add without rounding
        assert (row["paid"], row["n"]) == (sum(bool(e[3]) for e in seen), len(seen))


def test_integer_times_and_several_keys():
    rows = on_duckdb(pa.table({"shop": ["x", "x", "y"], "till": [1, 2, 1], "second": [100, 100, 100]}))
    events = on_duckdb(pa.table({"shop": ["x", "x", "y"], "till": [1, 2, 1], "at": [41, 99, 101], "sold": [5, 7, 9]}))
    said = latest(rows, events, by=["shop", "till"], at="second", event_time="at", within=50)
    assert said.sort("shop", "till").collect("pyarrow")["sold"].to_list() == [None, 7, None]
    summed = recent(rows, events, by=["shop", "till"], at="second", event_time="at", window=60)
    assert summed.sort("shop", "till").collect("pyarrow")["sold"].to_list() == [5, 7, 0]


@ENGINES
def test_what_has_left_the_window_leaves_nothing_behind(lazy):
    rows = pa.table({"key": ["a"] * 3, "asked": [instant(m) for m in (1, 5, 9)], "id": [0, 1, 2]}, schema=ROWS)
    events = pa.table(
        {
            "key": ["a"] * 5,
            "known": [instant(m) for m in (0, 1, 1, 4, 4)],
            "amount": [0.1, 1e9, float("nan"), 0.3, float("inf")],
        }
    )
    got = collected(
        recent(
            lazy(rows),
            lazy(events.cast(pa.schema([*list(EVENTS)[:3]]))),
            by="key",
            at="asked",
            event_time="known",
            window=timedelta(minutes=2),
        )
    )
    assert got[0]["amount"] == pytest.approx(1e9 + 0.1)
    assert got[1]["amount"] == pytest.approx(0.3, abs=1e-6)
    assert got[2]["amount"] == 0.0


@pytest.mark.parametrize(
    ("events", "why"),
    [
        ({"key": ["a"], "known": [1.5], "v": [1]}, "cannot be compared"),
        ({"key": ["a"], "known": [1], "second": [1]}, "is in rows and in events"),
        ({"clef": ["a"], "known": [1], "v": [1]}, "no column 'key'"),
        ({"key": ["a"], "known": [1], "v": ["text"]}, "cannot be summed"),
    ],
)
def test_misuse_is_named(events, why):
    rows = on_duckdb(pa.table({"key": ["a"], "second": [1]}))
    with pytest.raises(UsageError, match=why):
        hr.features.recent(rows, on_duckdb(pa.table(events)), by="key", at="second", event_time="known", window=5)
