"""The Tables port on DuckDB: files become Parquet, plans run once, rows are digested in whatever order they come."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import duckdb
import narwhals as nw

from headrace.engines.duckdb.batches import write_through
from headrace.engines.duckdb.connection import close, connection, memory_steps
from headrace.engines.duckdb.csv import parse_csv
from headrace.engines.duckdb.sql import content, group_rows, storable, text
from headrace.errors import DataRefused, NotFound, RunFailed
from headrace.settings import Settings
from headrace.storage.tables import TableFacts, Through

_PARQUET = "FORMAT parquet, COMPRESSION zstd"


class DuckTables:
    """Tables in one DuckDB process; lazy frames of one instance may be joined with each other."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def ingest(self, source: Path, path: Path, *, nulls: Sequence[str] = ()) -> TableFacts:
        """Parse CSV, Parquet or JSON into Parquet; see ``storage.tables``."""
        with _refusing(source), self._connection.cursor() as cursor:
            *sparing, most = memory_steps(self._settings)
            for mib in sparing:
                try:
                    _parse(cursor, source, path, nulls)
                    break
                except duckdb.OutOfMemoryException:
                    cursor.execute(f"SET memory_limit = '{2 * mib}MiB'")
            else:
                cursor.execute(f"SET memory_limit = '{most}MiB'")
                _parse(cursor, source, path, nulls)
        return self.digest(path)

    def scan(self, paths: Sequence[Path]) -> nw.LazyFrame[Any]:
        """Parquet files that headrace wrote, as one lazy frame."""
        if missing := [p for p in paths if not p.is_file()]:
            raise NotFound("no such table", where=str(missing[0]))
        frame: nw.LazyFrame[Any] = nw.from_native(self._connection.read_parquet([str(p) for p in paths]))
        return frame

    def write(
        self, frame: nw.LazyFrame[Any] | nw.DataFrame[Any], path: Path, *, through: Through | None = None
    ) -> TableFacts:
        """Run the plan once into one Parquet file; see ``storage.tables``."""
        relation = self._relation(frame)
        relation = relation.project(storable(zip(relation.columns, map(str, relation.types), strict=True)))
        try:
            if through is None:
                rows = group_rows(map(str, relation.types))
                relation.write_parquet(str(path), compression="zstd", row_group_size=rows)
            else:
                write_through(relation, path, through)
        except duckdb.Error as error:
            raise RunFailed("the table could not be computed", where="duckdb", why=_brief(error)) from error
        _sync(path)
        return self.digest(path)

    def digest(self, path: Path) -> TableFacts:
        """Read a Parquet file anew and say what it holds."""
        schema = {name: str(dtype) for name, dtype in self.scan([path]).collect_schema().items()}
        with self._connection.cursor() as cursor:
            rows, digest = content(cursor, f"read_parquet({text(str(path))})", schema)
        return TableFacts(rows, schema, digest)

    def close(self) -> None:
        """Close the process's connection; frames made with it can no longer be computed."""
        close(self._settings)

    @property
    def _connection(self) -> duckdb.DuckDBPyConnection:
        return connection(self._settings)

    def _relation(self, frame: nw.LazyFrame[Any] | nw.DataFrame[Any]) -> duckdb.DuckDBPyRelation:
        native = nw.to_native(frame)
        if isinstance(native, duckdb.DuckDBPyRelation):
            return native
        eager = frame.collect("pyarrow") if isinstance(frame, nw.LazyFrame) else frame
        return self._connection.from_arrow(eager.to_arrow())


def open_tables(settings: Settings, uri: str) -> DuckTables:  # noqa: ARG001 - every engine factory takes both
    """Tables on the process's DuckDB connection."""
    return DuckTables(settings)


def _parse(cursor: duckdb.DuckDBPyConnection, source: Path, path: Path, nulls: Sequence[str]) -> None:
    kind = _kind(source)
    if kind == "csv":
        parse_csv(cursor, source, path, nulls=nulls, copy=lambda query: _copy(cursor, query, path))
        return
    reader = "read_parquet" if kind == "parquet" else "read_json_auto"
    sample = "" if kind == "parquet" else ", sample_size=-1"
    _copy(cursor, f"SELECT * FROM {reader}({text(str(source))}{sample})", path)


def _copy(connection: duckdb.DuckDBPyConnection, query: str, path: Path) -> None:
    described = connection.execute(f"DESCRIBE {query}").fetchall()
    select = storable([(name, kind) for name, kind, *_ in described], wide="VARCHAR")
    options = f"{_PARQUET}, ROW_GROUP_SIZE {group_rows(kind for _, kind, *_ in described)}"
    connection.execute(f"COPY (SELECT {select} FROM ({query})) TO {text(str(path))} ({options})")
    _sync(path)


def _kind(source: Path) -> Literal["csv", "json", "parquet"]:
    with source.open("rb") as file:
        head = file.read(64 * 1024).removeprefix(b"\xef\xbb\xbf")
    if head.startswith(b"PAR1"):
        return "parquet"
    if not head.strip():
        raise DataRefused("the file is empty", where=source.name)
    if b"\0" in head or head.lstrip().startswith(b"<"):
        raise DataRefused(
            "the file is not a table",
            where=source.name,
            why="neither Parquet nor CSV nor JSON",
            fix="save it as CSV (UTF-8), JSON lines or Parquet",
        )
    return "json" if head.lstrip()[:1] in b"{[" else "csv"


@contextmanager
def _refusing(source: Path) -> Iterator[None]:
    try:
        yield
    except duckdb.Error as error:
        raise DataRefused(
            "the file cannot be read as a table",
            where=source.name,
            why=_brief(error),
            fix="mend that line, or save the file as UTF-8 CSV with a header, JSON lines or Parquet",
        ) from error


def _brief(error: Exception) -> str:
    """The lines of DuckDB's message that say what and where, without its advice on its own options."""
    lines = [line.strip() for line in str(error).split("Possible ")[0].splitlines()]
    return "; ".join(line for line in lines if line)[:500]


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
