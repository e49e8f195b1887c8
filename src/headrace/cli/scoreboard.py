"""``headrace serving ls --watch``, ``--as-of``, ``--history``: models side by side, and what was live when."""

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from headrace.cli.output import Output, aligned, fitted
from headrace.cli.shares import lines as sharing
from headrace.errors import UsageError

if TYPE_CHECKING:
    from headrace.client import Client
    from headrace.client.overview import Served
    from headrace.delivery.canary import Moment
    from headrace.journey.platform import Platform
    from headrace.serving.deployment import Deployment

_EVERY_S = 1.0
_COLUMNS = ("model", "role", "won", "late", "missed", "failed", "dropped", "p50_ms", "p99_ms", "agrees")


def look(out: Output, platform: "Platform", endpoint: str | None, asked: Mapping[str, Any]) -> None:
    """The view of ``serving ls`` that was ``asked`` for: by ``as_of``, ``history`` or ``watch``."""
    options = [f"--{name.replace('_', '-')}" for name, value in asked.items() if value not in {None, False}]
    if len(options) > 1:
        raise UsageError(f"{' and '.join(options)} are views of their own", fix="leave out all but one")
    if asked["as_of"] is not None:
        from headrace.serving.deployment import history

        deployed_then(out, history(platform.ledger(), endpoint), asked["as_of"])
        return
    if endpoint is None:
        raise UsageError(f"say of which endpoint {options[0]} is meant", fix=f"headrace serving ls NAME {options[0]}")
    if asked["watch"]:
        from headrace.journey.scoreboard import gateway_client

        watch(out, gateway_client(platform), endpoint)
        return
    from headrace.delivery.canary import timeline as timeline_of

    timeline(out, timeline_of(platform.ledger(), endpoint))


def watch(out: Output, client: "Client", endpoint: str) -> None:
    """Print an endpoint's scoreboard again and again; Ctrl-C ends it."""
    from headrace.journey.scoreboard import scoreboard

    alone = sys.stdout.isatty()
    try:
        while True:
            served = scoreboard(client, endpoint)
            if alone and not out.json:
                click.clear()
            out.result(asdict(served), [*lines(served), *([] if alone else [""])])
            sys.stdout.flush()
            time.sleep(_EVERY_S)
    except KeyboardInterrupt:
        return


def lines(served: "Served") -> Iterator[str]:
    """An endpoint's models side by side: how often each answered, was late, failed, and says what the winner says."""
    traffic = served.traffic
    yield (
        f"{served.name}: {traffic.requests:,} requests, {traffic.per_second:.1f} a second, "
        f"{traffic.defaults:,} answered by the default, {traffic.errors:,} errors"
    )
    if traffic.requests:
        level = 1 - traffic.missed / traffic.requests
        yield f"service level {level:.3%}: answered by a model, and in time; {traffic.past_deadline:,} came too late"
    yield from sharing(asdict(served.split) if served.split else None, asdict(served.canary) if served.canary else None)
    yield ""
    rows = [
        {
            "model": one.name,
            "role": one.role or None,
            "won": _share(one.answered, traffic.requests),
            "late": _share(one.late, one.scores + one.failed),
            "missed": _share(one.missed, one.scores + one.failed),
            "failed": one.failed - one.dropped,
            "dropped": one.dropped,
            "p50_ms": _ms(one.p50_s),
            "p99_ms": _ms(one.p99_s),
            "agrees": None if one.agreed is None else f"{one.agreed:.1%}",
        }
        for one in served.versions
    ]
    yield from aligned(rows, _COLUMNS)


def deployed_then(out: Output, deployments: "Sequence[Deployment]", said: str) -> None:
    """What was deployed at a moment, one row an endpoint."""
    from datetime import UTC, datetime

    from headrace.serving.moments import ago

    moment = ago(said, datetime.now(UTC)).timestamp()
    # Moments are printed in whole seconds: who gives one back means what is printed beside it.
    end = moment + 1 if moment.is_integer() else moment
    newest = {d.endpoint.name: d for d in deployments if d.at < end}
    rows = [_row(newest[name]) for name in sorted(newest)]
    columns = ["endpoint", "deployment", "since", "schedule", "split", "by", "why"]
    out.result(rows, fitted(rows, columns) if rows else ())
    if not rows:
        out.say("nothing was deployed then")


def timeline(out: Output, moments: "Sequence[Moment]") -> None:
    """Every change of an endpoint, oldest first, and what a canary waited for."""
    rows: list[dict[str, Any]] = [
        {
            "at": _moment(one.at),
            "deployment": one.deployment.seq,
            "prefers": one.deployment.models[one.deployment.endpoint.schedule[0].model],
            "split": _split(one.deployment),
            "by": one.who,
            "gates": list(one.deployment.gates),
            "why": one.why,
        }
        for one in moments
    ]
    out.result(rows, fitted([{**row, "gates": ", ".join(row["gates"])} for row in rows], list(rows[0])))


def _moment(at: float) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _split(deployment: "Deployment") -> str:
    split = deployment.endpoint.split
    shares = [f"{deployment.models[model]} {part * 100:g}%" for model, part in split.shares.items()]
    return ", ".join(shares) + (f" by {split.key}" if split.key else "")


def _row(deployment: "Deployment") -> dict[str, Any]:
    endpoint, models = deployment.endpoint, deployment.models
    return {
        "endpoint": endpoint.name,
        "deployment": deployment.seq,
        "since": _moment(deployment.at),
        "schedule": ", ".join(f"{models[p.model]} {p.wait_s * 1000:g} ms" for p in endpoint.schedule),
        "split": _split(deployment),
        "by": deployment.who,
        "why": deployment.why,
    }


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "-"


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1000
