"""Past runs, read from the ledger."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headrace.errors import NotFound
from headrace.pipelines import cache
from headrace.pipelines.workspace import Workspace
from headrace.storage.ledger import Fact, Ledger, latest


@dataclass(frozen=True)
class PastRun:
    """One run.

    Attributes:
        run: Run id.
        pipeline: Its name.
        state: ``succeeded``, ``failed``, ``refused``, ``stopped``; ``running``; ``died`` when it ended without a word.
        at: When it started, Unix seconds.
        seconds: Wall time; None while it runs and when it died.
        counts: State of step to number of steps.
        params: The pipeline's parameters.
    """

    run: str
    pipeline: str
    state: str
    at: float
    seconds: float | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "run": self.run,
            "pipeline": self.pipeline,
            "state": self.state,
            "at": self.at,
            "seconds": self.seconds,
            "counts": dict(self.counts),
            "params": dict(self.params),
        }


def past_runs(ledger: Ledger, newest: int) -> list[PastRun]:
    """The last so many runs, newest last."""
    return [_past(ledger, fact) for fact in ledger.query("run.started", newest=newest)]


def past_run(ledger: Ledger, run: str) -> PastRun:
    """The run whose id is ``run``, or begins or ends with it, or the newest for ``last``.

    Raises:
        NotFound: There is none, or there are several.
    """
    started = ledger.query("run.started")
    if run == "last" and started:
        return _past(ledger, started[-1])
    found = [fact for fact in started if fact.subject.startswith(run) or fact.subject.endswith(run)]
    if len(found) != 1:
        what = f"no run {run!r}" if not found else f"{len(found)} runs match {run!r}"
        raise NotFound(what, fix="headrace runs ls")
    return _past(ledger, found[0])


def steps_of(ledger: Ledger, run: str) -> list[Mapping[str, Any]]:
    """What the ledger says about each step of a run, in the order they ended."""
    return [fact.body for fact in ledger.query("run.step", run)]


def log_of(workspace: Workspace, run: str, step: Mapping[str, Any]) -> Path:
    """Where a step's log lies: of a cached step, in the run that made it.

    Raises:
        NotFound: The log is gone.
    """
    made_in = run
    if step["state"] == "cached":
        facts = workspace.ledger().query(cache.FINISHED, step["key"], newest=1)
        made_in = facts[0].body["run"] if facts else run
        name = facts[0].body["name"] if facts else step["name"]
    else:
        name = step["name"]
    path = workspace.log(made_in, name)
    if not path.is_file():
        raise NotFound(f"no log of step {step['name']!r}", where=str(path))
    return path


def _past(ledger: Ledger, started: Fact) -> PastRun:
    body = started.body
    finished = latest(ledger, "run.finished", started.subject)
    if finished is None:
        state, seconds, counts = ("running" if _alive(body["pid"]) else "died"), None, _counts(ledger, started.subject)
    else:
        state, seconds, counts = finished.body["state"], finished.body["seconds"], finished.body["counts"]
    return PastRun(started.subject, body["pipeline"], state, started.at, seconds, counts=counts, params=body["params"])


def _counts(ledger: Ledger, run: str) -> dict[str, int]:
    states: Sequence[str] = [step["state"] for step in steps_of(ledger, run)]
    return {state: states.count(state) for state in sorted(set(states))}


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
