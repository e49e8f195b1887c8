"""Runtime for Python functions as models: the source of one module, called in a worker process of its own."""

import importlib.util
import json
from collections.abc import Callable, Mapping
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any

import numpy as np

from headrace.errors import IntegrityError, SignatureError
from headrace.models.matrices import Matrix, answered, typed_columns
from headrace.models.params import NO_PARAMS, Params
from headrace.models.runtime import Batch
from headrace.models.signature import Signature
from headrace.serving.isolated import IsolatedRuntime
from headrace.serving.worker import Score
from headrace.serving.worker_process import Limits
from headrace.settings import Settings

MAIN_FILE = "model.python"
ABOUT_FILE = "function.json"
_MODULE = "headrace_served_function"


def open_runtime(settings: Settings, name: str) -> IsolatedRuntime:  # noqa: ARG001 - every factory takes both
    """Factory ``runtime.python``."""
    return IsolatedRuntime("python", f"{__name__}:load", Limits(memory_bytes=settings.model_memory_mb << 20))


def load(folder: Path, signature: Signature) -> Score:
    """A function that scores: called with one array per input, and what was said of its parameters, by name.

    Raises:
        IntegrityError: A file is missing, or has no such function.
        SignatureError: The function's inputs, parameters or outputs are not the signature's.
    """
    try:
        about = json.loads((folder / ABOUT_FILE).read_bytes())
        inputs, outputs, path = set(about["inputs"]), tuple(about["outputs"]), str(about["function"])
        params = set(about.get("params", ()))
        function = _found(folder / MAIN_FILE, path)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SyntaxError) as error:
        why = f"{type(error).__name__}: {error}"[:300]
        raise IntegrityError("the function cannot be loaded", where=str(folder), why=why) from error
    fields = ("takes", inputs, signature.inputs), ("may be told", params, signature.params)
    for what, due, given in (*fields, ("gives", set(outputs), signature.outputs)):
        names = {field.name for field in given}
        if names != due:
            raise SignatureError(
                f"the function {what} {', '.join(sorted(due))}", why=f"the signature has {', '.join(sorted(names))}"
            )

    def score(batch: Batch, params: Params = NO_PARAMS) -> Mapping[str, Matrix]:
        cells = typed_columns(batch, signature) if signature.kind == "table" else batch
        return _named(function(**cells, **params), outputs, signature)

    return score


def _found(path: Path, name: str) -> Callable[..., Any]:
    spec = importlib.util.spec_from_loader(_MODULE, SourceFileLoader(_MODULE, str(path)))
    if spec is None or spec.loader is None:
        raise AttributeError(name)
    found: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    for part in name.split("."):
        found = getattr(found, part)
    # A step is its function here: no run goes on in a worker.
    return getattr(getattr(found, "spec", None), "function", found)  # type: ignore[no-any-return]


def _named(answer: Any, outputs: tuple[str, ...], signature: Signature) -> Mapping[str, Matrix]:
    values = answer if isinstance(answer, Mapping) else {outputs[0]: answer}
    if signature.kind == "tensor":
        return {name: np.asarray(values[name]) for name in outputs}
    return {output.name: answered(values[output.name], output.dtype) for output in signature.outputs}
