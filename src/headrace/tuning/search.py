"""Search: propose settings in batches, run them as keyed trials, keep the best."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headrace.errors import RunFailed, UsageError
from headrace.storage.ledger import Fact, Ledger
from headrace.tuning.sampler import Sampler, Study

KIND = "trial.finished"
BATCH = 4
"""Settings proposed at a time. Fixed, so that a search finds the same on any number of cores."""


@dataclass(frozen=True)
class Trial:
    """One tried setting.

    Attributes:
        number: From 0, in the order of proposal.
        params: The settings.
        scores: Everything that was measured.
        value: The score searched for.
        key: Content key of the step that trained it; empty outside a run.
    """

    number: int
    params: Mapping[str, Any]
    scores: Mapping[str, float]
    value: float
    key: str = ""


@dataclass(frozen=True)
class Outcome:
    """What running one setting gave: its scores by name, and the content key of the step that trained it."""

    scores: Mapping[str, float]
    key: str = ""


Run = Callable[[Sequence[Mapping[str, Any]]], Sequence[Outcome]]
"""Runs a batch of settings, in parallel where it can; outcomes in order."""


def search(sampler: Sampler, study: Study, run: Run, *, metric: str, trials: int) -> list[Trial]:
    """Try ``trials`` settings; return them in the order of proposal.

    Args:
        sampler: Proposes.
        study: The space, the direction and the seed.
        run: Trains and scores a batch of settings.
        metric: Name of the score searched for.
        trials: How many settings to try, at least 1.

    Raises:
        UsageError: Nothing to try, or a trial has no such score.
    """
    if trials < 1:
        raise UsageError(f"a search of {trials} trials finds nothing", fix="trials=1 or more")
    found: list[Trial] = []
    while len(found) < trials:
        history = [(trial.params, trial.value) for trial in found]
        asked = sampler.ask(study, history, count=min(BATCH, trials - len(found)))
        for params, outcome in zip(asked, run(asked), strict=True):
            value = _value(outcome.scores, metric)
            found.append(Trial(len(found), params, outcome.scores, value, outcome.key))
    return found


def best(found: Sequence[Trial], *, maximize: bool) -> Trial:
    """The trial with the best value; of equals the earliest. A NaN is never best.

    Raises:
        RunFailed: No trial has a value.
    """
    valued = [trial for trial in found if not math.isnan(trial.value)]
    if not valued:
        raise RunFailed("no trial of the search has a score", why="all are NaN", fix="look at the scoring step's log")
    return max(valued, key=lambda trial: (trial.value if maximize else -trial.value, -trial.number))


def record(ledger: Ledger, key: str, found: Sequence[Trial], about: Mapping[str, Any]) -> list[Fact]:
    """Append a ``trial.finished`` fact for each trial of study ``key`` that is not yet recorded.

    Args:
        ledger: Where.
        key: Of the study: the search's content key.
        found: Its trials.
        about: What is the same for all of them: pipeline, run, metric, direction.
    """
    known = {fact.body["number"] for fact in ledger.query(KIND, key)}
    new = [trial for trial in found if trial.number not in known]
    return ledger.append([Fact(KIND, key, {**about, **vars(trial)}) for trial in new]) if new else []


def recorded(ledger: Ledger, key: str | None = None) -> list[Fact]:
    """The trials of one study, or of all, oldest first."""
    return ledger.query(KIND, key)


def _value(scores: Mapping[str, float], metric: str) -> float:
    if metric not in scores:
        raise UsageError(
            f"the scores have no {metric!r}", why=f"they have {', '.join(scores) or 'nothing'}", fix="name one of them"
        )
    return float(scores[metric])
