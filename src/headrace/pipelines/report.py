"""What a run did: nouns for the command line, tests and the mirror."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from headrace.pipelines.references import Reference
from headrace.pipelines.schedule import State


@dataclass(frozen=True)
class StepReport:
    """One step of a run.

    Attributes:
        name: In the run.
        kind: ``step`` or ``gate``.
        state: How it ended.
        key: Content key; empty when it never became known.
        seconds: Of this run when done, of the run that made it when cached.
        error: What it raised, or what stopped it.
        code: The error's stable code.
        reference: Its value, when done or cached.
    """

    name: str
    kind: str
    state: State
    key: str = ""
    seconds: float = 0.0
    error: str = ""
    code: str = ""
    reference: Reference | None = None

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values, for facts and ``--json``."""
        row: dict[str, Any] = {"name": self.name, "kind": self.kind, "state": self.state, "key": self.key}
        row |= {"seconds": round(self.seconds, 6)}
        row |= {"error": self.error, "code": self.code} if self.error else {}
        return row | ({"digest": self.reference.digest} if self.reference else {})


@dataclass(frozen=True)
class RunReport:
    """A finished run.

    Attributes:
        run: Run id.
        pipeline: Its name.
        state: ``succeeded``; ``failed`` when a step raised; ``refused`` when only gates or checks said no.
        seconds: Wall time.
        steps: In the order they were written, children after their parent.
        result: What the pipeline returned, when that was computed.
    """

    run: str
    pipeline: str
    state: str
    seconds: float
    steps: Sequence[StepReport]
    result: Reference | None = None

    @property
    def exit_code(self) -> int:
        """0 succeeded, 1 failed, 3 refused."""
        return {"succeeded": 0, "failed": 1, "refused": 3}[self.state]

    def step(self, name: str) -> StepReport:
        """The report of the step called ``name``; raise ``KeyError`` when it took no part."""
        for report in self.steps:
            if report.name == name:
                return report
        raise KeyError(name)
