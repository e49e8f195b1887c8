"""An estimator inside its worker: loaded from a skops file when every type in it is trusted, fed by column name."""

import importlib.util
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import narwhals as nw
import numpy as np
from skops.io import get_untrusted_types
from skops.io import load as load_skops

from headrace.errors import IntegrityError, Refused, SignatureError
from headrace.models.artifact import existing
from headrace.models.matrices import Answer, Columns, Matrix, other_columns, typed_columns
from headrace.models.runtime import Batch, numeric, textual
from headrace.models.signature import Signature
from headrace.models.trust import words_of
from headrace.serving.worker import Score

MAIN_FILE = "model.skops"
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
    path, trusted = existing(folder / MAIN_FILE), words_of(folder)
    try:
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
        given = {c.name for c in signature.columns}
        if set(names) != given:
            raise other_columns(names, given)
        self._signature, self._names = signature, names
        self._backend: Any = next((name for name in _FRAMES if importlib.util.find_spec(name)), "pyarrow")

    def blank(self) -> Batch:
        """One row of zeros and empty texts."""
        numbers = np.zeros((1, len(numeric(self._signature))), np.float32)
        return {"numbers": numbers, "strings": np.full((1, len(textual(self._signature))), "", object)}

    def made(self, batch: Batch) -> Any:
        cells = typed_columns(batch, self._signature)
        return nw.from_dict({name: cells[name] for name in self._names}, backend=self._backend).to_native()
