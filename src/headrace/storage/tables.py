"""Tables: the engine that scans, runs narwhals plans and writes Parquet."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import narwhals as nw
    import pyarrow as pa


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


class Through(Protocol):
    """What is done to a table a batch of rows at a time, such as scoring it; an engine may do it where the rows are."""

    def schema(self, given: "pa.Schema") -> "pa.Schema":
        """What comes of a table with this schema; raise where it cannot be taken."""

    def batches(self, given: "Iterator[pa.RecordBatch]") -> "Iterator[pa.RecordBatch]":
        """The rows that come of the rows given, which are held in memory a batch at a time."""


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

    def write(
        self,
        frame: "nw.LazyFrame | nw.DataFrame",  # type: ignore[type-arg]
        path: Path,
        *,
        through: Through | None = None,
    ) -> TableFacts:
        """Run the plan once into one Parquet file at ``path`` (fsynced) and say what it holds.

        A frame of another backend (pandas, polars, pyarrow) is handed over through Arrow.

        Args:
            frame: The plan.
            path: Where to write; the folder exists.
            through: What its rows become before they are written, in the order that the plan gives them and in
                bounded memory; what it raises is raised.
        """

    def digest(self, path: Path) -> TableFacts:
        """Read a Parquet file anew and say what it holds."""
