"""Runtime for TensorFlow's SavedModels, each in a worker process of its own."""

import importlib.util

from headrace.errors import MissingExtra
from headrace.serving.isolated import IsolatedRuntime
from headrace.serving.worker_process import Limits
from headrace.settings import Settings

_MODULE = "headrace.engines.tensorflow.saved_model"


def open_runtime(settings: Settings, name: str) -> IsolatedRuntime:
    """Factory ``runtime.tensorflow``.

    Raises:
        MissingExtra: TensorFlow is not installed; it is looked for and not imported, which takes seconds.
    """
    if importlib.util.find_spec("tensorflow") is None:
        fix = "pip install 'headrace[tensorflow]'"
        raise MissingExtra("engine 'tensorflow' needs tensorflow", where=f"runtime.{name}", fix=fix)
    limits = Limits(memory_bytes=settings.model_memory_mb << 20)
    return IsolatedRuntime(name, f"{_MODULE}:load", limits, f"{_MODULE}:declared")
