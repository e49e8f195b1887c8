"""TensorFlow's session over the judged parts of a SavedModel: imported, restored and initialised once, then called.

A part has inputs of its own. Two signatures that take different tensors have a part each, as what one of them takes may
be computed on the way to the other's answer; variables and tables are the session's, which the parts share by name.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from headrace.engines.tensorflow.graph import Plan
from headrace.models.signature import Tensor
from headrace.models.tensors import NUMPY

_PREFIX = "variables/variables"
_SCOPE = "model"
_PLACES = ("Graph execution error", "Detected at node", "Node: ")

Shape = tuple[int | None, ...]


class Call(NamedTuple):
    """What runs a part for one signature.

    Attributes:
        run: Arrays in the order of what it takes in, arrays in the order of what it gives out.
        shapes: What TensorFlow infers of each output; None where it does not know how many extents.
    """

    run: Callable[[list[NDArray[Any]]], list[NDArray[Any]]]
    shapes: Sequence[Shape | None]


class Part(NamedTuple):
    """What signatures of the same inputs need.

    Attributes:
        plan: Its graph, and what is run once.
        taken: The graph's names of their inputs, with the inputs.
        given: The graph's names of their outputs.
    """

    plan: Plan
    taken: Mapping[str, Tensor]
    given: Sequence[str]


class _Imported(NamedTuple):
    places: Mapping[str, Any]
    outputs: Mapping[str, Any]


def called(parts: Sequence[Part], where: Path, asked: Sequence[tuple[Sequence[str], Sequence[str]]]) -> list[Call]:
    """What runs the parts.

    Args:
        parts: Of one model.
        where: Its folder.
        asked: For each call the graph's names of what it takes, which are those of a part, and of what it gives.

    Returns:
        Of each what runs it.
    """
    from headrace.engines.tensorflow.parts import Graph

    graph = Graph()
    with graph.as_default():
        imported = {frozenset(part.taken): _imported(part, number) for number, part in enumerate(parts)}
    session = _prepared(graph, parts[0].plan, where)
    calls = []
    for taken, given in asked:
        part = imported[frozenset(taken)]
        places = [part.places[name] for name in taken]
        outputs = [part.outputs[name] for name in given]
        run = session.make_callable(outputs, feed_list=places)
        shapes = [None if o.shape.rank is None else tuple(o.shape.as_list()) for o in outputs]
        calls.append(Call(_ran(run, [place.dtype.as_numpy_dtype for place in places]), shapes))
    return calls


def _imported(part: Part, number: int) -> _Imported:
    from headrace.engines.tensorflow.parts import import_graph_def, placeholder

    # Inputs of their own, as the graph's may be bound to a batch of one row.
    places = {name: placeholder(NUMPY[tensor.dtype], _open_shape(tensor)) for name, tensor in part.taken.items()}
    given, scope = list(part.given), _scope(number)
    outputs = import_graph_def(part.plan.graph, input_map=places, return_elements=given, name=scope)
    return _Imported(places, dict(zip(given, outputs, strict=True)))


def _ran(run: Any, types: list[Any]) -> Callable[[list[NDArray[Any]]], list[NDArray[Any]]]:
    from headrace.engines.tensorflow.parts import OpError, ResourceExhaustedError

    def call(arrays: list[NDArray[Any]]) -> list[NDArray[Any]]:
        try:
            return list(run(*(np.asarray(array, kind) for array, kind in zip(arrays, types, strict=True))))
        except ResourceExhaustedError as error:
            raise MemoryError from error
        except OpError as error:
            raise ValueError(_reason(str(error.message))[:300]) from error

    return call


def _reason(message: str) -> str:
    """What TensorFlow says went wrong, without the places in the graph that it tells before and behind."""
    lines = (line for line in message.splitlines() if line and not line[0].isspace() and not line.startswith(_PLACES))
    return " ".join(lines) or message


def _prepared(graph: Any, plan: Plan, where: Path) -> Any:
    """A session whose variables and tables have their values; the first part's operations give them."""
    from headrace.engines.tensorflow.parts import ConfigProto, Session

    threads = {"intra_op_parallelism_threads": 1, "inter_op_parallelism_threads": 1}
    session = Session(graph=graph, config=ConfigProto(**threads, device_count={"GPU": 0}))
    known = {operation.name for operation in graph.get_operations()}
    steps = [
        (plan.restore if plan.has_variables else "", {plan.prefix: where / _PREFIX}),
        (plan.initialise, {name: where / "assets" / asset for name, asset in plan.assets.items()}),
    ]
    scope = _scope(0)
    for operation, told in steps:
        if operation:
            paths = {f"{scope}/{name}": str(path) for name, path in told.items()}
            feeds = {name: path for name, path in paths.items() if name.partition(":")[0] in known}
            session.run(graph.get_operation_by_name(f"{scope}/{operation}"), feeds)
    return session


def _scope(number: int) -> str:
    return f"{_SCOPE}{number}"


def _open_shape(tensor: Tensor) -> list[int | None] | None:
    return [None, *(None if extent < 0 else extent for extent in tensor.shape[1:])] if tensor.shape else None
