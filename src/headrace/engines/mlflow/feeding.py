"""What an MLflow model is given, and what it answers: frames, arrays and mappings of them, by name."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import narwhals as nw
import numpy as np

from headrace.errors import SignatureError
from headrace.models.matrices import Answer, Columns, Matrix, answered, other_columns, typed_columns
from headrace.models.runtime import Batch
from headrace.models.signature import Dtype, Signature
from headrace.models.tensors import NUMPY

Feed = Callable[[Batch], Any]
"""Makes of a batch what the model's ``predict`` takes."""


def feeding(schemas: Any, signature: Signature) -> Feed:
    """What makes a model's input of a batch, of the types that its ``MLmodel`` names.

    Raises:
        SignatureError: The names are not the ``MLmodel``'s.
    """
    specs = schemas.inputs.inputs if schemas is not None and schemas.inputs is not None else ()
    names = tuple(field.name for field in signature.inputs)
    frame = not schemas.inputs.is_tensor_spec() if specs else signature.kind == "table"
    if not frame and len(specs or names) == 1 and all(spec.name is None for spec in specs):
        return _whole(specs, signature)
    types = {str(spec.name): _type_of(spec) for spec in specs if spec.name is not None}
    if types and set(types) != set(names):
        raise other_columns(types, names)
    order = tuple(types) or names

    def feed(batch: Batch) -> Any:
        cells = typed_columns(batch, signature) if signature.kind == "table" else batch
        typed = {name: _typed(cells[name], types.get(name)) for name in order}
        return nw.from_dict(typed, backend="pandas").to_native() if frame else typed

    return feed


def _whole(specs: Sequence[Any], signature: Signature) -> Feed:
    """The only tensor, which MLflow leaves without a name; a table of numbers is one, in the signature's order."""
    dtype = specs[0].type if specs else None
    if signature.kind == "tensor":
        name = signature.inputs[0].name
        if len(signature.inputs) != 1:
            raise SignatureError("the model takes one tensor", why=f"the signature has {len(signature.inputs)}")
        return lambda batch: np.asarray(batch[name], dtype)
    width = specs[0].shape[-1] if specs else -1
    columns = Columns(signature, width if width > 0 else len(signature.columns))
    return lambda batch: np.asarray(columns.matrix(batch), dtype)


class Answers:
    """Names what a model answers: a frame, a mapping, a series, an array or a list."""

    def __init__(self, signature: Signature) -> None:
        self._names = tuple(output.name for output in signature.outputs)
        self._table = signature.kind == "table"
        self._types = {o.name: o.dtype for o in signature.outputs}
        self._unnamed = Answer(signature) if signature.kind == "table" or len(self._names) == 1 else None

    def named(self, found: Any) -> dict[str, Matrix]:
        """The answer by output name.

        Raises:
            KeyError: An output is missing.
            ValueError: There are more or fewer columns than outputs.
        """
        if has_names(found):
            return {name: self._typed(found[name], self._types[name]) for name in self._names}
        if self._unnamed is None:
            raise ValueError(f"the model answers a {type(found).__name__}, the outputs have names")
        return self._unnamed.named(np.asarray(found))

    def _typed(self, values: Any, dtype: Dtype) -> Matrix:
        return answered(values, dtype) if self._table else np.asarray(values, NUMPY[dtype])


def has_names(found: Any) -> bool:
    """Whether it is a mapping, or a frame whose columns have names."""
    if isinstance(found, Mapping):
        return True
    return hasattr(found, "columns") and any(isinstance(name, str) for name in found.columns)


def by_name(given: Any, names: tuple[str, ...]) -> dict[str, Matrix]:
    """An input example as arrays by name: a frame, a mapping, a list of records, an array or a matrix of columns.

    Raises:
        KeyError: A name is missing.
        IndexError: A matrix has fewer columns than there are names.
    """
    if has_names(given):
        return {name: np.atleast_1d(np.asarray(given[name])) for name in names}
    if isinstance(given, list) and given and isinstance(given[0], Mapping):
        return {name: np.asarray([row[name] for row in given]) for name in names}
    if len(names) == 1:
        return {names[0]: np.asarray(given)}
    matrix = np.asarray(given)
    return {name: matrix[:, number] for number, name in enumerate(names)}


def _type_of(spec: Any) -> Any:
    return spec.type if hasattr(spec, "shape") else spec.type.to_pandas()


def _typed(values: Any, dtype: Any) -> Any:
    """Of the type that MLflow asks for; whole numbers with nulls stay as they are, for it to judge."""
    if dtype is None or (np.dtype(dtype).kind in "iub" and values.dtype.kind == "f" and np.isnan(values).any()):
        return values
    return values.astype(dtype)
