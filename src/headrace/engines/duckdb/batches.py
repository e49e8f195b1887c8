"""A plan's rows as Arrow batches, changed on their way into a Parquet file; never more than a few batches in memory."""

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from headrace.errors import RunFailed
from headrace.storage.tables import Through

_BATCH_ROWS = 8192
_GROUP_ROWS = 128 * 1024
_GROUP_BYTES = 32 << 20


def write_through(relation: duckdb.DuckDBPyRelation, path: Path, through: Through) -> None:
    """Write what ``through`` makes of the relation's rows, in their order.

    Raises:
        RunFailed: The relation could not be computed.
    """
    with relation.to_arrow_reader(_BATCH_ROWS) as reader:
        schema = through.schema(reader.schema)
        with pq.ParquetWriter(path, schema, compression="zstd") as writer:
            for group in _groups(through.batches(_read(reader))):
                writer.write_table(pa.Table.from_batches(group, schema))


def _read(reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
    while True:
        try:
            batch = reader.read_next_batch()
        except StopIteration:
            return
        except (pa.ArrowException, OSError, RuntimeError) as error:
            raise RunFailed("the table could not be computed", where="duckdb", why=str(error)[:500]) from error
        yield batch


def _groups(batches: Iterator[pa.RecordBatch]) -> Iterator[list[pa.RecordBatch]]:
    """Batches gathered into row groups: small ones would make the file long and slow to read."""
    group: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in batches:
        # A column would keep all others alive that it came with; a copy lets them go.
        group.append(pa.concat_batches([batch, batch.slice(0, 0)]))
        rows, size = rows + batch.num_rows, size + batch.nbytes
        if rows >= _GROUP_ROWS or size >= _GROUP_BYTES:
            yield group
            group, rows, size = [], 0, 0
    if group:
        yield group
