"""Which nodes of a plan may start, and which never will: pure data, no clocks and no processes."""

from collections.abc import Mapping, Sequence
from typing import Literal

from headrace.pipelines.plan import Plan
from headrace.pipelines.references import Reference

State = Literal["waiting", "running", "done", "cached", "failed", "refused", "skipped"]
GOOD = frozenset({"done", "cached"})
SETTLED = frozenset({"done", "cached", "failed", "refused", "skipped"})


class Schedule:
    """The states of a plan's nodes.

    Args:
        plan: The plan.
        only: Names of the steps wanted; with what they need, all others are left out.
    """

    def __init__(self, plan: Plan, only: Sequence[str] = ()) -> None:
        self.plan = plan
        self.needed = plan.needed(only)
        self.outputs: dict[int, Reference] = {}
        self._states: dict[int, State] = dict.fromkeys(sorted(self.needed), "waiting")
        for index in self._states:
            value = plan.nodes[index].value
            if value is not None:
                self._states[index] = "cached"
                self.outputs[index] = value

    @property
    def states(self) -> Mapping[int, State]:
        """State by node index, of the nodes that take part."""
        return self._states

    def ready(self) -> list[int]:
        """Nodes that wait for nothing any more and that nothing stops, in the order they were written."""
        return [i for i in self._waiting() if self._unblocked(i) and not self.stopped_by(i)]

    def stopped(self) -> list[tuple[int, int]]:
        """Waiting nodes that will never start, each with the node that stops it."""
        found = []
        for index in self._waiting():
            by = self.stopped_by(index)
            if by is not None:
                found.append((index, by))
        return found

    def stopped_by(self, index: int) -> int | None:
        """The node whose failure stops ``index``, if any."""
        for other in self.plan.stops(index):
            state = self._states.get(other)
            if state in SETTLED and state not in GOOD:
                return other
        return None

    def settle(self, index: int, state: State, output: Reference | None = None) -> None:
        """Give a node its state (and output)."""
        self._states[index] = state
        if output is not None:
            self.outputs[index] = output

    def _waiting(self) -> list[int]:
        return [i for i, state in self._states.items() if state == "waiting"]

    def _unblocked(self, index: int) -> bool:
        return all(self._states.get(other, "done") in SETTLED for other in self.plan.waits_for(index))
