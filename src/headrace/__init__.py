"""headrace takes a dataset to a monitored model in production.

The public names below are loaded when first used; importing headrace imports nothing else.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headrace import features as features
    from headrace.models.artifact import Artifact as Artifact
    from headrace.models.version import ModelVersion as ModelVersion

__version__ = "0.1.0"

_NAMES = {
    "Artifact": "headrace.models.artifact",
    "ModelVersion": "headrace.models.version",
}

# Rooms that are used by their name: ``hr.features.latest``.
_ROOMS = frozenset({"features"})

__all__ = ["Artifact", "ModelVersion", "features"]


def __getattr__(name: str) -> Any:
    """Load a public name from its module."""
    if name in _ROOMS:
        return importlib.import_module(f"headrace.{name}")
    if name not in _NAMES:
        raise AttributeError(f"module 'headrace' has no attribute {name!r}")
    value = getattr(importlib.import_module(_NAMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names."""
    return sorted(__all__)
