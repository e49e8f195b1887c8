"""Tensors in columns of tables: a row is a scalar, a list, or lists in lists, of the extents that a signature says."""

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from headrace.errors import SignatureError
from headrace.models.signature import WORDS, Tensor
from headrace.models.tensors import NUMPY, as_words

_KINDS = {"string": "OSU", "bytes": "OSU", "bool": "b"}


def tensor_of(cells: pa.Array, tensor: Tensor, first: int) -> NDArray[Any]:
    """The tensor in a column: rows first, then the extents of its lists.

    Args:
        cells: One row an entry: lists nested as the shape says, or one flat list of as many values.
        tensor: What is due; its first extent is the batch.
        first: Number of the first row in its table, from 0; faults name rows by it.

    Raises:
        SignatureError: A null, lists of other lengths, or values of another type; names the column and row.
    """
    extents: list[int] = []
    rows, values = len(cells), cells
    while True:
        _check_present(values, tensor, first, math.prod(extents))
        if not _is_list(values.type):
            break
        lengths = pc.list_value_length(values)
        extents.append(_one_length(lengths, tensor, first, math.prod(extents)))
        values = pc.list_flatten(values)
    return _typed(values, tensor, first, math.prod(extents)).reshape(rows, *_shape(extents, tensor))


def column_of(array: NDArray[Any], kind: pa.DataType) -> pa.Array:
    """A tensor as a column of the type that ``type_of`` says: lists nested as its extents after the first."""
    values = pa.array(array.ravel(), _innermost(kind))
    for extent, depth in zip(reversed(array.shape[1:]), range(array.ndim - 1, 0, -1), strict=True):
        count = math.prod(array.shape[:depth])
        offsets = pa.array(np.arange(count + 1) * extent, pa.int32())
        values = pa.ListArray.from_arrays(offsets, values)
    return values.cast(kind)


def type_of(tensor: Tensor) -> pa.DataType:
    """The Arrow type of a column that holds a tensor with a row for each row of its batch."""
    words = {"string": pa.string(), "bytes": pa.binary()}
    kind = words[tensor.dtype] if tensor.dtype in words else pa.from_numpy_dtype(np.dtype(NUMPY[tensor.dtype]))
    for _ in tensor.shape[1:]:
        kind = pa.list_(kind)
    return kind


def _typed(values: pa.Array, tensor: Tensor, first: int, each: int) -> NDArray[Any]:
    found = (values.dictionary_decode() if pa.types.is_dictionary(values.type) else values).to_numpy(
        zero_copy_only=False
    )
    due = np.dtype(NUMPY[tensor.dtype])
    if found.dtype.kind not in _KINDS.get(tensor.dtype, "iuf"):
        raise SignatureError(
            f"column {tensor.name!r} holds {values.type}", why=f"a tensor {tensor.dtype} {list(tensor.shape)} is due"
        )
    if tensor.dtype in WORDS:
        return as_words(found, tensor)
    with np.errstate(over="ignore", invalid="ignore"):  # what does not fit is refused below
        made: NDArray[Any] = found.astype(due)
    if due.kind in "iu":
        wrong = made.astype(np.float64) != found.astype(np.float64)
    else:
        wrong = ~np.isfinite(made) if due.kind == "f" else np.zeros(len(made), np.bool_)
    if wrong.any():
        at = int(np.argmax(wrong))
        raise SignatureError(
            f"column {tensor.name!r} is refused",
            where=f"row {first + at // max(each, 1)}",
            why=f"{found[at]!r} is not finite or does not fit {tensor.dtype}",
        )
    return made


def _shape(extents: list[int], tensor: Tensor) -> tuple[int, ...]:
    due = tensor.shape[1:]
    if len(due) == len(extents) and all(d in {-1, n} for n, d in zip(extents, due, strict=True)):
        return tuple(extents)
    if -1 not in due and len(extents) <= 1 and math.prod(due) == math.prod(extents):
        return tuple(due)
    held = f"lists of {' x '.join(map(str, extents))}" if extents else "one value a row"
    raise SignatureError(
        f"column {tensor.name!r} holds {held}",
        why=f"{list(due)} is due for each row, where -1 is any extent",
        fix="keep a row's tensor as nested lists, or as one flat list of its values in row-major order",
    )


def _one_length(lengths: pa.Array, tensor: Tensor, first: int, each: int) -> int:
    found = lengths.to_numpy(zero_copy_only=False)
    if not len(found):
        return 0
    other = found != found[0]
    if other.any():
        at = int(np.argmax(other))
        raise SignatureError(
            f"column {tensor.name!r} is ragged",
            where=f"row {first + at // max(each, 1)}",
            why=f"a list of {found[at]} where the rows before have {found[0]}",
        )
    return int(found[0])


def _check_present(cells: pa.Array, tensor: Tensor, first: int, each: int) -> None:
    at = pc.index(cells.is_null(), value=True).as_py()
    if at >= 0:
        raise SignatureError(
            f"column {tensor.name!r} is null", where=f"row {first + at // max(each, 1)}", why="tensors have no null"
        )


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _innermost(kind: pa.DataType) -> pa.DataType:
    while pa.types.is_list(kind):
        kind = kind.value_type
    return kind
