"""Promotion: which version an alias names, and what let it through."""

import getpass

from headrace.models import registry
from headrace.models.aliases import Move, move
from headrace.models.version import ModelVersion
from headrace.storage.ledger import Fact, Ledger


def promote(ledger: Ledger, version: ModelVersion | str, to: Move) -> Fact:
    """Point the alias of ``to`` at a version; the move is a hash-chained fact.

    Args:
        ledger: Where versions and aliases are.
        version: A registered version or a reference to one (``late@3``).
        to: The alias, who moves it, why, and the gates that passed; its version is filled in here.

    Raises:
        NotFound: No such version.
    """
    found = registry.find(ledger, str(version))
    return move(ledger, found.name, Move(to.alias, found.version, to.who or current_user(), to.why, to.gates))


def current_user() -> str:
    """The login name, or ``unknown`` where the system has none for this user."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
