"""``headrace serving split``, ``promote`` and ``rollback``: which loaded model answers."""

from typing import TYPE_CHECKING, Any

import click

from headrace.cli.output import Output, options
from headrace.cli.project import platform as open_project
from headrace.errors import NotFound, UsageError

if TYPE_CHECKING:
    from headrace.journey.platform import Platform
    from headrace.serving.deployment import Deployment


@click.command()
@click.argument("endpoint")
@click.argument("shares", nargs=-1, metavar="[MODEL=SHARE]...")
@click.option("--key", default="", help="What keeps a caller with the same model: an input column, or a header.")
@click.option("--end", is_flag=True, help="Split no more.")
@click.option("--why", default="", help="For people who read the ledger.")
@options
def split(out: Output, endpoint: str, shares: tuple[str, ...], *, key: str, end: bool, why: str) -> None:
    """Have shares of the requests prefer other loaded models: late@challenger=5%. The rest goes by the schedule."""
    from headrace.delivery.traffic import Said
    from headrace.journey.steering import split as split_endpoint

    if end == bool(shares):
        raise UsageError(
            "say which model gets which share, or --end", fix=f"headrace serving split {endpoint} MODEL=5%"
        )
    pairs = [text.rpartition("=") for text in shares]
    wrong = next((text for text, pair in zip(shares, pairs, strict=True) if not pair[1]), "")
    if wrong:
        raise UsageError(f"{wrong!r} is no share", fix=f"{wrong}=5%")
    twice = next((model for at, (model, _, _) in enumerate(pairs) if any(model == p[0] for p in pairs[:at])), "")
    if twice:
        raise UsageError(f"{twice} is given two shares", fix=f"headrace serving split {endpoint} {twice}=5%")
    parts = {model: part for model, _, part in pairs}
    platform = open_project()
    before = _standing(platform, endpoint)
    _say_schedule(out, before, split_endpoint(platform, endpoint, parts, key, Said(why=why)))


@click.command()
@click.argument("endpoint")
@click.argument("model")
@click.option("--why", default="", help="For people who read the ledger.")
@options
def promote(out: Output, endpoint: str, model: str, why: str) -> None:
    """Let a loaded MODEL take the place of the one that ENDPOINT prefers; its alias moves too, and a split ends."""
    from headrace.delivery.traffic import Said
    from headrace.journey.steering import promote as promote_on

    platform = open_project()
    before = _standing(platform, endpoint)
    _say_schedule(out, before, promote_on(platform, endpoint, model, Said(why=why)))


@click.command()
@click.argument("endpoint")
@click.option("--to", type=int, default=0, help="A deployment by its number.  [default: the one before]")
@click.option("--why", default="", help="For people who read the ledger.")
@options
def rollback(out: Output, endpoint: str, to: int, why: str) -> None:
    """Serve what ENDPOINT served before, with the very versions; aliases that had moved on move back."""
    from headrace.delivery.traffic import Said
    from headrace.journey.steering import rollback as rolled_back

    platform = open_project()
    before = _standing(platform, endpoint)
    _say_schedule(out, before, rolled_back(platform, endpoint, to, Said(why=why)))


def check_given(*, canary: bool) -> None:
    """Raise ``UsageError`` for an option of ``serving deploy`` that would be passed over in silence."""
    of_a_canary = {"every": "--every", "abort_if": "--abort-if", "least": "--least", "key": "--key", "on": "--endpoint"}
    of_an_endpoint = {"replace_signature": "--replace-signature", "force": "--force"}
    context = click.get_current_context()
    for name, option in (of_an_endpoint if canary else of_a_canary).items():
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            why = "a canary ends and replaces nothing of itself" if canary else "only a canary has one"
            fix = f"leave it out{'' if canary else ', or say --canary with shares'}"
            raise UsageError(f"{option} does not go with this", why=why, fix=fix)


def begin_canary(
    out: Output, platform: "Platform", model: str, endpoint: str, steps: str | None, *, why: str, **plan: Any
) -> None:
    """Start a canary of ``model``, and say how it goes on."""
    from headrace.delivery.canary import Plan
    from headrace.delivery.traffic import Said
    from headrace.journey.steering import begin_canary as begin
    from headrace.serving.moments import span_s

    if not steps:
        fix = f'headrace serving deploy {model} --canary "5% 25% 100%", or headrace serving deploy {endpoint}'
        raise UsageError(f"{model} is a model, not an endpoint", fix=fix)
    before = _standing(platform, endpoint)
    if before is None and endpoint == model.partition("@")[0]:
        raise NotFound(
            f"no endpoint named {endpoint!r}",
            why="a canary goes to the endpoint that is named as its model, unless another is said",
            fix="--endpoint NAME; headrace serving ls lists them",
        )
    every_s = span_s(plan["every"])
    asked = Plan(tuple(steps.split()), every_s, plan["abort_if"], plan["least"], plan["key"])
    _say_schedule(out, before, begin(platform, endpoint, model, asked, Said(why=why)))
    out.say(f"gateways go on every {plan['every']}: {steps}; headrace serving rollback {endpoint} ends it")


def _standing(platform: "Platform", endpoint: str) -> "Deployment | None":
    from headrace.serving.deployment import current

    return current(platform.ledger(), endpoint)


def _say_schedule(out: Output, before: "Deployment | None", deployed: "Deployment") -> None:
    """What an endpoint serves from now on, and what that ended without having been asked to."""
    endpoint, models = deployed.endpoint, deployed.models
    told = {
        "endpoint": endpoint.name,
        "deployment": deployed.seq,
        "restores": deployed.restores or None,
        "models": dict(models),
        "schedule": [models[p.model] for p in endpoint.schedule],
        "split": {models[model]: part for model, part in endpoint.split.shares.items()},
        "key": endpoint.split.key,
        "canary": deployed.canary.to_json() if deployed.canary else None,
    }
    line = f"{endpoint.name} prefers {models[endpoint.schedule[0].model]}"
    for model, part in endpoint.split.shares.items():
        line += f", {models[model]} for {part * 100:g} %"
    by = f" by {endpoint.split.key}" if endpoint.split.key else ""
    out.result(told, [f"{line}{by} (deployment {deployed.seq})"])
    if before is None or before.seq == deployed.seq:
        return
    if before.canary is not None and deployed.canary is None:
        out.say(f"the canary of {before.models[before.canary.candidate]} ended")
    elif before.endpoint.split and deployed.canary is not None:
        out.say(f"the split of before ended; headrace serving rollback {endpoint.name} brings it back")
