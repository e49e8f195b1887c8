"""What a project requires of a version before an alias may name it: ``[promotion]`` of ``headrace.toml``."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headrace.delivery.replay import ABOUT, MEASURED
from headrace.delivery.replay import KIND as REPLAYED
from headrace.errors import GateFailed, HeadraceError, SettingsError
from headrace.models.aliases import aliases
from headrace.models.version import ModelVersion
from headrace.refs import Ref
from headrace.serving.deployment import Deployment, history
from headrace.serving.rules import Rule, new_rules
from headrace.storage.ledger import Fact, Ledger

KEYS = ("requires", "replay", "aliases")
_KNOWN = ("parity", "replay")
_WHERE = "[promotion]"


@dataclass(frozen=True)
class Requirements:
    """What must have been shown of a version.

    Attributes:
        requires: ``parity``: its answers were compared with the trained model's. ``replay``: it scored logged requests.
        replay: What must hold of the newest replay on the endpoint.
        aliases: Aliases that this is required for.
    """

    requires: tuple[str, ...] = ()
    replay: tuple[Rule, ...] = ()
    aliases: tuple[str, ...] = ("champion",)

    def met(
        self, ledger: Ledger, version: ModelVersion, alias: str, standing: Deployment | None = None
    ) -> tuple[str, ...]:
        """The names of what was required of ``version`` and holds; nothing where the alias is free.

        Args:
            ledger: Where replays are.
            version: That the alias is to name.
            alias: Which.
            standing: What serves where the version is to take over. None where an alias alone moves: then each
                endpoint counts that prefers what the alias names. A model that serves nowhere has nothing to replay.

        Raises:
            GateFailed: Something is missing, or a rule does not hold; says its numbers.
        """
        if alias not in self.aliases:
            return ()
        if "parity" in self.requires:
            _compared(version)
        if "replay" in self.requires:
            places = [standing] if standing else _places(ledger, version, alias)
            named = aliases(ledger, version.name).get(alias)
            for place in places:
                self._replayed(ledger, version, place.endpoint.name, _preferred(place))
            if not places and named:
                self._replayed(ledger, version, "", f"{version.name}@{named}")
        return self.requires

    def _replayed(self, ledger: Ledger, version: ModelVersion, endpoint: str, replaced: str) -> None:
        facts = [f for f in ledger.query(REPLAYED, str(version)) if endpoint in {"", f.body["endpoint"]}]
        why = _amiss(facts[-1], version, replaced) if facts else "it has scored no logged requests yet"
        if why:
            raise GateFailed(
                f"{version} cannot be promoted",
                where=f"endpoint {endpoint}" if endpoint else _WHERE,
                why=f"{why}, and `requires` asks for a replay beside {replaced}",
                fix=f"headrace serving replay {endpoint or 'ENDPOINT'} --model {version}",
            )
        body = facts[-1].body
        own, champion = {**{n: body[n] for n in ABOUT}, **body["numbers"]}, body["champion"]
        broken = [rule.said(own, champion) for rule in self.replay if not rule.holds(own, champion)]
        if broken:
            raise GateFailed(
                f"{version} cannot be promoted",
                where=f"{_WHERE} replay, of endpoint {body['endpoint']}",
                why="; ".join(broken),
                fix=f"a better version, or headrace serving replay {body['endpoint']} --model {version} --since SPAN",
            )


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
        read = new_rules(found.pop("replay", ()), (*MEASURED, *ABOUT))
    except HeadraceError as error:
        raise SettingsError(error.what, where=f"{_WHERE} replay", why=error.why, fix=error.fix) from error
    if read and "replay" not in found.get("requires", ()):
        raise SettingsError("rules over a replay need one", where=_WHERE, fix='requires = ["replay"]')
    return Requirements(replay=read, **found)


def _texts(key: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str) or not all(isinstance(v, str) for v in value):
        raise SettingsError(f"{key} is {value!r}", where=_WHERE, why="a list of texts is due", fix=f'{key} = ["..."]')
    return tuple(value)


def _places(ledger: Ledger, version: ModelVersion, alias: str) -> list[Deployment]:
    """Where an alias takes a model: endpoints that prefer it, or, before it names any, that prefer the model."""
    standing = {deployment.endpoint.name: deployment for deployment in history(ledger)}.values()
    own = f"{version.name}@{alias}"
    followers = [place for place in standing if place.endpoint.schedule[0].model == own]
    if followers or aliases(ledger, version.name).get(alias):
        return followers
    return [place for place in standing if Ref.parse(_preferred(place)).name == version.name]


def _preferred(place: Deployment) -> str:
    return place.models[place.endpoint.schedule[0].model]


def _amiss(fact: Fact, version: ModelVersion, replaced: str) -> str:
    """Why a replay says nothing of a version in the place of another; empty when it does."""
    body, newest = fact.body, f"its newest replay on endpoint {fact.body['endpoint']}"
    if body.get("digest") != version.digest:
        return f"{newest} was of other files"
    if replaced == str(version):
        return ""
    if body.get("beside") != replaced:
        return f"{newest} was beside {body.get('beside') or 'no deployed model'}"
    if not body["answered_by"].get(replaced):
        return f"{newest} met no request that {replaced} had answered"
    return ""


def _compared(version: ModelVersion) -> None:
    """A report belongs to the files that it was made of; what loads them asks them for the same rows again."""
    found = version.report.get("parity", {})
    if found.get("rows") and found.get("max_difference", 0.0) <= found.get("tolerance", 0.0):
        return
    raise GateFailed(
        f"{version} cannot be promoted",
        where=_WHERE,
        why="it was never compared with the model that was trained, which `requires` asks for",
        fix=f"headrace models import FOLDER --name {version.name}, or register what hr.optimize has compared",
    )
