"""The record of one run: its facts on the ledger, its reports, and the listeners that hear of it."""

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from headrace.pipelines import cache
from headrace.pipelines.execution import Call, Outcome
from headrace.pipelines.ports import WORKER_DIED, RunListener
from headrace.pipelines.references import Reference, StepResult
from headrace.pipelines.report import StepReport
from headrace.pipelines.schedule import GOOD
from headrace.pipelines.workspace import Workspace
from headrace.placement.processes import own_life
from headrace.storage.ledger import Fact, latest

BEGAN = "step.began"
_HISTORY = 500
_LONGEST_VALUES = 8000
_MADE = frozenset({"done", "failed", "refused"})


class Record:
    """What happened in a run.

    Facts about cached and skipped steps wait for the next flush; whatever cost work is durable when it ends.

    Args:
        run: Run id.
        pipeline: Its name.
        workspace: Where the ledger is.
        listeners: Told what happens.
    """

    def __init__(self, run: str, pipeline: str, workspace: Workspace, listeners: Sequence[RunListener]) -> None:
        self.run, self.pipeline = run, pipeline
        self.reports: dict[str, StepReport] = {}
        self._workspace, self._listeners = workspace, listeners
        self._facts: list[Fact] = []
        self._began = time.perf_counter()
        self._ended_before: dict[str, list[Fact]] | None = None
        self._began_before: dict[str, Fact] | None = None

    @property
    def seconds(self) -> float:
        """Wall time so far."""
        return time.perf_counter() - self._began

    @property
    def state(self) -> str:
        """How the run stands: a raised error outweighs a gate's no."""
        states = {report.state for report in self.reports.values()}
        return next((s for s in ("failed", "refused") if s in states), "succeeded")

    def started(self, steps: int, params: Mapping[str, Any]) -> None:
        """The run begins, with so many steps."""
        body = {"pipeline": self.pipeline, "process": own_life(), "params": dict(params), "steps": steps}
        self._facts.append(Fact("run.started", self.run, body))
        self._tell("run.started", {"pipeline": self.pipeline, "steps": steps})

    def launched(self, call: Call, *, here: bool) -> None:
        """A call begins; before this process makes it (``here``), that is on record, for it may take us down."""
        if here:
            self._facts.append(Fact(BEGAN, self.run, {"name": call.context.name, "key": call.context.key}))
        self.flush()
        self._tell("step.started", {"name": call.context.name, "key": call.context.key})

    def cached(self, name: str, kind: str, known: StepResult) -> None:
        """A call need not be made."""
        if kind == "gate":
            self._judged("gate.passed", name, known.key, _returned(known.reference))
        self.report(StepReport(name, kind, "cached", known.key, known.seconds, reference=known.reference))

    def ended(
        self, call: Call, parts: Mapping[str, Any], outcome: Outcome, *, effect: bool = False
    ) -> StepResult | None:
        """A call that was made has ended: its result, its gate's verdict and its report become durable together."""
        context, result = call.context, None
        if outcome.reference is not None:
            result = StepResult(
                context.key, context.name, outcome.reference, outcome.seconds, self.run, parts, outcome.opened
            )
            self._facts.append(cache.finished(result))
            if effect:
                self._facts.append(cache.took_effect(context.key, context.name, self.pipeline))
        if call.kind == "gate" and outcome.reference is not None:
            self._judged("gate.passed", context.name, context.key, _returned(outcome.reference))
        elif call.kind == "gate" and outcome.state == "refused":
            self._judged("gate.failed", context.name, context.key, outcome.values, why=outcome.error)
        self.report(
            StepReport(
                context.name,
                call.kind,
                outcome.state,
                context.key,
                outcome.seconds,
                error=outcome.error,
                code=outcome.code,
                reference=outcome.reference,
            )
        )
        self.flush()
        return result

    def report(self, step: StepReport) -> None:
        """Keep a step's report and tell the listeners."""
        self.reports[step.name] = step
        self._facts.append(Fact("run.step", self.run, step.to_json()))
        about = step.reference.about if step.reference else {}
        self._tell("step.finished" if step.state in GOOD else "step.failed", {**step.to_json(), "about": about})

    def finished(self, state: str) -> None:
        """The run is over."""
        states = [report.state for report in self.reports.values()]
        body = {"pipeline": self.pipeline, "state": state, "seconds": round(self.seconds, 6)}
        self._facts.append(
            Fact("run.finished", self.run, {**body, "counts": {s: states.count(s) for s in set(states)}})
        )
        self.flush()
        self._tell("run.finished", body)

    def flush(self) -> None:
        """Make all facts so far durable."""
        if self._facts:
            self._workspace.ledger().append(self._facts)
            self._facts = []

    def past_seconds(self, name: str) -> float | None:
        """How long a step of this name took when it last ran, from the ledger; None when it never did."""
        return next((f.body["seconds"] for f in self._past(name) if f.body["state"] == "done"), None)

    def is_deadly(self, name: str) -> bool:
        """Whether the last call of this name took its process down: it began and never ended, or its worker died."""
        if self._began_before is None:
            began = self._workspace.ledger().query(BEGAN, newest=_HISTORY)
            self._began_before = {f.body["name"]: f for f in began if f.subject != self.run}
        ended = self._past(name)
        began_last = self._began_before.get(name)
        if began_last is None or (ended and ended[0].seq > began_last.seq):
            return bool(ended) and str(ended[0].body.get("error", "")).startswith(WORKER_DIED)
        return latest(self._workspace.ledger(), "run.finished", began_last.subject) is None

    def _past(self, name: str) -> Sequence[Fact]:
        """The newest ends of calls of a step, newest first, as the ledger had them when first asked."""
        if self._ended_before is None:
            self._ended_before = {}
            for fact in reversed(self._workspace.ledger().query("run.step", newest=_HISTORY)):
                if fact.body["state"] in _MADE:
                    self._ended_before.setdefault(fact.body["name"], []).append(fact)
        return self._ended_before.get(name, ())

    def _judged(self, kind: str, name: str, key: str, values: Mapping[str, Any], why: str = "") -> None:
        shown = dict(values) if len(json.dumps(values)) <= _LONGEST_VALUES else {}
        self._facts.append(
            Fact(kind, self.run, {"gate": name, "key": key, "values": shown, "why": why[:_LONGEST_VALUES]})
        )

    def _tell(self, event: str, facts: Mapping[str, Any]) -> None:
        for listener in self._listeners:
            listener.on(event, {"run": self.run, **facts})


def _returned(reference: Reference) -> Mapping[str, Any]:
    """The values that a passed gate returned for the record, if any."""
    return reference.tree if isinstance(reference.tree, dict) else {}
