"""Codec for pandas frames."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from headrace.errors import UsageError
from headrace.pipelines.ports import TABLE_FILE, Stored
from headrace.pipelines.tables import TableCodec, class_in
from headrace.settings import Settings
from headrace.storage.tables import Tables


class PandasCodec(TableCodec):
    """``pandas.DataFrame``, in memory. A table has columns only: an index without a name is left out."""

    name = "pandas"

    def fits(self, annotation: Any) -> bool:
        """A pandas frame."""
        return class_in(annotation, "pandas", ("DataFrame",))

    def save(self, value: Any, folder: Path) -> Stored:
        """The columns as a table; see ``Codec.save``.

        Raises:
            UsageError: The index has a name, so it holds something, and would be lost.
        """
        named = [str(name) for name in value.index.names if name is not None]
        if named:
            raise UsageError(
                f"the index {', '.join(named)} cannot be stored",
                why="a table has columns only",
                fix="return frame.reset_index()",
            )
        return super().save(value.reset_index(drop=True), folder)

    def load(self, folder: Path, annotation: Any) -> Any:  # noqa: ARG002 - one class
        """All rows, numbered from 0; see ``Codec.load``."""
        return pd.read_parquet(folder / TABLE_FILE)


def pandas_codec(settings: Settings, tables: Callable[[], Tables]) -> PandasCodec:
    """Factory ``codec.pandas``."""
    return PandasCodec(settings, tables)
