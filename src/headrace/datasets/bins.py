"""Bins that a profile fixes once: every later count in them is exact, and counts add over time and partitions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["number", "category"]
Counts = NDArray[np.int64]

QUANTILES = 10
MAX_CATEGORIES = 50
BLOCK = 1 << 20
"""Cells that are looked at together: intermediate results of all of a large table would fill memory."""
TRUTH = ("false", "true")
"""The categories of a boolean column."""


@dataclass(frozen=True)
class Bins:
    """How the cells of one column are told apart.

    Attributes:
        kind: ``number``: by edges. ``category``: by value.
        edges: Ascending. Bin ``i`` holds ``edges[i-1] < x <= edges[i]``, the outer ones are open.
        categories: Each its own bin, all other values together in one more.

    The last bin of either kind holds nulls (also NaN).
    """

    kind: Kind
    edges: tuple[float, ...] = ()
    categories: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Number of bins."""
        return (len(self.edges) if self.kind == "number" else len(self.categories)) + 2

    @property
    def labels(self) -> tuple[str, ...]:
        """What each bin holds, for people."""
        if self.kind == "category":
            return (*self.categories, "other", "null")
        if not self.edges:
            return ("any", "null")
        between = zip(self.edges, self.edges[1:], strict=False)
        inner = (f"({low:g}, {high:g}]" for low, high in between)
        return (f"<= {self.edges[0]:g}", *inner, f"> {self.edges[-1]:g}", "null")

    def count(self, cells: Sequence[Any] | NDArray[Any], weights: NDArray[Any] | None = None) -> Counts:
        """How many of ``cells`` (each counted ``weights`` times, by default once) fall into each bin."""
        index = self._numbers if self.kind == "number" else self._categories
        found = np.zeros(self.size, dtype=np.int64)
        for start in range(0, len(cells), BLOCK):
            part = slice(start, start + BLOCK)
            of_each = None if weights is None else weights[part]
            found += np.bincount(index(cells[part]), weights=of_each, minlength=self.size).astype(np.int64)
        return found

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {"kind": self.kind, "edges": list(self.edges), "categories": list(self.categories)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Bins":
        """Back from ``to_json``."""
        return cls(data["kind"], tuple(data["edges"]), tuple(data["categories"]))

    def _numbers(self, cells: Sequence[Any] | NDArray[Any]) -> NDArray[np.int64]:
        values = np.asarray(cells, dtype=np.float64)  # None becomes NaN
        index = np.searchsorted(np.asarray(self.edges, dtype=np.float64), values, side="left")
        return np.where(np.isnan(values), self.size - 1, index)

    def _categories(self, cells: Sequence[Any] | NDArray[Any]) -> NDArray[np.int64]:
        place = {category: i for i, category in enumerate(self.categories)}
        if self.categories == TRUTH:  # some callers send numbers
            place |= {"0": 0, "0.0": 0, "1": 1, "1.0": 1}
        other, null = self.size - 2, self.size - 1
        return np.fromiter(
            (null if _is_null(c) else place.get(as_category(c), other) for c in cells), dtype=np.int64, count=len(cells)
        )


def quantile_edges(values: NDArray[Any], counts: NDArray[Any], bins: int = QUANTILES) -> tuple[float, ...]:
    """Distinct inner edges that part the cells into at most ``bins`` about equal shares.

    Args:
        values: Distinct finite values, ascending.
        counts: How often each occurs.
        bins: How many shares.

    Returns:
        For each ``i`` of ``1 .. bins - 1`` the smallest value with at least ``i / bins`` of the cells at or below it
        (Hyndman and Fan 1996, definition 1), each once.
    """
    if not len(values):
        return ()
    # In whole numbers, so that a share of exactly i/bins is not missed by rounding.
    due = -(-np.arange(1, bins) * int(counts.sum()) // bins)
    at = np.zeros(bins - 1, dtype=np.int64)
    for start in range(0, len(counts), BLOCK):
        reached = np.cumsum(counts[start : start + BLOCK])
        at += np.searchsorted(reached, due, side="left")
        due -= reached[-1]
    return tuple(float(v) for v in np.unique(values[at].astype(np.float64)))


def as_category(cell: Any) -> str:
    """The name of a category; truth values are ``false`` and ``true`` however they are sent."""
    return str(cell).lower() if isinstance(cell, bool | np.bool_) else str(cell)


def _is_null(cell: Any) -> bool:
    return cell is None or cell != cell  # noqa: PLR0124 - only NaN differs from itself
