"""The scores of an endpoint's reference, window by window: an old model whose scores move when the inputs do.

Its first scores fix the bins, and the first window with enough of them is what later ones are compared with: the
reference does not change, so what has changed is what it was asked.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from headrace.datasets.bins import Bins, Counts, quantile_edges
from headrace.monitoring.drift import Distance, compare
from headrace.serving.records import Prediction
from headrace.settings import is_number

_EDGES_FROM = 2_000


@dataclass
class ReferenceScores:
    """Counts of one model's scores by window; memory does not grow with the log.

    Attributes:
        model: The reference's version; empty for none.
        windows: Of each row of a request.
    """

    model: str
    windows: Callable[[Prediction], Sequence[str]]
    _bins: Bins | None = None
    _held: list[tuple[str, float]] = field(default_factory=list)
    _counts: dict[str, Counts] = field(default_factory=dict)

    def add(self, page: Sequence[Prediction]) -> None:
        """Count the scores of some requests, those that came after the answer as well."""
        if not self.model:
            return
        for prediction in page:
            cells = next((s.outputs for s in prediction.scores if s.model == self.model and s.outputs), {})
            values: Sequence[Any] = next(iter(cells.values()), ())
            named = self.windows(prediction)
            self._held += [(w, float(v)) for w, v in zip(named, values, strict=False) if is_number(v)]
        if self._bins is not None or len(self._held) >= _EDGES_FROM:
            self._settle()

    def shift(self, min_rows: int) -> Mapping[str, Distance]:
        """Window to how far its scores are from those of the first window with enough rows; without that window.

        Args:
            min_rows: What is enough, and what a window needs to raise an alarm.
        """
        self._settle()
        base = next((w for w in sorted(self._counts) if self._counts[w].sum() >= min_rows), "")
        return {
            window: compare(self._counts[base], counts, min_rows=min_rows)
            for window, counts in sorted(self._counts.items())
            if base and window > base
        }

    def _settle(self) -> None:
        if not self._held:
            return
        held, self._held = self._held, []
        if self._bins is None:
            first = np.array([value for _, value in held])
            self._bins = Bins("number", quantile_edges(*np.unique(first, return_counts=True)))
        by_window: defaultdict[str, list[float]] = defaultdict(list)
        for window, value in held:
            by_window[window].append(value)
        for window, values in by_window.items():
            added = self._bins.count(values)
            self._counts[window] = self._counts[window] + added if window in self._counts else added
