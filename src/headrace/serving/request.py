"""The signature as a decoder: what a caller may send, compiled once into types that check while they parse.

A request is held by rows: a tuple of cells each, numeric columns first, then text, then the endpoint's event time.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, NamedTuple, Protocol

import msgspec
import numpy as np
from msgspec import Meta
from msgspec.structs import astuple
from numpy.typing import NDArray

from headrace.errors import SignatureError, UsageError
from headrace.models.params import NO_PARAMS, Params
from headrace.models.runtime import Batch, number_type, numeric, textual
from headrace.models.signature import Column, Signature
from headrace.serving.moments import instant

ROWS_LIMIT = 100_000
"""A request with more rows is refused."""

_FLOAT32_MAX = float(np.finfo(np.float32).max)
_INT64 = 2**63

# Models take float32, so a larger number would silently become infinite.
_TYPES: Mapping[str, Any] = {
    "float32": Annotated[float, Meta(ge=-_FLOAT32_MAX, le=_FLOAT32_MAX)],
    "float64": Annotated[float, Meta(ge=-_FLOAT32_MAX, le=_FLOAT32_MAX)],
    "int64": Annotated[int, Meta(ge=-_INT64, le=_INT64 - 1)],
    "int32": Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)],
    "uint8": Annotated[int, Meta(ge=0, le=255)],
    "bool": bool,
    "string": str,
}
_SAID = {"float32": "a number", "float64": "a number", "bool": "true or false", "string": "text"}

Row = tuple[Any, ...]
Projection = Callable[[Batch], Batch]


class Joined(NamedTuple):
    """What was put into a request, as the log keeps it.

    Attributes:
        view: Name of the view.
        version: Digest of the version that was read.
        columns: Inputs of the models that came from it.
    """

    view: str
    version: str
    columns: tuple[str, ...]


class Input(Protocol):
    """One request, as the log keeps it and as models take it."""

    @property
    def cells(self) -> Sequence[Row] | Mapping[str, Any]:
        """As the log keeps them: by row in the order of the decoder's names, or arrays by name."""

    @property
    def batch(self) -> Batch:
        """As ``models.runtime.Batch`` says."""

    @property
    def count(self) -> int:
        """Number of rows."""

    @property
    def params(self) -> Params:
        """What its caller said besides; see ``tuned.TunedInput``."""

    @property
    def joined(self) -> Sequence[Joined]:
        """Where features came from; empty where nothing is joined."""


@dataclass(frozen=True, slots=True)
class TableInput:
    """One request's rows, and the same as the matrices that models take.

    Attributes:
        cells: By row in ``TableDecoder.names`` order.
        batch: As ``models.runtime.Batch`` says.
        count: Number of rows.
    """

    cells: Sequence[Row]
    batch: Batch
    count: int
    joined: ClassVar[tuple[Joined, ...]] = ()
    params: ClassVar[Params] = NO_PARAMS


class Matrices:
    """Makes of whole rows the matrices that models take.

    Args:
        signature: Of kind ``table``.
        narrow: Whether all models compute with float32, so that nothing wider need be made for them.

    Attributes:
        fields: Its columns in the order that rows have them, numeric ones first.
    """

    def __init__(self, signature: Signature, *, narrow: bool = False) -> None:
        numbers, strings = numeric(signature), textual(signature)
        by_name = {c.name: c for c in signature.columns}
        self.fields = [by_name[n] for n in (*numbers, *strings)]
        self._numbers, self._inputs = len(numbers), len(self.fields)
        self._dtype = np.float32 if narrow else number_type(signature)
        self._null_text = any(c.nullable for c in self.fields if c.dtype == "string")

    def of(self, rows: Sequence[Row], width: int) -> Batch:
        """The matrices.

        Args:
            rows: Cells in the order of ``fields``, and maybe others after them.
            width: How many cells a row has.
        """
        n, m = self._numbers, self._inputs
        batch: dict[str, NDArray[Any]] = {}
        if n:
            batch["numbers"] = np.array(rows if width == n else [r[:n] for r in rows], dtype=self._dtype)
        if m > n:
            texts = [r[n:m] for r in rows]
            if self._null_text:
                texts = [tuple("" if v is None else v for v in t) for t in texts]
            batch["strings"] = np.array(texts, dtype=object)
        return batch


