"""``hr.serve_function``: any Python function as a model, or what can be called as one."""

import inspect
import json
import sys
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from headrace.errors import UsageError
from headrace.models.artifact import Artifact
from headrace.models.params import Param, kind_of

_PACKAGES = {"site-packages", "dist-packages"}
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def serve_function(function: Callable[..., Any], *, outputs: Sequence[str] = ()) -> Artifact:
    """A function as a model that ``register`` takes; it is served in a worker process of its own.

    Each parameter is an input: it gets an array of that column, [rows] (numbers of the signature's type, text as
    ``str``), or that tensor. One that is given by name only and has a default (``*, factor=1.0``) is none: a request
    may say it, once for all of its rows, of the default's type: truth values, whole numbers, numbers, text, or a list
    of one of these. The answer is one array with an entry per row, or for several outputs a mapping of them.

    What is kept is the source of the module as it is now, and the name there; nothing is pickled. The module runs once
    in each worker, so that an object that it makes, and that can be called, may load what it needs. What the module
    imports must be importable where the model is served.

    Args:
        function: A function at the top of a module, a static method of a class there, or anything that can be called
            and has a name at the top of a module: an object, a method of one, a ``functools.partial``, a lambda.
        outputs: What its answers are called; by default one output, called as the function is.

    Raises:
        UsageError: It has no name in a module, or no source, is asynchronous, takes ``*args`` or ``**kwargs``, or has
            a default that shows no type.
    """
    inner = getattr(getattr(function, "spec", None), "function", function)  # a step is its function
    name, source = _place(inner)
    inputs, params = _taken(inner, name)
    named = tuple(outputs) or (name.rpartition(".")[2],)
    about = {"function": name, "inputs": list(inputs), "outputs": list(named)}
    if params:
        about["params"] = [param.name for param in params]
    files = {"model.python": _read(source, name), "function.json": json.dumps(about).encode()}
    return Artifact("python", files, inputs, named, params=params)


def _place(target: Any) -> tuple[str, str]:
    """The name of a callable in its module, and the file of that."""
    if inspect.isfunction(target) and "<" not in target.__qualname__:
        return target.__qualname__, inspect.getsourcefile(target) or ""
    if inspect.ismethod(target) and not inspect.isclass(target.__self__):
        owner, source = _place(target.__self__)
        return f"{owner}.{target.__name__}", source
    strange = inspect.isclass(target) or inspect.isbuiltin(target) or not callable(target)
    found = None if strange else next(_namesakes(target), None)
    if found is None:
        raise UsageError(
            f"{getattr(target, '__qualname__', '') or type(target).__name__} cannot be served",
            why="it is found again by its module's source and its name",
            fix="write it as a function at the top of a module, or give it a name there",
        )
    return found


def _namesakes(target: Any) -> Iterator[tuple[str, str]]:
    """Where a module calls an object by a name; the module of its own kind comes first."""
    own = sys.modules.get(str(getattr(target, "__module__", "")))
    for module in (own, *list(sys.modules.values())):
        source = getattr(module, "__file__", None) if isinstance(module, ModuleType) else None
        if source is None or not source.endswith(".py") or _is_installed(source):
            continue
        yield from ((name, source) for name, value in list(vars(module).items()) if value is target)


def _is_installed(file: str) -> bool:
    """Whether it is Python's own, or of a package: its source alone would not run."""
    return file.startswith(f"{sysconfig.get_path('stdlib')}/") or not _PACKAGES.isdisjoint(Path(file).parts)


def _taken(target: Any, name: str) -> tuple[tuple[str, ...], tuple[Param, ...]]:
    """Names of inputs, and what may be said besides."""
    if inspect.iscoroutinefunction(target) or inspect.iscoroutinefunction(type(target).__call__):
        why = "it is asynchronous, and a worker scores one batch at a time"
        raise UsageError(f"{name} cannot be served", why=why, fix="write it as a plain function")
    given = set(target.keywords) if isinstance(target, partial) else set()
    parameters = [p for p in inspect.signature(target).parameters.values() if p.name not in given]
    unnamed = [p.name for p in parameters if p.kind not in _NAMED]
    said = {p.name: p for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is not p.empty}
    inputs = tuple(p.name for p in parameters if p.name not in said)
    if unnamed or not inputs:
        why = f"{', '.join(unnamed)} name no input" if unnamed else "it takes nothing"
        raise UsageError(f"{name} cannot be served", why=why, fix="give it one parameter for each input")
    return inputs, tuple(_param(p, name) for p in said.values())


def _param(parameter: inspect.Parameter, name: str) -> Param:
    default = parameter.default
    many = isinstance(default, list | tuple)
    kinds = {kind_of(value) for value in default} if many else {kind_of(default)}
    kind = kinds.pop() if len(kinds) == 1 else None
    if kind is None:
        raise UsageError(
            f"{name} cannot be served",
            why=f"{parameter.name} may be said by requests, and its default {default!r:.50} shows no type",
            fix="give it a number, a truth value, text or a list of one of these; or no default, as an input",
        )
    return Param(parameter.name, kind, default, many)


def _read(source: str, name: str) -> bytes:
    try:
        return Path(source).read_bytes()
    except OSError as error:
        raise UsageError(f"the source of {name} cannot be read", where=source, fix="write it in a file") from error
