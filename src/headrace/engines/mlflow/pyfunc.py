"""An MLflow model inside its worker: loaded by MLflow itself once that was trusted, fed by name.

Loading runs whatever the folder holds: pickles, modules of its own, loaders that its ``MLmodel`` names. Nothing of that
happens before the word was found that trusts it; what it declares is read from its ``MLmodel`` alone.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from headrace.engines.mlflow.feeding import Answers, Feed, by_name, feeding
from headrace.engines.mlflow.quiet import quiet
from headrace.engines.mlflow.schemas import params_of, signature_of
from headrace.errors import IntegrityError, MissingExtra, Refused, SignatureError
from headrace.models.artifact import existing
from headrace.models.formats import ML_MODEL
from headrace.models.matrices import Matrix
from headrace.models.params import Params
from headrace.models.runtime import Batch, numeric, textual
from headrace.models.signature import Signature, is_null
from headrace.models.tensors import NUMPY, to_cells, tolerance_of
from headrace.models.trust import PICKLE, words_of
from headrace.serving.worker import Score

FOLDER = "model.mlflow"


def declared(folder: Path, name: str) -> Signature:
    """What the ``MLmodel`` says that the model takes and gives; see ``schemas.signature_of``.

    Raises:
        IntegrityError: The ``MLmodel`` is missing or cannot be read.
        Refused: The model is not trusted.
        SignatureError: It has no signature, one that cannot be served, or a name was asked for.
    """
    if name:
        raise SignatureError(f"the model has no signature {name!r}", why="an MLmodel has one, without a name")

    def read(path: str) -> Any:
        from mlflow.models import Model

        return Model.load(path).signature

    return signature_of(_read(folder, read))


def examples(folder: Path, signature: Signature) -> Mapping[str, Any]:
    """The input example of the model, with what MLflow's own ``predict`` makes of it; nothing when it has none.

    An example may have params, which are told and shown as well.

    Raises:
        IntegrityError: The model cannot be loaded, or does not take its example.
        SignatureError: The example or the answers are not the signature's.
    """
    model = _loaded(folder)
    given = model.input_example
    if given is None:
        return {}
    said = model.metadata.load_input_example_params(str(folder / FOLDER)) or {}
    params = {param.name: said[param.name] for param in signature.params if param.name in said}
    try:
        answers = model.predict(given, params=params)
    except Exception as error:
        raise IntegrityError("the model does not take its own example", why=_short(error)) from error
    try:
        inputs = by_name(given, tuple(field.name for field in signature.inputs))
        outputs = {name: np.asarray(values) for name, values in Answers(signature).named(answers).items()}
    except (KeyError, IndexError, ValueError, TypeError) as error:
        raise SignatureError("the model's example is not the signature's", why=_short(error)) from error
    part = "columns" if signature.kind == "table" else "tensors"
    return {
        part: {name: _cells(values) for name, values in inputs.items()},
        "outputs": {name: to_cells(values) for name, values in outputs.items()},
        "tolerance": tolerance_of(outputs),
    } | ({"params": params} if params else {})


def load(folder: Path, signature: Signature) -> Score:
    """A model that scores as ``mlflow.pyfunc.load_model(...).predict`` does.

    Raises:
        IntegrityError: A file is missing, or MLflow cannot load the model.
        MissingExtra: The model needs a package that is not installed.
        Refused: The model is not trusted.
        SignatureError: Its columns, tensors, parameters or answers are not the signature's.
    """
    model = _loaded(folder)
    schemas = model.metadata.signature
    feed, answers = feeding(schemas, signature), Answers(signature)
    if signature.params and signature.params != params_of(schemas):
        said = ", ".join(map(str, params_of(schemas))) or "none"
        raise SignatureError("the model's params are not the signature's", why=f"its MLmodel declares {said}")
    _rehearse(model, feed, answers, signature)

    def score(batch: Batch, params: Params | None = None) -> Mapping[str, Matrix]:
        return answers.named(model.predict(feed(batch), params=params))

    return score


def _rehearse(model: Any, feed: Feed, answers: Answers, signature: Signature) -> None:
    """Score one row of zeros and empty texts, where the signature fixes its shape."""
    if any(-1 in tensor.shape[1:] for tensor in signature.tensors):
        return
    row: dict[str, Any] = {t.name: np.zeros([max(n, 1) for n in t.shape], NUMPY[t.dtype]) for t in signature.tensors}
    if signature.kind == "table":
        row["numbers"] = np.zeros((1, len(numeric(signature))), np.float32)
        row["strings"] = np.full((1, len(textual(signature))), "", object)
    try:
        found = model.predict(feed(row))
    except Exception:  # noqa: BLE001 - it may never have seen such a row: the recorded ones will show what it answers
        return
    try:
        answers.named(found)
    except (KeyError, ValueError, TypeError) as error:
        raise SignatureError("the model's outputs are not the signature's", why=_short(error)) from error


def _cells(values: Any) -> Any:
    cells = values.tolist() if values.ndim == 1 else to_cells(values)
    return [None if is_null(cell) else cell for cell in cells]


def _loaded(folder: Path) -> Any:
    def load(path: str) -> Any:
        from mlflow import pyfunc, tracing

        tracing.disable()  # a model that traces itself would write into the server's folder
        return pyfunc.load_model(path, suppress_warnings=True)

    model = _read(folder, load)
    if model.metadata.saved_input_example_info and model.input_example is None:
        where = str(folder / FOLDER / model.metadata.saved_input_example_info["artifact_path"])
        raise IntegrityError("the model's input example cannot be read", where=where)
    return model


def _read(folder: Path, read: Callable[[str], Any]) -> Any:
    """What MLflow reads of a model that is trusted.

    Raises:
        IntegrityError: There is no ``MLmodel``, or MLflow cannot read what is asked.
        MissingExtra: The model needs a package that is not installed.
        Refused: The model is not trusted.
    """
    path = folder / FOLDER
    existing(path / ML_MODEL)
    if PICKLE not in words_of(folder):
        fix = f"if you know whose it is: headrace models import ... --trust {PICKLE}"
        raise Refused("an MLflow model runs code when it is loaded", where=str(path), why="no one trusted it", fix=fix)
    try:
        with quiet():
            return read(str(path))
    except MemoryError:
        raise
    except ModuleNotFoundError as error:
        fix = "install what its requirements.txt names where headrace runs"
        raise MissingExtra(f"the model needs {error.name}", where=str(path), fix=fix) from error
    except (Exception, SystemExit) as error:
        raise IntegrityError("the model cannot be loaded", where=str(path), why=_short(error)) from error


def _short(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:300]
