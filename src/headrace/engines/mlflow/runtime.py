"""Runtime for MLflow's pyfunc models of trusted origin, each in a worker process of its own."""

import importlib.util

from headrace.errors import MissingExtra
from headrace.serving.isolated import IsolatedRuntime
from headrace.serving.worker_process import Limits
from headrace.settings import Settings

_NEEDED = ("mlflow", "pandas")


def open_runtime(settings: Settings, name: str) -> IsolatedRuntime:
    """Factory ``runtime.mlflow``.

    Raises:
        MissingExtra: MLflow or pandas is not installed; they are looked for here and imported by workers only.
    """
    missing = [package for package in _NEEDED if importlib.util.find_spec(package) is None]
    if missing:
        what = f"engine 'mlflow' needs {' and '.join(missing)}"
        raise MissingExtra(what, where=f"runtime.{name}", fix="pip install 'headrace[mlflow]'")
    module = "headrace.engines.mlflow.pyfunc"
    limits = Limits(memory_bytes=settings.model_memory_mb << 20)
    return IsolatedRuntime("mlflow", f"{module}:load", limits, f"{module}:declared", f"{module}:examples")
