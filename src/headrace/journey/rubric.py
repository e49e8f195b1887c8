"""The ML Test Score: 28 tests in four sections, each scored from evidence; the total is the lowest section's sum.

Source: E. Breck, S. Cai, E. Nielsen, M. Salib, D. Sculley, "The ML Test Score: A Rubric for ML Production Readiness and
Technical Debt Reduction", IEEE Big Data 2017. A test done by hand and written down is worth half a point; one that a
system does by itself, a whole one. No evidence, no point.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Section = Literal["data", "model", "infrastructure", "monitoring"]
SECTIONS: tuple[Section, ...] = ("data", "model", "infrastructure", "monitoring")
BY_HAND, AUTOMATIC = 0.5, 1.0

MEANINGS = (
    (0.0, "more of a research project than a production system"),
    (1.0, "not totally untested, but serious holes are likely"),
    (2.0, "a first pass at production, more is needed"),
    (3.0, "reasonably tested, more could be automated"),
    (5.0, "strong automated testing and monitoring, fit for what matters"),
    (7.0, "exceptional automated testing and monitoring"),
)
"""Upper end of a total, and what the paper's table 1 says of it."""


@dataclass(frozen=True)
class RubricTest:
    """One test of the rubric.

    Attributes:
        id: Section and number in the paper: ``data.1``.
        title: As the paper names it.
        fix: The command that earns its point; ``{id}``, ``{dataset}``, ``{endpoint}`` and ``{pipeline}`` are filled in.
        once: What that command needs first; empty when nothing.
        most: Points that headrace can find evidence for; the rest takes people.
    """

    id: str
    title: str
    fix: str
    once: str = ""
    most: float = AUTOMATIC

    @property
    def section(self) -> str:
        """``data``, ``model``, ``infrastructure`` or ``monitoring``."""
        return self.id.partition(".")[0]


@dataclass(frozen=True)
class Finding:
    """How a test stands.

    Attributes:
        points: 0, 0.5 (done by hand and written down) or 1 (done by the system).
        because: The evidence, or what of it is missing.
    """

    points: float
    because: str


@dataclass(frozen=True)
class Scored:
    """A test with its finding.

    Attributes:
        test: The test.
        finding: How it stands.
        fix: The command that earns what is missing; empty when headrace can do no more.
    """

    test: RubricTest
    finding: Finding
    fix: str


_ATTEST = 'headrace doctor --attest {id} --note "'
_RUN, _DEPLOY, _DRIFT = (
    "headrace run {pipeline}",
    "headrace serving deploy {endpoint}",
    "headrace monitor drift {endpoint}",
)
_SHOW = "headrace monitor label {endpoint} FILE && headrace monitor show {endpoint}"

RUBRIC: tuple[RubricTest, ...] = (
    RubricTest("data.1", "Feature expectations are captured in a schema", "headrace data check {dataset}"),
    RubricTest(
        "data.2", "All features are beneficial", _ATTEST + 'what each feature adds, and how you know"', most=BY_HAND
    ),
    RubricTest(
        "data.3",
        "No feature costs more than it is worth",
        _ATTEST + 'what each feature costs to compute and keep"',
        most=BY_HAND,
    ),
    RubricTest(
        "data.4", "Features adhere to meta-level requirements", "headrace data put FILE --name {dataset} --licence NAME"
    ),
    RubricTest(
        "data.5",
        "The data pipeline has privacy controls",
        _ATTEST + 'who may read what, and where that is enforced"',
        most=BY_HAND,
    ),
    RubricTest(
        "data.6",
        "New features can be added quickly",
        _ATTEST + 'how long the last one took, from idea to served"',
        most=BY_HAND,
    ),
    RubricTest(
        "data.7", "All input feature code is tested", _ATTEST + 'what pytest covers, and when it passed"', most=BY_HAND
    ),
    RubricTest("model.1", "Model specs are reviewed and submitted", _RUN, "git commit all changes", BY_HAND),
    RubricTest("model.2", "Offline and online metrics correlate", _SHOW, "send requests", BY_HAND),
    RubricTest("model.3", "All hyperparameters have been tuned", _RUN, "use hr.search in the pipeline"),
    RubricTest("model.4", "The impact of model staleness is known", _SHOW, "serve one model over two windows"),
    RubricTest("model.5", "A simpler model is not better", _RUN, "add a gate with 'baseline' in its name"),
    RubricTest("model.6", "Quality is sufficient on all data slices", _RUN, "add a gate with 'slice' in its name"),
    RubricTest(
        "model.7",
        "The model is tested for inclusion",
        _ATTEST + 'which groups were compared, and what came out"',
        most=BY_HAND,
    ),
    RubricTest(
        "infrastructure.1", "Training is reproducible", _ATTEST + 'trained twice, and what differed"', most=BY_HAND
    ),
    RubricTest(
        "infrastructure.2",
        "Model specs are unit tested",
        _ATTEST + 'what pytest covers, and when it passed"',
        most=BY_HAND,
    ),
    RubricTest(
        "infrastructure.3",
        "The pipeline is integration tested",
        _RUN,
        "let it begin at hr.dataset and register",
        BY_HAND,
    ),
    RubricTest("infrastructure.4", "Quality is validated before serving", _RUN, "add a gate above hr.register"),
    RubricTest("infrastructure.5", "The model is debuggable", "headrace serving predict {endpoint}", "serve it"),
    RubricTest("infrastructure.6", "Models are canaried before serving", _DEPLOY, "make the new model a shadow first"),
    RubricTest(
        "infrastructure.7", "Serving models can be rolled back", _DEPLOY, "name an older version in its schedule"
    ),
    RubricTest(
        "monitoring.1",
        "Dependency changes are noticed",
        "headrace data put FILE --name {dataset}",
        "get its next delivery",
    ),
    RubricTest("monitoring.2", "Data invariants hold for inputs", _DRIFT),
    RubricTest("monitoring.3", "Training and serving are not skewed", _DRIFT),
    RubricTest("monitoring.4", "Models are not too stale", _SHOW, "send requests"),
    RubricTest("monitoring.5", "Models are numerically stable", "headrace serving predict {endpoint}", "serve it"),
    RubricTest(
        "monitoring.6", "Computing performance has not regressed", _RUN, "promote a champion and add hr.gates.latency"
    ),
    RubricTest("monitoring.7", "Prediction quality has not regressed", _SHOW, "send requests"),
)


@dataclass(frozen=True)
class Score:
    """The whole rubric, scored.

    Attributes:
        tests: All 28, in the paper's order.
    """

    tests: Sequence[Scored]

    @property
    def sections(self) -> Mapping[Section, float]:
        """Points of each section, 0 to 7."""
        return {s: sum(t.finding.points for t in self.tests if t.test.section == s) for s in SECTIONS}

    @property
    def total(self) -> float:
        """The lowest section's points: the weakest part decides."""
        return min(self.sections.values())

    @property
    def meaning(self) -> str:
        """What the paper says of such a total."""
        return next(text for upper, text in MEANINGS if self.total <= upper)
