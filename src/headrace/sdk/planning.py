"""From a pipeline's name and the texts of the command line to a plan."""

import importlib
import inspect
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from headrace.assembly import project_home
from headrace.errors import HeadraceError, NotFound, UsageError
from headrace.pipelines.handover import hints_of
from headrace.pipelines.opened import recorded
from headrace.pipelines.plan import Plan
from headrace.pipelines.plan_cache import PlanCache
from headrace.pipelines.values import Packer
from headrace.sdk import ambient
from headrace.sdk.decorators import Pipeline
from headrace.sdk.plan import PlanWriter
from headrace.sdk.texts import read_text

MODULE = "pipeline"


def planned(
    pipeline: Pipeline[..., Any] | str, params: Mapping[str, Any], overrides: Mapping[str, Mapping[str, Any]]
) -> Plan:
    """The plan of a pipeline with its parameters; of one that is named, the plan kept from an earlier run if it holds.

    Raises:
        UsageError: A parameter is unknown, missing or of the wrong type; a handle was misused; the project's code
            raised while it was imported or planned.
        NotFound: There is no such pipeline.
    """
    if not isinstance(pipeline, str):
        return _planned(pipeline, params, overrides)
    platform = ambient.platform()
    root = platform.settings.root
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    kept = PlanCache(platform.home / "cache" / "plans", root)
    request = [pipeline, dict(params), {name: dict(given) for name, given in overrides.items()}, platform.settings.env]
    plan = kept.find(request, platform.ledger)
    if plan is None:
        with recorded(root, besides=platform.home) as opened:
            plan = _planned(find_pipeline(pipeline), params, overrides)
        project_home(platform.settings)
        kept.keep(request, plan, sources=_sources(), opened=opened)
    return plan


def _planned(
    pipeline: Pipeline[..., Any], params: Mapping[str, Any], overrides: Mapping[str, Mapping[str, Any]]
) -> Plan:
    writer = PlanWriter(pipeline.name, overrides)
    with _users(f"pipeline {pipeline.name!r} cannot be planned"):
        arguments = arguments_of(pipeline, params)
        with ambient.plan_into(writer):
            result = pipeline.function(**arguments)
    return replace(writer.finish(result), params={n: Packer().pack(v, n) for n, v in arguments.items()})


def _sources() -> set[Path]:
    from headrace.pipelines.modules import loaded_sources  # only planning needs it

    return loaded_sources()


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
    try:
        with _users(f"module {name!r} cannot be imported", absent=name):
            return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise NotFound(f"no module {name!r}", where=root, fix="run inside a project, or headrace init") from error


@contextmanager
def _users(what: str, *, absent: str = "") -> Iterator[None]:
    """The user's own code runs: what it raises becomes a ``UsageError`` with the user's line.

    Args:
        what: What could not be done, if so.
        absent: A module whose absence is for the caller to tell.
    """
    try:
        yield
    except HeadraceError:
        raise
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and error.name == absent:
            raise
        from headrace.pipelines.lines import user_line  # only failures need it

        where = user_line(error)
        text = error.msg if isinstance(error, SyntaxError) else str(error)
        raise UsageError(
            what, where=where, why=f"{type(error).__name__}: {text}", fix=_mending(error, where)
        ) from error


def _mending(error: BaseException, where: str) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"install what provides {error.name.partition('.')[0]!r}, or mend the import"
    return f"mend {where or 'it'}; HEADRACE_DEBUG=1 shows the traceback"


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
