"""Go back to what served before: asked for by a person, or because what followed it cannot go on."""

from functools import partial

from headrace.delivery.promotion import current_user
from headrace.delivery.traffic import NOBODY, Said, alias_of, amended, instead_of, standing_of
from headrace.errors import HeadraceError, NotFound
from headrace.models.aliases import Move, aliases, moves
from headrace.refs import Ref
from headrace.serving.deployment import Deployment, history
from headrace.serving.succession import offer_of, unmet
from headrace.storage.ledger import Fact, Ledger


def rollback(ledger: Ledger, name: str, to: int = 0, said: Said = NOBODY) -> Deployment:
    """Serve again what an endpoint served before, with the very versions; aliases that had moved on move back.

    Args:
        ledger: Where deployments and aliases are.
        name: Of the endpoint.
        to: ``seq`` of the deployment; by default the one before what serves now, steps of a canary left out. After a
            rollback that is the one before what it brought back.
        said: Who and why.

    Raises:
        NotFound: There is no such endpoint or deployment, or none before.
    """

    def change(standing: Deployment) -> Deployment:
        found = _earlier(ledger, name, standing, to)
        seq = found.restores or found.seq
        return Deployment(
            found.endpoint,
            found.models,
            why=f"back to deployment {seq}",
            replace_signature=_breaks(ledger, standing, found),
            restores=seq,
        )

    return amended(ledger, name, said, change, partial(_moves_back, ledger, said))


def restore(ledger: Ledger, deployment: Deployment, seq: int, said: Said, alert: Fact) -> Deployment:
    """Serve again what an earlier deployment served, if ``deployment`` still stands; its alias moves back.

    Args:
        ledger: Where deployments and aliases are.
        deployment: What is to end.
        seq: Of the one that comes back.
        said: Who and why.
        alert: Written with it: nobody asked for this.

    Returns:
        What stands now.
    """
    before = next((d for d in history(ledger, deployment.endpoint.name) if d.seq == seq), None)
    if before is None:
        return standing_of(ledger, deployment.endpoint.name)
    asked = Deployment(before.endpoint, before.models, said.who, said.why, restores=before.restores or before.seq)

    def beside(standing: Deployment | None, made: Deployment) -> list[Fact]:
        return [*_moves_back(ledger, said, standing, made), alert]

    return instead_of(ledger, deployment, asked, beside)


def _earlier(ledger: Ledger, name: str, standing: Deployment, to: int) -> Deployment:
    deployments = history(ledger, name)
    if to:
        found = next((d for d in deployments if d.seq == to), None)
        known = ", ".join(str(d.seq) for d in deployments[-10:])
        why, fix = f"there are {known}", "headrace serving rollback " + name
    else:
        now = (standing.endpoint, standing.models)
        before = standing.restores or standing.seq
        # A step of a canary is nothing to go back to: without the canary it would stand for ever.
        whole = [d for d in deployments if d.seq < before and d.canary is None]
        earlier = [d for d in whole if (d.endpoint, d.models) != now]
        found = earlier[-1] if earlier else None
        why, fix = "nothing else was deployed there before", "headrace serving deploy " + name
    if found is None:
        raise NotFound(f"endpoint {name} has no {f'deployment {to}' if to else 'earlier deployment'}", why=why, fix=fix)
    return found


def _moves_back(ledger: Ledger, said: Said, before: Deployment | None, made: Deployment) -> list[Fact]:
    """Moves of the aliases that still mean what ``before`` meant by them, to what ``made`` means."""
    assert before is not None
    found: dict[str, list[Move]] = {}
    for reference, version in made.models.items():
        alias, there = alias_of(reference), Ref.parse(version)
        meant = before.models.get(reference)
        if not alias or there.version is None or meant in {None, version}:
            continue
        if f"{there.name}@{aliases(ledger, there.name).get(alias)}" == meant:
            why = said.why or f"endpoint {made.endpoint.name} went back to deployment {made.restores}"
            found.setdefault(there.name, []).append(Move(alias, there.version, said.who or current_user(), why))
    return [fact for name, due in found.items() for fact in moves(ledger, name, due)]


def _breaks(ledger: Ledger, standing: Deployment, found: Deployment) -> bool:
    try:
        return bool(unmet(offer_of(ledger, standing), offer_of(ledger, found)))
    except (HeadraceError, KeyError):  # what cannot be served has no callers
        return True
