"""Fitted scikit-learn estimators and pipelines as ONNX."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import narwhals as nw
import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, is_classifier, is_regressor
from sklearn.dummy import DummyClassifier, DummyRegressor

from headrace.engines.sklearn import graph, trees
from headrace.engines.sklearn.layout import Layout, layout_of, learned_null, positional, steps_of
from headrace.errors import UsageError
from headrace.models.artifact import Artifact
from headrace.settings import Settings

BINARY = 2


class SklearnConverter:
    """Converter of scikit-learn: a plain estimator on numbers, or a pipeline that begins with a ColumnTransformer.

    Null text is ``""`` in the graph. An encoder that met null when it was fitted keeps that category; for any other
    encoder null is the text ``""``, in ``predict`` as in the graph.
    """

    def fits(self, model: Any) -> bool:
        """Whether ``model`` is a scikit-learn classifier, regressor or pipeline."""
        return isinstance(model, BaseEstimator) and bool(is_classifier(model) or is_regressor(model))

    def convert(self, model: Any, columns: Mapping[str, str], *, to: str, output: str) -> Artifact:
        """Export ``model`` to ONNX; see ``Converter.convert``. Only columns that the model reads become inputs.

        More than two classes give one output a class, named ``<output>_<class>``.
        """
        if to != "onnx":
            raise UsageError(f"scikit-learn models are not exported to {to!r}", fix='optimize(model, to="onnx", ...)')
        _check_served(model, self.fits(model))
        layout = layout_of(model, columns)
        names = output_names(model, output)
        final = steps_of(model)[-1]
        if isinstance(final, DummyClassifier | DummyRegressor):
            content = graph.constant(layout, names, _constant_answer(final))
        else:
            content = _exported(model, layout, columns, names)
        return Artifact("onnx", {"model.onnx": content}, layout.columns, names)

    def predict(self, model: Any, rows: Any, columns: Sequence[str]) -> NDArray[np.float64]:
        """What ``model`` answers for a narwhals frame: [rows], or [rows, classes] with more than two classes.

        Args:
            model: The fitted model.
            rows: A table with at least ``columns``.
            columns: The model's inputs, as ``convert`` found them; empty for all columns of ``rows``.
        """
        table = _table(model, rows, columns)
        with warnings.catch_warnings():
            # Models fitted on arrays are given arrays and models fitted on frames get frames: names always agree.
            warnings.filterwarnings("ignore", message="X does not have valid feature names")
            if is_classifier(model):
                answers = np.asarray(model.predict_proba(table), dtype=np.float64)
                return answers[:, 1] if answers.shape[1] == BINARY else answers
            return np.asarray(model.predict(table), dtype=np.float64).reshape(len(rows))


def output_names(model: Any, output: str) -> tuple[str, ...]:
    """One name for a regressor or a binary classifier, else one a class."""
    if not is_classifier(model) or len(model.classes_) == BINARY:
        return (output,)
    return tuple(f"{output}_{name}" for name in model.classes_)


def open_converter(settings: Settings, uri: str) -> SklearnConverter:  # noqa: ARG001 - what every factory takes
    """The engine factory ``converter.sklearn``."""
    return SklearnConverter()


def _exported(model: Any, layout: Layout, columns: Mapping[str, str], names: tuple[str, ...]) -> bytes:
    moved = positional(model, layout)
    final = steps_of(moved)[-1]
    trees.round_down(moved, layout, columns)
    whole = graph.exported(moved, final, layout)
    trees.track_missing(whole.graph, final)
    places = [1] if is_classifier(model) and len(names) == 1 else list(range(len(names)))
    return graph.cut(whole, names, columns=places)


def _check_served(model: Any, fits: bool) -> None:
    final = steps_of(model)[-1]
    if not fits:
        raise UsageError(
            f"{type(final).__name__} is neither a classifier nor a regressor", fix="export the model that predicts"
        )
    if is_classifier(model) and not hasattr(model, "predict_proba"):
        raise UsageError(
            f"{type(final).__name__} gives no probabilities",
            fix="use a classifier with predict_proba, such as LogisticRegression, or CalibratedClassifierCV around it",
        )
    if getattr(final, "is_categorical_", None) is not None:
        raise UsageError(
            f"{type(final).__name__} with categorical_features cannot be exported to ONNX",
            why="ONNX trees split numbers only",
            fix="put an OrdinalEncoder in a ColumnTransformer before it, and drop categorical_features",
        )


def _constant_answer(final: Any) -> NDArray[np.float64]:
    if isinstance(final, DummyRegressor):
        return np.asarray(final.constant_, dtype=np.float64).reshape(-1)
    if final.strategy == "stratified":
        raise UsageError(
            "DummyClassifier(strategy='stratified') cannot be exported",
            why="it answers at random",
            fix="use strategy='prior'",
        )
    answers = np.asarray(final.predict_proba(np.zeros((1, 1)))[0], dtype=np.float64)
    return answers[1:] if len(answers) == BINARY else answers


def _table(model: Any, rows: Any, columns: Sequence[str]) -> Any:
    """The rows as the model was fitted on them: a frame of named columns, or a matrix."""
    frame = nw.from_native(rows, eager_only=True)
    frame = frame.select(list(columns)) if columns else frame
    names = getattr(model, "feature_names_in_", None)
    if names is None:
        return frame.to_numpy().astype(np.float64)
    # Columns that a ColumnTransformer drops may be missing; the others keep the order of fitting.
    frame = frame.select([name for name in names if name in frame.columns])
    if not learned_null(model):
        text = [c for c, dtype in frame.schema.items() if dtype == nw.String]
        frame = frame.with_columns(nw.col(text).fill_null("")) if text else frame
    native = frame.to_native()
    return native if frame.implementation.is_polars() or frame.implementation.is_pandas() else frame.to_polars()
