"""A canary as deployments: begun, taken a step further, finished, or ended by what came before it."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import pairwise

from headrace.delivery.requirements import NONE, Requirements
from headrace.delivery.rollback import restore
from headrace.delivery.traffic import Said, afresh, alias_of, amended, in_front, instead_of, shared, unknown
from headrace.errors import Conflict, UsageError
from headrace.models.aliases import Move, moves
from headrace.models.registry import find
from headrace.monitoring.alerts import KIND as ALERT
from headrace.refs import Ref
from headrace.serving.canary import MEASURED, Canary
from headrace.serving.deployment import Deployment, history
from headrace.serving.rules import new_rules
from headrace.serving.split import Split, share
from headrace.storage.ledger import Fact, Ledger

GATEWAY = "gateway"
"""Who takes a canary further, or ends it."""

WAITED = "canary.waited"
"""The fact that a canary's step lasts longer than it was asked to."""


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
        UsageError: Another canary is under way, the version answers already, or the plan cannot be followed or says a
            rule that is never or always true.
        SignatureError: It cannot share the endpoint with what serves.
        GateFailed: The project requires of it what was not shown.
    """
    version = find(ledger, reference)
    steps = _steps(plan)
    new_rules(plan.abort_if, MEASURED)

    def change(standing: Deployment) -> Deployment:
        endpoint = standing.endpoint
        if standing.canary is not None:
            raise UsageError(
                f"endpoint {name} has a canary of {standing.models[standing.canary.candidate]} under way",
                fix=f"headrace serving split {name} --end, or headrace serving rollback {name}",
            )
        if standing.models[endpoint.schedule[0].model] == str(version):
            raise UsageError(f"{version} is what endpoint {name} prefers already")
        gates = requirements.met(ledger, version, "champion", standing)
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
    version = deployment.models[canary.candidate]
    if canary.last:
        return _finish(ledger, deployment, version)
    now = replace(canary, step=canary.step + 1)
    split = Split({canary.candidate: now.share}, deployment.endpoint.split.key)

    why = f"canary of {version}: {now.share * 100:g} %, step {now.step + 1} of {len(now.steps)}"
    asked = replace(deployment, endpoint=shared(deployment.endpoint, split), canary=now, who=GATEWAY, why=why)
    return instead_of(ledger, deployment, asked)


def abort(ledger: Ledger, deployment: Deployment, reason: str) -> Deployment:
    """Serve again what served before the canary of ``deployment``, if that still stands.

    Args:
        ledger: Where deployments are.
        deployment: With a canary.
        reason: The rules that held, with their numbers.
    """
    canary = deployment.canary
    assert canary is not None
    why = f"canary of {deployment.models[canary.candidate]} ended at {canary.share * 100:g} %: {reason}"
    return restore(ledger, deployment, canary.before, Said(GATEWAY, why), _alert(deployment, why))


def wait(ledger: Ledger, deployment: Deployment, reason: str) -> None:
    """Put into the timeline, once a step, why a canary does not go on although its time is over.

    Args:
        ledger: Where deployments are.
        deployment: With a canary.
        reason: The rules that cannot be asked, with the numbers that there are.
    """
    body = {"deployment": deployment.seq, "why": f"no step further yet: {reason}"}
    with contextlib.suppress(Conflict):  # another gateway has said it
        ledger.append([Fact(WAITED, deployment.endpoint.name, body, unique=str(deployment.seq))])


@dataclass(frozen=True)
class Moment:
    """One line of an endpoint's history.

    Attributes:
        at: Unix seconds.
        deployment: What was deployed then, or stood.
        who: Person, run or gateway.
        why: For people.
    """

    at: float
    deployment: Deployment
    who: str
    why: str


def timeline(ledger: Ledger, name: str) -> list[Moment]:
    """Everything that was deployed under ``name``, and what canaries waited for, oldest first.

    Raises:
        NotFound: Nothing was ever deployed there.
    """
    known = {deployment.seq: deployment for deployment in history(ledger, name)}
    if not known:
        raise unknown(ledger, name)
    changes = [(d.seq, Moment(d.at, d, d.who, d.why)) for d in known.values()]
    waits = [
        (fact.seq, Moment(fact.at, known[fact.body["deployment"]], GATEWAY, fact.body["why"]))
        for fact in ledger.query(WAITED, name)
    ]
    return [moment for _, moment in sorted(changes + waits, key=lambda pair: pair[0])]


def refuse(ledger: Ledger, deployment: Deployment, reason: str) -> Deployment:
    """End what a gateway that runs cannot serve for good: a canary, or a version that took over; its alias moves back.

    One gateway speaks for all: a candidate is to serve on every one of them.

    Args:
        ledger: Where deployments are.
        deployment: A step of a canary, or with ``instead``.
        reason: What is wrong with it.
    """
    if deployment.canary is not None:
        return abort(ledger, deployment, reason)
    preferred = deployment.models[deployment.endpoint.schedule[0].model]
    why = f"{preferred} did not take over: {reason}"
    return restore(ledger, deployment, deployment.instead, Said(GATEWAY, why), _alert(deployment, why))


def _alert(deployment: Deployment, message: str) -> Fact:
    began = datetime.fromtimestamp(deployment.at, UTC).isoformat(timespec="seconds")
    name = deployment.endpoint.name
    body = {"about": "canary", "window": began, "message": message}
    return Fact(ALERT, name, body, unique=f"canary {name} {deployment.seq}")


def _finish(ledger: Ledger, deployment: Deployment, version: str) -> Deployment:
    """The candidate takes the first place; the alias that is preferred moves to it."""
    first = deployment.endpoint.schedule[0].model
    why, found = f"canary of {version} went through", find(ledger, version)
    alias, before = alias_of(first), deployment.canary.before if deployment.canary else 0
    aliased = bool(alias) and Ref.parse(first).name == found.name
    preferred = first if aliased else version
    asked = in_front(deployment, preferred, version)
    models = {reference: asked.models[reference] for reference in asked.endpoint.models}
    asked = replace(asked, models=models, who=GATEWAY, why=why, gates=deployment.gates, instead=before)
    to = Move(alias, found.version, GATEWAY, why, deployment.gates)

    def moved(_standing: Deployment | None, _asked: Deployment) -> Sequence[Fact]:
        return moves(ledger, found.name, [to]) if aliased else ()

    return instead_of(ledger, deployment, asked, moved)


def _steps(plan: Plan) -> tuple[float, ...]:
    steps = tuple(share("the candidate", said) for said in plan.steps)
    if not steps or any(after <= before for before, after in pairwise(steps)):
        raise UsageError("the steps of a canary must grow", why=f"they are {plan.steps}", fix='--canary "5% 25% 100%"')
    if plan.every_s <= 0 or plan.least < 1:
        raise UsageError("a step of a canary lasts some time and some requests", fix="--every 10m --least 20")
    return steps
