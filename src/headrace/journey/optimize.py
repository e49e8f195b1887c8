"""Use case: a trained model becomes an artifact that provably answers alike."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headrace.errors import GateFailed, UsageError
from headrace.evaluation.metrics import METRICS
from headrace.evaluation.parity import Parity, check, parity
from headrace.models.artifact import Artifact
from headrace.models.infer import cells_of, dtypes_of, eager, signature_of
from headrace.models.registry import EXAMPLES
from headrace.models.runtime import Runtime
from headrace.models.scoring import answers, batch_of, loaded
from headrace.optimization.converter import Converter
from headrace.optimization.rounding import moved_by

if TYPE_CHECKING:
    import narwhals as nw

RECORDED_ROWS = 64


@dataclass(frozen=True)
class Optimization:
    """What is asked of an export.

    Attributes:
        output: Name of the output.
        to: Format of the artifact.
        tolerance: Largest difference from the trained model's answers that is allowed, on any row.
        max_drop: Metric to how much worse the artifact may be than the trained model.
        score: Scores of a model (trained or artifact) on the rows, needed for ``max_drop``.
    """

    output: str
    to: str = "onnx"
    tolerance: float = 1e-4
    max_drop: Mapping[str, float] = field(default_factory=dict)
    score: Callable[[Any, Any], Any] | None = None


def optimized(converter: Converter, runtime: Runtime, model: Any, rows: Any, asked: Optimization) -> Artifact:
    """Export ``model`` and compare the artifact with it on every one of ``rows``.

    Args:
        converter: Of the model's framework.
        runtime: That will serve the format.
        model: The trained model.
        rows: A table with at least the model's inputs.
        asked: Format, output name and what may differ.

    Returns:
        The artifact with its parity in ``report`` and some of the rows, the worst among them, in ``examples.json``.

    Raises:
        ParityFailed: Some answer differs by more than the tolerance.
        GateFailed: A metric dropped by more than ``max_drop``.
        UsageError: The model cannot be exported, or there are no rows.
    """
    frame = eager(rows)
    if not len(frame):
        raise UsageError("an export without rows cannot be checked", fix="pass on= some rows of the test table")
    artifact = converter.convert(model, dtypes_of(frame), to=asked.to, output=asked.output)
    trained = converter.predict(model, frame, artifact.inputs)
    signature = signature_of(artifact, frame)
    with loaded(runtime, artifact, signature) as served:
        compared = parity(
            trained, answers(served, batch_of(frame, signature), artifact.outputs), tolerance=asked.tolerance
        )
    inputs = frame.select(list(artifact.inputs))
    if not compared.holds:
        _refuse(converter, model, inputs, compared)
    artifact = replace(
        artifact,
        files={**artifact.files, EXAMPLES: _examples(artifact, inputs, trained, compared)},
        report={**artifact.report, "parity": compared.to_json()},
    )
    _check_metrics(model, artifact, rows, asked)
    return artifact


def _refuse(converter: Converter, model: Any, inputs: "nw.DataFrame[Any]", found: Parity) -> None:
    worst = inputs[list(found.worst)]
    rounded = moved_by(converter, model, worst, tolerance=found.tolerance)
    check(found, where=type(model).__name__, rows=worst.rows(named=True), rounded=rounded)


def _examples(artifact: Artifact, inputs: "nw.DataFrame[Any]", trained: NDArray[np.float64], found: Parity) -> bytes:
    """Rows spread over the table and the worst ones, with the trained model's answers."""
    spread = np.linspace(0, len(inputs) - 1, min(RECORDED_ROWS, len(inputs))).astype(int).tolist()
    chosen = sorted({*spread, *found.worst})
    columns = trained.reshape(len(inputs), -1)[chosen]
    outputs = {name: columns[:, place].tolist() for place, name in enumerate(artifact.outputs)}
    recorded = {"columns": cells_of(inputs[chosen]), "outputs": outputs, "tolerance": found.tolerance}
    return json.dumps(recorded).encode()


def _check_metrics(model: Any, artifact: Artifact, rows: Any, asked: Optimization) -> None:
    if not asked.max_drop:
        return
    if asked.score is None:
        raise UsageError("max_drop needs a way to score", fix="pass check=score, the step that measures a model")
    before, after = _numbers(asked.score(model, rows)), _numbers(asked.score(artifact, rows))
    for name, allowed in asked.max_drop.items():
        if name not in before or name not in METRICS:
            raise UsageError(f"max_drop names {name!r}", why=f"the scores are {', '.join(before)}")
        drop = (before[name] - after[name]) * (1 if METRICS[name].maximize else -1)
        if not drop <= allowed:
            raise GateFailed(
                f"{name} dropped by {drop:.4g}, {allowed:.4g} is allowed",
                where=f"optimize to {asked.to}",
                why=f"{before[name]:.4f} trained, {after[name]:.4f} as an artifact",
                fix="keep the trained model's precision, or raise max_drop",
            )


def _numbers(scores: Any) -> dict[str, float]:
    values = scores if isinstance(scores, Mapping) else vars(scores)
    return {name: float(value) for name, value in values.items() if isinstance(value, int | float)}
