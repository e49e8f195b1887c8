"""Running pipelines: find one in the project, plan it, run the plan."""

import functools
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from headrace.errors import UsageError
from headrace.pipelines.ports import RunListener
from headrace.pipelines.report import RunReport
from headrace.pipelines.run import Run
from headrace.sdk import ambient
from headrace.sdk.decorators import Pipeline
from headrace.sdk.planning import planned
from headrace.sdk.worker import make_call


@dataclass(frozen=True)
class Request:
    """What to run.

    Attributes:
        pipeline: The pipeline, or how to find it: ``name`` in the project's ``pipeline.py``, or ``module:name``.
        params: The pipeline's parameters: values, or texts to be read by its annotations.
        overrides: Step name to option or parameter to value, for this run.
        only: Steps wanted, with what they need; empty for all.
    """

    pipeline: Pipeline[..., Any] | str
    params: Mapping[str, Any] = field(default_factory=dict)
    overrides: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    only: Sequence[str] = ()


def run(request: Request, *, listeners: Sequence[RunListener] = ()) -> RunReport:
    """Plan and run a pipeline on the ambient platform; what failed is in the report, and its ``exit_code`` says it.

    Raises:
        UsageError: The pipeline, a parameter or a step does not exist, or a handle was misused.
    """
    return prepared(request, listeners=listeners).execute()


def prepared(request: Request, *, listeners: Sequence[RunListener] = ()) -> Run:
    """The run, planned and not started."""
    if sys.flags.optimize:
        raise UsageError(
            "gates cannot run", why="python -O removes assertions", fix="run without -O and PYTHONOPTIMIZE"
        )
    platform = ambient.platform()
    plan = planned(request.pipeline, request.params, request.overrides)
    remote = functools.partial(make_call, platform.settings, tuple(sys.path))
    return Run(plan, ambient.workspace(platform), remote, listeners=listeners, only=request.only)
