"""A Keras model inside its worker: read, found to be layers and arrays, written anew, and only then given to Keras."""

import os
import tempfile
import warnings
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from headrace.engines.keras.archive import MAIN_FILE, read, write
from headrace.engines.keras.backends import CHOICE, backend
from headrace.errors import IntegrityError, SignatureError
from headrace.models.feeding import fed
from headrace.models.signature import WORDS, Signature, Tensor
from headrace.models.tensors import NUMPY
from headrace.serving.worker import Score

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
    with tempfile.TemporaryDirectory(prefix="headrace-") as anew:
        made = _rewritten(folder, Path(anew))
        os.environ.update(_ONE_THREAD, TF_CPP_MIN_LOG_LEVEL="3", KERAS_HOME=anew, **{CHOICE: backend()})
        warnings.simplefilter("ignore")  # on what the model's author cannot change here
        import keras

        try:
            return keras.saving.load_model(made, compile=False, safe_mode=True)
        except MemoryError:
            raise
        except Exception as error:
            why = str(error)[:300]
            raise IntegrityError("the model cannot be loaded", where=str(folder / MAIN_FILE), why=why) from error


def _rewritten(folder: Path, anew: Path) -> Path:
    config, weights = read(folder)
    from headrace.engines.keras.weights import check_weights

    check_weights(weights)
    return write(config, weights, anew)


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
    if dtype not in NUMPY or dtype in WORDS:
        raise SignatureError(f"tensor {name!r} is {dtype}, which does not travel", fix="let the model cast to float32")
    return Tensor(name, dtype, tuple(-1 if extent is None else int(extent) for extent in tensor.shape))
