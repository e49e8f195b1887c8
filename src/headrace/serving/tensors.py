"""A signature of tensors as a decoder: nested lists are checked for type and extents while they are parsed."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Annotated, Any, ClassVar

import msgspec
import numpy as np
from msgspec import Meta
from msgspec.structs import astuple
from numpy.typing import NDArray

from headrace.errors import SignatureError
from headrace.models.params import NO_PARAMS, Params
from headrace.models.runtime import Batch
from headrace.models.signature import WORDS, Dtype, Signature, Tensor
from headrace.models.tensors import NUMPY, all_finite, as_words, check_shape, from_parsed
from headrace.serving.join import Join
from headrace.serving.join_decoder import JoinDecoder
from headrace.serving.request import ROWS_LIMIT, Joined, TableDecoder, at_most_rows, check_row_count, plain_words

_NARROW: tuple[Dtype, ...] = ("float16", "float32")
_INTEGERS: tuple[Dtype, ...] = ("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64")


class TensorInput:
    """One request's tensors.

    Attributes:
        batch: One array per input, batch first.
        count: Rows of the batch.
    """

    __slots__ = ("batch", "count")
    joined: ClassVar[tuple[Joined, ...]] = ()
    params: ClassVar[Params] = NO_PARAMS

    def __init__(self, batch: Batch, count: int) -> None:
        self.batch, self.count = batch, count

    @property
    def cells(self) -> Mapping[str, Any]:
        """Arrays by name, for the log."""
        return self.batch


class TensorDecoder:
    """Turns JSON or arrays into a ``TensorInput``, or says which tensor is at fault.

    Args:
        signature: Of kind ``tensor``.

    Attributes:
        row: A msgspec type for one row: the bare tensor without its batch extent when there is only one, or a JSON
            object of them.
        many_rows: The same for all rows of a request.
        columns: A msgspec type for whole tensors: the bare one, or a JSON object.
        names: Tensor names.
        sent: The same: nothing is joined to tensors.
        event_time: False: models of tensors take no event time.
        parsers: What protocols compiled from ``row`` and ``columns``, by their own name for it.
    """

    event_time = False

    def __init__(self, signature: Signature) -> None:
        self.signature = signature
        self.tensors = {t.name: t for t in signature.tensors}
        self.names = self.sent = tuple(self.tensors)
        self.parsers: dict[str, Any] = {}
        cells = [row_type(t) for t in signature.tensors]
        self._named_row = self._struct("Row", cells)
        self._named_columns = self._struct("Columns", [at_most_rows(cell) for cell in cells])
        self._bare, self._first = len(cells) == 1, signature.tensors[0]
        self._words = [t for t in signature.tensors if t.dtype in WORDS]
        self.row: Any = self._named_row
        self.columns: Any = self._named_columns
        if self._bare:
            # A union may hold one kind of object only: a bare text may be {"b64": ...}, so names are looked for later.
            text = signature.tensors[0].dtype in WORDS and len(signature.tensors[0].shape) == 1
            self.row = str | dict[str, Any] if text else cells[0] | self._named_row
            self.columns = at_most_rows(cells[0]) | self._named_columns
        self.many_rows: Any = at_most_rows(self.row)

    def unknown(self, name: str) -> SignatureError:
        """That a tensor is sent which is none of ``sent``."""
        return SignatureError(
            f"tensor {name!r} is not an input of this model", why=f"it takes the tensors {', '.join(self.sent)}"
        )

    def of_rows(self, rows: Sequence[Any]) -> TensorInput:
        """From instances of ``row``; raise ``SignatureError`` naming the tensor that is ragged or not finite."""
        if not rows:
            raise SignatureError("the request has no rows", fix="send at least one")
        if self._bare:
            cells = [row if type(row) is list else self._unnamed(row) for row in rows]
            return TensorInput({self.names[0]: from_parsed(cells, self._first)}, len(rows))
        return self._of_cells([list(cells) for cells in zip(*map(astuple, rows), strict=True)])

    def of_columns(self, columns: Any) -> TensorInput:
        """From an instance of ``columns``; raise ``SignatureError`` naming the tensor at fault."""
        return self._of_cells([columns] if isinstance(columns, list) else astuple(columns))

    def of_mapping(self, columns: Mapping[str, Any]) -> TensorInput:
        """From nested lists by name, checked here; raise ``SignatureError`` naming the tensor at fault."""
        try:
            return self.of_columns(msgspec.convert(columns, self._named_columns, strict=True))
        except msgspec.ValidationError as error:
            raise self.fault(error) from None

    def of_records(self, records: Sequence[Mapping[str, Any]]) -> TensorInput:
        """From rows by name, checked here; raise ``SignatureError`` naming the tensor at fault."""
        try:
            rows = msgspec.convert(records, at_most_rows(self._named_row), strict=True)
        except msgspec.ValidationError as error:
            raise self.fault(error) from None
        return self.of_rows(rows)

    def of_arrays(self, arrays: Mapping[str, NDArray[Any]]) -> TensorInput:
        """From whole arrays by name; raise ``SignatureError`` for a missing, foreign, ill-shaped or not finite one."""
        strange = arrays.keys() ^ self.tensors.keys()
        if strange:
            name = min(strange)
            said = "is missing" if name in self.tensors else "is not an input of this model"
            raise SignatureError(f"tensor {name!r} {said}", why=f"it takes {', '.join(self.names)}")
        for name, tensor in self.tensors.items():
            array = arrays[name]
            check_shape(array.shape, tensor)
            if array.dtype != NUMPY[tensor.dtype]:
                raise SignatureError(f"tensor {name!r} has type {array.dtype}", why=f"{tensor.dtype} is due")
            if not all_finite(array):
                raise SignatureError(f"tensor {name!r} is not finite")
        words = {tensor.name: as_words(arrays[tensor.name], tensor) for tensor in self._words}
        return self._input({name: words[name] if name in words else arrays[name] for name in self.names})

    def fault(self, error: Exception) -> SignatureError:
        """What a parser's complaint means for this signature, in words."""
        text, _, path = str(error).partition(" - at `")
        takes = ", ".join(f"{t.name}: {t.dtype} {list(t.shape)}" for t in self.tensors.values())
        what = "the request does not fit the model"
        return SignatureError(what, where=path.rstrip("`"), why=f"{plain_words(text)}; it takes {takes}")

    def _struct(self, name: str, kinds: Sequence[Any]) -> Any:
        fields = [(f"f{i}", kind) for i, kind in enumerate(kinds)]
        rename = {f"f{i}": n for i, n in enumerate(self.names)}
        return msgspec.defstruct(name, fields, rename=rename, forbid_unknown_fields=True, gc=False)

    def _unnamed(self, row: Any) -> Any:
        if isinstance(row, self._named_row):
            return row.f0
        if isinstance(row, dict) and set(row) == set(self.names):
            return row[self.names[0]]
        return row

    def _of_cells(self, columns: Sequence[Any]) -> TensorInput:
        tensors = zip(self.tensors.values(), columns, strict=True)
        return self._input({tensor.name: from_parsed(cells, tensor) for tensor, cells in tensors})

    def _input(self, batch: Batch) -> TensorInput:
        count = len(batch[self.names[0]])
        if count == 0:
            raise SignatureError("the request has no rows", fix="send at least one")
        if count > ROWS_LIMIT and self._first.shape[:1] == (-1,):
            check_row_count(count)
        for name in self.names[1:]:
            rows = len(batch[name])
            if rows != count:
                raise SignatureError(f"tensor {name!r} has {rows} rows", why=f"tensor {self.names[0]!r} has {count}")
        return TensorInput(batch, count)


