"""``headrace serving ls --watch`` and ``--as-of``: models side by side while they are asked, and what was live when."""

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from headrace.cli.output import Output, aligned

if TYPE_CHECKING:
    from headrace.client import Client
    from headrace.client.overview import Served
    from headrace.serving.deployment import Deployment

_EVERY_S = 1.0
_COLUMNS = ("model", "won", "late", "failed", "dropped", "p50_ms", "p99_ms", "agrees")


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
    yield ""
    rows = [
        {
            "model": one.name,
            "won": _share(one.answered, traffic.requests),
            "late": _share(one.late, one.scores + one.failed),
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
    newest = {d.endpoint.name: d for d in deployments if d.at <= moment}
    rows = [_row(newest[name]) for name in sorted(newest)]
    columns = ["endpoint", "deployment", "since", "schedule", "split", "by", "why"]
    out.result(rows, aligned(rows, columns) if rows else ())
    if not rows:
        out.say("nothing was deployed then")


def _row(deployment: "Deployment") -> dict[str, Any]:
    from datetime import UTC, datetime

    endpoint, models = deployment.endpoint, deployment.models
    since = datetime.fromtimestamp(deployment.at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    shares = [f"{models[model]} {part * 100:g}%" for model, part in endpoint.split.shares.items()]
    return {
        "endpoint": endpoint.name,
        "deployment": deployment.seq,
        "since": since,
        "schedule": ", ".join(f"{models[p.model]} {p.wait_s * 1000:g} ms" for p in endpoint.schedule),
        "split": ", ".join(shares) + (f" by {endpoint.split.key}" if endpoint.split.key else ""),
        "by": deployment.who,
        "why": deployment.why,
    }


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "-"


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1000
