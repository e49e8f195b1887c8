"""Which nodes of a plan may start, and which never will: pure data, no clocks and no processes."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Literal

from headrace.pipelines.plan import Plan
from headrace.pipelines.references import Reference

State = Literal["waiting", "running", "done", "cached", "failed", "refused", "skipped"]
GOOD = frozenset({"done", "cached"})
SETTLED = frozenset({"done", "cached", "failed", "refused", "skipped"})


class Schedule:
    """The states of a plan's nodes; each settled node costs time for those that wait for it, and no others.

    Args:
        plan: The plan.
        only: Names of the steps wanted; with what they need, all others are left out.
    """

    def __init__(self, plan: Plan, only: Sequence[str] = ()) -> None:
        self.needed = plan.needed(only)
        self.outputs: dict[int, Reference] = {}
        self._states: dict[int, State] = dict.fromkeys(sorted(self.needed), "waiting")
        self._open: dict[int, int] = {}
        self._waiting_for: defaultdict[int, list[int]] = defaultdict(list)
        self._stopping: defaultdict[int, list[int]] = defaultdict(list)
        self._ready: set[int] = set()
        self._stopped: dict[int, int] = {}
        for index in self._states:
            waits = [other for other in plan.waits_for(index) if other in self.needed]
            self._open[index] = len(waits)
            for other in waits:
                self._waiting_for[other].append(index)
            for other in plan.stops(index):
                self._stopping[other].append(index)
        for index in self._states:
            value = plan.nodes[index].value
            if value is not None:
                self.settle(index, "cached", value)
            elif not self._open[index]:
                self._ready.add(index)

    @property
    def states(self) -> Mapping[int, State]:
        """State by node index, of the nodes that take part."""
        return self._states

    @property
    def waiting(self) -> bool:
        """Whether some node may still start."""
        return bool(self._ready or self._stopped)

    def ready(self) -> list[int]:
        """Nodes that wait for nothing any more and that nothing stops, in the order they were written."""
        return sorted(self._ready)

    def stopped(self) -> list[tuple[int, int]]:
        """Waiting nodes that will never start, each with a node that stops it."""
        return sorted(self._stopped.items())

    def settle(self, index: int, state: State, output: Reference | None = None) -> None:
        """Give a node its state (and output)."""
        self._states[index] = state
        self._ready.discard(index)
        self._stopped.pop(index, None)
        if output is not None:
            self.outputs[index] = output
        if state not in SETTLED:
            return
        for other in self._waiting_for[index]:
            self._open[other] -= 1
            if not self._open[other] and self._states[other] == "waiting" and other not in self._stopped:
                self._ready.add(other)
        if state not in GOOD:
            for other in self._stopping[index]:
                if self._states.get(other) == "waiting":
                    self._ready.discard(other)
                    self._stopped.setdefault(other, index)