class TableDecoder:
    """Turns named columns into a ``TableInput``, or says which column is at fault.

    Args:
        signature: Of kind ``table``.
        event_time: A further column that callers may send; empty for none.
        narrow: Whether all models compute with float32.

    Attributes:
        row: A msgspec type for one row as a JSON object.
        many_rows: The same for all rows of a request.
        columns: A msgspec type for a JSON object of lists.
        names: Column names in the order rows are held.
        sent: Those that callers may send.
        event_time: Whether the last of ``names`` is the event time.
        parsers: What protocols compiled from ``row`` and ``columns``, by their own name for it.
    """

    def __init__(self, signature: Signature, event_time: str = "", *, narrow: bool = False) -> None:
        self.signature = signature
        self._matrices = Matrices(signature, narrow=narrow)
        self._fields = self._matrices.fields
        known = tuple(c.name for c in self._fields)
        self.event_time = bool(event_time) and event_time not in known
        self.names: tuple[str, ...] = known + ((event_time,) if self.event_time else ())
        self.sent = self.names
        self.row = self._struct("Row", many=False)
        self.many_rows: Any = at_most_rows(self.row)
        self.columns = self._struct("Columns", many=True)
        for kind in (self.many_rows, self.columns):
            # msgspec learns a type at its first use; two threads that do so at once end the process.
            msgspec.json.Decoder(kind)
        self.parsers: dict[str, Any] = {}

    def of_rows(self, rows: Sequence[Any]) -> Input:
        """From instances of ``row``, already checked by parsing."""
        return self._input([astuple(row) for row in rows])

    def of_columns(self, columns: Any) -> Input:
        """From an instance of ``columns``; raise ``SignatureError`` when the columns differ in length."""
        values = astuple(columns)
        if self.event_time and values[-1] is None:
            values = (*values[:-1], [""] * len(values[0]))
        for name, column in zip(self.sent, values, strict=True):
            if len(column) != len(values[0]):
                raise SignatureError(
                    f"column {name!r} has {len(column)} rows", why=f"column {self.sent[0]!r} has {len(values[0])}"
                )
        return self._input(list(zip(*values, strict=True)))

    def of_mapping(self, columns: Mapping[str, Sequence[Any]]) -> Input:
        """From plain lists by name, checked here; raise ``SignatureError`` naming the column at fault."""
        try:
            return self.of_columns(msgspec.convert(columns, self.columns, strict=True))
        except msgspec.ValidationError as error:
            raise self.fault(error) from None

    def of_records(self, records: Sequence[Mapping[str, Any]]) -> Input:
        """From plain rows by name, checked here; raise ``SignatureError`` naming the column at fault."""
        try:
            return self.of_rows(msgspec.convert(records, self.many_rows, strict=True))
        except msgspec.ValidationError as error:
            raise self.fault(error) from None

    def unknown(self, name: str) -> SignatureError:
        """That a column is sent which is none of ``sent``."""
        return SignatureError(
            f"column {name!r} is not an input of this model", why=f"it takes the columns {', '.join(self.sent)}"
        )

    def fault(self, error: Exception) -> SignatureError:
        """What a parser's complaint means for this signature, in words that name the column."""
        said = str(error)
        if self.event_time and re.search(rf"\.{re.escape(self.names[-1])}(\[(\d+|\.\.\.)\])?`$", said):
            return self._no_moment("", plain_words(said.partition(" - at ")[0]))
        return explain_fault(said, self._fields)

    def _struct(self, name: str, *, many: bool) -> Any:
        fields: list[Any] = []
        for i, column in enumerate(self._fields):
            cell = _TYPES[column.dtype]
            cell = cell | None if column.nullable else cell
            fields.append((f"f{i}", at_most_rows(cell) if many else cell))
        rename = {f"f{i}": n for i, n in enumerate(self.names)}
        if self.event_time:
            moment = str | int | float
            kind = (at_most_rows(moment) | None, None) if many else (moment, "")
            fields.append((f"f{len(fields)}", *kind))
        return msgspec.defstruct(name, fields, rename=rename, forbid_unknown_fields=True, gc=False)

    def _input(self, rows: list[Row]) -> Input:
        self._check(rows)
        return TableInput(rows, self._matrices.of(rows, len(self.names)), len(rows))

    def _check(self, rows: Sequence[Row]) -> None:
        if not rows:
            raise SignatureError("the request has no rows", fix="send at least one")
        if self.event_time:
            self._check_moments(rows)

    def _check_moments(self, rows: Sequence[Row]) -> None:
        """Raise unless monitoring can tell the window of every row; an empty text is one that was left out."""
        for number, row in enumerate(rows):
            if row[-1] != "":
                try:
                    instant(row[-1])
                except UsageError as error:
                    raise self._no_moment(f"row {number}", f"{error.what}: {error.why}") from None

    def _no_moment(self, where: str, why: str) -> SignatureError:
        return SignatureError(
            f"column {self.names[-1]!r} is refused", where=where, why=f"ISO 8601 or a Unix time is due: {why}"
        )


