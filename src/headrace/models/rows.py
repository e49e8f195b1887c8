"""Rows of a stored table as a model takes them: every column checked against the signature, each fault with its row.

The rules are those that callers of an endpoint meet: columns by name, null only where the signature says so (NaN counts
as null), no infinity, and no number that float32 cannot hold.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from headrace.errors import SignatureError
from headrace.models.lists import tensor_of
from headrace.models.runtime import Batch, number_type, numeric, textual
from headrace.models.signature import Column, Signature

FLOAT32_MAX = float(np.finfo(np.float32).max)
_BOUNDED: Mapping[str, Any] = {"int32": np.iinfo(np.int32), "uint8": np.iinfo(np.uint8)}


def check_columns(signature: Signature, schema: pa.Schema) -> None:
    """Raise ``SignatureError`` unless a table has every input, and table columns are of a type that may fit."""
    missing = [field.name for field in signature.inputs if field.name not in schema.names]
    if missing:
        one = len(missing) == 1
        raise SignatureError(
            f"column{'' if one else 's'} {', '.join(map(repr, missing))} {'is' if one else 'are'} missing",
            why=f"the model takes {', '.join(_said(f) for f in signature.inputs)}; the table has "
            f"{', '.join(schema.names)}",
            fix="name them so in a step; their order does not matter",
        )
    for column in signature.columns:
        found = schema.field(column.name).type
        if not _FITS[_family(column)](_plain(found)):
            raise SignatureError(
                f"column {column.name!r} is refused", why=f"{_DUE[_family(column)]} are due, the table has {found}"
            )


def batch_of_rows(rows: pa.RecordBatch, signature: Signature, first: int) -> Batch:
    """The batch that a model takes.

    Args:
        rows: Some rows of a table that ``check_columns`` let through.
        signature: Of the model.
        first: Number of the first of them in the table, from 0; faults name rows by it.

    Raises:
        SignatureError: A cell that the signature does not allow; names its column and row.
    """
    if signature.kind == "tensor":
        return {t.name: tensor_of(rows.column(t.name), t, first) for t in signature.tensors}
    columns = {c.name: c for c in signature.columns}
    batch: dict[str, NDArray[Any]] = {}
    if names := numeric(signature):
        dtype = number_type(signature)
        batch["numbers"] = np.column_stack([_numbers(rows.column(n), columns[n], first).astype(dtype) for n in names])
    if names := textual(signature):
        batch["strings"] = np.column_stack([_texts(rows.column(n), columns[n], first) for n in names])
    return batch


def _numbers(cells: pa.Array, due: Column, first: int) -> NDArray[Any]:
    cells = _dense(cells)
    _check_nulls(cells.is_null(), due, first)
    if pa.types.is_boolean(cells.type):
        cells = cells.cast(pa.uint8())
    elif pa.types.is_decimal(cells.type):
        cells = cells.cast(pa.float64())
    values: NDArray[Any] = cells.to_numpy(zero_copy_only=False)
    if values.dtype.kind == "f":
        _check_nulls(pa.array(np.isnan(values)), due, first)
        # Comparisons with NaN are false, so a null passes both.
        _check(np.abs(values) > FLOAT32_MAX, values, due, first, "beyond float32")
        if due.dtype not in {"float32", "float64"}:
            _check(np.trunc(values) != values, np.nan_to_num(values), due, first, "no whole number")
    if due.dtype in _BOUNDED:
        bounds = _BOUNDED[due.dtype]
        _check((values < bounds.min) | (values > bounds.max), values, due, first, f"out of range for {due.dtype}")
    return values


def _texts(cells: pa.Array, due: Column, first: int) -> NDArray[Any]:
    cells = _dense(cells)
    _check_nulls(cells.is_null(), due, first)
    found = np.empty(len(cells), dtype=np.object_)
    found[:] = cells.fill_null("").to_pylist() if cells.null_count else cells.to_pylist()
    return found


def _check_nulls(missing: pa.Array, due: Column, first: int) -> None:
    if due.nullable:
        return
    row = pc.index(missing, value=True).as_py()
    if row >= 0:
        raise SignatureError(
            f"column {due.name!r} is null", where=f"row {first + row}", why="the signature allows no null there"
        )


def _check(wrong: NDArray[np.bool_], values: NDArray[Any], due: Column, first: int, why: str) -> None:
    if wrong.any():
        row = int(np.argmax(wrong))
        raise SignatureError(
            f"column {due.name!r} is refused", where=f"row {first + row}", why=f"{values[row]!r} is {why}"
        )


def _dense(cells: pa.Array) -> pa.Array:
    return cells.dictionary_decode() if pa.types.is_dictionary(cells.type) else cells


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _family(column: Column) -> str:
    return column.dtype if column.dtype in {"bool", "string"} else "number"


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


_FITS: Mapping[str, Callable[[pa.DataType], bool]] = {
    "bool": pa.types.is_boolean,
    "string": _is_text,
    "number": _is_number,
}
_DUE = {"bool": "truth values", "string": "texts", "number": "numbers"}


def _said(field: Any) -> str:
    shape = list(field.shape) if hasattr(field, "shape") else ""
    return f"{field.name}: {field.dtype} {shape}".strip()
