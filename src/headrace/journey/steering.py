"""Use cases: what an endpoint serves, changed while it serves: split, promoted, rolled back, or by a canary.

The command line and ``hr.endpoint`` call these alike.
"""

from collections.abc import Mapping

from headrace.delivery import canary, traffic
from headrace.delivery.canary import Plan
from headrace.delivery.requirements import read_requirements
from headrace.delivery.rollback import rollback as rolled_back
from headrace.delivery.traffic import NOBODY, Said
from headrace.journey.platform import Platform
from headrace.serving.deployment import Deployment
from headrace.serving.split import Split, share


def split(
    platform: Platform, endpoint: str, shares: Mapping[str, str | float], key: str = "", said: Said = NOBODY
) -> Deployment:
    """Have shares of the requests prefer other loaded models; no shares end the split.

    Args:
        platform: Whose ledger is written.
        endpoint: Its name.
        shares: Model reference to its share, ``0.05`` or ``"5%"``.
        key: What keeps a caller with the same model: an input column, or a header.
        said: Who and why.

    Raises:
        NotFound: No such endpoint or version.
        SettingsError: A share is none.
        UsageError: See ``delivery.traffic.split``.
    """
    to = Split({model: share(model, part) for model, part in shares.items()}, key)
    return traffic.split(platform.ledger(), endpoint, to, said)


def promote(platform: Platform, endpoint: str, model: str, said: Said = NOBODY) -> Deployment:
    """Let a loaded version take the first place of the schedule, if it meets what ``[promotion]`` requires.

    Raises:
        NotFound: No such endpoint or version.
        UsageError: The endpoint has not loaded it.
        GateFailed: The project requires of it what was not shown.
    """
    requirements = read_requirements(platform.settings.promotion)
    return traffic.prefer(platform.ledger(), endpoint, model, said, requirements)


def rollback(platform: Platform, endpoint: str, to: int = 0, said: Said = NOBODY) -> Deployment:
    """Serve again what the endpoint served before; see ``delivery.rollback.rollback``."""
    return rolled_back(platform.ledger(), endpoint, to, said)


def begin_canary(platform: Platform, endpoint: str, model: str, plan: Plan, said: Said = NOBODY) -> Deployment:
    """Give a version growing shares of the requests, as long as no rule of ``plan`` holds.

    Raises:
        NotFound: No such endpoint or version.
        UsageError: See ``delivery.canary.begin``.
        GateFailed: The project requires of it what was not shown.
    """
    requirements = read_requirements(platform.settings.promotion)
    return canary.begin(platform.ledger(), endpoint, model, plan, said, requirements)
