"""References: where a stored value lies and what it is, without loading it."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from headrace.pipelines.ports import TABLE


@dataclass(frozen=True)
class Reference:
    """A stored value: the result of a step, a part of one, or a dataset version.

    A step parameter annotated ``Reference`` is handed this instead of the value; a step may return one, which stores
    no second copy.

    Attributes:
        tree: The value as ``pipelines.values`` packed it: JSON, with marks where files hold the rest.
        digest: Content digest of the value, hexadecimal; what keys downstream are made of.
        folder: Key prefix in Files of the manifest and the files; empty when ``tree`` is all.
        manifest: SHA-256 of the manifest; empty when ``folder`` is.
    """

    tree: Any
    digest: str
    folder: str = ""
    manifest: str = ""

    @classmethod
    def table(
        cls, folder: str, digest: str, *, manifest: str = "", about: Mapping[str, Any] | None = None
    ) -> "Reference":
        """A reference to a table that lies as ``<folder>/data.parquet`` beside its manifest (a dataset version)."""
        item = {"codec": "narwhals", "form": TABLE, "digest": digest, "about": dict(about or {})}
        tree = {"$item": "", **item, "type": "narwhals:LazyFrame"}
        return cls(tree, tree_digest(tree), folder, manifest)

    @property
    def about(self) -> Mapping[str, Any]:
        """Small facts for people: rows, columns, class name; empty for JSON values."""
        return dict(self.tree.get("about", {})) if isinstance(self.tree, dict) and "$item" in self.tree else {}

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values, for facts."""
        return {"tree": self.tree, "digest": self.digest, "folder": self.folder, "manifest": self.manifest}

    def part(self, index: int) -> "Reference":
        """The value at ``index`` of a tuple."""
        tree = self.tree["$tuple"][index]
        return Reference(tree, tree_digest(tree), self.folder, self.manifest)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Reference":
        """Back from ``to_json``."""
        return cls(data["tree"], data["digest"], data.get("folder", ""), data.get("manifest", ""))


@dataclass(frozen=True)
class StepResult:
    """What a finished step left, as the ledger's ``step.finished`` tells it.

    Attributes:
        key: Content key of the call.
        name: Of the step.
        reference: Its value.
        seconds: How long it took when it ran.
        run: The run that ran it.
        parts: What the key was made of, for ``--explain``.
        opened: Project file to SHA-256, as the step read it.
    """

    key: str
    name: str
    reference: Reference
    seconds: float
    run: str
    parts: Mapping[str, Any] = field(default_factory=dict)
    opened: Mapping[str, str] = field(default_factory=dict)


# What makes two marks equal, where it is not the whole mark.
_TOLD: dict[str, Callable[[Mapping[str, Any]], Any]] = {
    "$item": lambda tree: [tree["form"], tree["type"], tree["digest"]],
    "$blob": lambda tree: tree["sha256"],
    "$json": lambda tree: tree["digest"],
    "$ref": lambda tree: tree["$ref"]["digest"],
}


def tree_digest(tree: Any) -> str:
    """Content digest of a packed value: where its files lie and what people are told about them does not count."""
    return hashlib.sha256(json.dumps(_content(tree), sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _content(tree: Any) -> Any:
    if isinstance(tree, list):
        return [_content(part) for part in tree]
    if not isinstance(tree, dict):
        return tree
    for mark, told in _TOLD.items():
        if mark in tree:
            return {mark: told(tree)}
    return {name: _content(part) for name, part in tree.items()}
