"""Rows and values of large JSON bodies, counted before they are parsed: parsed, they take many times their bytes.

Only bodies that could hold too many are looked at. Their commas are counted where they separate, block by block, so
that what is refused here costs little more than its bytes. A body whose rows and values are within what the model
takes is never refused.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import msgspec
import numpy as np
from msgspec import Raw
from numpy.typing import NDArray

from headrace.errors import UsageError
from headrace.serving.request import ROWS_LIMIT
from headrace.serving.tensors import Decoder, TensorDecoder

SUSPECT_BYTES = 2 * ROWS_LIMIT
"""A shorter body holds no more rows than a request may have, and no more values than that many."""

VALUES_LIMIT = 20 * ROWS_LIMIT
"""Examples of features that no signature names may hold so many values."""

_BLOCK = 256 * 1024
_QUOTE, _COMMA = ord('"'), ord(",")
_NOT_STRUCTURE = bytes(sorted(set(range(256)) - set(b'"[]{},')))
_STEPS = np.zeros(256, np.int8)
_STEPS[list(b"[{")], _STEPS[list(b"]}")] = 1, -1
_NONE = Raw(b"")

Piece = bytes | memoryview | Raw


class Counted(NamedTuple):
    """What a piece of JSON holds.

    Attributes:
        items: Values of its outermost list or object; one too many when it is empty.
        commas: All commas that separate values, at any depth.
        depth: How many lists and objects lie within one another.
    """

    items: int
    commas: int
    depth: int = 0


class _Body(msgspec.Struct):
    """Where the protocols have their rows; the rest is passed over."""

    instances: Raw = _NONE
    examples: Raw = _NONE
    dataframe_records: Raw = _NONE
    inputs: Raw = _NONE
    dataframe_split: Raw = _NONE


class _Tensors(msgspec.Struct):
    inputs: Raw = _NONE


class _Values(msgspec.Struct):
    data: Raw = _NONE


_body = msgspec.json.Decoder(_Body)
_named = msgspec.json.Decoder(dict[str, Raw])
_tensors = msgspec.json.Decoder(_Tensors)
_values = msgspec.json.Decoder(list[_Values])


def check_rows(decoder: Decoder, body: bytes) -> None:
    """Refuse a body of TensorFlow Serving's or MLflow's protocol that holds more than may be scored at once.

    Raises:
        UsageError: More rows than ``ROWS_LIMIT``, more values than its rows may have, or as many besides the rows.
        msgspec.DecodeError: It is no JSON, or no object and no list.
    """
    if body.count(b",") < ROWS_LIMIT:
        return
    widths = _widths(decoder)
    width = _sum(widths)
    if body.lstrip()[:1] == b"[":
        _checked(body, width)
        return
    given = _body.decode(body)
    rows = sum(_checked(piece, width) for piece in (given.instances, given.examples, given.dataframe_records))
    columns = _checked_by_name(given.inputs, widths, width)
    split = _checked_by_name(given.dataframe_split, {"data": width, "index": None}, width)
    _check_besides(body, rows + columns + split)


def check_examples(body: bytes) -> None:
    """Refuse a body of examples, whose features may be any, that holds more rows or values than are read.

    Raises:
        UsageError: More examples than ``ROWS_LIMIT``, more values than ``VALUES_LIMIT``, or many besides.
        msgspec.DecodeError: It is no JSON, or no object.
    """
    if body.count(b",") < ROWS_LIMIT:
        return
    values = _checked(_body.decode(body).examples, None)
    if values >= VALUES_LIMIT:
        raise UsageError(f"the examples have {values + 1} values", why=f"at most {VALUES_LIMIT} are read at once")
    _check_besides(body, values)


def check_tensors(body: memoryview) -> None:
    """Refuse the JSON of an inference request that holds too much besides the values of its tensors.

    Raises:
        UsageError: It does.
        msgspec.DecodeError: It is no JSON, or no inference request.
    """
    inputs = _tensors.decode(body).inputs
    _checked(inputs, None)
    _check_besides(body, sum(counted(tensor.data).commas for tensor in _values.decode(inputs or b"[]")))


def check_values(name: str, data: Piece, most: int) -> None:
    """Raise ``UsageError`` when the JSON of a tensor holds more values than its shape says, ``most``."""
    found = counted(data).commas + 1
    if found > max(most, 1):
        raise UsageError(f"tensor {name!r} has {found} values", why=f"its shape says {most}")


def counted(piece: Piece, most: float = math.inf) -> Counted:
    """Count what JSON holds without parsing it, on to the block where there are more than ``most`` items.

    Of what is no JSON the numbers mean nothing.
    """
    view, depth, inside, left = memoryview(piece), 0, False, b""
    items = commas = deepest = 0
    for start in range(0, len(view), _BLOCK):
        if items >= most:
            break
        text = left + view[start : start + _BLOCK].tobytes()
        # What a backslash escapes may stand in the next block.
        left = b"\\" if (len(text) - len(text.rstrip(b"\\"))) % 2 else b""
        codes, inside = _outside(_structure(text), inside=inside)
        if not len(codes):
            continue
        depths = np.cumsum(_STEPS[codes], dtype=np.int32) + depth
        depth, deepest = int(depths[-1]), max(deepest, int(depths.max()))
        separates = codes == _COMMA
        commas += int(np.count_nonzero(separates))
        items += int(np.count_nonzero(separates & (depths == 1)))
    return Counted(items + 1, commas, deepest)


def _structure(text: bytes) -> bytes:
    """Quotes, brackets and commas, in order, without pairs of quotes that nothing of the kind stands between."""
    if b"\\" in text:
        text = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    # Two quotes side by side, whether they open or close, change nothing for what comes after them.
    return text.translate(None, _NOT_STRUCTURE).replace(b'""', b"")


def _outside(structure: bytes, *, inside: bool) -> tuple[NDArray[np.uint8], bool]:
    """What stands outside texts, and whether a text goes on after it."""
    codes = np.frombuffer(structure, np.uint8)
    if not inside and b'"' not in structure:
        return codes, False
    quotes = codes == _QUOTE
    within = np.logical_xor.accumulate(quotes) ^ inside
    return codes[~(within | quotes)], bool(within[-1]) if len(within) else inside


def _checked(piece: Piece, width: int | None) -> int:
    """The commas of a list of rows, each of ``width`` values at most; None is any number."""
    items, commas, _ = counted(piece, ROWS_LIMIT)
    if items > ROWS_LIMIT:
        raise UsageError(f"the request has more than {ROWS_LIMIT} rows", why="no more are scored at once")
    if width is not None and commas >= items * width:
        raise UsageError(f"the request has {commas + 1} values", why=f"its {items} rows take {items * width}")
    return commas


def _checked_by_name(piece: Raw, widths: Mapping[str, int | None], width: int | None) -> int:
    """The same of rows by column, or of the rows that stand where they may."""
    if bytes(memoryview(piece)[:1]) != b"{":
        return _checked(piece, width)
    commas = _checked(piece, None)
    inner = sum(_checked(column, widths.get(name, 1)) for name, column in _named.decode(piece).items())
    _check_besides(piece, inner)
    return commas


def _check_besides(piece: Piece, commas: int) -> None:
    """Refuse what holds many values besides those of so many commas: repeated names, parameters, contexts."""
    besides = counted(piece).commas - commas
    if besides >= ROWS_LIMIT:
        raise UsageError(f"the request has {besides} values besides its rows", why=f"at most {ROWS_LIMIT} are read")


def _widths(decoder: Decoder) -> Mapping[str, int | None]:
    """How many values a row has of each input; None for any number."""
    found: Mapping[str, int | None] | None = decoder.parsers.get("row_limit")
    if found is None:
        tensors = decoder.tensors if isinstance(decoder, TensorDecoder) else {}
        found = dict.fromkeys(decoder.sent, 1) | {name: _size(t.shape[1:]) for name, t in tensors.items()}
        decoder.parsers["row_limit"] = found
    return found


def _size(extents: tuple[int, ...]) -> int | None:
    return None if -1 in extents else math.prod(max(n, 1) for n in extents)


def _sum(widths: Mapping[str, int | None]) -> int | None:
    known = [n for n in widths.values() if n is not None]
    return sum(known) if len(known) == len(widths) else None
