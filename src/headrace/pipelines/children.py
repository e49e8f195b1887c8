"""Children: calls that a running step makes, keyed, cached and recorded like steps of the plan."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from headrace.errors import RunFailed
from headrace.pipelines import cache, keys
from headrace.pipelines.execution import Call, Outcome, StepContext
from headrace.pipelines.references import StepResult
from headrace.pipelines.run import Run, outcome_of
from headrace.pipelines.steps import StepSpec
from headrace.pipelines.values import Packer

if TYPE_CHECKING:
    from concurrent.futures import Future


def make_children(
    run: Run, parent: StepContext, spec: StepSpec, calls: Sequence[Mapping[str, Any]]
) -> list[StepResult]:
    """Make ``calls`` of a step in worker processes, those that the cache knows excepted; results in order.

    Args:
        run: The run of the parent.
        parent: The step that makes the calls.
        spec: The step to call.
        calls: Parameter to value; tables and models as ``Reference``.

    Raises:
        RunFailed: A child raised; the others were finished first.
    """
    code = keys.code_parts(spec)
    offset = sum(name.startswith(f"{parent.name}/{spec.name}-") for name in run.record.reports)
    prepared = [_prepared(parent, spec, code, given, offset + i) for i, given in enumerate(calls, 1)]
    found: dict[int, StepResult] = {}
    missing = []
    for i, (call, _) in enumerate(prepared):
        known = cache.lookup(call.context.key, run.workspace) if spec.cache else None
        if known is None:
            missing.append(i)
        else:
            run.record.cached(call.context.name, call.kind, known)
            found[i] = known
    failures = []
    for i, outcome in _outcomes(run, {i: prepared[i][0] for i in missing}):
        call, parts = prepared[i]
        result = run.record.ended(call, parts, outcome)
        if result is None:
            failures.append(f"{call.context.name}: {outcome.error}")
        else:
            found[i] = result
    if failures:
        raise RunFailed(f"{len(failures)} of {len(calls)} calls of {spec.name!r} failed", why=failures[0])
    return [found[i] for i in range(len(calls))]


def _prepared(
    parent: StepContext, spec: StepSpec, code: Mapping[str, Any], given: Mapping[str, Any], number: int
) -> tuple[Call, dict[str, Any]]:
    arguments = {name: Packer().pack(value, f"{spec.name}({name})") for name, value in spec.bind((), given).items()}
    parts = keys.call_parts(code, arguments)
    key, name = keys.key_of(parts), f"{parent.name}/{spec.name}-{number}"
    context = replace(parent, name=name, key=key, steps={**parent.steps, name: key})
    return Call(spec.reference, spec.kind, arguments, context), parts


def _outcomes(run: Run, calls: Mapping[int, Call]) -> Iterator[tuple[int, Outcome]]:
    """Each call's outcome when it ends; short or single ones made here, others by workers while the run goes on."""
    alone = len(calls) <= 1 or run.is_short(calls[min(calls)].context.name)
    if alone and all(run.may_stay(call) for call in calls.values()):
        for i, call in calls.items():
            yield i, run.make(call)
        return
    futures: dict[Future[Outcome], int] = {run.submit(call): i for i, call in calls.items()}
    while futures:
        for future in [f for f in futures if f.done()]:
            yield futures.pop(future), outcome_of(future)
        if futures and not any(future.done() for future in futures):
            run.advance(here=False, until=list(futures))
