from datetime import UTC, date, datetime, timedelta

import duckdb
import narwhals as nw
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.datasets.splits import split, tail
from headrace.errors import DataRefused, UsageError

START = datetime(2026, 1, 1, tzinfo=UTC)


def lazy(frame):
    return nw.from_native(frame).lazy()


def parts(frame, **edge):
    return [part.collect().to_native() for part in split(lazy(frame), "at", **edge)]


@given(st.lists(st.integers(0, 12), min_size=2, max_size=60).filter(lambda v: len(set(v)) > 1), st.floats(0.05, 0.95))
def test_a_share_tears_no_equal_values_apart_and_loses_no_row(values, test):
    frame = pl.DataFrame({"at": values, "row": range(len(values))})
    try:
        before, after = parts(frame, test=test)
    except UsageError:
        assert sorted(values)[int(len(values) * (1 - test))] == min(values)
        return
    assert before["at"].max() < after["at"].min()
    assert sorted([*before["row"], *after["row"]]) == list(range(len(values)))
    assert before["at"].is_sorted()
    assert len(after) >= len(values) * test - 1


@pytest.mark.parametrize("at", ["2026-01-03", "2026-01-03T00:00:00+00:00", datetime(2026, 1, 3, tzinfo=UTC)])
def test_an_edge_in_time(at):
    frame = pl.DataFrame({"at": [START + timedelta(hours=12 * i) for i in range(10)]})
    before, after = parts(frame, at=at)
    assert (len(before), after["at"][0]) == (4, datetime(2026, 1, 3, tzinfo=UTC))


def test_dates_and_times_without_zone():
    days = pl.DataFrame({"at": [date(2026, 1, d) for d in (1, 2, 3)]})
    assert [len(part) for part in parts(days, at="2026-01-03")] == [2, 1]
    plain = pl.DataFrame({"at": [START.replace(day=d, tzinfo=None) for d in (1, 2, 3)]})
    assert [len(part) for part in parts(plain, at="2026-01-02")] == [1, 2]


def test_the_order_of_rows_does_not_depend_on_the_engine():
    frame = pl.DataFrame({"at": [2, 1, 2, 1, 3] * 50, "b": [*range(250)], "c": ["x", None, "y", "x", None] * 50})
    shuffled = frame.sample(fraction=1.0, shuffle=True, seed=1)
    relation = duckdb.from_arrow(shuffled.to_arrow())
    ours = [part.collect().to_arrow() for part in split(nw.from_native(relation), "at", at=2)]
    theirs = [part.to_arrow() for part in parts(frame, at=2)]
    assert [part.to_pydict() for part in ours] == [part.to_pydict() for part in theirs]


@pytest.mark.parametrize(
    ("edge", "says"),
    [
        ({}, "needs an edge"),
        ({"test": 0.5, "at": 1}, "needs an edge"),
        ({"test": 1.0}, "no share"),
        ({"at": 99}, "leaves a part empty"),
        ({"test": 0.99}, "leaves a part empty"),
    ],
)
def test_edges_that_part_nothing_are_refused(edge, says):
    with pytest.raises(UsageError, match=says):
        parts(pl.DataFrame({"at": [1, 2, 3]}), **edge)


def test_text_that_is_no_time_is_refused():
    with pytest.raises(UsageError, match="no date or time"):
        parts(pl.DataFrame({"at": [START]}), at="yesterday")


def test_nulls_have_no_order():
    with pytest.raises(DataRefused, match="1 rows have none"):
        parts(pl.DataFrame({"at": [1, None, 3]}), test=0.5)


def test_the_column_must_be_there():
    with pytest.raises(UsageError, match="one of when"):
        parts(pl.DataFrame({"when": [1]}), test=0.5)


def test_tail_keeps_the_order():
    frame = nw.from_native(pl.DataFrame({"row": range(10)}), eager_only=True)
    before, last = tail(frame, 0.2)
    assert (before["row"].to_list(), last["row"].to_list()) == (list(range(8)), [8, 9])
    with pytest.raises(UsageError, match="too few"):
        tail(frame[:1], 0.2)
