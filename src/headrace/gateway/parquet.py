"""Parquet files as bodies: held to their limits by their pages, not by what they claim, then read in batches."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from headrace.errors import SignatureError, UsageError
from headrace.gateway.http import BODY_LIMIT
from headrace.gateway.parquet_pages import Chunk, chunks, pages
from headrace.gateway.tables import check_names, table_fields, without_nan
from headrace.serving.request import Input, check_row_count
from headrace.serving.tensors import Decoder

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

PARQUET = "application/vnd.apache.parquet"

_WIDEST = 16
_MOST_PAGES = 65_536
_AT_ONCE = 8192  # rows
# How texts may not be written: they are unpacked to as many as the page says inside, which its header does not tell.
_LENGTHS_APART = frozenset({6, 7})  # DELTA_LENGTH_BYTE_ARRAY, DELTA_BYTE_ARRAY


def of_parquet(decoder: Decoder, body: bytes) -> Input:
    """Rows of a Parquet file; call it on a thread, as importing its reader and reading take their time.

    Raises:
        UsageError: This is no Parquet file, or it unpacks to more than a body may hold.
        SignatureError: Columns or cells do not fit the signature.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    table_fields(decoder)
    try:
        rows, columns = chunks(body)
        file = pq.ParquetFile(pa.BufferReader(body))
        names = file.schema_arrow.names
        check_names(decoder, names)
        # Text stays a dictionary while it is measured: few bytes of a file may name a long text many times.
        texts = _text_columns(file.metadata)
        check_row_count(rows)
        _check_pages(body, columns)
        file = pq.ParquetFile(pa.BufferReader(body), read_dictionary=texts)
        return decoder.of_mapping(_columns(file, names))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UsageError("the body is no Parquet file", why=str(error)[:200]) from None


def _columns(file: "pq.ParquetFile", names: list[str]) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {name: [] for name in names}
    lengths = dict.fromkeys(names, 0)
    rows = 0
    for batch in file.iter_batches(_AT_ONCE, use_threads=False):
        rows += batch.num_rows
        check_row_count(rows)
        for name, column in zip(names, batch.columns, strict=True):
            lengths[name] += _longest(column) * len(column)
            if lengths[name] > BODY_LIMIT:
                raise UsageError("a column of text is too long", why=f"at most {BODY_LIMIT} bytes are read")
            columns[name] += without_nan(column.to_pylist())
    return columns


def _text_columns(meta: "pq.FileMetaData") -> list[str]:
    """Columns of text; raise for a file without columns, or with cells that may hold much in few bytes."""
    texts = []
    for column in (meta.schema.column(i) for i in range(meta.num_columns)):
        if column.max_repetition_level or column.path != column.name or column.length > _WIDEST:
            raise SignatureError(
                f"column {column.path.partition('.')[0]!r} is refused", why="one plain value a row is due"
            )
        if column.physical_type == "BYTE_ARRAY":
            texts.append(column.name)
    if not meta.num_columns:
        raise SignatureError("the file has no columns")
    return texts


def _check_pages(body: bytes, found: Sequence[Chunk]) -> None:
    """Raise unless what the pages say of themselves is within the limits.

    Raises:
        UsageError: It unpacks to more, or has more rows, than a body may; its texts are written in a way that is not
            read.
        ValueError: This is no Parquet file.
    """
    unpacked = count = 0
    for chunk in found:
        check_row_count(chunk.values)
        for page in pages(body, chunk):
            check_row_count(page.values)
            unpacked, count = unpacked + page.unpacked_bytes, count + 1
            if unpacked > BODY_LIMIT or count > _MOST_PAGES:
                raise UsageError(
                    "the Parquet file is too large",
                    why=f"at most {BODY_LIMIT} bytes, once unpacked, and {_MOST_PAGES} pages are read",
                )
            if page.encoding in _LENGTHS_APART:
                raise UsageError(
                    "a column keeps the lengths of its texts apart", fix="write it plain, or with a dictionary"
                )


def _longest(cells: "pa.Array") -> int:
    """Bytes of the longest text; 0 where the cells are no texts."""
    import pyarrow as pa
    import pyarrow.compute as pc

    values = cells.dictionary if isinstance(cells, pa.DictionaryArray) else cells
    if not any(getattr(pa.types, f"is_{n}")(values.type) for n in ("string", "large_string", "binary", "large_binary")):
        return 0
    return pc.max(pc.binary_length(values)).as_py() or 0
