"""Ready-made gates: ``hr.gates.beats_baseline``, ``auc_above``, ``no_bad_slice``, ``latency``.

A gate that fails stops every effect written below it, and prints the values it judged.
"""

from collections.abc import Sequence
from typing import Any

from headrace.evaluation import verdicts
from headrace.models.artifact import Artifact
from headrace.models.version import ModelVersion
from headrace.sdk import ambient
from headrace.sdk.decorators import gate
from headrace.sdk.models import champion as champion_of
from headrace.sdk.models import numbers_of, predict


@gate
def beats_baseline(scores: Any, baseline: Any, *, metric: str = "log_loss", by: float = 0.0) -> None:
    """The model's metric is better than the baseline's by more than ``by``, in the metric's own direction."""
    verdicts.beats(numbers_of(scores), numbers_of(baseline), metric, by=by)


@gate
def auc_above(scores: Any, floor: float, *, metric: str = "auc") -> None:
    """The model's AUC is above ``floor``."""
    verdicts.above(numbers_of(scores), metric, floor)


@gate
def no_bad_slice(
    model: Any, *, rows: Any, label: str, by: Sequence[str], min_rows: int = 500, floor: float = 0.55
) -> None:
    """No category of the columns ``by`` has an AUC whose bootstrap interval lies wholly under ``floor``.

    Args:
        model: A trained model or an artifact.
        rows: A table with the model's inputs, the columns ``by`` and the label.
        label: Name of the column that holds 0 or 1.
        by: Columns to slice by.
        min_rows: Smaller categories are not judged.
        floor: An AUC.
    """
    from headrace.evaluation.slices import slices
    from headrace.models.infer import eager

    frame = eager(rows)
    columns = {name: frame[name] for name in by}
    found = slices(columns, frame[label].to_numpy(), predict(model, frame), min_rows=min_rows)
    verdicts.no_slice_under(found, floor)


def latency(model: Artifact, *, champion: str, rows: Any, at_most: float = 1.2) -> None:
    """One row takes the model at most ``at_most`` times as long as the champion, in the median.

    Both score the same rows in turns, in one process, so that other load meets both alike. Without a champion the gate
    passes. While a pipeline is planned the champion is fixed.

    Args:
        model: The candidate.
        champion: Name of the registered model whose champion it is compared with.
        rows: A table with the inputs of both.
        at_most: Ratio of the medians.
    """
    _latency(model, champion=champion_of(champion), rows=rows, at_most=at_most)


@gate(name="latency", main_process=True)
def _latency(model: Artifact, *, champion: ModelVersion | None, rows: Any, at_most: float) -> None:
    from headrace.journey.latency import against_champion

    if champion is None:
        return
    platform = ambient.platform()
    found = against_champion(platform.runtime, platform.files(), model, champion, rows)
    if found is not None:
        verdicts.latency_within(found, at_most, where=f"beside {champion}")


@gate
def parity(trained: Any, served: Artifact, *, rows: Any, tolerance: float = 1e-4) -> None:
    """An artifact answers as a trained model does, on every row; ``hr.optimize`` checks the same when it exports."""
    from headrace.evaluation.parity import check
    from headrace.evaluation.parity import parity as compared
    from headrace.models.infer import eager

    frame = eager(rows)
    found = compared(predict(trained, frame), predict(served, frame), tolerance=tolerance)
    worst = frame.select(list(served.inputs))[list(found.worst)].rows(named=True)
    check(found, where=type(trained).__name__, rows=worst)


__all__ = ["auc_above", "beats_baseline", "latency", "no_bad_slice", "parity"]
