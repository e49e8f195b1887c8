"""MLflow imported and called so that it reports to nobody, and warns of nothing that its user could change."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "MLFLOW_LOGGING_LEVEL": "ERROR"}


@contextmanager
def quiet() -> Iterator[None]:
    """For the block that imports MLflow, which costs seconds, and for what that warns of."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    with warnings.catch_warnings(action="ignore"):  # MLflow's imports warn of its own dependencies
        yield
