"""``hr.search`` and its dimensions: keyed trials of a training step."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

import narwhals as nw

from headrace.datasets.splits import tail
from headrace.errors import UsageError
from headrace.pipelines.references import Reference
from headrace.sdk import ambient
from headrace.sdk.children import inside_run, run_children, value
from headrace.sdk.decorators import Step, step
from headrace.sdk.models import numbers_of
from headrace.tuning import search as tuning
from headrace.tuning.sampler import Dimension, Study

if TYPE_CHECKING:
    from headrace.tuning.search import Outcome

VALIDATION_SHARE = 0.2


class Goal(TypedDict, total=False):
    """What a search is after.

    Attributes:
        maximize: Name of a score; either this or ``minimize``.
        minimize: Name of a score.
        seed: Of the sampler.
        refit: Whether the best settings are trained again on all rows when ``search`` set some aside itself.
    """

    maximize: str
    minimize: str
    seed: int
    refit: bool


def log_uniform(low: float, high: float) -> Dimension:
    """A float in [low, high], drawn evenly on a logarithmic scale; for rates and strengths."""
    return Dimension("log_uniform", low, high)


def uniform(low: float, high: float) -> Dimension:
    """A float in [low, high]."""
    return Dimension("uniform", low, high)


def integer(low: int, high: int) -> Dimension:
    """A whole number in [low, high], both ends included."""
    return Dimension("integer", low, high)


def choice(*values: Any) -> Dimension:
    """One of ``values``."""
    return Dimension("choice", values=list(values))


@step(main_process=True)
def search(
    train: Callable[..., Any],
    rows: Reference | Any,
    *,
    score: Callable[[Any, Any], Any],
    space: Mapping[str, Dimension],
    trials: int = 10,
    valid: Reference | Any = None,
    **goal: Unpack[Goal],
) -> Any:
    """Train with several settings and return the model that scores best.

    Each trial is a call of ``train`` and one of ``score``, keyed and cached like any step: a search that was stopped
    goes on, and one with more trials repeats nothing. Settings are proposed in batches of fixed size, so the result is
    the same on any number of cores. Trials are in the ledger, and in MLflow where it is installed.

    Args:
        train: A step; its first parameter takes the rows, the others the settings.
        rows: What to train on. Without ``valid`` the trials are scored on its last 20 %, which they are not trained
            on: as ``hr.split`` sorts its parts, these are the latest. The best settings are then trained again on all
            rows, and that model is returned; ``refit=False`` returns the trial's.
        score: A step that takes a model and rows and returns scores: a dataclass or a mapping of numbers.
        space: Parameter of ``train`` to where it is searched: ``hr.log_uniform(0.01, 0.3)``.
        trials: How many settings to try.
        valid: Rows to score on.
        **goal: ``maximize=`` or ``minimize=`` the name of a score; ``seed=`` of the sampler; ``refit=``.

    Raises:
        UsageError: The goal is missing, or ``train`` has no such parameter.
    """
    metric, maximize = _goal(goal)
    training, scoring = _as_step(train, "train"), _as_step(score, "score")
    data, (model_name, rows_name) = _parameters(training)[0], _parameters(scoring)[:2]
    unknown = sorted(set(space) - set(_parameters(training)[1:]))
    if unknown:
        raise UsageError(
            f"step {training.name!r} has no parameter {unknown[0]!r}",
            fix=f"one of {', '.join(_parameters(training)[1:])}",
        )
    aside = not _given(valid)
    fit, held = _set_aside(rows) if aside else (rows, valid)
    models: list[Any] = []

    def run(settings: Sequence[Mapping[str, Any]]) -> "list[Outcome]":
        trained = _called(training, [{data: fit, **chosen} for chosen in settings])
        scored = _called(scoring, [{model_name: made.value, rows_name: held} for made in trained])
        models.extend(made.value for made in trained)
        return [
            tuning.Outcome(numbers_of(_loaded(scores.value)), made.key)
            for scores, made in zip(scored, trained, strict=True)
        ]

    study = Study(space, maximize, goal.get("seed", 0))
    found = tuning.search(ambient.platform().sampler(), study, run, metric=metric, trials=trials)
    _record(found, metric, maximize=maximize)
    best = tuning.best(found, maximize=maximize)
    if aside and goal.get("refit", True):
        return _called(training, [{data: rows, **best.params}])[0].value
    return models[best.number]


@step
def set_aside(rows: nw.DataFrame[Any], share: float) -> tuple[nw.DataFrame[Any], nw.DataFrame[Any]]:
    """All but the last ``share`` of rows, and those last."""
    return tail(nw.from_native(rows, eager_only=True), share)


def _given(rows: Any) -> bool:
    """Whether rows were passed; inside a run None, too, comes as a reference."""
    return rows is not None and not (isinstance(rows, Reference) and rows.tree is None)


def _set_aside(rows: Any) -> tuple[Any, Any]:
    made = _called(set_aside, [{"rows": rows, "share": VALIDATION_SHARE}])[0].value
    if isinstance(made, Reference):
        return made.part(0), made.part(1)
    fit, held = made
    return (fit, held) if isinstance(rows, nw.DataFrame) else (fit.to_native(), held.to_native())


@dataclass(frozen=True)
class _Made:
    """What a call gave: a reference and its key inside a run, the value itself outside."""

    value: Any
    key: str = ""


def _called(called: Step[..., Any], calls: Sequence[Mapping[str, Any]]) -> list[_Made]:
    if inside_run():
        return [_Made(result.reference, result.key) for result in run_children(called, calls)]
    return [_Made(called(**call)) for call in calls]


def _loaded(made: Any) -> Any:
    return value(made) if isinstance(made, Reference) else made


def _record(found: Sequence[tuning.Trial], metric: str, *, maximize: bool) -> None:
    running = ambient.current()
    if running is None:
        return
    about = {"experiment": running.pipeline, "run": running.run, "metric": metric, "maximize": maximize}
    tuning.record(ambient.platform().ledger(), running.key, found, about)


def _goal(goal: Goal) -> tuple[str, bool]:
    maximize, minimize = goal.get("maximize"), goal.get("minimize")
    if (maximize is None) == (minimize is None):
        raise UsageError("a search needs one goal", fix='maximize="auc" or minimize="log_loss"')
    return (maximize, True) if maximize is not None else (str(minimize), False)


def _as_step(function: Any, role: str) -> Step[..., Any]:
    if not isinstance(function, Step):
        raise UsageError(f"{role}= is no step", why=f"it is {function!r}", fix="decorate the function with @hr.step")
    return function


def _parameters(called: Step[..., Any]) -> list[str]:
    return list(called.spec.signature.parameters)
