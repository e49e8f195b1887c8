"""Running a plan: cache first, one short step here, several in worker processes, everything on record."""

from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from headrace.errors import HeadraceError
from headrace.pipelines import cache, keys
from headrace.pipelines.execution import Call, Outcome, StepContext, perform
from headrace.pipelines.plan import Plan, resolved
from headrace.pipelines.ports import RunListener
from headrace.pipelines.record import Record
from headrace.pipelines.references import Reference, tree_digest
from headrace.pipelines.report import RunReport, StepReport
from headrace.pipelines.schedule import Schedule
from headrace.pipelines.workspace import Workspace
from headrace.refs import new_id

if TYPE_CHECKING:
    from concurrent.futures import Future

Remote = Callable[[Call], Outcome]
_SHORT_S = 0.1
"""Less than this is sooner done here than by a worker that has to start."""

_running: "ContextVar[Run | None]" = ContextVar("headrace_run", default=None)


def running() -> "Run | None":
    """The run that this process is making calls for, or None (in a worker too)."""
    return _running.get()


@dataclass(frozen=True)
class Launch:
    """A call that was not found in the cache, and the parts of its key."""

    index: int
    call: Call
    parts: Mapping[str, Any]
    main_process: bool


@dataclass
class Run:
    """One run of a plan.

    Attributes:
        plan: What to run.
        workspace: Ports and folders.
        remote: ``perform`` as a worker process can call it: picklable, opens its own workspace.
        listeners: Told what happens.
        only: Names of the steps wanted, with what they need; empty for all.
        id: Run id.
    """

    plan: Plan
    workspace: Workspace
    remote: Remote
    listeners: Sequence[RunListener] = ()
    only: Sequence[str] = ()
    id: str = field(default_factory=new_id)

    def __post_init__(self) -> None:
        """Nothing is started yet."""
        self.record = Record(self.id, self.plan.pipeline, self.workspace, self.listeners)
        self._schedule = Schedule(self.plan, self.only)
        self._futures: dict[Future[Outcome], Launch] = {}
        self._effect_made = False

    def execute(self) -> RunReport:
        """Run all that can be run; what failed is in the report."""
        nodes = [self.plan.nodes[i] for i in self._schedule.needed]
        self.record.started(sum(n.kind != "source" for n in nodes), self.plan.params)
        try:
            while self.advance(here=True):
                pass
        except BaseException:
            self.record.finished("stopped")
            raise
        self.record.finished(self.record.state)
        return RunReport(
            self.id,
            self.plan.pipeline,
            self.record.state,
            self.record.seconds,
            steps=self._in_order(),
            result=self._result(),
        )

    def advance(self, *, here: bool, until: "Sequence[Future[Any]]" = ()) -> bool:
        """Settle what the cache knows, launch what it does not, and wait for one thing to end.

        Args:
            here: Whether this process may make a call itself; not while it is inside one that waits for children.
            until: Further futures that end the wait.

        Returns:
            Whether anything is left to do.
        """
        mine = self._distribute(self._settle_known(), here=here)
        for launch in mine:
            self._make_here(launch)
        if mine:
            return True
        if self._futures or until:
            self._wait([*self._futures, *until])
        return bool(self._futures) or self._schedule.waiting

    def submit(self, call: Call) -> "Future[Outcome]":
        """Give a call to a worker process."""
        self.record.launched(call, here=False)
        return self.workspace.executor().submit(self.remote, call)

    def make(self, call: Call) -> Outcome:
        """Make a call in this process."""
        self.record.launched(call, here=True)
        token = _running.set(self)
        try:
            return perform(call, self.workspace)
        finally:
            _running.reset(token)

    def is_short(self, name: str) -> bool:
        """Whether a step of this name took less time, when it last ran, than a worker takes to start."""
        seconds = self.record.past_seconds(name)
        return seconds is not None and seconds < _SHORT_S and not self.record.is_deadly(name)

    def may_stay(self, call: Call) -> bool:
        """Whether this process may make a call that a worker could: not one that took its process down last time."""
        return not self.record.is_deadly(call.context.name)

    def _settle_known(self) -> list[Launch]:
        """Skip what is stopped and take what is cached, until only real work is left: that."""
        launches: dict[int, Launch] = {}
        while True:
            stopped = self._schedule.stopped()
            for index, by in stopped:
                self._skip(index, self.plan.nodes[by].name)
            fresh = [i for i in self._schedule.ready() if i not in launches]
            for index in fresh:
                launch = self._launch(index)
                if launch is not None:
                    launches[index] = launch
            if not fresh and not stopped:
                return list(launches.values())

    def _launch(self, index: int) -> Launch | None:
        """The call that a node needs made; None when the cache had it."""
        node = self.plan.nodes[index]
        arguments = {n: resolved(tree, self._schedule.outputs) for n, tree in node.arguments.items()}
        parts = keys.call_parts(node.parts, arguments)
        key = keys.key_of(parts)
        again = node.effect and self._effect_made
        known = None if again else cache.find(node, key, self.plan.pipeline, self.workspace)
        if known is not None:
            self.record.cached(node.name, node.kind, known)
            self._schedule.settle(index, "cached", known.reference)
            return None
        call = Call(node.function, "gate" if node.kind == "gate" else "step", arguments, self._context(index, key))
        return Launch(index, call, parts, node.main_process)

    def _distribute(self, launches: Sequence[Launch], *, here: bool) -> list[Launch]:
        """Give workers what they may take; the launches to make in this process, in order."""
        alone = here and len(launches) == 1 and not self._futures
        if alone and (launches[0].main_process or self.may_stay(launches[0].call)):
            return list(launches)
        short = [x for x in launches if here and not x.main_process and self.is_short(x.call.context.name)]
        bound = [x for x in launches if x.main_process]
        kept = {launch.index for launch in (*short, *bound)}
        for launch in launches:
            if launch.index not in kept:
                self._schedule.settle(launch.index, "running")
                self._futures[self.submit(launch.call)] = launch
        if not here:
            return []
        return [*short, *bound[:1]] or self._taken_back()

    def _taken_back(self) -> list[Launch]:
        """A call that no worker has begun, while none is at work: short steps do not wait for a process to start."""
        if any(future.running() or future.done() for future in self._futures):
            return []
        for future, launch in self._futures.items():
            long = (self.record.past_seconds(launch.call.context.name) or 0.0) >= _SHORT_S
            if not long and self.may_stay(launch.call) and future.cancel():
                del self._futures[future]
                return [launch]
        return []

    def _make_here(self, launch: Launch) -> None:
        self._schedule.settle(launch.index, "running")
        self._settle(launch, self.make(launch.call))

    def _wait(self, futures: "Sequence[Future[Any]]") -> None:
        from concurrent.futures import FIRST_COMPLETED, wait

        done, _ = wait(futures, return_when=FIRST_COMPLETED)
        for future in done:
            launch = self._futures.pop(future, None)
            if launch is not None:
                self._settle(launch, outcome_of(future))

    def _settle(self, launch: Launch, outcome: Outcome) -> None:
        self._schedule.settle(launch.index, outcome.state, outcome.reference)
        effect = self.plan.nodes[launch.index].effect
        # What one effect changes (an alias), the next may read without being told: it is made again too.
        self._effect_made = self._effect_made or effect
        self.record.ended(launch.call, launch.parts, outcome, effect=effect)

    def _skip(self, index: int, by: str) -> None:
        node = self.plan.nodes[index]
        self._schedule.settle(index, "skipped")
        self.record.report(StepReport(node.name, node.kind, "skipped", error=f"{by!r} did not pass"))

    def _context(self, index: int, key: str) -> StepContext:
        nodes, reports = self.plan.nodes, self.record.reports
        lineage = [nodes[i] for i in sorted(self.plan.lineage(index))]
        datasets = {n.name: n.value.tree.get("digest", "") for n in lineage if n.value is not None}
        steps = {n.name: reports[n.name].key for n in lineage if n.name in reports}
        gates = tuple(n.name for n in nodes[:index] if n.kind == "gate") if nodes[index].effect else ()
        name = nodes[index].name
        return StepContext(self.id, name, key, {**steps, name: key}, datasets, gates, self.plan.pipeline)

    def _in_order(self) -> list[StepReport]:
        order = {node.name: i for i, node in enumerate(self.plan.nodes)}
        return sorted(self.record.reports.values(), key=lambda r: order.get(r.name.partition("/")[0], len(order)))

    def _result(self) -> Reference | None:
        try:
            tree = resolved(self.plan.result, self._schedule.outputs)
        except KeyError:
            return None
        if isinstance(tree, dict) and "$ref" in tree:
            return Reference.from_json(tree["$ref"])
        return Reference(tree, tree_digest(tree))


def outcome_of(future: "Future[Outcome]") -> Outcome:
    """How a worker's call went; a worker that died is a failed call."""
    try:
        return future.result()
    except HeadraceError as error:
        return Outcome("failed", 0.0, error=str(error), code=error.code)
    except Exception as error:  # noqa: BLE001 - what a call cannot be sent or answered for is its failure
        return Outcome("failed", 0.0, error=f"{type(error).__name__}: {error}", code="run-failed")
