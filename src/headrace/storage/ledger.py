"""The ledger: append-only facts, the truth for lineage, versions, aliases and promotions."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from headrace.errors import UsageError

INLINE_LIMIT_BYTES = 64 * 1024


@dataclass(frozen=True)
class Fact:
    """Something that happened.

    Attributes:
        kind: What happened, dotted: ``dataset.version``, ``step.finished``, ``alias.moved``.
        subject: What it happened to: ``orders``, a run id, a step key.
        body: JSON values; at most 64 KiB encoded (larger values belong in Files).
        unique: When set, at most one fact of this kind may ever carry it; appending a second raises ``Conflict``.
        at: Unix seconds; filled in by ``append`` when 0.
        seq: Position in the ledger, from 1; filled in by ``append``.
    """

    kind: str
    subject: str
    body: Mapping[str, Any] = field(default_factory=dict)
    unique: str | None = None
    at: float = 0.0
    seq: int = 0


class Ledger(Protocol):
    """Port: append facts durably, read them back."""

    def append(self, facts: Sequence[Fact]) -> list[Fact]:
        """Write all of ``facts`` or none; when this returns they survive the death of the process.

        Returns:
            The facts with ``at`` and ``seq`` filled in.

        Raises:
            Conflict: A ``unique`` mark is taken.
            UsageError: A body exceeds ``INLINE_LIMIT_BYTES``.
        """

    def query(self, kind: str, subject: str | None = None, *, after: int = 0, newest: int | None = None) -> list[Fact]:
        """Facts of ``kind`` (a trailing ``*`` matches a prefix) in order of ``seq``.

        Args:
            kind: ``step.finished`` or ``step.*``.
            subject: Only facts about this subject.
            after: Only facts whose ``seq`` is greater; what a poller remembers.
            newest: Only the last so many, still in ascending order.
        """

    def close(self) -> None:
        """Release the connection; appended facts are already durable."""


def latest(ledger: Ledger, kind: str, subject: str) -> Fact | None:
    """The newest fact of ``kind`` about ``subject``, or None."""
    facts = ledger.query(kind, subject, newest=1)
    return facts[-1] if facts else None


def encoded(fact: Fact) -> str:
    """The body of a fact as an engine keeps it.

    Raises:
        UsageError: It exceeds ``INLINE_LIMIT_BYTES``.
    """
    body = json.dumps(fact.body, ensure_ascii=False, separators=(",", ":"))
    if len(body) > INLINE_LIMIT_BYTES or len(body.encode()) > INLINE_LIMIT_BYTES:
        raise UsageError(
            f"fact {fact.kind!r} is too large",
            where=fact.subject,
            why=f"{len(body.encode())} bytes, at most {INLINE_LIMIT_BYTES}",
            fix="keep the value in Files and its key in the fact",
        )
    return body
