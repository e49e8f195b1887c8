"""Use case: time a candidate beside the champion, on the same rows."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from headrace.evaluation.latency import Latency, side_by_side
from headrace.models import registry
from headrace.models.artifact import Artifact
from headrace.models.infer import eager, signature_of
from headrace.models.runtime import Runtime
from headrace.models.scoring import batch_of, loaded
from headrace.models.version import ModelVersion
from headrace.storage.files import Files

ROWS = 50


def against_champion(
    runtime: Callable[[str], Runtime], files: Files, candidate: Artifact, champion: ModelVersion, rows: Any
) -> Latency | None:
    """Latency of one row at a time, the two models taking turns; None when they are the same model.

    Args:
        runtime: Runtime by format.
        files: Where the champion lies.
        candidate: The artifact to judge.
        champion: The version to judge it by.
        rows: A table with the inputs of both; the first 50 rows are scored again and again.
    """
    folder = registry.fetch(files, champion)
    if _same(candidate, folder):
        return None
    frame = eager(rows).head(ROWS)
    signature = signature_of(candidate, frame)
    model = runtime(champion.format).load(folder, champion.signature)
    try:
        with loaded(runtime(candidate.format), candidate, signature) as new:
            singles = [frame[[i]] for i in range(len(frame))]
            batches = [(batch_of(one, signature), batch_of(one, champion.signature)) for one in singles]
            return side_by_side(lambda pair: new.score(pair[0]), lambda pair: model.score(pair[1]), batches)
    finally:
        model.close()


def _same(candidate: Artifact, folder: Path) -> bool:
    main = f"model.{candidate.format}"
    return (folder / main).is_file() and (folder / main).read_bytes() == candidate.files[main]
