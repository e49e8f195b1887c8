"""Use case: how the parts are, which engines are chosen, and how well the project is tested."""

from dataclasses import asdict, dataclass
from typing import Any

from headrace.journey.judges import judge
from headrace.journey.layers import Layer, layers
from headrace.journey.platform import Platform
from headrace.journey.probes import WITHIN_S, Component, probe_all
from headrace.journey.rubric import Score


@dataclass(frozen=True)
class Diagnosis:
    """What doctor found.

    Attributes:
        components: Every part of the lifecycle, made to do its work once.
        layers: Every port with its engine.
        score: The ML Test Score; None when the ledger, which holds the evidence, cannot be read.
    """

    components: list[Component]
    layers: list[Layer]
    score: Score | None

    @property
    def healthy(self) -> bool:
        """Whether no part failed."""
        return all(component.state != "FAIL" for component in self.components)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "healthy": self.healthy,
            "components": [asdict(component) for component in self.components],
            "layers": [asdict(layer) for layer in self.layers],
            "ml_test_score": _score(self.score),
        }


def diagnose(platform: Platform, *, within_s: float = WITHIN_S) -> Diagnosis:
    """Probe every part and score the project.

    Args:
        platform: The environment to look at.
        within_s: How long the probes may take together; who has not answered by then has failed.
    """
    components = probe_all(platform, within_s=within_s)
    readable = all(c.state == "ok" for c in components if c.name in {"ledger", "request log"})
    return Diagnosis(components, layers(platform.settings), judge(platform) if readable else None)


def _score(score: Score | None) -> dict[str, Any] | None:
    if score is None:
        return None
    tests = [
        {"id": s.test.id, "title": s.test.title, "points": s.finding.points, "because": s.finding.because, "fix": s.fix}
        for s in score.tests
    ]
    return {"total": score.total, "meaning": score.meaning, "sections": dict(score.sections), "tests": tests}
