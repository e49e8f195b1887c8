"""``@hr.step``, ``@hr.gate``, ``@hr.pipeline``: the same typed function, under ``headrace run`` a node of a plan."""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, cast, overload

from headrace.pipelines.steps import Kind, StepSpec
from headrace.pipelines.values import named_type
from headrace.refs import checked_name
from headrace.sdk import ambient

if TYPE_CHECKING:
    from headrace.pipelines.plan import Plan

P = ParamSpec("P")
R = TypeVar("R")


class Step(Generic[P, R]):
    """A step or gate: called eagerly it is its function; while a pipeline is planned, a call is a node of the plan."""

    def __init__(self, spec: StepSpec) -> None:
        functools.update_wrapper(self, spec.function)
        self.spec = spec

    @property
    def name(self) -> str:
        """How people call it."""
        return self.spec.name

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function, or plan the call and return a handle of the function's type."""
        plan = ambient.planning()
        made: Any = self.spec.function(*args, **kwargs) if plan is None else plan.call(self.spec, args, kwargs)
        return cast("R", made)

    def __repr__(self) -> str:
        """For people."""
        return f"<{self.spec.kind} {self.name!r}>"

    def __reduce__(self) -> Any:
        """Travel between processes by name."""
        return named_type, (self.spec.reference,)


class Pipeline(Generic[P, R]):
    """A pipeline: called, it runs its body eagerly; ``plan`` writes the body down instead."""

    def __init__(self, function: Callable[P, R], name: str) -> None:
        functools.update_wrapper(self, function)
        self.function, self.name = function, name

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the body; inside another pipeline's plan its steps join that plan."""
        return self.function(*args, **kwargs)

    def plan(self, *args: P.args, **kwargs: P.kwargs) -> "Plan":
        """The body as a DAG of calls, nothing run."""
        from headrace.sdk.plan import PlanWriter

        writer = PlanWriter(self.name)
        with ambient.plan_into(writer):
            result = self.function(*args, **kwargs)
        return writer.finish(result)

    def __repr__(self) -> str:
        """For people."""
        return f"<pipeline {self.name!r}>"


@overload
def step(function: Callable[P, R], /) -> Step[P, R]: ...
@overload
def step(
    *,
    name: str | None = None,
    effect: bool = False,
    cache: bool = True,
    main_process: bool = False,
    environment: tuple[str, ...] = (),
) -> Callable[[Callable[P, R]], Step[P, R]]: ...
def step(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:  # noqa: D417 - see the overload
    """Make a function a step.

    Args:
        function: A module-level function; its annotations decide how inputs are handed over.
        name: How people call it; by default the function's name.
        effect: It changes the world outside the run, so it waits for every gate written above it.
        cache: Take a finished call from the ledger instead of running it again.
        main_process: Run it where the run was started, never in a worker (it submits children).
        environment: Environment variables that it reads; their values enter its content key.
    """
    return _decorator("step", function, options)


@overload
def gate(function: Callable[P, R], /) -> Step[P, R]: ...
@overload
def gate(
    *, name: str | None = None, cache: bool = True, main_process: bool = False
) -> Callable[[Callable[P, R]], Step[P, R]]: ...
def gate(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:  # noqa: D417 - see the overload
    """Make a function a gate: a failing ``assert`` (or ``Refused``) stops every effect written below it.

    Args:
        function: A module-level function that asserts and returns nothing.
        name: How people call it; by default the function's name.
        cache: Take a passed call from the ledger instead of judging again.
        main_process: Run it where the run was started, never in a worker (it measures time).
    """
    return _decorator("gate", function, options)


@overload
def pipeline(function: Callable[P, R], /) -> Pipeline[P, R]: ...
@overload
def pipeline(*, name: str) -> Callable[[Callable[P, R]], Pipeline[P, R]]: ...
def pipeline(function: Callable[..., Any] | None = None, /, *, name: str | None = None) -> Any:
    """Make a function a pipeline: its body is planned once under ``headrace run``.

    Args:
        function: Takes JSON values with annotations (``--param trials=20``) and calls steps.
        name: How people call it; by default the function's name.
    """

    def decorate(body: Callable[..., Any]) -> Pipeline[..., Any]:
        return Pipeline(body, checked_name(name or body.__name__, of="pipeline"))

    return decorate if function is None else decorate(function)


def _decorator(kind: Kind, function: Callable[..., Any] | None, options: dict[str, Any]) -> Any:
    def decorate(body: Callable[..., Any]) -> Step[..., Any]:
        given = dict(options)
        name = checked_name(given.pop("name", None) or body.__name__, of=kind)
        return Step(StepSpec(name, kind, body, **given))

    return decorate if function is None else decorate(function)
