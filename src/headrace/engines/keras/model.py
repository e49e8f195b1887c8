"""A Keras model inside its worker: read, found to be layers and arrays, written anew, and only then given to Keras."""

import os
import tempfile
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from headrace.engines.keras.backends import CHOICE, backend
from headrace.engines.keras.config import checked
from headrace.errors import IntegrityError, Refused, SignatureError
from headrace.models.archives import opened
from headrace.models.feeding import fed
from headrace.models.signature import Signature, Tensor
from headrace.models.tensors import NUMPY
from headrace.serving.worker import Score

MAIN_FILE = "model.keras"
_CONFIG, _WEIGHTS, _ABOUT = "config.json", "model.weights.h5", "metadata.json"
_MOST_CONFIG_BYTES = 64 << 20
_ONE_THREAD = {f"TF_NUM_{what}_THREADS": "1" for what in ("INTRAOP", "INTEROP")}


def load(folder: Path, signature: Signature) -> Score:
    """A model that scores.

    Raises:
        IntegrityError: The file is missing or no Keras model.
        Refused: It is of more than Keras' own layers, holds more files, or weights that lie elsewhere.
        SignatureError: Its tensors are not the signature's.
    """
    model = _loaded(folder)
    own, returned = _declared(model)

    def call(arrays: list[NDArray[Any]]) -> Any:
        return model.predict_on_batch(arrays if arrays[1:] else arrays[0])

    return fed(call, signature, own, returned=returned)


def declared(folder: Path, name: str = "") -> Signature:
    """The tensors that the model takes and gives; an extent that varies is -1.

    Inputs are called as their input layers are; outputs by the keys of the mapping that the model returns, otherwise
    ``output``, or ``output_0``, ``output_1``.

    Raises:
        IntegrityError: The file is missing or no Keras model.
        Refused: As ``load``.
        SignatureError: It has no fixed inputs, or another signature than its only one is asked for.
    """
    if name:
        raise SignatureError(f"the model has no signature {name!r}", why="a Keras model has one, without a name")
    return _declared(_loaded(folder))[0]


def _loaded(folder: Path) -> Any:
    path = folder / MAIN_FILE
    if not path.is_file():
        raise IntegrityError("the model cannot be loaded", where=str(path), why="there is no such file")
    with _rewritten(path) as made:
        os.environ.update(_ONE_THREAD, TF_CPP_MIN_LOG_LEVEL="3", **{CHOICE: backend()})
        warnings.simplefilter("ignore")  # on what the model's author cannot change here
        import keras

        try:
            return keras.saving.load_model(made, compile=False, safe_mode=True)
        except MemoryError:
            raise
        except Exception as error:
            raise IntegrityError("the model cannot be loaded", where=str(path), why=str(error)[:300]) from error


@contextmanager
def _rewritten(path: Path) -> Iterator[Path]:
    """A new archive of what was read, so that Keras cannot read another one; gone after the ``with`` block."""
    with opened(path) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        if not {_CONFIG, _WEIGHTS} <= entries.keys() <= {_CONFIG, _WEIGHTS, _ABOUT}:
            strange = sorted(entries.keys() ^ {_CONFIG, _WEIGHTS, _ABOUT})
            raise Refused("the archive is no Keras model without assets", where=str(path), why=", ".join(strange)[:200])
        if entries[_CONFIG].file_size > _MOST_CONFIG_BYTES:
            raise Refused("the model's configuration is too long", where=str(path))
        config, weights = checked(archive.read(_CONFIG)), archive.read(_WEIGHTS)
    from headrace.engines.keras.weights import check_weights

    check_weights(weights)
    with tempfile.TemporaryDirectory(prefix="headrace-") as folder:
        made = Path(folder, MAIN_FILE)
        with zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as target:
            target.writestr(_CONFIG, config)
            target.writestr(_WEIGHTS, weights)
        yield made


def _declared(model: Any) -> tuple[Signature, tuple[str, ...]]:
    """The model's tensors, and the keys of the mapping that it returns."""
    try:
        inputs, outputs, answer = list(model.inputs), list(model.outputs), getattr(model, "output", None)
    except (AttributeError, ValueError, TypeError) as error:
        fix = "begin it with keras.Input(shape=...), then save it again"
        raise SignatureError("the model does not say what it takes", why=str(error)[:300], fix=fix) from error
    named = answer if isinstance(answer, dict) else {}
    if named:
        given = tuple(_tensor(name, tensor) for name, tensor in named.items())
    else:
        given = tuple(_tensor(f"output_{i}" if outputs[1:] else "output", t) for i, t in enumerate(outputs))
    taken = tuple(_tensor(t._keras_history.operation.name, t) for t in inputs)  # noqa: SLF001 - its input layer
    return Signature("tensor", taken, given), tuple(named)


def _tensor(name: str, tensor: Any) -> Tensor:
    if isinstance(tensor, (dict, list, tuple)):
        raise SignatureError(f"the model gives {name!r} as tensors within {type(tensor).__name__}", why="one is due")
    dtype: Any = str(tensor.dtype)
    if dtype not in NUMPY or dtype == "string":
        raise SignatureError(f"tensor {name!r} is {dtype}, which does not travel", fix="let the model cast to float32")
    return Tensor(name, dtype, tuple(-1 if extent is None else int(extent) for extent in tensor.shape))
