"""Feature views: the newest features of each entity, as versions that the ledger knows by their digest."""

import difflib
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from headrace.errors import NotFound
from headrace.storage.ledger import Fact, Ledger

KIND = "feature.version"

KEY_DTYPES = ("string", "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32")
"""What may name an entity: what is equal or is not, which a float hardly is."""
DTYPES = (*KEY_DTYPES, "float32", "float64")
"""What a feature may be."""


@dataclass(frozen=True)
class FeatureView:
    """One version of a view: one row of features for each entity.

    Attributes:
        name: The view (``customers``).
        version: Hexadecimal digest of every row, column, type and key: equal content is the same version.
        keys: Columns that name an entity, each with its dtype (``KEY_DTYPES``), in order.
        columns: Its features, each with its dtype (``DTYPES``), in order.
        rows: Number of entities.
        dataset: The dataset version that it was made from (``orders@3``).
        dataset_digest: Of that version.
        event_time: Column by which the newest row of an entity was told; empty where each entity has one row.
        at: Unix seconds when it was first made; 0 before it is recorded.
    """

    name: str
    version: str
    keys: Mapping[str, str]
    columns: Mapping[str, str]
    rows: int
    dataset: str = ""
    dataset_digest: str = ""
    event_time: str = ""
    at: float = 0.0

    def __str__(self) -> str:
        """Its name and the first digits of its version."""
        return f"{self.name}@{self.version[:12]}"

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "FeatureView":
        """Back from ``to_json``."""
        return cls(**data)


def version_of(rows_digest: str, keys: Mapping[str, str], columns: Mapping[str, str]) -> str:
    """The version of a view whose rows, with keys and features as columns, have this digest."""
    about = [rows_digest, list(keys.items()), list(columns.items())]
    return hashlib.sha256(json.dumps(about).encode()).hexdigest()


def fact_of(view: FeatureView) -> Fact:
    """The fact that makes a version known."""
    return Fact(KIND, view.name, {key: value for key, value in view.to_json().items() if key != "at"})


def views(ledger: Ledger, name: str | None = None) -> Sequence[FeatureView]:
    """Every recorded version of view ``name`` (of all views when None), oldest first."""
    return [FeatureView.from_json({**fact.body, "at": fact.at}) for fact in ledger.query(KIND, name)]


def version(ledger: Ledger, name: str, digest: str) -> FeatureView | None:
    """The version of a view with this digest, as it was first made; None when the ledger knows none."""
    return next((view for view in views(ledger, name) if view.version == digest), None)


def find(ledger: Ledger, name: str) -> FeatureView:
    """The newest version of a view.

    Raises:
        NotFound: There is none; the message names the nearest view.
    """
    known = views(ledger, name)
    if known:
        return known[-1]
    names = sorted({view.name for view in views(ledger)})
    near = difflib.get_close_matches(name, names, 1)
    why = f"did you mean {near[0]!r}?" if near else (f"there are {', '.join(names)}" if names else "there is none yet")
    raise NotFound(
        f"no feature view {name!r}", why=why, fix=f"headrace features materialize {name} --from DATASET --by COLUMN"
    )
