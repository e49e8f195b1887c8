"""Which columns a fitted scikit-learn model reads, and the same model reading two matrices by position instead."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.pipeline import Pipeline

from headrace.errors import UsageError


@dataclass(frozen=True)
class Layout:
    """The two matrices of a tabular graph.

    Attributes:
        numbers: Columns of the float matrix, in its order.
        strings: Columns of the string matrix, in its order.
    """

    numbers: tuple[str, ...]
    strings: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns: numbers, then strings."""
        return self.numbers + self.strings


def steps_of(model: Any) -> list[Any]:
    """The steps of a pipeline, nested ones opened, without ``passthrough``; a plain estimator is its own only step."""
    if not isinstance(model, Pipeline):
        return [model]
    found = [s for _, step in model.steps if step not in (None, "passthrough") for s in steps_of(step)]
    return found or [model]


def layout_of(model: Any, columns: Mapping[str, str]) -> Layout:
    """The columns that ``model`` reads, numeric ones first, each group in the order in which the model reads them.

    That order is the fitted model's own, whatever the order of ``columns``.

    Args:
        model: The fitted model.
        columns: Column to dtype; more than the model reads is fine.

    Raises:
        UsageError: The model reads a column that ``columns`` lacks, or text without a ColumnTransformer.
    """
    first = steps_of(model)[0]
    used = _used(first) if isinstance(first, ColumnTransformer) else _fitted_names(model, columns)
    missing = [name for name in used if name not in columns]
    if missing:
        raise UsageError(
            f"the model reads {', '.join(missing)}, which the rows lack",
            why=f"they have {', '.join(columns)}",
            fix="pass the table that the model was fitted on, with the same column names",
        )
    if isinstance(first, ColumnTransformer | DummyClassifier | DummyRegressor):
        return Layout(
            tuple(c for c in used if columns[c] != "string"),
            tuple(c for c in used if columns[c] == "string"),
        )
    textual = [name for name in used if columns[name] == "string"]
    if textual:
        raise UsageError(
            f"{type(first).__name__} cannot read the text column {textual[0]!r}",
            fix="begin the pipeline with a ColumnTransformer that encodes text columns",
        )
    return Layout(used, ())


def positional(model: Any, layout: Layout) -> Any:
    """A deep copy of ``model`` whose ColumnTransformer takes columns by position in ``layout``."""
    moved = copy.deepcopy(model)
    first = steps_of(moved)[0]
    if not isinstance(first, ColumnTransformer):
        return moved
    place = {name: index for index, name in enumerate(layout.columns)}
    names = _fitted_order(first)
    fitted = []
    for name, transformer, chosen in first.transformers_:
        where = [place[c] for c in _names(chosen, names)] if transformer != "drop" else []
        if where:
            fitted.append((name, transformer, where))
            _forget_null(transformer)
    first.transformers_ = fitted
    first.transformers = list(fitted)
    # scikit-learn keeps the fitted choice of columns in private attributes only, and skl2onnx reads them.
    first._columns = [where for _, _, where in fitted]  # noqa: SLF001
    first._transformer_to_input_indices = {name: where for name, _, where in fitted}  # noqa: SLF001
    first.n_features_in_ = len(place)
    return moved


def reorders(moved: Any, layout: Layout) -> bool:
    """Whether some transformer of a ``positional`` model reads as many columns as a matrix has, in another order."""
    first = steps_of(moved)[0]
    if not isinstance(first, ColumnTransformer):
        return False
    edge, width = len(layout.numbers), len(layout.columns)
    matrices = (list(range(edge)), list(range(edge, width)))
    for _, _, where in first.transformers_:
        for matrix in matrices:
            read = [place for place in where if place in matrix]
            if len(read) == len(matrix) and read != matrix:
                return True
    return False


def learned_null(model: Any) -> bool:
    """Whether some encoder of ``model`` met null text when it was fitted, and so has a category for it."""
    first = steps_of(model)[0]
    if not isinstance(first, ColumnTransformer):
        return False
    return any(_is_null(value) for cells in _categories(first) for value in cells)


def _categories(transformer: ColumnTransformer) -> Iterator[Any]:
    for _, fitted, _ in transformer.transformers_:
        for step in steps_of(fitted):
            for cells in getattr(step, "categories_", ()):
                if cells.dtype == object:
                    yield cells


def _forget_null(transformer: Any) -> None:
    """Name the null category ``""``, as the string matrix hands it over."""
    for step in steps_of(transformer):
        for cells in getattr(step, "categories_", ()):
            if cells.dtype == object:
                cells[[_is_null(value) for value in cells]] = ""


def _is_null(value: object) -> bool:
    return value is None or value != value  # noqa: PLR0124 - only NaN differs from itself


def _used(transformer: ColumnTransformer) -> tuple[str, ...]:
    names = _fitted_order(transformer)
    read = [c for _, fitted, chosen in transformer.transformers_ if fitted != "drop" for c in _names(chosen, names)]
    return tuple(dict.fromkeys(read))


def _fitted_order(transformer: ColumnTransformer) -> tuple[str, ...]:
    names = getattr(transformer, "feature_names_in_", None)
    if names is None:
        raise UsageError(
            "the ColumnTransformer was fitted without column names",
            fix="fit it on a polars or pandas frame, so that columns are found by name",
        )
    return tuple(names)


def _names(chosen: Any, fitted: Sequence[str]) -> list[str]:
    """Column names of a transformer's fitted choice: names, positions, a slice or a mask."""
    if isinstance(chosen, str):
        return [chosen]
    if isinstance(chosen, slice):
        return _sliced(chosen, fitted)
    cells = list(chosen)
    if cells and all(isinstance(c, bool) or type(c).__name__ == "bool" for c in cells):
        return [name for name, keep in zip(fitted, cells, strict=True) if keep]
    return [c if isinstance(c, str) else fitted[c] for c in cells]


def _sliced(chosen: slice, fitted: Sequence[str]) -> list[str]:
    if isinstance(chosen.start, str) or isinstance(chosen.stop, str):
        begin = fitted.index(chosen.start) if chosen.start is not None else 0
        end = fitted.index(chosen.stop) + 1 if chosen.stop is not None else len(fitted)
        return list(fitted[begin:end])
    return list(fitted[chosen])


def _fitted_names(model: Any, columns: Mapping[str, str]) -> tuple[str, ...]:
    names = getattr(model, "feature_names_in_", None)
    if names is not None:
        return tuple(names)
    count = getattr(model, "n_features_in_", len(columns))
    if count != len(columns):
        raise UsageError(
            f"the model was fitted on {count} unnamed columns, the rows have {len(columns)}",
            fix="fit it on a polars or pandas frame, so that columns are found by name",
        )
    return tuple(columns)
