"""A SavedModel's graph as a message, before TensorFlow gets it: what of it is needed, and that this only computes.

A SavedModel can also be saved again, so its graph holds operations that write files. Only what its outputs, the
restoring of its variables and its initialiser need is judged, and only that is kept. Two operations may read: the
restoring one the model's variables, the initialiser its assets, each where it is told that these lie.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from headrace.engines.tensorflow.operations import CALLS, COMPUTING, READS, VARIABLES
from headrace.errors import IntegrityError, NameRefused, Refused
from headrace.refs import checked_path

_INITIALISERS = ("saved_model_main_op", "legacy_init_op")
INITIALISER = "__saved_model_init_op"
"""The signature that newer models name their initialiser in."""


@dataclass(frozen=True)
class Plan:
    """What is run of a SavedModel.

    Attributes:
        graph: A ``GraphDef`` of nothing else.
        restore: The operation that restores variables; empty when there is none.
        prefix: The tensor that tells it where they lie.
        initialise: The operation to run after it; empty when there is none.
        assets: Tensors that tell the initialiser where an asset lies, with the asset's name.
    """

    graph: Any
    restore: str
    prefix: str
    initialise: str
    assets: Mapping[str, str]

    @property
    def has_variables(self) -> bool:
        """Whether there are variables to restore."""
        nodes = [self.graph.node, *(function.node_def for function in self.graph.library.function)]
        return any(node.op in VARIABLES for part in nodes for node in part)


def planned(meta: Any, tensors: Iterable[str]) -> Plan:
    """What scoring takes of a ``MetaGraphDef``.

    Args:
        meta: The message.
        tensors: Names of a signature's inputs and outputs (``x:0``).

    Raises:
        Refused: An operation that is needed does more than compute, or reads another file than the model's.
        IntegrityError: The graph names what it does not hold.
    """
    assets = {asset.tensor_info.name: _asset(asset.filename) for asset in meta.asset_file_def}
    _tell(meta.graph_def.node, assets)
    judge = _Judge(meta)
    plan = Plan(
        meta.graph_def.__class__(versions=meta.graph_def.versions),
        meta.saver_def.restore_op_name,
        meta.saver_def.filename_tensor_name,
        _initialiser(meta),
        assets,
    )
    judge.check(tensors, reads=(), told=())
    judge.check([plan.restore], reads=["RestoreV2"], told=[plan.prefix])
    judge.check([plan.initialise], reads=READS.keys() - {"RestoreV2"}, told=assets)
    plan.graph.node.extend(map(_bare, (node for node in meta.graph_def.node if node.name in judge.nodes)))
    plan.graph.library.function.extend(judge.functions[name] for name in sorted(judge.used))
    for function in plan.graph.library.function:
        for node in function.node_def:
            node.device = ""
    return plan


def _tell(nodes: Sequence[Any], assets: Iterable[str]) -> None:
    """Give the path of an asset at once to what would read it from a variable that the initialiser puts it into."""
    told = frozenset(map(_tensor_of, assets))
    kept = {node.input[0]: node.input[1] for node in nodes if node.op == "AssignVariableOp" and len(node.input) > 1}
    read = {node.name: kept.get(node.input[0], "") for node in nodes if node.op == "ReadVariableOp" and node.input}
    for node in nodes:
        for at, name in enumerate(node.input if node.op in {*CALLS, *READS} else ()):
            if _tensor_of(read.get(_node_of(name), "")) in told:
                node.input[at] = read[_node_of(name)]


def _bare(node: Any) -> Any:
    """A node without where it ran and beside what, and without shapes, which may be those of a batch of one row.

    A variable or table has a name by which all that is imported of the graph means the same one.
    """
    copy = node.__class__()
    copy.CopyFrom(node)
    copy.device = ""
    for name in ("_class", "_output_shapes"):
        copy.attr.pop(name, None)
    if "shared_name" in copy.attr and not copy.attr["shared_name"].s:  # where its name would be its scope's as well
        copy.attr["shared_name"].s = node.name.encode()
    return copy


def _initialiser(meta: Any) -> str:
    for key in _INITIALISERS:
        if meta.collection_def[key].node_list.value if key in meta.collection_def else ():
            return str(meta.collection_def[key].node_list.value[0])
    if INITIALISER in meta.signature_def:
        return str(meta.signature_def[INITIALISER].outputs[INITIALISER].name)
    return ""


def _asset(name: str) -> str:
    try:
        return checked_path(name, of="asset of a model")
    except NameRefused as error:
        raise Refused("an asset lies outside the model", where="saved_model.pb", why=str(error)) from error


@dataclass
class _Judge:
    """Reads a graph from what is wanted of it downwards.

    Attributes:
        meta: The ``MetaGraphDef``.
        nodes: Names of nodes that were reached.
        used: Names of functions that were reached.
    """

    meta: Any
    nodes: set[str] = field(default_factory=set)
    used: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._whole = {node.name: node for node in self.meta.graph_def.node}
        self.functions = {function.signature.name: function for function in self.meta.graph_def.library.function}

    def check(self, wanted: Iterable[str], *, reads: Iterable[str], told: Iterable[str]) -> None:
        """Check all that ``wanted`` needs.

        Args:
            wanted: Names of tensors or operations.
            reads: The operations that may read files here.
            told: Tensors that will name these files.
        """
        reached = self._reached(wanted)
        self.nodes |= reached.keys()
        scope = _Scope(self, frozenset(reads))
        scope.check(reached, frozenset(map(_tensor_of, told)))

    def _reached(self, wanted: Iterable[str]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        waiting = [_node_of(name) for name in wanted if name]
        while waiting:
            name = waiting.pop()
            if name in found:
                continue
            if name not in self._whole:
                raise IntegrityError("the model cannot be loaded", where="saved_model.pb", why=f"it lacks {name[:100]}")
            found[name] = self._whole[name]
            waiting += map(_node_of, found[name].input)
        return found


class _Scope:
    """Nodes of the graph, and of the functions that they call, where the same operations may read."""

    def __init__(self, judge: _Judge, reads: frozenset[str]) -> None:
        self._judge, self._reads = judge, reads
        self._checked: set[tuple[str, frozenset[str]]] = set()

    def check(self, nodes: Mapping[str, Any], told: frozenset[str]) -> None:
        """Check nodes by name, in a graph or a function where ``told`` name files."""
        for node in nodes.values():
            called = node.op if node.op in self._judge.functions else ""
            if node.op in self._reads:
                self._check_read(node, nodes, told)
            elif node.op not in COMPUTING and not called:
                raise Refused(
                    f"the graph does more than compute: {node.op[:100]}",
                    where=f"saved_model.pb: {node.name[:100]}",
                    why="it is not among the operations that are known to",
                )
            inputs = [name for name in node.input if not name.startswith("^")]
            handed = tuple(_told(name, nodes, told) for name in inputs) if node.op in CALLS or called else ()
            for name in {called, *_functions(node.attr.values())} - {""}:
                self._check_function(name, handed)

    def _check_read(self, node: Any, nodes: Mapping[str, Any], told: frozenset[str]) -> None:
        at = READS[node.op]
        if len(node.input) <= at or not _told(node.input[at], nodes, told):
            raise Refused(f"the graph reads a file of its own choice: {node.op}", where=f"saved_model.pb: {node.name}")

    def _check_function(self, name: str, handed: tuple[bool, ...]) -> None:
        function = self._judge.functions.get(name)
        if function is None:
            raise IntegrityError("the model cannot be loaded", where="saved_model.pb", why=f"it lacks {name[:100]}")
        arguments = [argument.name for argument in function.signature.input_arg]
        told = frozenset(_tensor_of(a) for a, is_told in zip(arguments, handed, strict=False) if is_told)
        if (name, told) not in self._checked:
            self._checked.add((name, told))
            self._judge.used.add(name)
            self.check({node.name: node for node in function.node_def}, told)


def _told(name: str, nodes: Mapping[str, Any], told: frozenset[str]) -> bool:
    """Whether a tensor is one of ``told``, handed on unchanged."""
    for _ in range(len(nodes) + 1):
        if _tensor_of(name) in told:
            return True
        node = nodes.get(_node_of(name))
        if node is None or node.op != "Identity" or not node.input:
            return False
        name = node.input[0]
    return False


def _functions(values: Iterable[Any]) -> set[str]:
    """Names of the functions that attributes name, and that these name in theirs."""
    found: set[str] = set()
    for value in values:
        kind = value.WhichOneof("value")
        for called in [value.func] if kind == "func" else value.list.func if kind == "list" else ():
            found |= {called.name, *_functions(called.attr.values())}
    return found


def _tensor_of(name: str) -> str:
    """A tensor's whole name: a node alone is its first output."""
    return name if ":" in name else f"{name}:0"


def _node_of(name: str) -> str:
    """The node of a tensor or of a control input."""
    return name.removeprefix("^").partition(":")[0]
