"""Whether what was predicted is what happened, on average over a window: sums only, which add over windows."""

import math
from dataclasses import dataclass
from typing import Any

from headrace.monitoring.windows import MIN_ROWS

GAP_ALARM = 0.1
"""In standard deviations of the labels."""
_ERRORS = 3.0


@dataclass
class Calibration:
    """Running sums over labelled rows.

    Attributes:
        rows: Rows that a model answered and whose label is known.
        waiting: Rows that a model answered and whose label is not known yet.
        defaults: Rows that the default answered; they say nothing about a model.
        predicted_sum: Sum of the answers over ``rows``.
        actual_sum: Sum of their labels.
        actual_squares: Sum of the labels' squares.
        error_squares: Sum of squared differences of label and answer.
        min_rows: Rows below which a gap does not alarm.
    """

    rows: int = 0
    waiting: int = 0
    defaults: int = 0
    predicted_sum: float = 0.0
    actual_sum: float = 0.0
    actual_squares: float = 0.0
    error_squares: float = 0.0
    min_rows: int = MIN_ROWS

    def add(self, predicted: float, actual: float | None) -> None:
        """Count one row that a model answered; ``actual`` is None while its label is not known."""
        if actual is None:
            self.waiting += 1
            return
        self.rows += 1
        self.predicted_sum += predicted
        self.actual_sum += actual
        self.actual_squares += actual * actual
        self.error_squares += (actual - predicted) ** 2

    @property
    def predicted(self) -> float:
        """Mean answer; NaN without rows."""
        return self.predicted_sum / self.rows if self.rows else math.nan

    @property
    def actual(self) -> float:
        """Mean label; NaN without rows."""
        return self.actual_sum / self.rows if self.rows else math.nan

    @property
    def error(self) -> float:
        """Standard error of the gap between both means."""
        if not self.rows:
            return math.nan
        gap = self.predicted - self.actual
        return math.sqrt(max(0.0, self.error_squares / self.rows - gap * gap) / self.rows)

    @property
    def alarm(self) -> bool:
        """Whether the gap matters (a tenth of the labels' standard deviation) and is not chance (three errors)."""
        if self.rows < max(1, self.min_rows):
            return False
        spread = math.sqrt(max(0.0, self.actual_squares / self.rows - self.actual**2))
        return abs(self.predicted - self.actual) > max(GAP_ALARM * spread, _ERRORS * self.error)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values; means are absent without rows."""
        counts = {"rows": self.rows, "waiting": self.waiting, "defaults": self.defaults}
        if not self.rows:
            return {**counts, "alarm": False}
        means = {"predicted": self.predicted, "actual": self.actual, "error": self.error}
        return {**counts, **{k: round(v, 6) for k, v in means.items()}, "alarm": self.alarm}
