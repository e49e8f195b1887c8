"""``headrace monitor``: drift, calibration and alerts of what is served."""

import difflib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from headrace.cli.group import Group
from headrace.cli.output import Output, aligned, options
from headrace.cli.project import platform as open_project
from headrace.errors import NotFound, UsageError

if TYPE_CHECKING:
    from headrace.journey.platform import Platform
    from headrace.monitoring.observation import Observation

_WINDOWS = 12
"""As many windows fit beside each other; ``--json`` has all."""


@click.group(cls=Group)
def command() -> None:
    """Drift, calibration and alerts of an endpoint."""


@command.command()
@click.argument("endpoint", required=False)
@click.option("--every", default="month", show_default=True, help="Length of a window: month, day or hour.")
@click.option("--as-of", help="Use only labels known by then, in event time (2024-07-01).")
@click.option("--min-rows", type=int, help="Rows below which a window raises no alarm.  [default: 200]")
@options
def show(out: Output, endpoint: str | None, **limits: Any) -> None:
    """What ENDPOINT was asked and answered, window by window."""
    seen = _observe(endpoint, **limits)
    rows = [_summary(seen, window) for window in seen.rows]
    columns = ["window", "rows", "drifted", "labelled", "predicted", "actual", "calibration"]
    lines = aligned(rows, [*columns, *(["reference"] if seen.reference else [])])
    out.result(seen.to_json(), [f"{seen.endpoint}, inputs against the training data of {seen.model}", "", *lines])
    _say(out, seen)


@command.command()
@click.argument("endpoint", required=False)
@click.option("--every", default="month", show_default=True, help="Length of a window: month, day or hour.")
@click.option("--min-rows", type=int, help="Rows below which a window raises no alarm.  [default: 200]")
@options
def drift(out: Output, endpoint: str | None, **limits: Any) -> None:
    """PSI of every input column of ENDPOINT against the training data; * marks an alarm."""
    seen = _observe(endpoint, **limits)
    body = seen.to_json()
    windows = list(seen.drift)[-_WINDOWS:]
    columns = dict.fromkeys(column for window in windows for column in seen.drift[window])
    rows: list[dict[str, Any]] = [
        {"column": column, **{w: _psi(seen, w, column) for w in windows}} for column in columns
    ]
    head = f"{seen.endpoint}, PSI against the training data of {seen.model} (* alarm)"
    lines = [head, "", *aligned(rows, ["column", *windows])]
    out.result({key: body[key] for key in ("endpoint", "model", "every", "rows", "drift")}, lines)
    _say(out, seen)


@command.command()
@click.argument("endpoint")
@click.argument("file", type=click.Path(path_type=Path))
@options
def label(out: Output, endpoint: str, file: Path) -> None:
    """Tell what really happened: FILE (CSV or JSON lines) has id, label and, where wanted, known_at and row."""
    from headrace.monitoring.labels import add, read_file
    from headrace.serving.log import topic

    platform = open_project()
    named, stream = _endpoint(platform, endpoint), platform.stream()
    found = list(read_file(file))
    unmatched = sum(not stream.find(topic(named), one.id) for one in found)
    kept = add(stream, named, found)
    out.result({"endpoint": named, "labels": kept, "unmatched": unmatched}, [f"kept {kept} labels of {named}"])
    if unmatched:
        out.say(f"{unmatched} of them name no logged request of {named}: is the id the one that the reply returned?")


@command.command()
@click.argument("subject", required=False)
@options
def alerts(out: Output, subject: str | None) -> None:
    """What needed a look, of one endpoint or dataset or of all, oldest first."""
    from headrace.monitoring.alerts import alerts as raised

    found = [{"subject": fact.subject, "at": fact.at, **fact.body} for fact in raised(open_project().ledger(), subject)]
    out.table(found, ["subject", "window", "about", "message"])
    if not found:
        out.say("no alerts")


def _observe(
    endpoint: str | None, *, every: str, as_of: str | None = None, min_rows: int | None = None
) -> "Observation":
    from headrace.monitoring.observe import observe
    from headrace.monitoring.windows import MIN_ROWS, checked_every

    platform = open_project()
    named, length = _endpoint(platform, endpoint), checked_every(every)
    least = MIN_ROWS if min_rows is None else min_rows
    return observe(platform.stores(), platform.stream(), named, every=length, as_of=as_of, min_rows=least)


def _endpoint(platform: "Platform", named: str | None) -> str:
    """The endpoint that was named, or the only one there is."""
    from headrace.serving.deployment import KIND
    from headrace.serving.provenance import watched

    deployed = sorted({fact.subject for fact in platform.ledger().query(KIND)} | watched(platform.ledger()))
    if named in deployed:
        return str(named)
    if named is None and len(deployed) == 1:
        return deployed[0]
    if named is None and deployed:
        raise UsageError("which endpoint?", why=f"there are {', '.join(deployed)}", fix="name one")
    near = difflib.get_close_matches(named or "", deployed, 1)
    there = f"there are {', '.join(deployed)}" if deployed else "nothing is deployed yet"
    raise NotFound(
        f"no endpoint {named!r}" if named else "no endpoint",
        why=f"did you mean {near[0]!r}?" if near else there,
        fix="headrace serving ls" if deployed else "headrace serving deploy NAME",
    )


def _summary(seen: "Observation", window: str) -> dict[str, Any]:
    drifted = [column for column, distance in seen.drift[window].items() if distance.alarm]
    moved = ", ".join(drifted) or ("too few rows" if seen.rows[window] < seen.min_rows else None)
    row: dict[str, Any] = {"window": window, "rows": seen.rows[window], "drifted": moved}
    if window in seen.shift:
        row["reference"] = f"PSI {seen.shift[window].psi:.3f}{' ALARM' if seen.shift[window].alarm else ''}"
    calibration = seen.calibration.get(window)
    if calibration is None or not calibration.rows:
        return row
    verdict = "ALARM" if calibration.alarm else "ok" if calibration.rows >= seen.min_rows else "too few rows"
    means = {"predicted": calibration.predicted, "actual": calibration.actual}
    return {**row, "labelled": calibration.rows, **means, "calibration": verdict}


def _psi(seen: "Observation", window: str, column: str) -> str | None:
    distance = seen.drift[window].get(column)
    return None if distance is None else f"{distance.psi:.3f}{'*' if distance.alarm else ' '}"


def _say(out: Output, seen: "Observation") -> None:
    if not seen.rows:
        out.say(f"{seen.endpoint} was not asked anything yet - headrace serving predict {seen.endpoint} asks it")
    for alert in seen.alerts:
        out.say(f"alert: {alert.body['message']}")
