"""Runtime for scikit-learn estimators in skops files, each in a worker process of its own."""

import importlib.util

from headrace.errors import MissingExtra
from headrace.serving.isolated import IsolatedRuntime
from headrace.serving.worker_process import Limits
from headrace.settings import Settings


def open_runtime(settings: Settings, name: str) -> IsolatedRuntime:
    """Factory ``runtime.skops``.

    Raises:
        MissingExtra: skops is not installed; it is looked for here and imported by workers only.
    """
    if importlib.util.find_spec("skops") is None:
        raise MissingExtra("engine 'skops' needs skops", where=f"runtime.{name}", fix="pip install 'headrace[skops]'")
    return IsolatedRuntime(
        "skops", "headrace.engines.skops.estimator:load", Limits(memory_bytes=settings.model_memory_mb << 20)
    )