Decoder = TableDecoder | TensorDecoder
"""A signature, compiled."""


@lru_cache(maxsize=64)
def decoder_of(
    signature: Signature, event_time: str = "", joins: tuple[Join, ...] = (), *, narrow: bool = False
) -> Decoder:
    """What reads requests by a signature, compiled once: the classes it is made of are never quite given back.

    Args:
        signature: What the models take.
        event_time: A further column of a table that callers may send; empty for none.
        joins: Those that add features to it.
        narrow: Whether all models compute with float32.
    """
    if signature.kind != "table":
        return TensorDecoder(signature)
    if joins:
        return JoinDecoder(signature, joins, event_time, narrow=narrow)
    return TableDecoder(signature, event_time, narrow=narrow)


def row_type(tensor: Tensor) -> Any:
    """A msgspec type for one row of a tensor: lists nested as its shape says, of the extents it says."""
    kind = value_type(tensor.dtype)
    for extent in reversed(tensor.shape[1:]):
        # The parser itself refuses a wrong extent, so nothing is allocated for it.
        kind = list[kind] if extent < 0 else Annotated[list[kind], Meta(min_length=extent, max_length=extent)]  # type: ignore[valid-type]
    return kind


def flat_type(tensor: Tensor, size: int) -> Any:
    """A msgspec type for all values of a tensor in one list."""
    kind = value_type(tensor.dtype)
    return Annotated[list[kind], Meta(min_length=size, max_length=size)]  # type: ignore[valid-type]


def value_type(dtype: Dtype) -> Any:
    """A msgspec type for one value."""
    if dtype == "uint64":  # msgspec takes no bounds beyond int64; NumPy refuses what does not fit
        return int
    if dtype in _INTEGERS:
        bounds = np.iinfo(NUMPY[dtype])
        return Annotated[int, Meta(ge=int(bounds.min), le=int(bounds.max))]
    if dtype in _NARROW:  # what is larger would become infinite
        most = float(np.finfo(NUMPY[dtype]).max)
        return Annotated[float, Meta(ge=-most, le=most)]
    if dtype in WORDS:
        return str | dict[str, str]
    return bool if dtype == "bool" else float
