"""Profiles are exact, on any backend, and survive JSON."""

import json
import math
import tracemalloc
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from unittest import mock

import duckdb
import narwhals as nw
import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.datasets import bins as bins_module
from headrace.datasets import profile as profile_module
from headrace.datasets.profile import Profile, profile

SCHEMA = pa.schema([("n", pa.int64()), ("x", pa.float64()), ("s", pa.string()), ("b", pa.bool_())])
connection = duckdb.connect(config={"threads": 1})
rows_of = st.lists(
    st.tuples(
        st.one_of(st.none(), st.integers(-5, 5)),
        st.one_of(st.none(), st.just(float("nan")), st.integers(-8, 8).map(lambda i: i / 4)),
        st.one_of(st.none(), st.sampled_from(["a", "b", "c"])),
        st.one_of(st.none(), st.booleans()),
    ),
    max_size=25,
)


def is_nan(cell):
    return isinstance(cell, float) and math.isnan(cell)


def table(rows):
    columns = zip(*rows, strict=True) if rows else [()] * 4
    return pa.table([pa.array(list(c), t.type) for c, t in zip(columns, SCHEMA, strict=True)], schema=SCHEMA)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(rows_of, rows_of)
def test_every_figure_is_exact(rows, later):
    seen = profile(nw.from_native(connection.from_arrow(table(rows))))
    assert seen.rows == len(rows)
    for i, name in enumerate(("n", "x", "s", "b")):
        cells = [row[i] for row in rows]
        column = seen.columns[name]
        present = [c for c in cells if c is not None and not is_nan(c)]
        assert column.nulls == sum(c is None for c in cells)
        assert column.nans == sum(map(is_nan, cells))
        assert column.distinct == len(set(present))
        assert sum(column.counts) == len(rows)
        if name in "nx" and present:
            assert (column.minimum, column.maximum) == (min(present), max(present))
            assert column.mean == pytest.approx(np.mean(present))
            assert column.std == pytest.approx(np.std(present))
        assert dict(column.top) == {
            (str(c).lower() if name == "b" else c): present.count(c)
            for c in sorted(set(present), key=lambda c: (-present.count(c), c))[:5]
        }
        # What the engine counts is what a stream of the same cells counts.
        bins = seen.bins[name]
        assert seen.count(nw.from_native(table(later)))[name].tolist() == bins.count([row[i] for row in later]).tolist()
    assert Profile.from_json(json.loads(json.dumps(seen.to_json()))) == seen


def test_backends_agree():
    rng = np.random.default_rng(1)
    data = pa.table({"x": rng.normal(size=500), "s": rng.choice([f"id{i}" for i in range(80)], 500)})
    seen = profile(nw.from_native(data))
    assert seen == profile(nw.from_native(connection.from_arrow(data)))
    assert seen == profile(nw.from_native(pl.from_arrow(data))) == profile(nw.from_native(pl.from_arrow(data).lazy()))
    in_pandas = profile(nw.from_native(data.to_pandas()))
    assert [c.counts for c in in_pandas.columns.values()] == [c.counts for c in seen.columns.values()]
    assert seen.columns["s"].distinct == len(set(data["s"].to_pylist()))
    assert len(seen.bins["s"].categories) == 50
    assert seen.columns["s"].counts[-2] == 500 - sum(seen.columns["s"].counts[:50])
    assert max(seen.columns["x"].counts) == min(seen.columns["x"].counts[:-1]) == 50


def test_edges_can_be_those_of_another_profile():
    early, late = (
        nw.from_native(pa.table({"x": list(range(s, s + 100)), "s": [c] * 100})) for s, c in ((0, "a"), (90, "b"))
    )
    seen = profile(late, edges_from=profile(early))
    assert seen.bins == profile(early).bins
    assert seen.columns["x"].counts[-2:] == (100, 0)
    assert seen.columns["s"].counts == (0, 100, 0)


def test_times_and_nested_columns_are_described_without_bins():
    times = [datetime(2024, 1, 1, tzinfo=UTC), None, datetime(2024, 3, 1, tzinfo=UTC)]
    data = pa.table({"at": pa.array(times, pa.timestamp("us", "UTC")), "list": [[1], None, None]})
    seen = profile(nw.from_native(connection.from_arrow(data)))
    at, nested = seen.columns["at"], seen.columns["list"]
    assert (at.minimum, at.maximum, at.nulls, at.distinct) == (times[0].isoformat(), times[2].isoformat(), 1, 2)
    assert (nested.family, nested.nulls, nested.bins) == ("other", 2, None)
    assert seen.bins == {}


def test_infinities_count_but_do_not_stretch_the_edges():
    seen = profile(nw.from_native(pa.table({"x": [1.0, 2.0, math.inf, -math.inf]})))
    column = seen.columns["x"]
    assert (column.minimum, column.maximum, column.distinct) == (1.0, 2.0, 4)
    assert sum(column.counts) == 4
    json.dumps(seen.to_json(), allow_nan=False)


def by_blocks_of(block):
    """Context in which tables are looked at ``block`` cells at a time."""
    stack = ExitStack()
    for module in (profile_module, bins_module):
        stack.enter_context(mock.patch.object(module, "BLOCK", block))
    return stack


ODD_CELLS = [None, 0.0, 1.0, 2.5, math.nan, math.inf, -math.inf]


@given(
    st.lists(st.one_of(st.integers(-(2**20), 2**20).map(float), st.sampled_from(ODD_CELLS)), max_size=40),
    st.integers(1, 9),
    st.integers(1, 9),
)
def test_blocks_change_no_figure(cells, chunk, block):
    chunks = [pa.array(cells[at : at + chunk], pa.float64()) for at in range(0, len(cells), chunk)]
    frame = nw.from_native(pa.table({"x": pa.chunked_array(chunks, pa.float64())}))
    whole = profile(frame).columns["x"]
    with by_blocks_of(block):
        parts = profile(frame).columns["x"]
    for part, due in ((parts.mean, whole.mean), (parts.std, whole.std)):
        assert part == due if due is None else part == pytest.approx(due)
    assert replace(parts, mean=None, std=None) == replace(whole, mean=None, std=None)


@pytest.mark.parametrize("repeats", [1, 2])
def test_a_number_column_takes_memory_for_its_values_and_counts_alone(repeats):
    rows = 2**17
    values = np.random.default_rng(0).permutation(np.arange(rows) // repeats * 0.5)
    values[:4096] = np.arange(rows, rows + 4096)  # as the first rows are, so the column is taken to be
    frame = nw.from_native(pa.table({"x": values}))
    with by_blocks_of(2**10):
        profile(frame)
        tracemalloc.start()
        try:
            profile(frame)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak / rows < 8 + 8 + 1 + 2  # value, count, whether it is new; the rest is of one block
