"""Ready-made gates: ``hr.gates.beats_baseline``, ``auc_above``, ``no_bad_slice``, ``latency``.

A gate that fails stops every effect written below it, and prints the values it judged. One that passes returns them,
for the record.
"""

from collections.abc import Sequence
from typing import Any

from headrace.evaluation import verdicts
from headrace.evaluation.verdicts import Judged
from headrace.models.artifact import Artifact
from headrace.models.version import ModelVersion
from headrace.sdk import ambient
from headrace.sdk.decorators import gate
from headrace.sdk.models import champion as champion_of
from headrace.sdk.models import numbers_of, predict


@gate
def beats_baseline(scores: Any, baseline: Any, *, metric: str = "log_loss", by: float = 0.0) -> Judged:
    """The model's metric is better than the baseline's by more than ``by``, in the metric's own direction."""
    return verdicts.beats(numbers_of(scores), numbers_of(baseline), metric, by=by)


@gate
def auc_above(scores: Any, floor: float, *, metric: str = "auc") -> Judged:
    """The model's AUC is above ``floor``."""
    return verdicts.above(numbers_of(scores), metric, floor)


@gate
def no_bad_slice(
    model: Any, *, rows: Any, label: str, by: Sequence[str], min_rows: int = 500, floor: float = 0.55
) -> Judged:
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
    return verdicts.no_slice_under(found, floor)


def latency(model: Artifact, *, champion: str, rows: Any, at_most: float = 1.2) -> Judged:
    """One row takes the model at most ``at_most`` times as long as the champion, in the median.

    Both score the same rows in turns, in one process, so that other load meets both alike. Without a champion the gate
    passes. While a pipeline is planned the champion is fixed.

    Args:
        model: The candidate.
        champion: Name of the registered model whose champion it is compared with.
        rows: A table with the inputs of both.
        at_most: Ratio of the medians.
    """
    return _latency(model, champion=champion_of(champion), rows=rows, at_most=at_most)


@gate(name="latency", main_process=True)
def _latency(model: Artifact, *, champion: ModelVersion | None, rows: Any, at_most: float) -> Judged:
    from headrace.journey.latency import against_champion

    if champion is None:
        return {"champion": "none yet"}
    platform = ambient.platform()
    found = against_champion(platform.runtime, platform.files(), model, champion, rows)
    if found is None:
        return {"champion": str(champion), "candidate": "the same model"}
    return {"champion": str(champion), **verdicts.latency_within(found, at_most, where=f"beside {champion}")}


@gate
def parity(trained: Any, served: Artifact, *, rows: Any, tolerance: float = 1e-4) -> Judged:
    """An artifact answers as a trained model does, on every row; ``hr.optimize`` checks the same when it exports."""
    from headrace.evaluation.parity import check
    from headrace.evaluation.parity import parity as compared
    from headrace.models.infer import eager

    frame = eager(rows)
    found = compared(predict(trained, frame), predict(served, frame), tolerance=tolerance)
    worst = frame.select(list(served.inputs))[list(found.worst)].rows(named=True)
    check(found, where=type(trained).__name__, rows=worst)
    return found.to_json()


__all__ = ["auc_above", "beats_baseline", "latency", "no_bad_slice", "parity"]
