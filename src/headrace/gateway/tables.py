"""Tables as bodies: CSV, read into columns by name and checked like any other input."""

import csv
import io
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from headrace.errors import SignatureError, UsageError
from headrace.models.signature import Column
from headrace.serving.request import ROWS_LIMIT, Input
from headrace.serving.tensors import Decoder

CSV = "text/csv"
_RECORD_BYTES = 1024 * 1024
_TRUTHS = {"true": True, "false": False, "1": True, "0": False}


def of_csv(decoder: Decoder, body: bytes) -> Input:
    """Rows of UTF-8 CSV whose first line names the columns; an empty cell is null, except in columns of text.

    Raises:
        UsageError: This is no CSV.
        SignatureError: Columns or cells do not fit the signature.
    """
    fields = table_fields(decoder)
    if body.count(b"\n") > ROWS_LIMIT:  # or some are blank, or within a cell
        for number, _ in enumerate(_records(body, decoder)):
            if number > ROWS_LIMIT:
                raise UsageError(f"the request has more than {ROWS_LIMIT} rows", why="no more are scored at once")
    names, *rows = _records(body, decoder)
    columns = zip(*rows, strict=True) if rows else [() for _ in names]
    return decoder.of_mapping({n: _cells(fields.get(n), cells, n) for n, cells in zip(names, columns, strict=True)})


def _records(body: bytes, decoder: Decoder) -> Iterator[list[str]]:
    """The names, then the rows, each held to as many cells; blank lines are passed over."""
    lines = _Lines(body)
    records = filter(None, csv.reader(lines, strict=True))
    try:
        names = next(records, None)
        if names is None:
            raise UsageError("the body is empty", why="the first line names the columns")
        if not set(names) & set(decoder.sent):
            due = ", ".join(column.name for column in decoder.signature.columns)
            where, why = f"the first line, {names[0][:40]!r}", f"it names the columns {due}"
            raise SignatureError("unnamed input is refused", where=where, why=why)
        check_names(decoder, names)
        yield names
        for number, row in enumerate(records):
            lines.room = _RECORD_BYTES
            if len(row) != len(names):
                raise SignatureError(f"row {number} has {len(row)} values", why=f"there are {len(names)} columns")
            yield row
    except (csv.Error, UnicodeDecodeError) as error:
        raise UsageError("the body is no UTF-8 CSV", why=str(error)) from None


class _Lines:
    """Lines of a body, as far as there is room: a cell may hold some, but a row is held whole before it is counted."""

    def __init__(self, body: bytes) -> None:
        self._stream, self.room = io.BytesIO(body), _RECORD_BYTES
        self._stream.seek(len(BOM_UTF8) if body.startswith(BOM_UTF8) else 0)

    def __iter__(self) -> Iterator[str]:
        while line := self._stream.readline(self.room + 1):
            self.room -= len(line)
            if self.room < 0:
                raise UsageError("a row of the CSV is too long", why=f"at most {_RECORD_BYTES} bytes are read")
            yield line.decode()


def table_fields(decoder: Decoder) -> Mapping[str, Column]:
    """The columns that a table has; raise ``SignatureError`` where the model takes no tables."""
    if decoder.signature.kind != "table":
        raise SignatureError("this model takes tensors", fix="send JSON with instances or inputs")
    return {column.name: column for column in decoder.signature.columns}


def check_names(decoder: Decoder, names: Sequence[str]) -> None:
    """Raise ``SignatureError`` for a column that the model does not take, or that comes twice."""
    strange = set(names) - set(decoder.sent)
    if strange:
        raise decoder.unknown(min(strange))
    if len(set(names)) != len(names):
        raise SignatureError("a column is named twice", where="the names of the columns")


def _cells(field: Column | None, cells: Sequence[str], name: str) -> Sequence[Any]:
    if field is None or field.dtype == "string":  # an unknown column is refused by its name, an event time is text
        return cells
    convert: Callable[[str], Any] = _READERS.get(field.dtype, _whole)
    try:
        return without_nan([None if cell == "" else convert(cell) for cell in cells])
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


def without_nan(cells: Sequence[Any]) -> list[Any]:
    """Cells of a column, where NaN is null as well."""
    return [None if cell != cell else cell for cell in cells]  # noqa: PLR0124 - only NaN differs from itself
