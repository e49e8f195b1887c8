"""From a pipeline's name and the texts of the command line to a plan."""

import importlib
import inspect
import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from types import ModuleType
from typing import Any

from headrace.errors import NotFound, UsageError
from headrace.pipelines.handover import hints_of, plain
from headrace.pipelines.plan import Plan
from headrace.pipelines.values import Packer
from headrace.sdk import ambient
from headrace.sdk.decorators import Pipeline
from headrace.sdk.plan import PlanWriter

MODULE = "pipeline"
_TRUE, _FALSE = {"true", "yes", "on", "1"}, {"false", "no", "off", "0"}


def planned(
    pipeline: Pipeline[..., Any] | str, params: Mapping[str, Any], overrides: Mapping[str, Mapping[str, Any]]
) -> Plan:
    """The plan of a pipeline with its parameters.

    Raises:
        UsageError: A parameter is unknown, missing or of the wrong type; a handle was misused.
        NotFound: There is no such pipeline.
    """
    found = find_pipeline(pipeline) if isinstance(pipeline, str) else pipeline
    arguments = arguments_of(found, params)
    writer = PlanWriter(found.name, overrides)
    with ambient.plan_into(writer):
        result = found.function(**arguments)
    return replace(writer.finish(result), params={n: Packer().pack(v, n) for n, v in arguments.items()})


def find_pipeline(name: str) -> Pipeline[..., Any]:
    """The pipeline called ``name`` in the project's ``pipeline.py``, or ``module:name`` anywhere on the path.

    Raises:
        NotFound: No such module or pipeline; the message names those there are.
    """
    module_name, _, wanted = name.rpartition(":")
    module = _module(module_name or MODULE)
    found = {p.name: p for p in vars(module).values() if isinstance(p, Pipeline)}
    if wanted in found:
        return found[wanted]
    attribute = getattr(module, wanted, None)
    if isinstance(attribute, Pipeline):
        return attribute
    known = ", ".join(sorted(found)) or "none: decorate a function with @hr.pipeline"
    raise NotFound(f"no pipeline {wanted!r}", where=str(module.__file__), fix=f"there is {known}")


def _module(name: str) -> ModuleType:
    root = str(ambient.platform().settings.root)
    if root not in sys.path:
        sys.path.insert(0, root)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise NotFound(f"no module {name!r}", where=root, fix="run inside a project, or headrace init") from error


def arguments_of(pipeline: Pipeline[..., Any], params: Mapping[str, Any]) -> dict[str, Any]:
    """The pipeline's arguments, defaults filled in, texts read by their annotation (``20``, ``true``, ``[1, 2]``)."""
    signature, hints = inspect.signature(pipeline.function), hints_of(pipeline.function)
    unknown = [name for name in params if name not in signature.parameters]
    if unknown:
        fix = f"one of {', '.join(signature.parameters)}" if signature.parameters else "it takes none"
        raise UsageError(f"pipeline {pipeline.name!r} has no parameter {unknown[0]!r}", fix=fix)
    given = {name: read_text(v, hints.get(name, Any), name) if isinstance(v, str) else v for name, v in params.items()}
    missing = [n for n, p in signature.parameters.items() if p.default is p.empty and n not in given]
    if missing:
        fix = f"headrace run {pipeline.name} --param {missing[0]}=…"
        raise UsageError(f"pipeline {pipeline.name!r} needs parameter {missing[0]!r}", fix=fix)
    bound = signature.bind(**given)
    bound.apply_defaults()
    return dict(bound.arguments)


def read_text(text: str, annotation: Any, name: str) -> Any:
    """A command line's text as its annotation wants it; JSON or the text itself without one.

    Raises:
        UsageError: The text cannot be read so.
    """
    kind = plain(annotation)
    try:
        if kind is str:
            return text
        if kind is bool:
            return _boolean(text)
        if kind in {int, float}:
            return kind(text)
        return json.loads(text)
    except ValueError as error:
        if kind is Any:
            return text
        due = getattr(kind, "__name__", str(kind))
        raise UsageError(f"{name} is {text!r}", why=f"{due} is due") from error


def _boolean(text: str) -> bool:
    if text.lower() not in _TRUE | _FALSE:
        raise ValueError(text)
    return text.lower() in _TRUE
