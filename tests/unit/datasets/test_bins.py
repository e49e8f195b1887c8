"""Bins tell cells apart exactly, and counts add."""

import math
import tracemalloc
from unittest import mock

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from headrace.datasets import bins as module
from headrace.datasets.bins import Bins, quantile_edges

numbers = st.lists(
    st.one_of(st.none(), st.floats(-100, 100), st.just(float("nan")), st.just(float("inf"))), max_size=30
)
edges = st.lists(st.integers(-50, 50).map(float), unique=True, max_size=6).map(lambda e: tuple(sorted(e)))


@given(numbers, numbers, edges)
def test_numbers_fall_where_the_edges_say_and_counts_add(first, second, edges):
    bins = Bins("number", edges=edges)

    def expected(cell):
        if cell is None or math.isnan(cell):
            return bins.size - 1
        return sum(edge < cell for edge in edges)

    counts = bins.count(first)
    assert counts.tolist() == [sum(expected(c) == i for c in first) for i in range(bins.size)]
    assert (counts + bins.count(second)).tolist() == bins.count(first + second).tolist()
    assert len(bins.labels) == bins.size


def test_categories_others_and_nulls():
    bins = Bins("category", categories=("a", "b"))
    assert bins.count(["a", "b", "a", "zebra", None, float("nan")]).tolist() == [2, 1, 1, 2]
    assert bins.labels == ("a", "b", "other", "null")
    assert Bins("category", categories=("false", "true")).count([True, False, np.True_, 0, 1.0]).tolist() == [
        2,
        3,
        0,
        0,
    ]


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=60), st.integers(2, 12), st.integers(1, 12))
def test_edges_are_the_smallest_values_that_reach_their_share(cells, bins, block):
    values, counts = np.unique(np.array(cells), return_counts=True)
    ordered = sorted(cells)
    due = {ordered[math.ceil(i * len(cells) / bins) - 1] for i in range(1, bins)}
    with mock.patch.object(module, "BLOCK", block):
        assert quantile_edges(values, counts, bins) == tuple(sorted(map(float, due)))


def test_edges_of_more_values_take_no_more_memory():
    def peak(blocks):
        values = np.arange(blocks * 2**12)
        tracemalloc.start()
        try:
            with mock.patch.object(module, "BLOCK", 2**12):
                found = quantile_edges(values, np.broadcast_to(np.int64(1), len(values)))
            assert len(found) == module.QUANTILES - 1
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(2)
    assert peak(64) < 1.5 * peak(4)


def test_a_column_without_numbers_has_one_bin_and_null():
    bins = Bins("number", edges=quantile_edges(np.array([]), np.array([])))
    assert bins.count([1.0, None]).tolist() == [1, 1]
    assert Bins.from_json(bins.to_json()) == bins
