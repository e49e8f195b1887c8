"""Codec for polars frames."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

from headrace.pipelines.ports import TABLE_FILE
from headrace.pipelines.tables import TableCodec, class_in
from headrace.settings import Settings
from headrace.storage.tables import Tables


class PolarsCodec(TableCodec):
    """``polars.LazyFrame`` is scanned lazily by polars itself, ``polars.DataFrame`` read into memory."""

    name = "polars"

    def fits(self, annotation: Any) -> bool:
        """A polars frame."""
        return class_in(annotation, "polars", ("DataFrame", "LazyFrame"))

    def load(self, folder: Path, annotation: Any) -> Any:
        """A lazy scan, or its rows; see ``Codec.load``."""
        lazy = issubclass(annotation, pl.LazyFrame)
        return (pl.scan_parquet if lazy else pl.read_parquet)(folder / TABLE_FILE)


def polars_codec(settings: Settings, tables: Callable[[], Tables]) -> PolarsCodec:
    """Factory ``codec.polars``."""
    return PolarsCodec(settings, tables)
