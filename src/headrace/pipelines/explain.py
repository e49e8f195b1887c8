"""Before a run: what would be taken from the cache, what would run, and why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from headrace.pipelines import cache, keys
from headrace.pipelines.opened import digests
from headrace.pipelines.plan import Node, Plan, node_marks, resolved
from headrace.pipelines.references import Reference, StepResult
from headrace.pipelines.workspace import Workspace
from headrace.storage.ledger import Fact

_HISTORY = 5000


@dataclass(frozen=True)
class Forecast:
    """What a run would do with one step.

    Attributes:
        name: Of the step.
        kind: ``step`` or ``gate``.
        state: ``cached``; ``run``; ``unknown`` while a step that it takes its input from has to run first.
        key: Content key; empty while unknown.
        why: The reasons, one a line, for people.
    """

    name: str
    kind: str
    state: Literal["cached", "run", "unknown"]
    key: str = ""
    why: Sequence[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {"name": self.name, "kind": self.kind, "state": self.state, "key": self.key, "why": list(self.why)}


def forecast(plan: Plan, workspace: Workspace, only: Sequence[str] = ()) -> list[Forecast]:
    """What a run of ``plan`` would do, step by step; nothing is run."""
    outputs: dict[int, Reference] = {}
    found = []
    needed = plan.needed(only)
    effect_made = False
    for index, node in enumerate(plan.nodes):
        if node.value is not None:
            outputs[index] = node.value
        elif index in needed:
            entry, output = _foreseen(node, plan, outputs, workspace)
            if node.effect and effect_made and entry.state == "cached":
                entry, output = replace(entry, state="run", why=["an effect above it happens again"]), None
            effect_made = effect_made or (node.effect and entry.state != "cached")
            found.append(entry)
            if output is not None:
                outputs[index] = output
    return found


def _foreseen(
    node: Node, plan: Plan, outputs: Mapping[int, Reference], workspace: Workspace
) -> tuple[Forecast, Reference | None]:
    last = _last(node.name, workspace)
    missing = [i for i in node.inputs if i not in outputs]
    if missing:
        first = [f"{plan.nodes[i].name} has to run first" for i in missing]
        known = keys.call_parts(node.parts, {n: t for n, t in node.arguments.items() if not any(node_marks(t))})
        changed = keys.changes({**last.parts, "inputs": {}}, known) if last else []
        return Forecast(node.name, node.kind, "unknown", why=[*changed, *first]), None
    parts = keys.call_parts(node.parts, {n: resolved(tree, outputs) for n, tree in node.arguments.items()})
    key = keys.key_of(parts)
    result = cache.find(node, key, plan.pipeline, workspace)
    if result is not None:
        return Forecast(node.name, node.kind, "cached", key, [_made(result)]), result.reference
    return Forecast(node.name, node.kind, "run", key, _reasons(node, key, parts, last, workspace)), None


def _reasons(
    node: Node, key: str, parts: Mapping[str, Any], last: StepResult | None, workspace: Workspace
) -> list[str]:
    if not node.cache:
        return ["it is never taken from the cache (cache=False)"]
    same = workspace.ledger().query(cache.FINISHED, key, newest=1)
    if same and node.effect and cache.lookup(key, workspace) is not None:
        return ["another effect of this step came after it"]
    if same:
        opened: Mapping[str, str] = same[0].body["opened"]
        now = digests(workspace.root, list(opened))
        return [f"file {n} changed" for n, d in opened.items() if now[n] != d] or ["its artifact is gone"]
    if last is None:
        return ["it has not finished before"]
    return keys.changes(last.parts, parts) or ["its last call did not finish"]


def _last(name: str, workspace: Workspace) -> StepResult | None:
    """The result that the newest run of a step of this name gave or took."""
    for fact in reversed(workspace.ledger().query("run.step", newest=_HISTORY)):
        if fact.body["name"] == name and fact.body["key"]:
            facts: list[Fact] = workspace.ledger().query(cache.FINISHED, fact.body["key"], newest=1)
            if facts:
                return cache.result_of(facts[0])
    return None


def _made(result: StepResult) -> str:
    return f"nothing changed since run {result.run} made it in {result.seconds:.2f} s"
