"""Sampler on Optuna's TPE: a fresh in-memory study for each batch, filled with what is known so far."""

import math
import warnings
from collections.abc import Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from headrace.errors import UsageError
from headrace.settings import Settings
from headrace.tuning.sampler import Dimension, Study, Tried


class OptunaSampler:
    """Tree-structured Parzen estimator; keeps nothing between calls, so equal history proposes equal settings."""

    def ask(self, study: Study, history: Sequence[Tried], *, count: int) -> list[dict[str, Any]]:
        """The next ``count`` settings; see ``Sampler.ask``."""
        known = _study(study, history)
        space = {name: _distribution(name, dimension) for name, dimension in study.space.items()}
        return [_settings(study, known.ask(space).params) for _ in range(count)]


def open_sampler(settings: Settings, uri: str) -> OptunaSampler:  # noqa: ARG001 - what every factory takes
    """The engine factory ``sampler.optuna``."""
    return OptunaSampler()


def _study(study: Study, history: Sequence[Tried]) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        # A batch is asked for before any of it is scored: constant_liar keeps its members apart. The seed moves with
        # the history, or each batch's random draws would repeat the first one's.
        sampler = optuna.samplers.TPESampler(seed=study.seed + 7919 * len(history), constant_liar=True)
    made = optuna.create_study(sampler=sampler, direction="maximize" if study.maximize else "minimize")
    space = {name: _distribution(name, dimension) for name, dimension in study.space.items()}
    for settings, value in history:
        if not math.isnan(value):  # a NaN score teaches nothing
            params = {name: _internal(study.space[name], settings[name]) for name in space}
            made.add_trial(optuna.trial.create_trial(params=params, distributions=space, value=value))
    return made


def _distribution(name: str, dimension: Dimension) -> BaseDistribution:
    try:
        if dimension.kind == "choice":
            return CategoricalDistribution(range(len(dimension.values)))
        if dimension.kind == "integer":
            return IntDistribution(int(dimension.low), int(dimension.high))
        return FloatDistribution(dimension.low, dimension.high, log=dimension.kind == "log_uniform")
    except ValueError as error:
        raise UsageError(f"parameter {name!r} cannot be searched", why=str(error), fix="give low < high") from error


def _internal(dimension: Dimension, value: Any) -> Any:
    """Optuna's categories are positions, so that any value may be one."""
    return list(dimension.values).index(value) if dimension.kind == "choice" else value


def _settings(study: Study, params: dict[str, Any]) -> dict[str, Any]:
    return {n: study.space[n].values[v] if study.space[n].kind == "choice" else v for n, v in params.items()}
