"""Codec for DuckDB relations."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from headrace.engines.duckdb.connection import connection
from headrace.pipelines.ports import TABLE_FILE
from headrace.pipelines.tables import TableCodec, class_in
from headrace.settings import Settings
from headrace.storage.tables import Tables


class DuckCodec(TableCodec):
    """``duckdb.DuckDBPyRelation``, scanned lazily on the process's connection."""

    name = "duckdb"

    def fits(self, annotation: Any) -> bool:
        """A relation."""
        return class_in(annotation, "duckdb", ("DuckDBPyRelation",))

    def load(self, folder: Path, annotation: Any) -> Any:  # noqa: ARG002 - one class
        """A relation over the file; see ``Codec.load``."""
        return connection(self.settings).read_parquet(str(folder / TABLE_FILE))


def duckdb_codec(settings: Settings, tables: Callable[[], Tables]) -> DuckCodec:
    """Factory ``codec.duckdb``."""
    return DuckCodec(settings, tables)
