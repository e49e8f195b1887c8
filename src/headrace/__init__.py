"""headrace takes a dataset to a monitored model in production.

The public names below are loaded when first used; importing headrace imports nothing else.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headrace import features as features
    from headrace.evaluation import metrics as metrics
    from headrace.models.artifact import Artifact as Artifact
    from headrace.models.version import ModelVersion as ModelVersion
    from headrace.sdk import gates as gates
    from headrace.sdk.data import dataset as dataset
    from headrace.sdk.data import split as split
    from headrace.sdk.decorators import gate as gate
    from headrace.sdk.decorators import pipeline as pipeline
    from headrace.sdk.decorators import step as step
    from headrace.sdk.deploy import deploy as deploy
    from headrace.sdk.endpoint import endpoint as endpoint
    from headrace.sdk.endpoint import explain as explain
    from headrace.sdk.features import materialize as materialize
    from headrace.sdk.functions import serve_function as serve_function
    from headrace.sdk.models import champion_scores as champion_scores
    from headrace.sdk.models import optimize as optimize
    from headrace.sdk.models import predict as predict
    from headrace.sdk.models import promote as promote
    from headrace.sdk.models import register as register
    from headrace.sdk.predictions import score_dataset as score_dataset
    from headrace.sdk.search import choice as choice
    from headrace.sdk.search import integer as integer
    from headrace.sdk.search import log_uniform as log_uniform
    from headrace.sdk.search import search as search
    from headrace.sdk.search import uniform as uniform

__version__ = "0.1.0"

_NAMES = {
    "Artifact": "headrace.models.artifact",
    "ModelVersion": "headrace.models.version",
    "champion_scores": "headrace.sdk.models",
    "choice": "headrace.sdk.search",
    "dataset": "headrace.sdk.data",
    "deploy": "headrace.sdk.deploy",
    "endpoint": "headrace.sdk.endpoint",
    "explain": "headrace.sdk.endpoint",
    "gate": "headrace.sdk.decorators",
    "integer": "headrace.sdk.search",
    "log_uniform": "headrace.sdk.search",
    "materialize": "headrace.sdk.features",
    "optimize": "headrace.sdk.models",
    "pipeline": "headrace.sdk.decorators",
    "predict": "headrace.sdk.models",
    "promote": "headrace.sdk.models",
    "register": "headrace.sdk.models",
    "score_dataset": "headrace.sdk.predictions",
    "search": "headrace.sdk.search",
    "serve_function": "headrace.sdk.functions",
    "split": "headrace.sdk.data",
    "step": "headrace.sdk.decorators",
    "uniform": "headrace.sdk.search",
}

# Modules that are used by their name: ``hr.features.latest``.
_ROOMS = {
    "features": "headrace.features",
    "gates": "headrace.sdk.gates",
    "metrics": "headrace.evaluation.metrics",
}

__all__ = [
    "Artifact",
    "ModelVersion",
    "champion_scores",
    "choice",
    "dataset",
    "deploy",
    "endpoint",
    "explain",
    "features",
    "gate",
    "gates",
    "integer",
    "log_uniform",
    "materialize",
    "metrics",
    "optimize",
    "pipeline",
    "predict",
    "promote",
    "register",
    "score_dataset",
    "search",
    "serve_function",
    "split",
    "step",
    "uniform",
]


def __getattr__(name: str) -> Any:
    """Load a public name from its module."""
    if name in _ROOMS:
        return importlib.import_module(_ROOMS[name])
    if name not in _NAMES:
        raise AttributeError(f"module 'headrace' has no attribute {name!r}")
    value = getattr(importlib.import_module(_NAMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names."""
    return sorted(__all__)
