"""headrace takes a dataset to a monitored model in production.

The public names below are loaded when first used; importing headrace imports nothing else.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headrace.models.artifact import Artifact as Artifact
    from headrace.models.version import ModelVersion as ModelVersion

__version__ = "0.1.0"

_NAMES = {
    "Artifact": "headrace.models.artifact",
    "ModelVersion": "headrace.models.version",
}

__all__ = ["Artifact", "ModelVersion"]


def __getattr__(name: str) -> Any:
    """Load a public name from its module."""
    if name not in _NAMES:
        raise AttributeError(f"module 'headrace' has no attribute {name!r}")
    value = getattr(importlib.import_module(_NAMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names."""
    return sorted(__all__)
