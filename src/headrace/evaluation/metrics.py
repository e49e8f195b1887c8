"""Metrics with their direction, in NumPy.

Formulas: AUC is the Mann-Whitney U statistic over positives times negatives, ties counting half (Hanley and McNeil,
Radiology 143, 1982). Log loss, Brier score, RMSE, MAE and R2 are the textbook means, with probabilities clipped to
one float64 epsilon from 0 and 1 as scikit-learn does.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from headrace.errors import UsageError

Floats = NDArray[np.float64]
LABEL_THRESHOLD = 0.5


@dataclass(frozen=True)
class Metric:
    """A number that says how good answers are.

    Attributes:
        name: As it is written in scores.
        maximize: Whether larger is better.
        of: Truth [rows] and answers [rows] to the value.
    """

    name: str
    maximize: bool
    of: Callable[[Floats, Floats], float]

    def better(self, new: float, old: float, *, by: float = 0.0) -> bool:
        """Whether ``new`` beats ``old`` by more than ``by``; NaN never does."""
        return new > old + by if self.maximize else new < old - by


def auc(truth: ArrayLike, answers: ArrayLike) -> float:
    """Area under the ROC curve of 0/1 ``truth`` [rows] and scores [rows]; NaN with only one class."""
    labels, scores = _pair(truth, answers)
    positives = float(labels.sum())
    negatives = len(labels) - positives
    if positives == 0 or negatives == 0:
        return float("nan")
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks = (ends - (counts - 1) / 2)[place]
    return float((ranks[labels == 1].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def log_loss(truth: ArrayLike, answers: ArrayLike) -> float:
    """Mean negative log likelihood of 0/1 ``truth`` [rows] under probabilities [rows]."""
    labels, chances = _pair(truth, answers)
    edge = np.finfo(np.float64).eps
    chances = np.clip(chances, edge, 1 - edge)
    return float(-np.mean(labels * np.log(chances) + (1 - labels) * np.log1p(-chances)))


def brier(truth: ArrayLike, answers: ArrayLike) -> float:
    """Mean squared difference of probabilities [rows] from 0/1 ``truth`` [rows] (Brier, 1950)."""
    labels, chances = _pair(truth, answers)
    return float(np.mean((chances - labels) ** 2))


def accuracy(truth: ArrayLike, answers: ArrayLike) -> float:
    """Share of rows whose probability lies on the side of 0.5 that 0/1 ``truth`` says."""
    labels, chances = _pair(truth, answers)
    return float(np.mean((chances >= LABEL_THRESHOLD) == (labels == 1)))


def rmse(truth: ArrayLike, answers: ArrayLike) -> float:
    """Root of the mean squared error, in the unit of ``truth``."""
    true, answered = _pair(truth, answers)
    return float(np.sqrt(np.mean((answered - true) ** 2)))


def mae(truth: ArrayLike, answers: ArrayLike) -> float:
    """Mean absolute error, in the unit of ``truth``."""
    true, answered = _pair(truth, answers)
    return float(np.mean(np.abs(answered - true)))


def r2(truth: ArrayLike, answers: ArrayLike) -> float:
    """Share of the variance of ``truth`` that the answers explain; NaN when it does not vary."""
    true, answered = _pair(truth, answers)
    spread = float(np.sum((true - true.mean()) ** 2))
    return 1 - float(np.sum((true - answered) ** 2)) / spread if spread else float("nan")


METRICS: Mapping[str, Metric] = {
    m.name: m
    for m in (
        Metric("auc", maximize=True, of=auc),
        Metric("log_loss", maximize=False, of=log_loss),
        Metric("brier", maximize=False, of=brier),
        Metric("accuracy", maximize=True, of=accuracy),
        Metric("rmse", maximize=False, of=rmse),
        Metric("mae", maximize=False, of=mae),
        Metric("r2", maximize=True, of=r2),
    )
}


def metric(name: str) -> Metric:
    """The metric of that name; raise ``UsageError`` when there is none."""
    if name not in METRICS:
        raise UsageError(f"no metric named {name!r}", fix=f"one of {', '.join(METRICS)}")
    return METRICS[name]


def measure(truth: ArrayLike, answers: ArrayLike, names: Iterable[str]) -> dict[str, float]:
    """Several metrics of the same rows, by name."""
    return {name: metric(name).of(*_pair(truth, answers)) for name in names}


def _pair(truth: Any, answers: Any) -> tuple[Floats, Floats]:
    true, answered = np.asarray(truth, dtype=np.float64), np.asarray(answers, dtype=np.float64)
    if true.shape != answered.shape or true.ndim != 1 or not len(true):
        raise UsageError(
            "truth and answers cannot be compared",
            why=f"their shapes are {true.shape} and {answered.shape}",
            fix="pass two columns of equal, positive length",
        )
    for what, values in (("truth", true), ("answers", answered)):
        holes = int(np.isnan(values).sum())
        if holes:
            raise UsageError(
                f"the {what} cannot be measured", why=f"{holes} of {len(values)} rows have none", fix="leave them out"
            )
    return true, answered
