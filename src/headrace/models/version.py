"""Model versions: what was registered, from what, by which commit."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from headrace.models.signature import Signature


@dataclass(frozen=True)
class ModelVersion:
    """A registered, immutable model.

    Attributes:
        name: The model (``late``).
        version: From 1, per name.
        digest: SHA-256 over the model's files and its signature: what the model is.
        folder: Key prefix of its files in Files.
        manifest: SHA-256 of the folder's manifest, which holds the SHA-256 of every other file in it.
        signature: What it takes and gives.
        format: Names the Runtime.
        commit: Git commit of the project, with ``+dirty`` when it had changes; empty outside git.
        licence: Of the training data.
        datasets: Dataset reference (``orders@1``) to digest.
        steps: Step name to content key: the lineage inside the run.
        metrics: As measured before registration.
        report: Parity and other checks of the artifact.
        run: Run id that registered it.
        at: Unix seconds.
    """

    name: str
    version: int
    digest: str
    signature: Signature
    format: str
    folder: str = ""
    manifest: str = ""
    commit: str = ""
    licence: str = ""
    datasets: Mapping[str, str] = field(default_factory=dict)
    steps: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    report: Mapping[str, Any] = field(default_factory=dict)
    run: str = ""
    at: float = 0.0

    def __str__(self) -> str:
        """As a reference."""
        return f"{self.name}@{self.version}"

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values, for the ledger."""
        return {**vars(self), "signature": self.signature.to_json()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "ModelVersion":
        """Back from ``to_json``."""
        return cls(**{**data, "signature": Signature.from_json(data["signature"])})


@dataclass(frozen=True)
class Lineage:
    """Where a model comes from.

    Attributes:
        datasets: Dataset reference (``orders@1``) to digest.
        steps: Step name to content key.
        run: Run id.
        commit: Git commit of the project, with ``+dirty`` when it had changes.
    """

    datasets: Mapping[str, str] = field(default_factory=dict)
    steps: Mapping[str, str] = field(default_factory=dict)
    run: str = ""
    commit: str = ""
