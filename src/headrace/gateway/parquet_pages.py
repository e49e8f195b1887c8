"""What a Parquet file unpacks to, by what its footer and the header of each page say, before anything is unpacked.

A reader makes room for as much as the header of a page says, and unpacks no more than that. So a file whose pages say
little stays small, whatever is packed in them. It is read here, as pyarrow ends the process over some damaged footers.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from headrace.gateway.thrift import Fields, struct

FOOTER_BYTES = 512 * 1024
"""A larger footer is refused: it is parsed whole."""

_END = b"PAR1"
# Fields of the footer, of a group of rows, of a column's part of it, and of what describes that.
_ROWS, _GROUPS = 3, 4
_COLUMNS, _GROUP_ROWS = 1, 3
_FILE, _ABOUT = 1, 3
_CHUNK_VALUES, _CHUNK_BYTES, _DATA_AT, _DICTIONARY_AT = 5, 7, 9, 11
# Fields of a page's header; the field of what is told of data, dictionaries and data of version 2, and in it that of
# how they are written.
_UNPACKED, _PACKED = 2, 3
_TOLD = {5: 2, 7: 2, 8: 4}
_PAGE_VALUES = 1


class Chunk(NamedTuple):
    """Pages of one column for one group of rows.

    Attributes:
        values: How many it has, as the footer says.
        begin: Byte where its pages begin.
        end: Byte where they end.
    """

    values: int
    begin: int
    end: int


class Page(NamedTuple):
    """One page.

    Attributes:
        unpacked_bytes: What it unpacks to.
        values: How many it holds.
        encoding: How they are written, as Parquet numbers encodings.
    """

    unpacked_bytes: int
    values: int
    encoding: int


def chunks(body: bytes) -> tuple[int, Sequence[Chunk]]:
    """The rows that a file claims, the most of what it says of them, and what its columns lie in.

    Raises:
        ValueError: This is no Parquet file, or none that is read.
    """
    size = int.from_bytes(body[-8:-4], "little")
    if body[-4:] != _END or size > min(len(body) - 8, FOOTER_BYTES):
        raise ValueError(f"it does not end in a footer of {FOOTER_BYTES} bytes at most")
    footer, _ = struct(body[-8 - size :], 0)
    groups = _structs(footer, _GROUPS)
    rows = max(_count(footer, _ROWS), sum(_count(group, _GROUP_ROWS) for group in groups))
    return rows, [_chunk(column) for group in groups for column in _structs(group, _COLUMNS)]


def pages(body: bytes, chunk: Chunk) -> Iterator[Page]:
    """The pages that lie in a chunk.

    Raises:
        ValueError: These are no pages; says at which byte.
    """
    at = chunk.begin
    if chunk.end > len(body):
        raise ValueError(f"byte {chunk.end} is beyond the end")
    while at < chunk.end:
        header, start = struct(body, at)
        end = start + _count(header, _PACKED)
        kinds = [kind for kind in _TOLD if isinstance(header.get(kind), dict)]
        if len(kinds) != 1 or end > chunk.end:
            raise ValueError(f"there is no page at byte {at}")
        told = header[kinds[0]]
        yield Page(_count(header, _UNPACKED), _count(told, _PAGE_VALUES), _count(told, _TOLD[kinds[0]]))
        at = end


def _chunk(column: Fields) -> Chunk:
    about = column.get(_ABOUT)
    if not isinstance(about, dict) or _FILE in column:
        raise ValueError("a column does not lie in the file")
    begin = _count(about, _DATA_AT)
    if 0 < about.get(_DICTIONARY_AT, 0) < begin:
        begin = _count(about, _DICTIONARY_AT)
    return Chunk(_count(about, _CHUNK_VALUES), begin, begin + _count(about, _CHUNK_BYTES))


def _count(fields: Fields, number: int) -> int:
    found = fields.get(number)
    if not isinstance(found, int) or found < 0:
        raise ValueError(f"field {number} is {found!r}, a count is due")
    return found


def _structs(fields: Fields, number: int) -> list[Any]:
    found = fields.get(number)
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise ValueError(f"field {number} is no list")
    return found
