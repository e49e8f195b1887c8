"""Runtime for LiteRT models (TensorFlow Lite's), each in a worker process of its own."""

import importlib.util

from headrace.errors import MissingExtra
from headrace.serving.isolated import IsolatedRuntime
from headrace.serving.worker_process import Limits
from headrace.settings import Settings


def open_runtime(settings: Settings, name: str) -> IsolatedRuntime:
    """Factory ``runtime.litert``.

    Raises:
        MissingExtra: LiteRT is not installed; it is looked for, and not imported.
    """
    if importlib.util.find_spec("ai_edge_litert") is None:
        fix = "pip install 'headrace[litert]'"
        raise MissingExtra("engine 'litert' needs ai-edge-litert", where=f"runtime.{name}", fix=fix)
    loader, declares = (f"headrace.engines.litert.model:{function}" for function in ("load", "declared"))
    return IsolatedRuntime(name, loader, Limits(memory_bytes=settings.model_memory_mb << 20), declares)
