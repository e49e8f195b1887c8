"""Past runs, read from the ledger."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headrace.errors import NotFound, UsageError
from headrace.pipelines import cache
from headrace.pipelines.record import BEGAN
from headrace.pipelines.workspace import Workspace
from headrace.placement.processes import ended as ended_process
from headrace.storage.ledger import Fact, Ledger, latest

_CANDIDATES = 5
"""How many runs an ambiguous id is said to match."""


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
        died_in: The step that a run that died was making in its own process; empty otherwise.
    """

    run: str
    pipeline: str
    state: str
    at: float
    seconds: float | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    died_in: str = ""

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
            "died_in": self.died_in,
        }


def past_runs(ledger: Ledger, newest: int) -> list[PastRun]:
    """The last so many runs, newest last."""
    return [_past(ledger, fact) for fact in ledger.query("run.started", newest=newest)]


def past_run(ledger: Ledger, run: str) -> PastRun:
    """The run whose id is ``run``, or begins or ends with it, or the newest for ``last``.

    Raises:
        NotFound: There is none.
        UsageError: There are several.
    """
    started = ledger.query("run.started")
    if run == "last" and started:
        return _past(ledger, started[-1])
    found = [fact for fact in started if fact.subject.startswith(run) or fact.subject.endswith(run)]
    if not found:
        raise NotFound(f"no run {run!r}", fix="headrace runs ls")
    if len(found) > 1:
        which = ", ".join(f"{fact.subject} ({fact.body['pipeline']})" for fact in found[-_CANDIDATES:])
        raise UsageError(f"{len(found)} runs match {run!r}", why=f"the newest are {which}", fix="give more of the id")
    return _past(ledger, found[0])


def steps_of(ledger: Ledger, run: str) -> list[Mapping[str, Any]]:
    """What the ledger says about each step of a run, in the order they ended; ``died`` is what ended with the run."""
    ended = [fact.body for fact in ledger.query("run.step", run)]
    started, finished = latest(ledger, "run.started", run), latest(ledger, "run.finished", run)
    if started is None or finished is not None:
        return ended
    state = "died" if _gone(started.body) else "running"
    names = {step["name"] for step in ended}
    begun = [fact for fact in ledger.query(BEGAN, run) if fact.body["name"] not in names]
    unended = {"kind": "step", "state": state, "seconds": None}
    return [*ended, *({**fact.body, **unended} for fact in begun)]


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


def _gone(started: Mapping[str, Any]) -> bool:
    """Whether the process of a run that has no end is gone; of one on another host nobody knows."""
    return "process" not in started or ended_process(started["process"])  # of a release that kept only its number


def _past(ledger: Ledger, started: Fact) -> PastRun:
    body = started.body
    common: dict[str, Any] = {"run": started.subject, "pipeline": body["pipeline"], "params": body["params"]}
    finished = latest(ledger, "run.finished", started.subject)
    if finished is not None:
        end = finished.body
        return PastRun(state=end["state"], at=started.at, seconds=end["seconds"], counts=end["counts"], **common)
    steps = steps_of(ledger, started.subject)
    states = [step["state"] for step in steps]
    died = [step["name"] for step in steps if step["state"] == "died"]
    return PastRun(
        state="died" if _gone(body) else "running",
        at=started.at,
        counts={state: states.count(state) for state in sorted(set(states))},
        died_in=died[-1] if died else "",
        **common,
    )
