"""``hr.serve_function``: any Python function as a model."""

import inspect
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from headrace.errors import UsageError
from headrace.models.artifact import Artifact

_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def serve_function(function: Callable[..., Any], *, outputs: Sequence[str] = ()) -> Artifact:
    """A function as a model that ``register`` takes; it is served in a worker process of its own.

    Each parameter is an input: it gets an array of that column, [rows] (numbers of the signature's type, text as
    ``str``), or that tensor. The answer is one array with an entry per row, or for several outputs a mapping of them.

    What is kept is the source of the function's module as it is now, and the function's name; nothing is pickled. What
    the module imports must be importable where the model is served.

    Args:
        function: A function at the top of a module, or a static method of a class there.
        outputs: What its answers are called; by default one output, called as the function is.

    Raises:
        UsageError: It is a lambda, a closure or a bound method, has no source, or takes ``*args`` or ``**kwargs``.
    """
    inner = getattr(getattr(function, "spec", None), "function", function)  # a step is its function
    name = str(getattr(inner, "__qualname__", ""))
    if not inspect.isfunction(inner) or "<" in name:
        raise UsageError(
            f"{name or type(function).__name__} cannot be served",
            why="it is found again by its module's source and its name",
            fix="write it as a function at the top of a module",
        )
    parameters = inspect.signature(inner).parameters.values()
    unnamed = [p.name for p in parameters if p.kind not in _NAMED]
    if unnamed or not parameters:
        why = f"{', '.join(unnamed)} name no input" if unnamed else "it takes nothing"
        raise UsageError(f"{name} cannot be served", why=why, fix="give it one parameter for each input")
    inputs = tuple(p.name for p in parameters)
    named = tuple(outputs) or (inner.__name__,)
    about = {"function": name, "inputs": list(inputs), "outputs": list(named)}
    files = {"model.python": _source(inner), "function.json": json.dumps(about).encode()}
    return Artifact("python", files, inputs, named)


def _source(function: Callable[..., Any]) -> bytes:
    file = inspect.getsourcefile(function)
    try:
        return Path(file or "").read_bytes()
    except OSError as error:
        raise UsageError(
            f"the source of {function.__qualname__} cannot be read", where=file or "", fix="write it in a file"
        ) from error
