"""A SavedModel inside its worker: read, found harmless, cut to what is needed, and only then given to TensorFlow."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from headrace.engines.tensorflow.graph import Plan, planned
from headrace.engines.tensorflow.signatures import definition, tensors, with_rows
from headrace.errors import HeadraceError, IntegrityError, SignatureError
from headrace.models.feeding import fed
from headrace.models.formats import SAVED_MODEL, sniffed_folder
from headrace.models.signature import WORDS, Signature, Tensor
from headrace.models.tensors import NUMPY
from headrace.serving.worker import Score

FOLDER = "model.tensorflow"
_TAGS = ["serve"]
_PREFIX = "variables/variables"
_SCOPE = "model"
_TRIED = 2

_Call = Callable[[list[NDArray[Any]]], list[NDArray[Any]]]


class _Model(NamedTuple):
    """A model in memory.

    Attributes:
        call: Arrays in the order of ``declared.inputs`` in, arrays by output name out.
        declared: What it says that it takes and gives.
    """

    call: Callable[[list[NDArray[Any]]], dict[str, NDArray[Any]]]
    declared: Signature


def load(folder: Path, signature: Signature) -> Score:
    """A SavedModel that scores.

    Raises:
        IntegrityError: A file is missing, damaged or not of a SavedModel.
        Refused: Its graph does more than compute, or reads files that are not the model's.
        SignatureError: Its tensors are not the signature's, or it has no signature of that name.
    """
    model = _opened(folder, signature.name)
    own = _with_rows(model)
    return fed(model.call, signature, own, returned=[output.name for output in own.outputs])


def declared(folder: Path, name: str = "") -> Signature:
    """What the SavedModel takes and gives.

    Models are served by rows. Where one says that it takes so many, or a value alone, it is tried with two.

    Raises:
        IntegrityError: As ``load``.
        Refused: As ``load``.
        SignatureError: It has no such signature, one of what is no tensor, or takes no rows.
    """
    return _with_rows(_opened(folder, name))


def _opened(folder: Path, name: str) -> _Model:
    where = folder / FOLDER
    try:
        content = (where / SAVED_MODEL).read_bytes()
    except OSError as error:
        raise IntegrityError("the model cannot be loaded", where=str(where), why=error.strerror or "") from error
    sniffed_folder({SAVED_MODEL: content})
    try:
        meta = _for_serving(content)
        wanted = definition(meta, name)
        inputs, outputs = (tensors(infos) for infos in (wanted.inputs, wanted.outputs))
        taken = {wanted.inputs[tensor.name].name: tensor for tensor in inputs}
        given = [wanted.outputs[tensor.name].name for tensor in outputs]
        call = _called(planned(meta, [*taken, *given]), where, taken, given)
    except (HeadraceError, MemoryError):
        raise
    except Exception as error:
        raise IntegrityError("the model cannot be loaded", where=str(where), why=str(error)[:300]) from error
    names = [tensor.name for tensor in outputs]
    return _Model(
        lambda arrays: dict(zip(names, call(arrays), strict=True)), Signature("tensor", inputs, outputs, name)
    )


def _for_serving(content: bytes) -> Any:
    """The ``MetaGraphDef`` that is meant for serving."""
    from headrace.engines.tensorflow.parts import SavedModel

    graphs = SavedModel.FromString(content).meta_graphs
    found = [graph for graph in graphs if list(graph.meta_info_def.tags) == _TAGS]
    if len(found) != 1:
        tags = [list(graph.meta_info_def.tags) for graph in graphs]
        raise SignatureError("the model has no graph for serving", why=f"its graphs have the tags {tags}")
    return found[0]


def _called(plan: Plan, where: Path, taken: Mapping[str, Tensor], given: Sequence[str]) -> _Call:
    """What runs the graph: arrays in the order of ``taken`` in, those of ``given`` out."""
    from headrace.engines.tensorflow.parts import Graph, OpError, ResourceExhaustedError, import_graph_def, placeholder

    graph, types = Graph(), [NUMPY[tensor.dtype] for tensor in taken.values()]
    with graph.as_default():
        # Inputs of their own, as the graph's may be bound to a batch of one row.
        places = [placeholder(NUMPY[tensor.dtype], _open_shape(tensor)) for tensor in taken.values()]
        inputs = dict(zip(taken, places, strict=True))
        outputs = import_graph_def(plan.graph, input_map=inputs, return_elements=list(given), name=_SCOPE)
    run = _prepared(graph, plan, where).make_callable(outputs, feed_list=places)

    def call(arrays: list[NDArray[Any]]) -> list[NDArray[Any]]:
        try:
            return list(run(*(np.asarray(array, kind) for array, kind in zip(arrays, types, strict=True))))
        except ResourceExhaustedError as error:
            raise MemoryError from error
        except OpError as error:
            raise ValueError(str(error.message)[:300]) from error

    return call


def _prepared(graph: Any, plan: Plan, where: Path) -> Any:
    """A session whose variables and tables have their values."""
    from headrace.engines.tensorflow.parts import ConfigProto, Session

    threads = {"intra_op_parallelism_threads": 1, "inter_op_parallelism_threads": 1}
    session = Session(graph=graph, config=ConfigProto(**threads, device_count={"GPU": 0}))
    known = {operation.name for operation in graph.get_operations()}
    steps = [
        (plan.restore if plan.has_variables else "", {plan.prefix: where / _PREFIX}),
        (plan.initialise, {name: where / "assets" / asset for name, asset in plan.assets.items()}),
    ]
    for operation, told in steps:
        if operation:
            paths = {f"{_SCOPE}/{name}": str(path) for name, path in told.items()}
            feeds = {name: path for name, path in paths.items() if name.partition(":")[0] in known}
            session.run(graph.get_operation_by_name(f"{_SCOPE}/{operation}"), feeds)
    return session


def _open_shape(tensor: Tensor) -> list[int | None] | None:
    return [None, *(None if extent < 0 else extent for extent in tensor.shape[1:])] if tensor.shape else None


def _with_rows(model: _Model) -> Signature:
    """The model's signature by rows, seen from its answer to two rows where it does not say so itself."""
    said = model.declared
    inputs, outputs = with_rows(said.tensors), tuple(o for o in said.outputs if isinstance(o, Tensor))
    if all(t.shape[:1] == (-1,) for t in (*said.tensors, *outputs)):
        return said
    try:
        answer = model.call([_blank(tensor) for tensor in inputs])
    except (ValueError, TypeError) as error:
        return _as_said(said, str(error))
    if any(array.shape[:1] != (_TRIED,) for array in answer.values()):
        return _as_said(said, f"it answers {_TRIED} rows with {[list(a.shape) for a in answer.values()]}")
    return Signature("tensor", inputs, tuple(_seen(t, answer) for t in outputs), said.name)


def _blank(tensor: Tensor) -> NDArray[Any]:
    extents = [_TRIED, *(max(extent, 1) for extent in tensor.shape[1:])]
    return np.full(extents, "" if tensor.dtype in WORDS else 0, NUMPY[tensor.dtype])


def _as_said(said: Signature, why: str) -> Signature:
    """The signature as it is, when that alone has rows."""
    if any(isinstance(field, Tensor) and not field.shape for field in (*said.inputs, *said.outputs)):
        raise SignatureError("the model takes no rows", why=why, fix="export it on a batch of any size")
    return said


def _seen(tensor: Tensor, answer: Mapping[str, NDArray[Any]]) -> Tensor:
    extents = tensor.shape[1:] if tensor.shape else answer[tensor.name].shape[1:]
    return Tensor(tensor.name, tensor.dtype, (-1, *extents))
