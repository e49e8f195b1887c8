"""An estimator inside its worker: loaded from a skops file when every type in it is trusted, fed by column name."""

import importlib.util
import json
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import narwhals as nw
import numpy as np
from skops.io import get_untrusted_types
from skops.io import load as load_skops

from headrace.errors import IntegrityError, Refused, SignatureError
from headrace.models.matrices import Answer, Columns, Matrix
from headrace.models.runtime import Batch, numeric, textual
from headrace.models.signature import Signature
from headrace.serving.worker import Score

MAIN_FILE = "model.skops"
TRUSTED_FILE = "trusted.json"
"""Names of the types that whoever registered the model trusts, besides those that skops knows to be harmless."""

_FRAMES = ("pandas", "polars")


def load(folder: Path, signature: Signature) -> Score:
    """An estimator that scores.

    One output is the probability of the second of two classes where the estimator gives probabilities; as many outputs
    as classes are the probability of each; otherwise outputs are what it predicts.

    Raises:
        IntegrityError: The file is missing or no skops file.
        Refused: It holds types that are not trusted; names them.
        SignatureError: The estimator's columns or outputs are not the signature's.
    """
    warnings.filterwarnings("ignore", message=".*valid feature names")  # we order columns by name ourselves
    estimator = _loaded(folder)
    predict = _predictor(estimator, len(signature.outputs))
    names = tuple(map(str, getattr(estimator, "feature_names_in_", ())))
    if names and signature.kind == "table":
        return _by_frame(signature, names, predict)
    columns = Columns(signature, int(getattr(estimator, "n_features_in_", len(numeric(signature)))), names)
    columns.check(predict)
    return lambda batch: columns.score(batch, predict)


def _loaded(folder: Path) -> Any:
    path, trusting = folder / MAIN_FILE, folder / TRUSTED_FILE
    if not path.is_file():
        raise IntegrityError("the model cannot be loaded", where=str(path), why="there is no such file")
    try:
        trusted = set(json.loads(trusting.read_bytes())) if trusting.is_file() else set()
        strange = sorted(set(get_untrusted_types(file=path)) - trusted)
        if strange:
            raise Refused(
                "the model holds types that are not trusted",
                where=str(path),
                why=", ".join(strange),
                fix=f"if you know them: headrace models import ... {' '.join(f'--trust {s}' for s in strange)}",
            )
        return load_skops(path, trusted=sorted(trusted))
    except (zipfile.BadZipFile, ValueError, TypeError, KeyError, AttributeError, ImportError) as error:
        raise IntegrityError("the model cannot be loaded", where=str(path), why=str(error)[:300]) from error


def _predictor(estimator: Any, outputs: int) -> Callable[[Any], Matrix]:
    probability = getattr(estimator, "predict_proba", None)
    if probability is None:
        if not hasattr(estimator, "predict"):
            raise SignatureError(f"a {type(estimator).__name__} predicts nothing", fix="import an estimator")
        return lambda rows: np.asarray(estimator.predict(rows))
    if outputs == 1 and len(estimator.classes_) == 2:  # noqa: PLR2004 - a yes or no
        return lambda rows: np.asarray(probability(rows))[:, 1]
    return lambda rows: np.asarray(probability(rows))


def _by_frame(signature: Signature, names: tuple[str, ...], predict: Callable[[Any], Matrix]) -> Score:
    """Scores tables with the columns that the estimator was trained on, which pipelines find by name."""
    frames, answer = _Frames(signature, names), Answer(signature)
    try:
        values = predict(frames.made(frames.blank()))
    except (ValueError, TypeError):  # a text that it never saw: recorded rows will show what it answers
        values = None
    if values is not None:
        answer.check(values)
    return lambda batch: answer.named(predict(frames.made(batch)))


class _Frames:
    """Makes frames of batches: columns in the order of training, of the signature's types."""

    def __init__(self, signature: Signature, names: tuple[str, ...]) -> None:
        self._columns = {c.name: c for c in signature.columns}
        if set(names) != set(self._columns):
            strange = ", ".join(sorted(set(names) ^ set(self._columns)))
            raise SignatureError("the model's columns are not the signature's", why=f"only one has {strange}")
        self._names, self._numbers, self._strings = names, numeric(signature), textual(signature)
        self._backend: Any = next((name for name in _FRAMES if importlib.util.find_spec(name)), "pyarrow")

    def blank(self) -> Batch:
        """One row of zeros and empty texts."""
        numbers = np.zeros((1, len(self._numbers)), np.float32)
        return {"numbers": numbers, "strings": np.full((1, len(self._strings)), "", object)}

    def made(self, batch: Batch) -> Any:
        cells: dict[str, Any] = {
            name: self._number(name, column) for name, column in _split(batch, "numbers", self._numbers)
        }
        cells |= {name: self._text(name, column) for name, column in _split(batch, "strings", self._strings)}
        return nw.from_dict({name: cells[name] for name in self._names}, backend=self._backend).to_native()

    def _number(self, name: str, column: Matrix) -> Matrix:
        dtype = self._columns[name].dtype
        return column.astype(np.float64 if np.isnan(column).any() else dtype)

    def _text(self, name: str, column: Matrix) -> list[str | None]:
        """Null is the empty text in a batch, and null again here."""
        return [cell or None for cell in column] if self._columns[name].nullable else list(column)


def _split(batch: Batch, part: str, names: tuple[str, ...]) -> Iterator[tuple[str, Matrix]]:
    if not names:
        return iter(())
    matrix = batch[part]
    if matrix.ndim != 2 or matrix.shape[1] != len(names):  # noqa: PLR2004 - a matrix
        raise ValueError(f"{part!r} is {list(matrix.shape)}, {len(names)} columns are due")
    return zip(names, matrix.T, strict=True)
