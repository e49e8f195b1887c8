"""An A/B test: outcomes by what a split drew for each request, and an interval that holds at every look.

Requests count for the model that was drawn for them, whoever answered in the end: leaving out those that another model
answered would compare the easy requests of one arm with all of the other. They count while the same shares stand: where
outcomes change with time, arms that grew at different times differ by that alone.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import takewhile
from typing import Any, Literal

import numpy as np

from headrace.delivery.sequential import BURN_IN, Arm, Verdict, judged, sample_size, skewed
from headrace.errors import NotFound, UsageError
from headrace.serving.deployment import Deployment
from headrace.serving.records import GONE, Prediction
from headrace.settings import is_number

KIND = "experiment.judged"

Outcome = Literal["error", "accuracy", "label"]
OUTCOMES: Mapping[Outcome, str] = {
    "error": "squared error of the answer (Brier score where it is a chance); smaller is better",
    "accuracy": "share of answers that are right, from 0.5 on being yes; larger is better",
    "label": "the label itself: what the answers brought about; larger is better",
}
Labels = Callable[[str], Mapping[int, float]]


@dataclass(frozen=True)
class Asked:
    """How an experiment is judged.

    Attributes:
        outcome: What is compared.
        smaller_is_better: None for what ``OUTCOMES`` says.
        alpha: Largest probability of ever telling two equal models apart.
        lift: A difference whose sample size is wanted; 0 for none.

    Raises:
        UsageError: ``alpha`` is no probability, or ``lift`` no number.
    """

    outcome: Outcome = "error"
    smaller_is_better: bool | None = None
    alpha: float = 0.05
    lift: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 1:
            raise UsageError(f"alpha is {self.alpha:g}", why="a probability between 0 and 1 is due", fix="alpha 0.05")
        if not math.isfinite(self.lift):
            raise UsageError(f"lift is {self.lift:g}", why="a difference of two means is due", fix="lift 0.01")

    @property
    def larger_is_better(self) -> bool:
        """Which way is up."""
        return self.outcome != "error" if self.smaller_is_better is None else not self.smaller_is_better


@dataclass(frozen=True)
class Side:
    """One model of the experiment.

    Attributes:
        model: Its version.
        share: Of the requests, that it was to be drawn for.
        requests: For which it was drawn.
        labelled: Of them, those with a label.
        units: What is compared: keys with an outcome, or labelled requests without a key.
        mean: Of their outcomes; None before the first.
        verdict: Beside the control; None for the control.
        needed: Units an arm that a lift of ``Asked.lift`` needs; None where that was not asked, or cannot be said yet.
    """

    model: str
    share: float
    requests: int
    labelled: int
    units: int
    mean: float | None
    verdict: Verdict | None
    needed: int | None


@dataclass(frozen=True)
class Experiment:
    """What an experiment says so far.

    Attributes:
        endpoint: Where it runs.
        outcome: What is compared.
        key: What a unit is; empty for single requests.
        since: Unix seconds from which requests count.
        anew: Whether the same models were split before, by other shares; those requests are left out.
        control: What the others are compared with.
        sides: The control first.
        skewed: Whether the units of the sides are surely not in the ratio of their shares.
        lift: The difference whose sample size was asked for; 0 for none.
    """

    endpoint: str
    outcome: Outcome
    key: str
    since: float
    anew: bool
    control: str
    sides: Sequence[Side]
    skewed: bool = False
    lift: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values; an end of an interval that is not known yet is null."""
        told = asdict(self)
        for side in told["sides"]:
            for end in ("low", "high", "lift") if side["verdict"] else ():
                if not math.isfinite(side["verdict"][end]):
                    side["verdict"][end] = None
        return told


@dataclass(frozen=True)
class Standing:
    """What an experiment is about: deployments in a row that draw the same models alike.

    Attributes:
        deployment: The newest of them.
        since: Unix seconds at which the first began.
        seqs: All of them, by their numbers.
        anew: Whether the one before split the same models by other shares.
    """

    deployment: Deployment
    since: float
    seqs: frozenset[int]
    anew: bool = False


def begun(deployments: Sequence[Deployment]) -> Standing:
    """Since when the same models have been split by the same key into the same shares.

    Args:
        deployments: Of one endpoint, oldest first.

    Raises:
        NotFound: Nothing is split there now.
    """
    if not deployments or not deployments[-1].endpoint.split:
        raise NotFound("there is no experiment", why="nothing is split there now", fix="headrace serving split")
    newest = deployments[-1]
    same = list(takewhile(lambda d: _about(d) == _about(newest), reversed(deployments)))
    before = deployments[-len(same) - 1] if len(same) < len(deployments) else None
    anew = before is not None and _about(before)[:-1] == _about(newest)[:-1]
    return Standing(newest, same[-1].at, frozenset(d.seq for d in same), anew)


