"""Aliases: which version ``late@champion`` is, as a hash-chained history of moves."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headrace.errors import Conflict, IntegrityError
from headrace.refs import checked_name
from headrace.storage.ledger import Fact, Ledger

KIND = "alias.moved"
ATTEMPTS = 8


@dataclass(frozen=True)
class Move:
    """One move of an alias.

    Attributes:
        alias: ``champion``.
        version: Where it points from now on.
        who: Person or run that moved it.
        why: For people.
        gates: Names of the gates that let it through.
    """

    alias: str
    version: int
    who: str = ""
    why: str = ""
    gates: Sequence[str] = ()


def aliases(ledger: Ledger, name: str) -> dict[str, int]:
    """Alias to version, now; empty for a model without aliases."""
    return {fact.body["alias"]: fact.body["version"] for fact in ledger.query(KIND, name)}


def move(ledger: Ledger, name: str, to: Move) -> Fact:
    """Append a move to the chain of ``name``; a move to where the alias already points adds nothing.

    Returns:
        The fact of the newest move of that alias.

    Raises:
        Conflict: Others kept moving this model's aliases at the same time.
    """
    for _ in range(ATTEMPTS):
        facts = moves(ledger, name, [to])
        if not facts:
            return next(fact for fact in reversed(ledger.query(KIND, name)) if fact.body["alias"] == to.alias)
        try:
            return ledger.append(facts)[0]
        except Conflict:
            continue
    raise Conflict(f"aliases of {name} keep changing", fix="try again")


def moves(ledger: Ledger, name: str, to: Sequence[Move]) -> list[Fact]:
    """The facts that move aliases of ``name``, for who appends them with others; none for one that is there already.

    Appending raises ``Conflict`` when others moved one meanwhile: ask again then.
    """
    chain = ledger.query(KIND, name)
    length, found = len(chain), list[Fact]()
    for asked in to:
        checked_name(asked.alias, of="alias")
        standing = [fact for fact in chain if fact.body["alias"] == asked.alias]
        if standing and standing[-1].body["version"] == asked.version:
            continue
        body = {**vars(asked), "gates": list(asked.gates), "previous": chain[-1].body["hash"] if chain else ""}
        body["hash"] = _hash(body)
        found.append(Fact(KIND, name, body, unique=f"{name}#{length + len(found)}"))
        chain = [*chain, found[-1]]
    return found


def verify(ledger: Ledger, name: str) -> int:
    """Check the chain of a model's moves; return its length.

    Raises:
        IntegrityError: A move was altered, removed or inserted.
    """
    previous = ""
    chain = ledger.query(KIND, name)
    for fact in chain:
        if fact.body["previous"] != previous or fact.body["hash"] != _hash(fact.body):
            raise IntegrityError(
                f"the history of aliases of {name} was altered",
                where=f"ledger fact {fact.seq}",
                why="its hash differs",
                fix="headrace restore of a backup from before, into a new folder",
            )
        previous = fact.body["hash"]
    return len(chain)


def verify_all(ledger: Ledger) -> int:
    """Check the chain of every model; return how many moves they are together.

    Raises:
        IntegrityError: As of ``verify``.
    """
    return sum(verify(ledger, name) for name in sorted({fact.subject for fact in ledger.query(KIND)}))


def _hash(body: Mapping[str, Any]) -> str:
    plain = {key: value for key, value in body.items() if key != "hash"}
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()
