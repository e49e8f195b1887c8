"""Dataset versions: immutable tables in the catalogue, known by the digest of their content."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

TABLE, PROFILE, CONTRACT = "data.parquet", "profile.json", "contract.json"


@dataclass(frozen=True)
class DatasetVersion:
    """One stored table.

    Attributes:
        name: The dataset (``orders``).
        version: From 1, per name.
        digest: Of every row, column and type (``TableFacts.digest``).
        rows: Number of rows.
        schema: Column name to narwhals dtype, as text.
        licence: Under which the data may be used; empty when nobody said.
        folder: Prefix of its objects in Files: the table, its profile, the contract it was held against.
        manifest: SHA-256 of that folder's manifest.
        source: Name of the file it came from.
        source_digest: SHA-256 of that file's bytes.
        nulls: Texts that were read as null.
        at: Unix seconds.
    """

    name: str
    version: int
    digest: str
    rows: int
    schema: Mapping[str, str]
    licence: str
    folder: str
    manifest: str
    source: str = ""
    source_digest: str = ""
    nulls: tuple[str, ...] = ()
    at: float = 0.0

    @property
    def key(self) -> str:
        """Key of the table's Parquet file in Files."""
        return f"{self.folder}/{TABLE}"

    def __str__(self) -> str:
        """As a reference."""
        return f"{self.name}@{self.version}"

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values, for the ledger."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "DatasetVersion":
        """Back from ``to_json``."""
        return cls(**{**data, "nulls": tuple(data["nulls"])})
