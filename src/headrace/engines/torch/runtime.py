"""Runtimes for PyTorch's exported programs and TorchScript, each model in a worker process of its own."""

import importlib.util

from headrace.errors import MissingExtra
from headrace.serving.isolated import IsolatedRuntime
from headrace.serving.worker_process import Limits
from headrace.settings import Settings

_LOADERS = {
    "torch": ("headrace.engines.torch.exported:load", "headrace.engines.torch.exported:declared"),
    "torchscript": ("headrace.engines.torch.script:load", ""),  # it says no types and no shapes
}


def open_runtime(settings: Settings, name: str) -> IsolatedRuntime:
    """Factory ``runtime.torch`` and ``runtime.torchscript``.

    Raises:
        MissingExtra: PyTorch is not installed; it is looked for and not imported, which takes seconds.
    """
    if importlib.util.find_spec("torch") is None:
        raise MissingExtra("engine 'torch' needs torch", where=f"runtime.{name}", fix="pip install 'headrace[torch]'")
    loader, declares = _LOADERS[name]
    return IsolatedRuntime(name, loader, Limits(memory_bytes=settings.model_memory_mb << 20), declares)
