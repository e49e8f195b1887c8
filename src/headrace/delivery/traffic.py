"""Change which loaded model answers: split the requests, prefer another version."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from headrace.delivery.deploy import check
from headrace.delivery.promotion import current_user
from headrace.delivery.requirements import NONE, Requirements
from headrace.errors import NotFound, UsageError
from headrace.models.aliases import Move, move, moves
from headrace.models.registry import find
from headrace.models.version import ModelVersion
from headrace.refs import Ref
from headrace.serving.deployment import Beside, Deployment, alone, amend, current
from headrace.serving.endpoint import Endpoint, Preference
from headrace.serving.provenance import watched
from headrace.serving.split import WHOLE, Split
from headrace.storage.ledger import Fact, Ledger


@dataclass(frozen=True)
class Said:
    """Who changes what is served, and why.

    Attributes:
        who: By default the login name.
        why: For people.
    """

    who: str = ""
    why: str = ""


NOBODY = Said()
"""The login name, without a reason."""


def split(ledger: Ledger, name: str, to: Split, said: Said = NOBODY) -> Deployment:
    """Have shares of an endpoint's requests prefer other models that it has loaded; an empty split ends it.

    A shadow or standby version that gets a share joins the schedule, last, and is waited for as long as the first.

    Args:
        ledger: Where deployments are.
        name: Of the endpoint.
        to: Shares by model reference, and what keeps callers with the same model.
        said: Who and why.

    Raises:
        NotFound: No such endpoint or version.
        UsageError: The endpoint has not loaded a version, prefers it anyway, or is asked to give one two shares.
    """

    def change(standing: Deployment) -> Deployment:
        shares: dict[str, float] = {}
        for model, part in to.shares.items():
            own = _loaded(ledger, standing, model)
            if standing.models[own] == standing.models[standing.endpoint.schedule[0].model]:
                raise UsageError(
                    f"endpoint {name} cannot give {standing.models[own]} a share of the requests",
                    why="its schedule prefers it, so it has what the shares of the others leave",
                    fix="name the others' shares",
                )
            if own in shares:
                raise UsageError(
                    f"{standing.models[own]} is given two shares",
                    where=f"endpoint {name}",
                    fix=f"headrace serving split {name} {own}={(shares[own] + part) * 100:g}%",
                )
            shares[own] = part
        return afresh(standing, shared(standing.endpoint, Split(shares, to.key) if shares else WHOLE), standing.models)

    return amended(ledger, name, said, change)


def shared(endpoint: Endpoint, to: Split) -> Endpoint:
    """An endpoint with this split; what has a share and is not in the schedule joins it, last."""
    listed = {p.model for p in endpoint.schedule}
    joined = tuple(Preference(model, endpoint.schedule[0].wait_s) for model in to.shares if model not in listed)
    return replace(
        endpoint,
        schedule=endpoint.schedule + joined,
        shadows=tuple(model for model in endpoint.shadows if model not in to.shares),
        standby=tuple(model for model in endpoint.standby if model not in to.shares),
        split=to,
    )


def prefer(
    ledger: Ledger, name: str, reference: str, said: Said = NOBODY, requirements: Requirements = NONE
) -> Deployment:
    """Have a loaded version take the place of the one that an endpoint prefers; a split ends.

    Where the schedule prefers an alias (``late@champion``), the alias moves to the version, so that the next deployment
    means it as well.

    Args:
        ledger: Where deployments, versions and aliases are.
        name: Of the endpoint.
        reference: The version.
        said: Who and why.
        requirements: What the project requires of a version before an alias may name it.

    Raises:
        NotFound: No such endpoint or version.
        UsageError: The endpoint has not loaded it.
        SignatureError: It would break callers, or cannot share the endpoint with what else it has loaded.
        GateFailed: The project requires of it what was not shown.
    """
    version = find(ledger, reference)
    standing = standing_of(ledger, name)
    _loaded(ledger, standing, str(version))
    first = standing.endpoint.schedule[0].model
    alias = alias_of(first)
    aliased = bool(alias) and Ref.parse(first).name == version.name
    preferred = first if aliased else str(version)
    moves_on = alias if aliased else "champion"
    gates = requirements.met(ledger, version, moves_on, standing)

    def change(standing: Deployment) -> Deployment:
        requirements.met(ledger, version, moves_on, standing)  # something else may stand by now
        before = standing.canary.before if standing.canary else standing.seq
        return replace(in_front(standing, preferred, str(version)), gates=gates, instead=before)

    to = Move(alias, version.version, said.who or current_user(), said.why, gates)

    def moved(_standing: Deployment | None, _asked: Deployment) -> Sequence[Fact]:
        return moves(ledger, version.name, [to]) if aliased else ()

    made = amended(ledger, name, said, change, moved)
    if aliased:  # also where the endpoint preferred it already
        move(ledger, version.name, to)
    return made


def instead_of(ledger: Ledger, deployment: Deployment, asked: Deployment, beside: Beside = alone) -> Deployment:
    """Put another deployment in the place of ``deployment``, if that still stands.

    Args:
        ledger: Where deployments are.
        deployment: What is thought to stand.
        asked: What follows it.
        beside: Facts that are written with it, or not at all.

    Returns:
        What stands now.
    """

    def changed(standing: Deployment | None) -> Deployment | None:
        return asked if standing is not None and standing.seq == deployment.seq else standing

    made = amend(ledger, deployment.endpoint.name, changed, beside)
    assert made is not None
    return made


def amended(
    ledger: Ledger,
    name: str,
    said: Said,
    change: Callable[[Deployment], Deployment],
    beside: Beside = alone,
) -> Deployment:
    """Change what stands, keeping the versions that it meant; all checks of a deployment are made.

    Args:
        ledger: Where deployments are.
        name: Of the endpoint.
        said: Who and why.
        change: What follows what stands; the same for no change.
        beside: Facts that are written with it, or not at all.

    Raises:
        NotFound: No such endpoint.
        SignatureError: It would break callers.
        Conflict: Others kept changing it at the same time.
    """

    def checked(standing: Deployment | None) -> Deployment:
        if standing is None:
            raise unknown(ledger, name)
        asked = change(standing)
        same = (asked.endpoint, asked.models, asked.canary) == (standing.endpoint, standing.models, standing.canary)
        if same:
            return standing
        return replace(_checked(ledger, standing, asked), who=said.who or current_user(), why=said.why or asked.why)

    made = amend(ledger, name, checked, beside)
    assert made is not None
    return made


def _checked(ledger: Ledger, standing: Deployment, asked: Deployment) -> Deployment:
    """``asked`` with the versions of its endpoint alone, if it may follow ``standing``."""
    models = {reference: asked.models[reference] for reference in asked.endpoint.models}
    versions = {reference: find(ledger, version) for reference, version in models.items()}
    check(ledger, asked.endpoint, versions, None if asked.restores else standing)
    return replace(asked, models=models)


def in_front(standing: Deployment, preferred: str, version: str) -> Deployment:
    """``preferred`` in the first line of the schedule, meaning ``version``, and nowhere else."""
    endpoint = standing.endpoint
    models = {**standing.models, preferred: version}

    def others(references: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(reference for reference in references if models[reference] != version)

    kept = others(tuple(p.model for p in endpoint.schedule[1:]))
    schedule = (
        Preference(preferred, endpoint.schedule[0].wait_s),
        *(p for p in endpoint.schedule[1:] if p.model in kept),
    )
    now = replace(
        endpoint,
        schedule=schedule,
        shadows=others(endpoint.shadows),
        standby=others(endpoint.standby),
        split=WHOLE,
    )
    return afresh(standing, now, models)


def afresh(standing: Deployment, endpoint: Endpoint, models: Mapping[str, str]) -> Deployment:
    """What follows ``standing`` with another endpoint; nothing is under way any more."""
    return replace(
        standing, endpoint=endpoint, models=models, why="", gates=(), replace_signature=False, restores=0, canary=None
    )


def _loaded(ledger: Ledger, standing: Deployment, reference: str) -> str:
    """The endpoint's own reference to a version that it has loaded."""
    if reference in standing.models:
        return reference
    version: ModelVersion = find(ledger, reference)
    own = next((ref for ref, name in standing.models.items() if name == str(version)), "")
    if not own:
        endpoint = standing.endpoint.name
        raise UsageError(
            f"endpoint {endpoint} has not loaded {version}",
            why=f"it has {', '.join(dict.fromkeys(standing.models.values()))}",
            fix=f'shadows = ["{reference}"] in [endpoint.{endpoint}], and headrace serving deploy {endpoint}',
        )
    return own


def alias_of(reference: str) -> str:
    """The alias of a reference; empty when it names a version."""
    ref = Ref.parse(reference)
    return ref.selector if ref.selector and ref.version is None else ""


def standing_of(ledger: Ledger, name: str) -> Deployment:
    """What is deployed under ``name`` now; raise ``NotFound`` for nothing."""
    standing = current(ledger, name)
    if standing is None:
        raise unknown(ledger, name)
    return standing


def unknown(ledger: Ledger, name: str) -> NotFound:
    """Nothing is deployed under ``name``; a model of a watched folder may be served there all the same."""
    if name in watched(ledger):
        return NotFound(
            f"endpoint {name} was never deployed",
            why="it is served from a watched folder, which says what serves",
            fix=f"headrace models import FOLDER --name {name}, and deploy it; or change what is in the folder",
        )
    return NotFound(f"no endpoint named {name!r}", fix="headrace serving ls")
