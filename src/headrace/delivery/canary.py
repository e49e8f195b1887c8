"""A canary as deployments: begun, taken a step further, finished, or ended by what came before it."""

from dataclasses import dataclass, replace
from itertools import pairwise

from headrace.delivery.promotion import promote
from headrace.delivery.requirements import NONE, Requirements
from headrace.delivery.traffic import Said, afresh, alias_of, amended, in_front, shared
from headrace.errors import UsageError
from headrace.models.aliases import Move
from headrace.models.registry import find
from headrace.refs import Ref
from headrace.serving.canary import MEASURED, Canary
from headrace.serving.deployment import Deployment, amend, current, history
from headrace.serving.rules import rules
from headrace.serving.split import Split, share
from headrace.storage.ledger import Ledger

GATEWAY = "gateway"
"""Who takes a canary further, or ends it."""


@dataclass(frozen=True)
class Plan:
    """How a candidate's share is to grow.

    Attributes:
        steps: Shares, growing: ``5%``, ``0.25``.
        every_s: How long each step lasts at least, in seconds.
        abort_if: Rules over ``serving.canary.MEASURED`` of which none may hold.
        least: Requests that the candidate must have met in each step.
        key: What keeps a caller with the same model; see ``Split``.
    """

    steps: tuple[str | float, ...]
    every_s: float
    abort_if: tuple[str, ...] = ()
    least: int = 20
    key: str = ""


def begin(
    ledger: Ledger, name: str, reference: str, plan: Plan, said: Said, requirements: Requirements = NONE
) -> Deployment:
    """Give a version the first share of an endpoint's requests; gateways load it, prove it, and go on from there.

    Args:
        ledger: Where deployments and versions are.
        name: Of the endpoint.
        reference: The candidate.
        plan: How its share grows.
        said: Who and why.
        requirements: What the project requires of a version that takes over.

    Raises:
        NotFound: No such endpoint or version.
        UsageError: Another canary is under way, the version answers already, or the plan cannot be followed.
        SignatureError: It cannot share the endpoint with what serves.
        GateFailed: The project requires of it what was not shown.
    """
    version = find(ledger, reference)
    steps = _steps(plan)
    rules(plan.abort_if, MEASURED)
    gates = requirements.met(ledger, version, "champion")

    def change(standing: Deployment) -> Deployment:
        endpoint = standing.endpoint
        if standing.canary is not None:
            raise UsageError(
                f"endpoint {name} has a canary of {standing.models[standing.canary.candidate]} under way",
                fix=f"headrace serving split {name} --end, or headrace serving rollback {name}",
            )
        if standing.models[endpoint.schedule[0].model] == str(version):
            raise UsageError(f"{version} is what endpoint {name} prefers already")
        # An alias that moved on still means here what it meant: the candidate goes beside that, not in its place.
        name_of_its_own = str(version) if reference in standing.models else reference
        own = next((ref for ref, meant in standing.models.items() if meant == str(version)), name_of_its_own)
        canary = Canary(own, steps, plan.every_s, plan.abort_if, plan.least, before=standing.seq)
        now = shared(endpoint, Split({own: steps[0]}, plan.key))
        return replace(afresh(standing, now, {**standing.models, own: str(version)}), canary=canary, gates=gates)

    why = said.why or f"canary of {version}: {steps[0] * 100:g} %"
    return amended(ledger, name, Said(said.who, why), change)


def further(ledger: Ledger, deployment: Deployment) -> Deployment:
    """Take the canary of ``deployment`` to its next step, or let the candidate take over after the last.

    Returns:
        What stands now; ``deployment`` is left behind only if it stood.
    """
    canary = deployment.canary
    assert canary is not None
    name, version = deployment.endpoint.name, deployment.models[canary.candidate]
    if canary.last:
        return _finish(ledger, deployment, version)
    now = replace(canary, step=canary.step + 1)
    split = Split({canary.candidate: now.share}, deployment.endpoint.split.key)

    def change(standing: Deployment | None) -> Deployment | None:
        if standing is None or standing.seq != deployment.seq:
            return standing
        why = f"canary of {version}: {now.share * 100:g} %, step {now.step + 1} of {len(now.steps)}"
        return replace(standing, endpoint=shared(standing.endpoint, split), canary=now, who=GATEWAY, why=why)

    made = amend(ledger, name, change)
    assert made is not None
    return made


def abort(ledger: Ledger, deployment: Deployment, reason: str) -> Deployment:
    """Serve again what served before the canary of ``deployment``, if that still stands.

    Args:
        ledger: Where deployments are.
        deployment: With a canary.
        reason: The rules that held, with their numbers.
    """
    canary = deployment.canary
    assert canary is not None
    name = deployment.endpoint.name
    before = next((d for d in history(ledger, name) if d.seq == canary.before), None)

    def change(standing: Deployment | None) -> Deployment | None:
        if standing is None or standing.seq != deployment.seq or before is None:
            return standing
        why = f"canary of {deployment.models[canary.candidate]} ended at {canary.share * 100:g} %: {reason}"
        return Deployment(before.endpoint, before.models, GATEWAY, why, restores=before.restores or before.seq)

    made = amend(ledger, name, change)
    assert made is not None
    return made


def _finish(ledger: Ledger, deployment: Deployment, version: str) -> Deployment:
    """The candidate takes the first place; the alias that is preferred moves to it."""
    first = deployment.endpoint.schedule[0].model
    why, found = f"canary of {version} went through", find(ledger, version)
    preferred, alias = version, alias_of(first)
    standing = current(ledger, deployment.endpoint.name)
    if standing is not None and standing.seq != deployment.seq:  # ended meanwhile: its alias stays where it is
        return standing
    if alias and Ref.parse(first).name == found.name:
        promote(ledger, found, Move(alias, 0, GATEWAY, why, deployment.gates))
        preferred = first

    def change(standing: Deployment | None) -> Deployment | None:
        if standing is None or standing.seq != deployment.seq:
            return standing
        made = in_front(standing, preferred, version)
        models = {reference: made.models[reference] for reference in made.endpoint.models}
        return replace(made, models=models, who=GATEWAY, why=why, gates=deployment.gates)

    made = amend(ledger, deployment.endpoint.name, change)
    assert made is not None
    return made


def _steps(plan: Plan) -> tuple[float, ...]:
    steps = tuple(share("the candidate", said) for said in plan.steps)
    if not steps or any(after <= before for before, after in pairwise(steps)):
        raise UsageError("the steps of a canary must grow", why=f"they are {plan.steps}", fix='--canary "5% 25% 100%"')
    if plan.every_s <= 0 or plan.least < 1:
        raise UsageError("a step of a canary lasts some time and some requests", fix="--every 10m --least 20")
    return steps
