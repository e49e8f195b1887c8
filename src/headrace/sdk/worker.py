"""What a worker process does for a run: open the same platform, make the call."""

import sys
from collections.abc import Sequence

from headrace.pipelines.execution import Call, Outcome, perform
from headrace.sdk import ambient
from headrace.settings import Settings


def make_call(settings: Settings, path: Sequence[str], call: Call) -> Outcome:
    """Make a call in a worker process.

    Args:
        settings: Of the run; the worker opens its own engines with them, once.
        path: The run's ``sys.path``: where the project's modules are.
        call: What to call.
    """
    sys.path[:] = path
    return perform(call, ambient.workspace(ambient.opened(settings)))
