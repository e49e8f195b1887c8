"""Small pieces of DuckDB SQL: quoting, digests of rows, types that Parquet and narwhals both know."""

import hashlib
import json
from collections.abc import Iterable, Mapping

import duckdb

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
