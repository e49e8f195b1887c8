"""Runtime for scikit-learn estimators in skops files, each in a worker process of its own."""

from headrace.serving.isolated import IsolatedRuntime, Limits
from headrace.settings import Settings


def open_runtime(settings: Settings, name: str) -> IsolatedRuntime:  # noqa: ARG001 - every factory takes both
    """Factory ``runtime.skops``."""
    import skops  # noqa: F401 - a missing extra is told here, not by a worker

    return IsolatedRuntime(
        "skops", "headrace.engines.skops.estimator:load", Limits(memory_bytes=settings.model_memory_mb << 20)
    )
