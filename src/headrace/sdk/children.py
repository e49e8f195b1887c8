"""Children for built-in steps: ``search`` runs its trials so."""

from collections.abc import Mapping, Sequence
from typing import Any

from headrace.errors import RunFailed
from headrace.pipelines.children import make_children
from headrace.pipelines.execution import current
from headrace.pipelines.handover import Loader
from headrace.pipelines.references import Reference, StepResult
from headrace.pipelines.run import running
from headrace.sdk import ambient
from headrace.sdk.decorators import Step


def inside_run() -> bool:
    """Whether this process is running a step of a run that can make children (a ``main_process`` step's)."""
    return running() is not None and current() is not None


def run_children(step: Step[..., Any], calls: Sequence[Mapping[str, Any]]) -> list[StepResult]:
    """Call ``step`` once for each mapping of parameter to value, in parallel where that pays; results in order.

    Every call is keyed, taken from the cache when known, and recorded like a step of the plan. Results stay where they
    are stored; ``value`` loads one.

    Args:
        step: A step; its parameters' annotations decide how references among the values are handed over.
        calls: Parameter to value; pass tables and models as the ``Reference`` that a parameter annotated so was given.

    Raises:
        RunFailed: A call raised, or this is no running ``main_process`` step (``inside_run``).
    """
    run, parent = running(), current()
    if run is None or parent is None:
        raise RunFailed("no run to make children of", why="only a running main_process step can", fix="call the step")
    return make_children(run, parent, step.spec, calls)


def value(reference: Reference, annotation: Any = Any) -> Any:
    """Load a reference as ``annotation`` wants it; without one, as it was returned."""
    platform = ambient.platform()
    return Loader(platform.files, platform.codec).load(reference, annotation)
