"""Tables: the engine that scans, runs narwhals plans and writes Parquet."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import narwhals as nw


@dataclass(frozen=True)
class TableFacts:
    """What a stored table is.

    Attributes:
        rows: Number of rows.
        schema: Column name to narwhals dtype, as text (``Int64``, ``Float64``, ``String``, ``Datetime(...)``).
        digest: Hexadecimal; an order-insensitive sum of row hashes over every row, column and type. Equal content
            written by the same engine has the same digest, whatever the order of rows.
    """

    rows: int
    schema: Mapping[str, str]
    digest: str


class Tables(Protocol):
    """Port: lazy tables on the environment's engine."""

    def ingest(self, source: Path, path: Path, *, nulls: Sequence[str] = ()) -> TableFacts:
        """Parse a file that somebody else wrote into one Parquet file at ``path`` (fsynced) and say what it holds.

        Types are those that every row allows, never those of a sample.

        Args:
            source: CSV, Parquet or JSON (lines or one array), not compressed; told apart by its bytes.
            path: Where to write; the folder exists.
            nulls: Texts of a CSV that mean null, besides the empty one (``NA``).

        Raises:
            DataRefused: The bytes are not a table.
        """

    def scan(self, paths: Sequence[Path]) -> "nw.LazyFrame":  # type: ignore[type-arg]
        """Parquet files that headrace wrote, as one lazy frame."""

    def write(self, frame: "nw.LazyFrame | nw.DataFrame", path: Path) -> TableFacts:  # type: ignore[type-arg]
        """Run the plan once into one Parquet file at ``path`` (fsynced) and say what it holds.

        A frame of another backend (pandas, polars, pyarrow) is handed over through Arrow.
        """

    def digest(self, path: Path) -> TableFacts:
        """Read a Parquet file anew and say what it holds."""
