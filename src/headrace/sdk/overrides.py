"""``--set step.option=value``: options of a step, or its parameters, for one run."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from headrace.errors import UsageError
from headrace.pipelines.handover import hints_of
from headrace.pipelines.steps import StepSpec
from headrace.sdk.handles import Handle
from headrace.sdk.texts import read_text

OPTIONS = ("cache", "main_process")


def overridden(
    spec: StepSpec, arguments: Mapping[str, Any], given: Mapping[str, Any]
) -> tuple[StepSpec, dict[str, Any]]:
    """The spec and arguments with ``given`` put in.

    Raises:
        UsageError: There is no such option or parameter, or the parameter is another step's output.
    """
    values, hints = dict(arguments), hints_of(spec.function)
    for name, value in given.items():
        if name in values and not isinstance(values[name], Handle):
            values[name] = _read(value, hints.get(name, Any), f"{spec.name}.{name}")
        elif name in OPTIONS:
            option: dict[str, Any] = {name: _read(value, bool, f"{spec.name}.{name}")}
            spec = replace(spec, **option)
        else:
            free = [n for n, v in values.items() if not isinstance(v, Handle)]
            raise UsageError(
                f"cannot set {name!r} of step {spec.name!r}",
                why="it is another step's output" if name in values else "there is no such parameter or option",
                fix=f"one of {', '.join([*free, *OPTIONS])}",
            )
    return spec, values


def _read(value: Any, annotation: Any, name: str) -> Any:
    return read_text(value, annotation, name) if isinstance(value, str) else value
