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

    def read(self, source: Path, *, nulls: Sequence[str] = ()) -> "nw.LazyFrame":  # type: ignore[type-arg]
        """A file that somebody else wrote (CSV also gzipped or zipped, Parquet, JSON lines), by its bytes and ending.

        Args:
            source: The file.
            nulls: Texts that mean null, besides the empty one (``NA``).
        """

    def scan(self, paths: Sequence[Path]) -> "nw.LazyFrame":  # type: ignore[type-arg]
        """Parquet files that headrace wrote, as one lazy frame."""

    def write(self, frame: "nw.LazyFrame", path: Path) -> TableFacts:  # type: ignore[type-arg]
        """Run the plan once into one Parquet file at ``path`` (fsynced) and say what it holds."""

    def digest(self, path: Path) -> TableFacts:
        """Read a Parquet file anew and say what it holds."""
