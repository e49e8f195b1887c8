"""Runtime for Keras models, each in a worker process of its own."""

import importlib.util

from headrace.engines.keras.backends import CHOICE, backend
from headrace.errors import MissingExtra
from headrace.serving.isolated import IsolatedRuntime
from headrace.serving.worker_process import Limits
from headrace.settings import Settings


def open_runtime(settings: Settings, name: str) -> IsolatedRuntime:
    """Factory ``runtime.keras``.

    Raises:
        MissingExtra: Keras is not installed, or nothing that it computes with; they are looked for, and not imported.
    """
    if importlib.util.find_spec("keras") is None:
        raise MissingExtra("engine 'keras' needs keras", where=f"runtime.{name}", fix="pip install 'headrace[keras]'")
    backend()
    limits = Limits(memory_bytes=settings.model_memory_mb << 20, passed=(CHOICE,))
    loader, declares = (f"headrace.engines.keras.model:{function}" for function in ("load", "declared"))
    return IsolatedRuntime(name, loader, limits, declares)
