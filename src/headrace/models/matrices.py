"""Models of one matrix of numbers, as boosters are: which column goes where, and what an answer is called."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headrace.errors import SignatureError
from headrace.models.runtime import Batch, numeric, textual
from headrace.models.signature import WORDS, Dtype, Signature, Tensor
from headrace.models.tensors import NUMPY

Matrix = NDArray[Any]

_MOST_INT64 = np.nextafter(2.0**63, 0)


class Columns:
    """Feeds a model that takes one float matrix and answers one array, from batches of a signature.

    Args:
        signature: Named numeric columns, or one tensor of two extents.
        width: Columns that the model takes.
        names: What the model calls them; empty when it does not know.

    Raises:
        SignatureError: The signature's columns are not the model's.
    """

    def __init__(self, signature: Signature, width: int, names: Sequence[str] = ()) -> None:
        self._part, given = _matrix_of(signature)
        if len(given) != width and signature.kind == "table":
            raise SignatureError(f"the model takes {width} columns", why=f"the signature has {len(given)}")
        self._order: list[int] | None = None
        if names and signature.kind == "table":
            if set(names) != set(given):
                raise other_columns(names, given)
            order = [given.index(name) for name in names]
            self._order = None if order == list(range(width)) else order
        self._width, self._answer = width, Answer(signature)

    def score(self, batch: Batch, predict: Callable[[Matrix], Matrix]) -> dict[str, Matrix]:
        """Outputs by name.

        Raises:
            KeyError: The batch lacks the matrix.
            ValueError: It has another width, or the answer another shape than the signature's.
        """
        return self._answer.named(predict(self.matrix(batch)))

    def matrix(self, batch: Batch) -> Matrix:
        """What the model is given of a batch: its columns in the model's order; raises as ``score`` does."""
        matrix = batch[self._part]
        if matrix.ndim != 2 or matrix.shape[1] != self._width:  # noqa: PLR2004 - a matrix
            raise ValueError(f"{self._part!r} is {list(matrix.shape)}, {self._width} columns are due")
        return matrix if self._order is None else matrix[:, self._order]

    def check(self, predict: Callable[[Matrix], Matrix]) -> None:
        """Score one row of zeros.

        Raises:
            SignatureError: The answer has not the signature's outputs.
        """
        self._answer.check(predict(np.zeros((1, self._width), np.float32)))


class Answer:
    """Names a model's answer: one column per output of a table, or the one output tensor.

    Raises:
        SignatureError: A tensor signature with other than one output.
    """

    def __init__(self, signature: Signature) -> None:
        self._outputs = tuple(o.name for o in signature.outputs)
        self._types = tuple(o.dtype for o in signature.outputs)
        self._dtype: Any = None
        if signature.kind == "tensor":
            if len(self._outputs) != 1:
                raise SignatureError("the model has one output", why=f"the signature names {_list(self._outputs)}")
            self._dtype = NUMPY[signature.outputs[0].dtype]

    def check(self, values: Matrix) -> None:
        """Raise ``SignatureError`` when an answer has another number of columns than outputs."""
        try:
            self.named(values)
        except ValueError as error:
            raise SignatureError("the model's outputs are not the signature's", why=str(error)) from error

    def named(self, values: Matrix) -> dict[str, Matrix]:
        """The answer by output name; raise ``ValueError`` when it has another number of columns than outputs."""
        if self._dtype is not None:
            return {self._outputs[0]: np.asarray(values, self._dtype)}
        columns = values[:, None] if values.ndim == 1 else values
        if columns.ndim != 2 or columns.shape[1] != len(self._outputs):  # noqa: PLR2004 - rows and outputs
            raise ValueError(f"the model answers {list(values.shape)}, the signature names {_list(self._outputs)}")
        kinds = enumerate(zip(self._outputs, self._types, strict=True))
        return {name: answered(columns[:, i], dtype) for i, (name, dtype) in kinds}


def answered(values: Any, dtype: Dtype) -> Matrix:
    """An answer's column for a table's output: as wide as the signature says, whole where it is and the model's are."""
    found = np.asarray(values)
    if dtype == "int64" and found.dtype.kind in "iu":
        return found.astype(np.int64)
    return found.astype(np.float64 if dtype == "float64" else np.float32)


def spaced(names: Iterable[str], given: Sequence[str]) -> list[str]:
    """What a signature that has the columns ``given`` calls the columns of a model.

    LightGBM and skl2onnx write the spaces in names as underscores.
    """
    own = {name.replace(" ", "_"): name for name in given}
    return [name if name in given else own.get(name, name) for name in names]


def other_columns(names: Iterable[str], given: Iterable[str]) -> SignatureError:
    """What to raise where the columns of a model are not those ``given`` by the signature."""
    lacks, extra = sorted(set(given) - set(names)), sorted(set(names) - set(given))
    return SignatureError(
        "the model's columns are not the signature's",
        why=f"only the model has {_list(extra)}, only the signature {_list(lacks)}",
        fix="name the signature's columns as the model does",
    )


def typed_columns(batch: Batch, signature: Signature) -> dict[str, Matrix]:
    """The columns of a table's batch by name, of the signature's types; null is NaN, in text None.

    Raises:
        KeyError: The batch lacks a matrix.
        ValueError: A matrix has another width.
    """
    given = {c.name: c for c in signature.columns}
    cells: dict[str, Matrix] = {}
    for name, column in _split(batch, "numbers", numeric(signature)):
        cells[name] = _typed(column, given[name].dtype)
    for name, column in _split(batch, "strings", textual(signature)):
        # Null is the empty text in a batch, and null again here.
        cells[name] = np.where(column == "", None, column) if given[name].nullable else column  # type: ignore[call-overload]
    return cells


def _typed(column: Matrix, dtype: Dtype) -> Matrix:
    if dtype not in {"float32", "float64"} and np.isnan(column).any():
        return column.astype(np.float64)
    if dtype == "int64":  # the largest was rounded up, to what int64 does not hold
        column = np.minimum(column, _MOST_INT64)
    return column.astype(dtype)


def _split(batch: Batch, part: str, names: tuple[str, ...]) -> Iterator[tuple[str, Matrix]]:
    if not names:
        return iter(())
    matrix = batch[part]
    if matrix.ndim != 2 or matrix.shape[1] != len(names):  # noqa: PLR2004 - a matrix
        raise ValueError(f"{part!r} is {list(matrix.shape)}, {len(names)} columns are due")
    return zip(names, matrix.T, strict=True)


def _matrix_of(signature: Signature) -> tuple[str, tuple[str, ...]]:
    if signature.kind == "table":
        if textual(signature):
            raise SignatureError("the model takes numbers only", why=f"{_list(textual(signature))} are text")
        return "numbers", numeric(signature)
    tensors = signature.tensors
    if len(tensors) != 1 or len(tensors[0].shape) != 2 or not _is_number(tensors[0]):  # noqa: PLR2004 - a matrix
        raise SignatureError("the model takes one matrix of numbers", why=f"the signature has {_list(tensors)}")
    return tensors[0].name, ()


def _is_number(tensor: Tensor) -> bool:
    return tensor.dtype not in WORDS


def _list(names: Sequence[object]) -> str:
    return ", ".join(map(str, names)) or "none"
