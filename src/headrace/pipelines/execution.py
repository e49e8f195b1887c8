"""Running one call: hand its inputs over, run it with its output captured, keep what it returns."""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TextIO

from headrace.errors import GateFailed, HeadraceError, Refused, RunFailed
from headrace.pipelines.capture import captured
from headrace.pipelines.handover import Loader, hints_of
from headrace.pipelines.opened import recorded
from headrace.pipelines.references import Reference, tree_digest
from headrace.pipelines.steps import StepSpec
from headrace.pipelines.values import Packer, named_type
from headrace.pipelines.workspace import Workspace
from headrace.storage import manifest


@dataclass(frozen=True)
class StepContext:
    """The step that is running, for built-in steps that record where something came from.

    Attributes:
        run: Run id.
        name: The step's name in the run.
        key: Its content key.
        steps: Step name to key of everything its inputs are made from, itself included.
        datasets: Dataset reference (``orders@1``) to digest, of the same.
        gates: Gates written above it; all have passed when an effect runs.
        pipeline: Name of the pipeline.
    """

    run: str
    name: str
    key: str
    steps: Mapping[str, str] = field(default_factory=dict)
    datasets: Mapping[str, str] = field(default_factory=dict)
    gates: tuple[str, ...] = ()
    pipeline: str = ""


@dataclass(frozen=True)
class Call:
    """One call to make, in plain data: it travels to worker processes.

    Attributes:
        function: ``module:qualname`` of a step or of its function.
        kind: ``step`` or ``gate``.
        arguments: Parameter to packed value, inputs as references.
        context: Who is running.
    """

    function: str
    kind: Literal["step", "gate"]
    arguments: Mapping[str, Any]
    context: StepContext


@dataclass(frozen=True)
class Outcome:
    """How a call went.

    Attributes:
        state: ``done``; ``failed`` when it raised; ``refused`` when a gate or check said no.
        seconds: Wall time of the call, hand-over and storing included.
        reference: What it returned, when done.
        opened: Project files it read.
        error: What it raised, for people; the traceback is in the log.
        code: The error's stable code.
        values: What a failed assertion saw, by the text of each name.
    """

    state: Literal["done", "failed", "refused"]
    seconds: float
    reference: Reference | None = None
    opened: Mapping[str, str] = field(default_factory=dict)
    error: str = ""
    code: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)


_HERE = str(Path(__file__).parents[1])
_current: ContextVar[StepContext | None] = ContextVar("headrace_step", default=None)


def current() -> StepContext | None:
    """The context of the call that this process is making, or None."""
    return _current.get()


def perform(call: Call, workspace: Workspace) -> Outcome:
    """Make the call in this process. What it raises becomes an outcome; only ``KeyboardInterrupt`` passes."""
    began = time.perf_counter()
    opened: Mapping[str, str] = {}
    context = call.context
    with captured(workspace.log(context.run, context.name)) as log, _as_current(context):
        try:
            spec = spec_of(call.function, call.kind)
            arguments = _handed_over(spec, call.arguments, Loader(workspace.files, workspace.codecs))
            with recorded(workspace.root, besides=workspace.home) as opened:
                value = _checked(spec, spec.call(arguments))
            reference = keep(value, context.key, workspace)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a user's step may raise anything
            return _failure(error, call, log, time.perf_counter() - began)
    return Outcome("done", time.perf_counter() - began, reference, opened)


def spec_of(function: str, kind: Literal["step", "gate"] = "step") -> StepSpec:
    """The step that ``module:qualname`` names; a plain function becomes one."""
    found = named_type(function)
    spec = getattr(found, "spec", None)
    return spec if isinstance(spec, StepSpec) else StepSpec(found.__name__, kind, found)


def keep(value: Any, key: str, workspace: Workspace) -> Reference:
    """Store a value under a fresh folder of ``key``: files first, manifest last; small JSON needs no files at all."""
    if isinstance(value, Reference):
        return value
    scratch = workspace.home / "cache" / f"half-{os.urandom(4).hex()}"

    def folder() -> Path:
        scratch.mkdir(parents=True, exist_ok=True)
        return scratch

    try:
        packer = Packer(workspace.codecs, folder)
        tree = packer.spill(packer.pack(value, "the returned value"))
        digest = tree_digest(tree)
        if not scratch.exists():
            return Reference(tree, digest)
        prefix = f"artifacts/{key[:2]}/{key}-{scratch.name[-8:]}"
        return Reference(tree, digest, prefix, manifest.store(workspace.files(), scratch, prefix).digest)
    finally:
        if scratch.exists():
            import shutil  # small JSON results never come here

            shutil.rmtree(scratch, ignore_errors=True)


def _handed_over(spec: StepSpec, arguments: Mapping[str, Any], loader: Loader) -> dict[str, Any]:
    hints = hints_of(spec.function)
    return {name: loader.load(_reference(tree), hints.get(name, Any)) for name, tree in arguments.items()}


def _checked(spec: StepSpec, value: Any) -> Any:
    """The value, which must have as many parts as a fixed ``tuple[…]`` annotation promised the plan."""
    due = spec.outputs
    if due is not None and not (isinstance(value, tuple) and len(value) == due):
        found = f"{len(value)} values" if isinstance(value, tuple) else type(value).__name__
        raise RunFailed(f"step {spec.name!r} returned {found}", why=f"its annotation promises a tuple of {due}")
    return value


def _reference(tree: Any) -> Reference:
    """An argument as a reference: another step's output is one already."""
    if isinstance(tree, dict) and "$ref" in tree:
        return Reference.from_json(tree["$ref"])
    return Reference(tree, tree_digest(tree))


def _failure(error: BaseException, call: Call, log: TextIO, seconds: float) -> Outcome:
    """The outcome of a raising call; the whole traceback goes to the log."""
    _print_traceback(error, log)
    if isinstance(error, AssertionError) and call.kind == "gate":
        from headrace.pipelines.assertions import explained, judged  # only failures need it

        text = _at_line(explained(error), error)
        log.write(text + "\n")
        return Outcome("refused", seconds, error=text, code=GateFailed.code, values=judged(error))
    if isinstance(error, HeadraceError):
        state: Literal["failed", "refused"] = "refused" if isinstance(error, Refused) else "failed"
        return Outcome(state, seconds, error=_at_line(str(error), error), code=error.code)
    text = _at_line(f"{type(error).__name__}: {error}", error)
    return Outcome("failed", seconds, error=text, code="run-failed")


def _print_traceback(error: BaseException, log: TextIO) -> None:
    """The traceback from the user's first line on: how headrace got there is not news."""
    import traceback  # only failures need it

    first = error.__traceback__
    while first is not None and first.tb_next is not None and first.tb_frame.f_code.co_filename.startswith(_HERE):
        first = first.tb_next
    traceback.print_exception(type(error), error, first, file=log)


def _at_line(text: str, error: BaseException) -> str:
    """The text with the user's line at the end of its first line: ``too heavy (pipeline.py:12)``."""
    from headrace.pipelines.lines import user_line  # only failures need it

    line = user_line(error)
    first, newline, rest = text.partition("\n")
    return text if not line or line in text else f"{first} ({line}){newline}{rest}"


@contextmanager
def _as_current(context: StepContext) -> Iterator[None]:
    token = _current.set(context)
    try:
        yield
    finally:
        _current.reset(token)
