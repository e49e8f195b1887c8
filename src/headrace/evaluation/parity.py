"""Parity: does the artifact to be served answer as the trained model does, on stored rows?"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from headrace.errors import ParityFailed, UsageError
from headrace.evaluation.metrics import LABEL_THRESHOLD

SHOWN = 3
CELLS = 6
"""Of a row that an error shows."""


@dataclass(frozen=True)
class Parity:
    """How the answers of two forms of one model compare.

    Attributes:
        rows: Rows compared.
        max_difference: Largest absolute difference; infinite where only one side answers NaN.
        label_agreement: Share of rows on the same side of 0.5; 1.0 for values that are no probabilities.
        tolerance: Largest difference allowed.
        worst: Row numbers, largest difference first.
        trained: What the trained model answers for ``worst``.
        served: What the artifact answers for ``worst``.
    """

    rows: int
    max_difference: float
    label_agreement: float
    tolerance: float
    worst: tuple[int, ...]
    trained: tuple[float, ...]
    served: tuple[float, ...]

    @property
    def holds(self) -> bool:
        """Whether no difference exceeds the tolerance."""
        return self.max_difference <= self.tolerance

    def to_json(self) -> dict[str, Any]:
        """What a model's report keeps."""
        return {
            "rows": self.rows,
            "max_difference": self.max_difference,
            "label_agreement": self.label_agreement,
            "tolerance": self.tolerance,
        }


def parity(trained: ArrayLike, served: ArrayLike, *, tolerance: float, worst: int = SHOWN) -> Parity:
    """Compare answers [rows] or [rows, outputs].

    Args:
        trained: Answers of the trained model.
        served: Answers of the artifact.
        tolerance: Largest absolute difference allowed.
        worst: How many rows to name.

    Raises:
        UsageError: The shapes differ or there is no row.
    """
    left, right = np.asarray(trained, dtype=np.float64), np.asarray(served, dtype=np.float64)
    if left.shape != right.shape or not len(left):
        raise UsageError(
            "answers cannot be compared",
            why=f"the trained model gives shape {left.shape}, the artifact {right.shape}",
            fix="pass at least one row to compare on",
        )
    left, right = left.reshape(len(left), -1), right.reshape(len(right), -1)
    gaps = np.abs(left - right)
    gaps = np.where(np.isnan(left) & np.isnan(right), 0.0, np.where(np.isnan(gaps), np.inf, gaps))
    by_row = gaps.max(axis=1)
    rows = np.argsort(-by_row, kind="stable")[:worst]
    column = gaps[rows].argmax(axis=1)
    return Parity(
        rows=len(left),
        max_difference=float(by_row.max()),
        label_agreement=_agreement(left, right),
        tolerance=tolerance,
        worst=tuple(int(row) for row in rows),
        trained=tuple(float(v) for v in left[rows, column]),
        served=tuple(float(v) for v in right[rows, column]),
    )


def check(
    found: Parity,
    *,
    where: str = "",
    rows: Sequence[Mapping[str, Any]] = (),
    rounded: Sequence[Sequence[str]] = (),
) -> None:
    """Raise ``ParityFailed`` with the worst rows when the tolerance is exceeded.

    Args:
        found: The comparison.
        where: What was exported, for the message.
        rows: The input rows that ``found.worst`` names, in that order, to show.
        rounded: For each of ``rows``, the columns whose rounding to float32 moves the trained model's answer.
    """
    if found.holds:
        return
    lines = []
    for place, number in enumerate(found.worst):
        cells = _cells(rows[place], rounded[place] if rounded else ()) if place < len(rows) else ""
        lines.append(f"row {number}: trained {found.trained[place]:.6g}, served {found.served[place]:.6g}{cells}")
    raise ParityFailed(
        f"the artifact answers up to {found.max_difference:.3g} away from the trained model, "
        f"{found.tolerance:.3g} is allowed ({found.label_agreement:.2%} of {found.rows} labels agree)",
        where=where,
        why="; ".join(lines),
        fix=_fix(found, any(rounded)),
    )


def summary(report: Mapping[str, Any]) -> str:
    """One line for people of what ``Parity.to_json`` gave."""
    return (
        f"{report['rows']} rows, answers differ by {report['max_difference']:.2g} at most "
        f"({report['tolerance']:.2g} is allowed), {report['label_agreement']:.2%} of labels agree"
    )


def _cells(row: Mapping[str, Any], chosen: Sequence[str]) -> str:
    """Some cells of a row, the rest counted."""
    shown = {name: row[name] for name in (chosen or list(row))[:CELLS]}
    more = len(row) - len(shown)
    return f" {shown}" + (f" and {more} more" if more else "")


def _fix(found: Parity, float32_moves: bool) -> str:
    if float32_moves:
        return "cast the numeric columns to Float32 before training: training then sees what the served model sees"
    unscaled = "keep numbers unscaled before trees (float32 moves splits)"
    if not math.isfinite(found.max_difference):
        return unscaled
    return f"{unscaled}, or pass tolerance= above {found.max_difference:.1e}, knowing that answers differ by as much"


def _agreement(left: Any, right: Any) -> float:
    known = left[np.isfinite(left)]
    if not len(known) or known.min() < 0 or known.max() > 1:
        return 1.0
    return float(np.mean((left >= LABEL_THRESHOLD) == (right >= LABEL_THRESHOLD)))
