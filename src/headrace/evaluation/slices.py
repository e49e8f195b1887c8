"""Slices: how good a model is on each category of a column, with a bootstrap interval."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from headrace.evaluation.metrics import Floats, auc

CELLS = 4_000_000
"""Bootstrap weights held in memory at once."""


@dataclass(frozen=True)
class Slice:
    """One category of one column.

    Attributes:
        column: The column.
        value: Its category, as text.
        rows: Rows of the slice.
        auc: Area under the ROC curve on them; NaN with one class.
        low: Lower end of its bootstrap interval.
        high: Upper end.
    """

    column: str
    value: str
    rows: int
    auc: float
    low: float
    high: float


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are drawn.

    Attributes:
        draws: Resamples of each slice.
        share: Probability the interval covers (percentile method).
        seed: Of the resampling.
    """

    draws: int = 200
    share: float = 0.95
    seed: int = 0


def slices(
    columns: Mapping[str, ArrayLike],
    truth: ArrayLike,
    answers: ArrayLike,
    *,
    min_rows: int = 500,
    bootstrap: Bootstrap | None = None,
) -> list[Slice]:
    """AUC of every category that has at least ``min_rows`` rows, in order of column, then of category.

    Args:
        columns: Column to its cells [rows]; null is a category, ``null``.
        truth: 0 or 1 [rows].
        answers: Probabilities [rows].
        min_rows: Smaller categories are left out.
        bootstrap: How intervals are drawn.
    """
    how = bootstrap or Bootstrap()
    labels, scores = np.asarray(truth, dtype=np.float64), np.asarray(answers, dtype=np.float64)
    found = []
    for column, cells in columns.items():
        texts = np.array(["null" if cell is None else str(cell) for cell in _cells(cells)])
        values, counts = np.unique(texts, return_counts=True)
        for value in values[counts >= min_rows]:
            inside = texts == value
            low, high = auc_interval(labels[inside], scores[inside], how)
            area = auc(labels[inside], scores[inside])
            found.append(Slice(column, str(value), int(inside.sum()), area, low, high))
    return found


def auc_interval(truth: ArrayLike, answers: ArrayLike, bootstrap: Bootstrap) -> tuple[float, float]:
    """Percentile bootstrap interval of the AUC (Efron, 1979); NaN, NaN when no resample has both classes."""
    labels, scores = np.asarray(truth, dtype=np.float64), np.asarray(answers, dtype=np.float64)
    order = np.argsort(scores, kind="stable")
    labels, scores = labels[order], scores[order]
    starts = np.flatnonzero(np.r_[True, scores[1:] != scores[:-1]])
    rng = np.random.default_rng(bootstrap.seed)
    chunk = max(1, CELLS // len(labels))
    parts = []
    for begin in range(0, bootstrap.draws, chunk):
        weights = _resamples(rng, min(chunk, bootstrap.draws - begin), len(labels))
        parts.append(_weighted_auc(weights, labels, starts))
    areas = np.concatenate(parts)
    areas = areas[~np.isnan(areas)]
    if not len(areas):
        return float("nan"), float("nan")
    tail = (1 - bootstrap.share) / 2
    low, high = np.quantile(areas, [tail, 1 - tail])
    return float(low), float(high)


def _resamples(rng: np.random.Generator, draws: int, rows: int) -> Floats:
    """How often each row is drawn: [draws, rows]."""
    drawn = rng.integers(rows, size=(draws, rows))
    drawn += np.arange(draws)[:, None] * rows
    counts = np.bincount(drawn.ravel(), minlength=draws * rows)
    return counts.reshape(draws, rows).astype(np.float64)


def _weighted_auc(weights: Floats, labels: Floats, starts: NDArray[np.int64]) -> Floats:
    """AUC of each row of weights over rows sorted by score, ``starts`` beginning each run of equal scores."""
    positives = np.add.reduceat(weights * labels, starts, axis=1)
    negatives = np.add.reduceat(weights * (1 - labels), starts, axis=1)
    below = np.cumsum(negatives, axis=1) - negatives / 2
    pairs = positives.sum(axis=1) * negatives.sum(axis=1)
    wins = (positives * below).sum(axis=1)
    areas: Floats = np.divide(wins, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0)
    return areas


def _cells(cells: Any) -> list[Any]:
    listed: list[Any] = cells.to_list() if hasattr(cells, "to_list") else np.asarray(cells, dtype=object).tolist()
    return listed
