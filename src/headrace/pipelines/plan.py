"""Plans: the DAG of calls that a pipeline's body wrote, as plain data."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

from headrace.errors import UsageError
from headrace.pipelines.references import Reference


@dataclass(frozen=True)
class Node:
    """One call in a plan.

    Attributes:
        name: The step's name, with ``-2`` for its second call.
        kind: ``source`` is a value that exists already (a dataset version).
        function: ``module:qualname`` of the step; imported only when it has to run. Empty for a source.
        arguments: Parameter to packed value; ``{"$node": 3}`` or ``{"$node": 3, "part": 0}`` is another node's output.
        parts: What the key has from the code: names reached, packages, environment.
        effect: Waits for every gate of a smaller index.
        cache: Whether it may be taken from the ledger.
        main_process: Must run where the run was started.
        value: Of a source.
    """

    name: str
    kind: Literal["step", "gate", "source"]
    function: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    parts: Mapping[str, Any] = field(default_factory=dict)
    effect: bool = False
    cache: bool = True
    main_process: bool = False
    value: Reference | None = None

    @cached_property
    def inputs(self) -> list[int]:
        """Indices of the nodes whose outputs it takes, ascending."""
        return sorted({mark["$node"] for mark in node_marks(dict(self.arguments))})


@dataclass(frozen=True)
class Read:
    """A plan-time read of the ledger: the newest fact of a kind about a subject was ``seq`` (0: none)."""

    kind: str
    subject: str
    seq: int


@dataclass(frozen=True)
class Plan:
    """A planned pipeline.

    Attributes:
        pipeline: Its name.
        nodes: In the order they were written; a node's inputs have smaller indices.
        result: What the body returned, packed, with node marks.
        reads: Facts that planning looked at.
        params: The pipeline's parameters, packed.
    """

    pipeline: str
    nodes: Sequence[Node]
    result: Any = None
    reads: Sequence[Read] = ()
    params: Mapping[str, Any] = field(default_factory=dict)

    def index(self, name: str) -> int:
        """Position of the node called ``name``; raise ``UsageError`` naming those there are."""
        for i, node in enumerate(self.nodes):
            if node.name == name:
                return i
        known = ", ".join(n.name for n in self.nodes if n.kind != "source")
        raise UsageError(f"no step named {name!r} in pipeline {self.pipeline!r}", fix=f"one of {known}")

    def waits_for(self, index: int) -> list[int]:
        """Nodes that must settle before ``index`` may start: its inputs; for an effect all gates and effects above."""
        node = self.nodes[index]
        above = (i for i in range(index) if self.nodes[i].kind == "gate" or self.nodes[i].effect) if node.effect else ()
        return sorted({*node.inputs, *above})

    def stops(self, index: int) -> list[int]:
        """Those of ``waits_for`` whose failure stops ``index``: its inputs, and for an effect the gates above."""
        node = self.nodes[index]
        gates = (i for i in range(index) if self.nodes[i].kind == "gate") if node.effect else ()
        return sorted({*node.inputs, *gates})

    def needed(self, names: Sequence[str]) -> set[int]:
        """Indices of ``names`` and of all they wait for, transitively; every index when ``names`` is empty."""
        if not names:
            return set(range(len(self.nodes)))
        found: set[int] = set()
        todo = [self.index(name) for name in names]
        while todo:
            index = todo.pop()
            if index not in found:
                found.add(index)
                todo += self.stops(index)
        return found

    def lineage(self, index: int) -> set[int]:
        """Every node that the output of ``index`` is made from, itself included."""
        found: set[int] = set()
        todo = [index]
        while todo:
            current = todo.pop()
            if current not in found:
                found.add(current)
                todo += self.nodes[current].inputs
        return found

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Plan":
        """Back from ``to_json``."""
        nodes = [Node(**{**n, "value": Reference(**n["value"]) if n["value"] else None}) for n in data["nodes"]]
        return cls(**{**data, "nodes": nodes, "reads": [Read(**r) for r in data["reads"]]})


def node_marks(tree: Any) -> Iterator[Mapping[str, Any]]:
    """Every ``{"$node": …}`` in a packed value."""
    if isinstance(tree, dict):
        if "$node" in tree:
            yield tree
            return
        tree = list(tree.values())
    if isinstance(tree, list):
        for part in tree:
            yield from node_marks(part)


def resolved(tree: Any, outputs: Mapping[int, Reference]) -> Any:
    """The packed value with every node mark replaced by a reference to what that node gave."""
    if isinstance(tree, list):
        return [resolved(part, outputs) for part in tree]
    if not isinstance(tree, dict):
        return tree
    if "$node" in tree:
        reference = outputs[tree["$node"]]
        return {"$ref": (reference.part(tree["part"]) if "part" in tree else reference).to_json()}
    return {name: resolved(part, outputs) for name, part in tree.items()}


def renamed(node: Node, taken: Collection[str]) -> Node:
    """The node under a name that is not ``taken``: ``train``, ``train-2``, and so on."""
    name, count = node.name, 1
    while name in taken:
        count += 1
        name = f"{node.name}-{count}"
    return replace(node, name=name)
