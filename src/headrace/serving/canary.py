"""A canary: a candidate whose share of the requests grows step by step, while rules over live numbers may end it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

MEASURED = ("error_rate", "p50_ms", "p99_ms", "default_rate")
"""What rules of a canary may be about: failed scores among all, but for requests whose caller went or whose features
could not be joined; time from a request's arrival to the model's score; what the endpoint's default answered."""


@dataclass(frozen=True)
class Canary:
    """How far a candidate is.

    Attributes:
        candidate: Its reference in the schedule.
        steps: Shares, growing.
        every_s: How long each step lasts at least, in seconds.
        abort_if: Rules (``serving.rules``) of which none may hold, of the candidate beside what it would replace.
        least: Requests that the candidate must have met in a step before rules are asked and the step may end.
        step: Index into ``steps``.
        before: ``seq`` of the deployment that comes back when a rule holds.
    """

    candidate: str
    steps: tuple[float, ...]
    every_s: float
    abort_if: tuple[str, ...] = ()
    least: int = 20
    step: int = 0
    before: int = 0

    @property
    def share(self) -> float:
        """The candidate's share now."""
        return self.steps[self.step]

    @property
    def last(self) -> bool:
        """Whether the candidate takes over after this step."""
        return self.step == len(self.steps) - 1

    def to_json(self) -> dict[str, Any]:
        """As the deployment's fact keeps it."""
        return {**asdict(self), "steps": list(self.steps), "abort_if": list(self.abort_if)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Canary":
        """Back from ``to_json``."""
        return cls(**{**data, "steps": tuple(data["steps"]), "abort_if": tuple(data["abort_if"])})
