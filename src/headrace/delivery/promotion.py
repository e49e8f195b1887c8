"""Promotion: which version an alias names, and what let it through."""

import getpass

from headrace.delivery.requirements import NONE, Requirements
from headrace.models import registry
from headrace.models.aliases import Move, move
from headrace.models.version import ModelVersion
from headrace.storage.ledger import Fact, Ledger


def promote(ledger: Ledger, version: ModelVersion | str, to: Move, requirements: Requirements = NONE) -> Fact:
    """Point the alias of ``to`` at a version; the move is a hash-chained fact.

    Args:
        ledger: Where versions and aliases are.
        version: A registered version or a reference to one (``late@3``).
        to: The alias, who moves it, why, and the gates that passed; its version is filled in here.
        requirements: What the project requires of a version; what holds is recorded with the gates.

    Raises:
        NotFound: No such version.
        GateFailed: The project requires of it what was not shown.
    """
    found = registry.find(ledger, str(version))
    gates = (*to.gates, *requirements.met(ledger, found, to.alias))
    return move(ledger, found.name, Move(to.alias, found.version, to.who or current_user(), to.why, gates))


def current_user() -> str:
    """The login name, or ``unknown`` where the system has none for this user."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
