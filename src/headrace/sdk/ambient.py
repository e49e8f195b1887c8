"""What the decorators find around them: the Platform, the plan being written, the step being run."""

import atexit
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headrace.journey.platform import Platform
    from headrace.pipelines.execution import StepContext
    from headrace.pipelines.workspace import Workspace
    from headrace.sdk.plan import PlanWriter
    from headrace.settings import Settings

_platform: "Platform | None" = None
_scratch: "Platform | None" = None
_plan: "ContextVar[PlanWriter | None]" = ContextVar("headrace_plan", default=None)


def platform() -> "Platform":
    """The ambient Platform: the one in use, else that of the current project, opened on first use."""
    global _platform  # noqa: PLW0603 - one ambient platform a process is the point
    if _platform is None:
        from headrace.assembly import open_platform

        _platform = open_platform()
    return _platform


def opened(settings: "Settings") -> "Platform":
    """Make the platform of ``settings`` the ambient one of this process (a worker's), opened once."""
    global _platform  # noqa: PLW0603 - one ambient platform a process is the point
    if _platform is None or _platform.settings != settings:
        from headrace.assembly import open_platform

        _platform = open_platform(settings)
    return _platform


def workspace(platform: "Platform") -> "Workspace":
    """The part of a Platform that runs work with."""
    from headrace.pipelines.workspace import Workspace

    return Workspace(
        platform.settings.root,
        platform.home,
        ledger=platform.ledger,
        files=platform.files,
        codecs=platform.codec,
        executor=platform.executor,
    )


@contextmanager
def use(platform: "Platform") -> "Iterator[Platform]":
    """Make ``platform`` the ambient one for a while (tests, commands, worker processes)."""
    global _platform  # noqa: PLW0603 - one ambient platform a process is the point
    before, _platform = _platform, platform
    try:
        yield platform
    finally:
        _platform = before


def planning() -> "PlanWriter | None":
    """The plan that calls of steps are written into; None when calls are eager."""
    return _plan.get()


@contextmanager
def plan_into(plan: "PlanWriter | None") -> Iterator[None]:
    """Write calls of steps into ``plan`` for a while; None makes them eager."""
    token = _plan.set(plan)
    try:
        yield
    finally:
        _plan.reset(token)


def current() -> "StepContext | None":
    """The step that this process is running under ``headrace run``; None when called eagerly."""
    from headrace.pipelines.execution import current as running

    return running()


def writable() -> "Platform":
    """Where effects write: the ambient Platform inside a run, outside one a scratch copy that ends with the process.

    The scratch platform has the project's settings and an empty state folder, so an eager ``register`` in a notebook
    does all its checks and leaves nothing behind.
    """
    if current() is not None:
        return platform()
    global _scratch  # noqa: PLW0603 - one scratch platform a process
    if _scratch is None:
        from headrace.assembly import open_platform

        folder = Path(tempfile.mkdtemp(prefix="headrace-scratch-"))
        opened = open_platform(
            replace(platform().settings, home=str(folder), store="local", ledger="sqlite", stream="local")
        )
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        atexit.register(opened.close)
        _scratch = opened
    return _scratch
