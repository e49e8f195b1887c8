"""Runtime for LightGBM's own text files, scored in this process by one thread a call."""

import re
from pathlib import Path

import lightgbm
import numpy as np

from headrace.engines.lightgbm.trees import check_trees
from headrace.errors import IntegrityError
from headrace.models.artifact import existing
from headrace.models.matrices import Columns, Matrix, spaced
from headrace.models.signature import Signature
from headrace.serving.native import NativeRuntime
from headrace.serving.worker import Score
from headrace.serving.worker_process import Limits
from headrace.settings import Settings

MAIN_FILE = "model.lightgbm"
_UNNAMED = re.compile(r"Column_\d+")
_END = "\nend of trees\n"


def open_runtime(settings: Settings, name: str) -> NativeRuntime:  # noqa: ARG001 - every factory takes both
    """Factory ``runtime.lightgbm``."""
    limits = Limits(memory_bytes=settings.model_memory_mb << 20)
    return NativeRuntime("lightgbm", f"{__name__}:load", limits, f"{__name__}:rehearse")


def rehearse(folder: Path, signature: Signature) -> Score:
    """As ``load``, once every tree is found to be one."""
    path = folder / MAIN_FILE
    if path.is_file():
        check_trees(path.read_text("utf-8", errors="replace"))
    return load(folder, signature)


def load(folder: Path, signature: Signature) -> Score:
    """A booster that scores: its prediction as the objective gives it, a probability for ``binary``.

    Raises:
        IntegrityError: The file is missing, cut off or no such model.
        SignatureError: Its columns or outputs are not the signature's.
    """
    path = existing(folder / MAIN_FILE)
    try:
        text = path.read_text("utf-8")
        # The library takes some files that were cut off for whole.
        booster = lightgbm.Booster(model_str=text) if text.startswith("tree\n") and _END in text else None
    except (lightgbm.basic.LightGBMError, UnicodeDecodeError) as error:
        raise IntegrityError("the model cannot be loaded", where=str(path), why=str(error)[:300]) from error
    if booster is None:
        raise IntegrityError("the model cannot be loaded", where=str(path), why="it is cut off or no LightGBM text")
    names = booster.feature_name()
    own = spaced(names, [field.name for field in signature.inputs])
    columns = Columns(signature, booster.num_feature(), () if all(map(_UNNAMED.fullmatch, names)) else own)

    def predict(matrix: Matrix) -> Matrix:
        return np.asarray(booster.predict(matrix, num_threads=1))

    columns.check(predict)
    return lambda batch: columns.score(batch, predict)
