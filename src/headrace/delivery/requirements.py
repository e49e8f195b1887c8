"""What a project requires of a version before an alias may name it: ``[promotion]`` of ``headrace.toml``."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headrace.delivery.replay import ABOUT, MEASURED
from headrace.delivery.replay import KIND as REPLAYED
from headrace.errors import GateFailed, HeadraceError, SettingsError
from headrace.models.version import ModelVersion
from headrace.serving.rules import Rule, rules
from headrace.storage.ledger import Ledger, latest

KEYS = ("requires", "replay", "aliases")
_KNOWN = ("parity", "replay")
_WHERE = "[promotion]"


@dataclass(frozen=True)
class Requirements:
    """What must have been shown of a version.

    Attributes:
        requires: ``parity``: its answers were compared with the trained model's. ``replay``: it scored logged requests.
        replay: What must hold of the newest replay.
        aliases: Aliases that this is required for.
    """

    requires: tuple[str, ...] = ()
    replay: tuple[Rule, ...] = ()
    aliases: tuple[str, ...] = ("champion",)

    def met(self, ledger: Ledger, version: ModelVersion, alias: str) -> tuple[str, ...]:
        """The names of what was required of ``version`` and holds; nothing where the alias is free.

        Raises:
            GateFailed: Something is missing, or a rule does not hold; says its numbers.
        """
        if alias not in self.aliases:
            return ()
        if "parity" in self.requires:
            _compared(version)
        if "replay" in self.requires:
            self._replayed(ledger, version)
        return self.requires

    def _replayed(self, ledger: Ledger, version: ModelVersion) -> None:
        fact = latest(ledger, REPLAYED, str(version))
        if fact is None:
            raise GateFailed(
                f"{version} cannot be promoted",
                where=_WHERE,
                why="it has scored no logged requests yet, which `requires` asks for",
                fix=f"headrace serving replay ENDPOINT --model {version}",
            )
        own, champion = {**{n: fact.body[n] for n in ABOUT}, **fact.body["numbers"]}, fact.body["champion"]
        broken = [rule.said(own, champion) for rule in self.replay if not rule.holds(own, champion)]
        if broken:
            raise GateFailed(f"{version} cannot be promoted", where=f"{_WHERE} replay", why="; ".join(broken))


NONE = Requirements()
"""Any version may be promoted."""


def read_requirements(table: Mapping[str, Any]) -> Requirements:
    """The requirements that ``[promotion]`` of ``headrace.toml`` states.

    Raises:
        SettingsError: A key or a value is not known, or a rule cannot be read.
    """
    for key in table:
        if key not in KEYS:
            near = difflib.get_close_matches(key, KEYS, 1)
            fix = f"did you mean {near[0]!r}?" if near else f"one of {', '.join(KEYS)}"
            raise SettingsError(f"unknown setting {key!r}", where=_WHERE, fix=fix)
    found = {key: _texts(key, value) for key, value in table.items()}
    strange = [name for name in found.get("requires", ()) if name not in _KNOWN]
    if strange:
        raise SettingsError(f"nothing is required as {strange[0]!r}", where=_WHERE, fix=f"one of {', '.join(_KNOWN)}")
    try:
        read = rules(found.pop("replay", ()), (*MEASURED, *ABOUT))
    except HeadraceError as error:
        raise SettingsError(error.what, where=f"{_WHERE} replay", why=error.why, fix=error.fix) from error
    if read and "replay" not in found.get("requires", ()):
        raise SettingsError("rules over a replay need one", where=_WHERE, fix='requires = ["replay"]')
    return Requirements(replay=read, **found)


def _texts(key: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str) or not all(isinstance(v, str) for v in value):
        raise SettingsError(f"{key} is {value!r}", where=_WHERE, why="a list of texts is due", fix=f'{key} = ["..."]')
    return tuple(value)


def _compared(version: ModelVersion) -> None:
    if not version.report.get("parity", {}).get("rows"):
        raise GateFailed(
            f"{version} cannot be promoted",
            where=_WHERE,
            why="it was never compared with the model that was trained, which `requires` asks for",
            fix="register what hr.optimize or headrace models import has compared",
        )
