"""``headrace runs``: what ran, how each step went, and what it printed."""

import datetime as dt
from typing import TYPE_CHECKING, Any

import click

from headrace.cli.group import Group
from headrace.cli.output import Output, aligned, options
from headrace.cli.progress import KEY_SHOWN
from headrace.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Mapping

    from headrace.pipelines.history import PastRun
    from headrace.pipelines.workspace import Workspace


@click.group(cls=Group)
def command() -> None:
    """List runs, show one, read its logs."""


@command.command("ls")
@click.option("-n", "newest", default=20, show_default=True, help="How many, newest last.")
@options
def list_(out: Output, newest: int) -> None:
    """The last runs, newest last."""
    from headrace.pipelines.history import past_runs

    runs = past_runs(_workspace().ledger(), newest)
    out.result([run.to_json() for run in runs], aligned([_row(run) for run in runs], list(_COLUMNS)))
    if not runs:
        out.say("no run yet: headrace run PIPELINE")


@command.command()
@click.argument("run", default="last")
@options
def show(out: Output, run: str) -> None:
    """One run and its steps. RUN is an id, the beginning or end of one, or 'last'."""
    from headrace.pipelines.history import past_run, steps_of

    ledger = _workspace().ledger()
    found = past_run(ledger, run)
    steps = steps_of(ledger, found.run)
    rows = [{**s, "key": s["key"][:KEY_SHOWN], "seconds": _took(s), "note": _note(s)} for s in steps]
    lines = [f"{name}: {value}" for name, value in _row(found).items()]
    out.result(
        {**found.to_json(), "steps": steps},
        [*lines, "", *aligned(rows, ["name", "kind", "state", "seconds", "key", "note"])],
    )
    if found.state == "died":
        out.say(_what_now(found))


@command.command()
@click.argument("run", default="last")
@click.argument("step", required=False)
@options
def logs(out: Output, run: str, step: str | None) -> None:
    """What the steps of a run printed and logged, or one STEP; of a cached step, when it was made."""
    from headrace.pipelines.history import log_of, past_run, steps_of

    workspace = _workspace()
    found = past_run(workspace.ledger(), run)
    steps = [s for s in steps_of(workspace.ledger(), found.run) if step in {None, s["name"]}]
    if step is not None and not steps:
        raise NotFound(f"run {found.run} has no step {step!r}", fix=f"headrace runs show {found.run}")
    texts = {}
    for entry in steps:
        if entry["state"] != "skipped":
            texts[entry["name"]] = log_of(workspace, found.run, entry).read_text("utf-8", errors="replace")
    lines = _titled(texts) if step is None else [text.rstrip("\n") for text in texts.values() if text]
    out.result(texts, lines, own=True)
    if not any(texts.values()):
        out.say(f"nothing was printed by {step or 'any step'} of run {found.run}")


_COLUMNS = ("run", "pipeline", "state", "started", "seconds", "steps")


def _row(run: "PastRun") -> dict[str, object]:
    started = dt.datetime.fromtimestamp(run.at, tz=dt.UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    steps = ", ".join(f"{count} {state}" for state, count in run.counts.items())
    state = f"died in {run.died_in}" if run.died_in else run.state
    values = (run.run, run.pipeline, state, started, run.seconds, steps)
    return dict(zip(_COLUMNS, values, strict=True))


def _took(step: "Mapping[str, Any]") -> float | None:
    """Seconds that a step took in this run: none for what was taken from the cache."""
    return None if step["state"] == "cached" else step["seconds"]


def _note(step: "Mapping[str, Any]") -> str:
    if step["state"] == "cached":
        return f"saved {step['seconds']:.2f} s"
    return str(step.get("error", "")).partition("\n")[0]


def _what_now(run: "PastRun") -> str:
    """Of a run that ended without a word: what it was doing, and what to type."""
    if not run.died_in:
        return f"its process is gone - fix: headrace run {run.pipeline}"
    return (
        f"its process was gone while it made {run.died_in!r}; the next run makes that in a process of its own - "
        f"fix: headrace runs logs {run.run} {run.died_in}, then headrace run {run.pipeline}"
    )


def _titled(texts: dict[str, str]) -> list[str]:
    return [line for name, text in texts.items() if text for line in (f"== {name}", text.rstrip("\n"))]


def _workspace() -> "Workspace":
    from headrace.assembly import open_platform
    from headrace.sdk import ambient

    return ambient.workspace(open_platform())