def judge(
    standing: Standing,
    pages: Iterable[Sequence[tuple[int, Prediction]]],
    labels: Labels,
    asked: Asked,
) -> Experiment:
    """Compare the models of a split by what became of their requests.

    Memory grows with the number of keys, not with the log.

    Args:
        standing: The split. What other deployments have drawn does not count.
        pages: Of the endpoint's log from then on; one is held at a time.
        labels: Row to label of a request.
        asked: How.

    Raises:
        UsageError: The outcome cannot be computed from the answers.
    """
    deployment = standing.deployment
    models, endpoint = deployment.models, deployment.endpoint
    control = models[endpoint.schedule[0].model]
    tallies = {name: _Tally() for name in dict.fromkeys((control, *(models[ref] for ref in endpoint.split.shares)))}
    for page in pages:
        for _, prediction in page:
            tally = tallies.get(prediction.drawn) if prediction.deployment in standing.seqs else None
            if tally is not None and prediction.winner != GONE:
                tally.add(prediction, _value(prediction, labels(prediction.id), asked.outcome))
    base, shares = tallies[control].arm(), _shares(deployment, control)
    alpha = asked.alpha / max(1, len(tallies) - 1)  # Bonferroni: each challenger is a chance to be wrong

    def side(name: str, tally: "_Tally") -> Side:
        arm = tally.arm()
        verdict = None
        if name != control:
            verdict = judged(base, arm, alpha=alpha, larger_is_better=asked.larger_is_better)
        mean = arm.mean if arm.count else None
        needed = _needed(base, asked, alpha)
        return Side(name, shares[name], tally.requests, tally.labelled, arm.count, mean, verdict, needed)

    sides = [side(name, tally) for name, tally in tallies.items()]
    unlike = skewed([side.units for side in sides], [side.share for side in sides])
    about = (endpoint.name, asked.outcome, endpoint.split.key, standing.since, standing.anew, control)
    return Experiment(*about, sides, unlike, asked.lift)


def _shares(deployment: Deployment, control: str) -> dict[str, float]:
    """What each model was to get; the control has what the others leave."""
    split = deployment.endpoint.split
    shares = {deployment.models[reference]: part for reference, part in split.shares.items()}
    others = math.fsum(part for model, part in shares.items() if model != control)
    return shares | {control: max(0.0, 1 - others)}


class _Tally:
    """Outcomes of one model's requests, by key where there is one."""

    def __init__(self) -> None:
        self.requests = self.labelled = 0
        self._single = Arm()
        self._keys: defaultdict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])

    def add(self, prediction: Prediction, value: float | None) -> None:
        self.requests += 1
        if value is None:
            return
        self.labelled += 1
        if prediction.key:
            kept = self._keys[prediction.key]
            kept[0] += 1
            kept[1] += value
        else:
            self._single += Arm(1, value, value * value)

    def arm(self) -> Arm:
        means = np.array([total / count for count, total in self._keys.values()])
        return self._single + Arm(len(means), float(means.sum()), float(np.square(means).sum()))


def _about(deployment: Deployment) -> tuple[Any, ...]:
    """What an experiment is about; the shares last."""
    endpoint, models = deployment.endpoint, deployment.models
    shares = {models[reference]: part for reference, part in endpoint.split.shares.items()}
    return frozenset(shares), models[endpoint.schedule[0].model], endpoint.split.key, shares


def _value(prediction: Prediction, labels: Mapping[int, float], outcome: Outcome) -> float | None:
    """The mean outcome of a request's labelled rows."""
    if not labels:
        return None
    if outcome == "label":
        return float(np.mean(list(labels.values())))
    answers = next(iter(prediction.outputs.values()), ())
    found = []
    for row, label in labels.items():
        if row < len(answers):
            found.append(_compared(answers[row], label, outcome))
    return float(np.mean(found)) if found else None


def _compared(answer: Any, label: float, outcome: Outcome) -> float:
    if not is_number(answer):
        fix = "--outcome label"
        raise UsageError(f"{outcome} cannot be computed", why="the endpoint's first output is not a number", fix=fix)
    if outcome == "error":
        return (answer - label) ** 2
    return float((answer >= 0.5) == (label >= 0.5))  # noqa: PLR2004 - a chance


def _needed(control: Arm, asked: Asked, alpha: float) -> int | None:
    if not asked.lift or control.count < BURN_IN or not control.variance > 0:
        return None
    return sample_size(asked.lift, math.sqrt(control.variance), alpha=alpha)
