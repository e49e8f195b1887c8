"""Score tables with an artifact: its files in a folder, a runtime, named columns in, named outputs out."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headrace.errors import SignatureError
from headrace.models.artifact import Artifact, write_files
from headrace.models.runtime import Batch, Loaded, Runtime, numeric, to_batch
from headrace.models.signature import Signature

if TYPE_CHECKING:
    import narwhals as nw


@contextmanager
def loaded(runtime: Runtime, artifact: Artifact, signature: Signature) -> Iterator[Loaded]:
    """The artifact in memory, for the length of a ``with`` block."""
    with unpacked(artifact.files) as folder:
        model = runtime.load(folder, signature)
        try:
            yield model
        finally:
            model.close()


@contextmanager
def unpacked(files: Mapping[str, bytes]) -> Iterator[Path]:
    """An artifact's files in a folder, for the length of a ``with`` block."""
    with tempfile.TemporaryDirectory() as folder:
        write_files(files, Path(folder))
        yield Path(folder)


def batch_of(frame: "nw.DataFrame[Any]", signature: Signature) -> Batch:
    """The matrices of a table, by the names of its columns; null is NaN and ``""``.

    Raises:
        SignatureError: The table lacks an input.
    """
    missing = [column.name for column in signature.columns if column.name not in frame.columns]
    if missing:
        raise SignatureError(
            f"the rows lack {', '.join(missing)}",
            why=f"the model takes {', '.join(c.name for c in signature.columns)}",
            fix="pass a table with these columns; their order does not matter",
        )
    floats = set(numeric(signature))
    columns = {c.name: _cells(frame, c.name, floats=c.name in floats) for c in signature.columns}
    return to_batch(columns, signature)


def answers(model: Loaded, batch: Batch, outputs: tuple[str, ...]) -> NDArray[np.float64]:
    """Scores of a batch: [rows] for one output, [rows, outputs] for several, in the order of ``outputs``."""
    scores = model.score(batch)
    matrix = np.column_stack([np.asarray(scores[name], dtype=np.float64) for name in outputs])
    return matrix[:, 0] if len(outputs) == 1 else matrix


def _cells(frame: "nw.DataFrame[Any]", name: str, *, floats: bool) -> Any:
    import narwhals as nw

    column = frame[name]
    return column.cast(nw.Float64).to_numpy() if floats else column.cast(nw.String).to_list()
