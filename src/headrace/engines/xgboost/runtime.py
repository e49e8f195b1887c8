"""Runtime for XGBoost's own model files, JSON or UBJSON, scored in this process by one thread a call."""

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import xgboost

from headrace.engines.xgboost.trees import check_trees, is_linear
from headrace.errors import IntegrityError, first_line
from headrace.models.matrices import Columns, Matrix
from headrace.models.signature import Signature
from headrace.serving.native import NativeRuntime
from headrace.serving.worker import Score
from headrace.serving.worker_process import Limits
from headrace.settings import Settings

MAIN_FILE = "model.xgboost"

Predict = Callable[[Matrix], Matrix]


def open_runtime(settings: Settings, name: str) -> NativeRuntime:  # noqa: ARG001 - every factory takes both
    """Factory ``runtime.xgboost``."""
    limits = Limits(memory_bytes=settings.model_memory_mb << 20)
    return NativeRuntime("xgboost", f"{__name__}:load", limits, f"{__name__}:rehearse")


def rehearse(folder: Path, signature: Signature) -> Score:
    """As ``load``, once every tree is found to be one."""
    check_trees(_booster(folder))
    return load(folder, signature)


def load(folder: Path, signature: Signature) -> Score:
    """A booster that scores: its prediction as the objective gives it, a probability for ``binary:logistic``.

    Raises:
        IntegrityError: The file is missing or no such model.
        SignatureError: Its columns or outputs are not the signature's.
    """
    booster = _booster(folder)
    columns = Columns(signature, booster.num_features(), booster.feature_names or ())
    predict = _of_weights(booster) if is_linear(booster) else _of_trees(booster)
    columns.check(predict)
    return lambda batch: columns.score(batch, predict)


def _of_trees(booster: xgboost.Booster) -> Predict:
    # Names were checked before, once; NaN is what the model knows as missing.
    return lambda matrix: np.asarray(booster.inplace_predict(matrix, validate_features=False))


def _of_weights(booster: xgboost.Booster) -> Predict:
    """A linear booster knows one way to predict, which is not for several threads at once."""
    one = threading.Lock()

    def predict(matrix: Matrix) -> Matrix:
        rows = xgboost.DMatrix(matrix, nthread=1)
        with one:
            return np.asarray(booster.predict(rows, validate_features=False))

    return predict


def _booster(folder: Path) -> xgboost.Booster:
    path = folder / MAIN_FILE
    content = path.read_bytes() if path.is_file() else b""
    if not content:  # the library would end the process
        raise IntegrityError("the model cannot be loaded", where=str(path), why="there is no such file, or it is empty")
    booster = xgboost.Booster()
    try:
        booster.load_model(bytearray(content))
        booster.set_param({"nthread": 1})
        booster.num_features()
    except xgboost.core.XGBoostError as error:
        raise IntegrityError("the model cannot be loaded", where=str(path), why=first_line(error)) from error
    return booster