def check_row_count(count: int) -> None:
    """Raise ``UsageError`` for more rows than a request may have."""
    if count > ROWS_LIMIT:
        raise UsageError(f"the request has {count} rows", why=f"at most {ROWS_LIMIT} are scored at once")


def at_most_rows(kind: Any) -> Any:
    """A msgspec type for a list of as many ``kind`` as a request may have rows."""
    return Annotated[list[kind], Meta(max_length=ROWS_LIMIT)]


def projection(contract: Signature, signature: Signature) -> Projection | None:
    """Takes of an endpoint's batch what a model takes; None when it takes the batch as it is."""
    if signature.kind == "tensor":
        names = [t.name for t in signature.tensors]
        return None if len(names) == len(contract.tensors) else lambda batch: {name: batch[name] for name in names}
    picks: dict[str, Sequence[int]] = {}
    for part, of in (("numbers", numeric), ("strings", textual)):
        have, due = of(contract), of(signature)
        if have != due:
            picks[part] = [have.index(n) for n in due]
    return (lambda batch: _picked(batch, picks)) if picks else None


def _picked(batch: Batch, picks: Mapping[str, Sequence[int]]) -> Batch:
    chosen = {part: matrix[:, picks[part]] if part in picks else matrix for part, matrix in batch.items()}
    return {part: matrix for part, matrix in chosen.items() if matrix.shape[1]}


def explain_fault(message: str, fields: Sequence[Column]) -> SignatureError:
    """Translate a msgspec message about named columns."""
    names = ", ".join(c.name for c in fields)
    text, _, path = message.partition(" - at `")
    path = path.rstrip("`")
    row = f"row {found[1]}" if (found := re.search(r"\[(\d+)\]", path)) else ""
    if found := re.search("(missing required|unknown) field `(.*)`", text):
        said = "is missing" if found[1].startswith("missing") else "is not an input of this model"
        return SignatureError(f"column {found[2]!r} {said}", where=row, why=f"it takes the columns {names}")
    for column in sorted(fields, key=lambda c: -len(c.name)):
        if path.endswith(f".{column.name}") or re.search(rf"\.{re.escape(column.name)}\[(\d+|\.\.\.)\]$", path):
            due = _SAID.get(column.dtype, "a whole number") + (" or null" if column.nullable else "")
            return SignatureError(
                f"column {column.name!r} is refused", where=row, why=f"{due} is due: {plain_words(text)}"
            )
    if "got `array`" in text or ("Expected `object`" in text and path):
        return SignatureError(
            "unnamed input is refused", where=row, why=f"this model takes the columns {names} by name, in any order"
        )
    return SignatureError("the request does not fit the model", where=path, why=plain_words(text))


def plain_words(text: str) -> str:
    """A parser's words without its quotes."""
    return text[:1].lower() + text[1:].replace("`", "")
