"""Tables as bodies: CSV and Parquet, read into columns by name and checked like any other input."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from headrace.errors import SignatureError, UsageError
from headrace.gateway.http import BODY_LIMIT
from headrace.models.signature import Column
from headrace.serving.request import Input, check_row_count
from headrace.serving.tensors import Decoder

CSV = "text/csv"
PARQUET = "application/vnd.apache.parquet"
_WIDEST = 16
_TRUTHS = {"true": True, "false": False, "1": True, "0": False}


def of_csv(decoder: Decoder, body: bytes) -> Input:
    """Rows of UTF-8 CSV whose first line names the columns; an empty cell is null, except in columns of text.

    Raises:
        UsageError: This is no CSV.
        SignatureError: Columns or cells do not fit the signature.
    """
    fields = _fields(decoder)
    try:
        names, *rows = csv.reader(io.StringIO(body.decode("utf-8-sig")), strict=True)
    except (csv.Error, UnicodeDecodeError) as error:
        raise UsageError("the body is no UTF-8 CSV", why=str(error)) from None
    except ValueError:
        raise UsageError("the body is empty", why="the first line names the columns") from None
    if len(set(names)) != len(names):
        raise SignatureError("a column is named twice", where="line 1")
    rows = [row for row in rows if row]
    for number, row in enumerate(rows):
        if len(row) != len(names):
            raise SignatureError(f"row {number} has {len(row)} values", why=f"there are {len(names)} columns")
    check_row_count(len(rows))
    columns = zip(*rows, strict=True) if rows else [() for _ in names]
    return decoder.of_mapping({n: _cells(fields.get(n), cells, n) for n, cells in zip(names, columns, strict=True)})


def of_parquet(decoder: Decoder, body: bytes) -> Input:
    """Rows of a Parquet file; call it on a thread, as importing its reader and reading take their time.

    Raises:
        UsageError: This is no Parquet file, or it unpacks to more than a body may hold.
        SignatureError: Columns or cells do not fit the signature.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    _fields(decoder)
    try:
        file = pq.ParquetFile(pa.BufferReader(body))
        names = [name for name in file.schema_arrow.names if name in decoder.names]
        strange = set(file.schema_arrow.names) - set(names)
        if strange:
            raise SignatureError(f"column {min(strange)!r} is not an input of this model")
        check_row_count(file.metadata.num_rows)
        # Text stays a dictionary while it is measured: few bytes of a file may name a long text many times.
        texts = _readable(file)
        table = pq.ParquetFile(pa.BufferReader(body), read_dictionary=texts).read(use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise UsageError("the body is no Parquet file", why=str(error)[:200]) from None
    _check_size(table)
    columns = {name: table.column(name).to_pylist() for name in names}
    return decoder.of_mapping({name: _without_nan(cells) for name, cells in columns.items()})


def _fields(decoder: Decoder) -> Mapping[str, Column]:
    if decoder.signature.kind != "table":
        raise SignatureError("this model takes tensors", fix="send JSON with instances or inputs")
    return {column.name: column for column in decoder.signature.columns}


def _readable(file: Any) -> list[str]:
    """Columns of text; raise for a file that says it unpacks to too much, or whose cells may hold much in few bytes."""
    meta, texts = file.metadata, []
    # Not by column: pyarrow aborts the process where a damaged file has fewer of them than its schema.
    if sum(meta.row_group(i).total_byte_size for i in range(meta.num_row_groups)) > BODY_LIMIT:
        raise UsageError("the Parquet file is too large", why=f"at most {BODY_LIMIT} bytes are read, once unpacked")
    for column in (meta.schema.column(i) for i in range(meta.num_columns)):
        if column.max_repetition_level or column.path != column.name or column.length > _WIDEST:
            raise SignatureError(
                f"column {column.path.partition('.')[0]!r} is refused", why="one plain value a row is due"
            )
        if column.physical_type == "BYTE_ARRAY":
            texts.append(column.name)
    return texts


def _check_size(table: Any) -> None:
    import pyarrow as pa
    import pyarrow.compute as pc

    for column in table.columns:
        for chunk in column.chunks:
            values = chunk.dictionary if isinstance(chunk, pa.DictionaryArray) else chunk
            if not _lengthy(pa.types, values.type):
                continue
            longest = pc.max(pc.binary_length(values)).as_py() or 0
            if longest * len(chunk) > BODY_LIMIT:
                raise UsageError("a column of text is too long", why=f"at most {BODY_LIMIT} bytes are read")


def _lengthy(types: Any, kind: Any) -> bool:
    return any(getattr(types, f"is_{name}")(kind) for name in ("string", "large_string", "binary", "large_binary"))


def _cells(field: Column | None, cells: Sequence[str], name: str) -> Sequence[Any]:
    if field is None or field.dtype == "string":  # an unknown column is refused by its name, an event time is text
        return cells
    convert: Callable[[str], Any] = _READERS.get(field.dtype, _whole)
    try:
        return _without_nan([None if cell == "" else convert(cell) for cell in cells])
    except (ValueError, KeyError) as error:
        raise SignatureError(f"column {name!r} is refused", why=f"{error} is no {field.dtype}") from None


def _number(cell: str) -> float:
    if "_" in cell:
        raise ValueError(repr(cell))
    return float(cell)


def _whole(cell: str) -> int:
    if "_" in cell:
        raise ValueError(repr(cell))
    return int(cell)


_READERS: Mapping[str, Callable[[str], Any]] = {
    "float32": _number,
    "float64": _number,
    "bool": lambda cell: _TRUTHS[cell.lower()],
}


def _without_nan(cells: Sequence[Any]) -> list[Any]:
    return [None if cell != cell else cell for cell in cells]  # noqa: PLR0124 - only NaN differs from itself
