"""Small pieces of DuckDB SQL: quoting, digests of rows, types that Parquet and narwhals both know."""

import hashlib
import json
from collections.abc import Iterable, Mapping

import duckdb

_GROUP_BYTES = 32 << 20
_GROUP_MOST_ROWS, _GROUP_LEAST_ROWS = 122_880, 2048
_NESTED_BYTES, _TEXT_BYTES, _PLAIN_BYTES = 16_384, 32, 8
DIGEST_FORMAT = "headrace-table-1"


def quoted(name: str) -> str:
    """A column name as SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def text(value: str) -> str:
    """A Python string as SQL literal."""
    return "'" + value.replace("'", "''") + "'"


def texts(values: Iterable[str]) -> str:
    """Python strings as SQL list literal."""
    return "[" + ", ".join(text(v) for v in values) + "]"


def storable(columns: Iterable[tuple[str, str]], *, wide: str = "BIGINT") -> str:
    """A select list whose types survive Parquet and have a narwhals dtype.

    Args:
        columns: Name and DuckDB type of each column.
        wide: What 128-bit integers become: Parquet would keep them as floats. Sums are wide by type and narrow by
            value, so a plan's become ``BIGINT`` (or fail); digits in a file are rather an id, so they stay text.
    """
    replaced = {"HUGEINT": wide, "UHUGEINT": wide, "UUID": "VARCHAR", '"NULL"': "VARCHAR", "NULL": "VARCHAR"}
    return ", ".join(
        f"{quoted(name)}::{replaced[kind]} AS {quoted(name)}" if kind in replaced else quoted(name)
        for name, kind in columns
    )


def group_rows(kinds: Iterable[str]) -> int:
    """Rows of a Parquet row group: a reader holds one for each thread, and wide rows would make it large.

    Args:
        kinds: DuckDB type of each column; how wide bytes or a nested one are cannot be known, so it counts as an image.
    """
    row = sum(map(_width, kinds))
    rows = min(max(_GROUP_BYTES // max(row, 1), _GROUP_LEAST_ROWS), _GROUP_MOST_ROWS)
    return rows // _GROUP_LEAST_ROWS * _GROUP_LEAST_ROWS


def _width(kind: str) -> int:
    if kind == "BLOB" or kind.endswith("]") or kind.startswith(("STRUCT", "MAP", "UNION")):
        return _NESTED_BYTES
    return _TEXT_BYTES if kind == "VARCHAR" else _PLAIN_BYTES


def content(connection: duckdb.DuckDBPyConnection, source: str, schema: Mapping[str, str]) -> tuple[int, str]:
    """Rows and digest of a table.

    Each row is hashed twice, with different salts, over every column; each of the two sums does not depend on the
    order of rows; the digest covers both sums, the number of rows, and names, types and order of the columns.

    Args:
        connection: Where to run.
        source: What follows ``FROM``.
        schema: Column to dtype, as it enters the digest.
    """
    row = ", ".join(quoted(name) for name in schema)
    rows, first, second = connection.execute(
        f"SELECT count(*), sum(hash({row})::HUGEINT), sum(hash('headrace', {row})::HUGEINT) FROM {source}"
    ).fetchall()[0]
    parts = [DIGEST_FORMAT, list(schema.items()), rows, str(first), str(second)]
    return rows, hashlib.sha256(json.dumps(parts).encode()).hexdigest()
