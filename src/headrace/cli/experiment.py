"""``headrace serving ab``: what the experiment that a split runs says so far."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from headrace.cli.output import Output, aligned, options
from headrace.cli.project import platform as open_project

if TYPE_CHECKING:
    from headrace.delivery.experiment import Experiment, Side


@click.command("ab")
@click.argument("endpoint")
@click.option(
    "--outcome",
    type=click.Choice(["error", "accuracy", "label"]),
    default="error",
    show_default=True,
    help="What is compared: the answer's squared error, whether it is right, or the label itself.",
)
@click.option("--smaller-is-better/--larger-is-better", default=None, help="[default: smaller for error, else larger]")
@click.option("--alpha", type=float, default=0.05, show_default=True, help="Chance of a false alarm, ever.")
@click.option("--lift", type=float, default=0.0, help="Say how many outcomes this difference needs.")
@click.option("--since", default="", help="From when: 2h, 7d, or an instant.  [default: as long as these shares stand]")
@options
def ab(out: Output, endpoint: str, since: str, **asked: Any) -> None:
    """Compare the models of a split by the labels that came in: lift, interval, and whether to stop.

    The interval holds however often it is looked at.
    """
    from datetime import UTC, datetime

    from headrace.delivery.experiment import Asked
    from headrace.journey.experiment import judge_experiment
    from headrace.serving.moments import ago

    since_s = ago(since, datetime.now(UTC)).timestamp() if since else 0.0
    with out.progress("requests read", about=True) as progress:
        found = judge_experiment(open_project(), endpoint, Asked(**asked), since_s, progress)
    out.result(found.to_json(), lines(found))


def lines(found: "Experiment") -> Iterator[str]:
    """What an experiment says so far, for people."""
    from datetime import UTC, datetime

    since = datetime.fromtimestamp(found.since, UTC).isoformat(" ", "seconds").removesuffix("+00:00")
    yield f"{found.endpoint}: {len(found.sides)} models since {since}Z, drawn by {found.key or 'request'}"
    if found.anew:
        yield "the shares changed then: requests from before were drawn otherwise and are left out"
    unit, mean = "keys" if found.key else "outcomes", f"mean {found.outcome}"
    rows = [
        {
            "model": s.model,
            "requests": s.requests,
            "labelled": s.labelled,
            unit: s.units,
            mean: s.mean,
        }
        for s in found.sides
    ]
    yield from aligned(rows, list(rows[0]))
    yield ""
    if found.skewed:
        total = sum(side.units for side in found.sides)
        due = ", ".join(f"{side.share * total:,.0f} of {side.model}" for side in found.sides)
        yield f"do not trust what follows: {due} are due by the shares"
        yield f"  {unit} of one model are missing, and the rest is not like the other's: look where labels get lost"
    for side in found.sides:
        if side.verdict is not None:
            yield _verdict(found, side, unit)
            if found.lift:
                yield f"  {_needed(found, side, unit)}"


def _needed(found: "Experiment", side: "Side", unit: str) -> str:
    """How much so small a lift takes, or what is missing before that can be said."""
    from headrace.delivery.sequential import BURN_IN

    if side.needed is not None:
        return f"so small a lift is found with {side.needed:,} {unit} a model, 4 times out of 5"
    missing = BURN_IN - found.sides[0].units
    if missing > 0:
        return (
            f"how many {unit} so small a lift takes is said once {found.control} has {BURN_IN}: {missing} are missing"
        )
    return f"how many {unit} so small a lift takes cannot be said: those of {found.control} are all alike"


def _verdict(found: "Experiment", side: "Side", unit: str) -> str:
    from headrace.delivery.sequential import BURN_IN

    verdict = side.verdict
    assert verdict is not None
    if not math.isfinite(verdict.low):
        return f"{side.model} against {found.control}: too early to say, {BURN_IN} {unit} of each are due"
    said = {
        "better": f"better - headrace serving promote {found.endpoint} {side.model}",
        "worse": f"worse - headrace serving split {found.endpoint} --end",
        "open": "open - go on",
    }[verdict.says]
    return (
        f"{side.model} against {found.control}: {verdict.lift:+.4g} ({verdict.low:+.4g} to {verdict.high:+.4g}): {said}"
    )
