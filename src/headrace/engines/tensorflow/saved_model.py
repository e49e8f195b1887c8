"""A SavedModel inside its worker: read, found harmless, cut to what is needed, and only then given to TensorFlow."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from headrace.engines.tensorflow.graph import planned
from headrace.engines.tensorflow.session import Part, Shape, called
from headrace.engines.tensorflow.signatures import inputs_of, method_of, name_of, names, tensors, with_rows
from headrace.errors import HeadraceError, IntegrityError, Refused, SignatureError
from headrace.models.feeding import fed
from headrace.models.formats import SAVED_MODEL, sniffed_folder
from headrace.models.signature import DEFAULT_SIGNATURE, WORDS, Signature, Tensor
from headrace.models.tensors import NUMPY
from headrace.serving.worker import Score

FOLDER = "model.tensorflow"
_TAGS = ["serve"]
_TRIED = 2


class _Asked(NamedTuple):
    """A signature as it stands in the model: where its inputs and outputs are in the graph.

    Attributes:
        declared: What it takes and gives.
        taken: The graph's names of its inputs, with the inputs.
        given: The graph's names of its outputs.
    """

    declared: Signature
    taken: Mapping[str, Tensor]
    given: Sequence[str]


class _Model(NamedTuple):
    """A model in memory, by one of its signatures.

    Attributes:
        call: Arrays in the order of ``declared.inputs`` in, arrays by output name out.
        declared: What it says that it takes and gives.
        shapes: What TensorFlow infers of its outputs.
    """

    call: Callable[[list[NDArray[Any]]], dict[str, NDArray[Any]]]
    declared: Signature
    shapes: Sequence[Shape | None]


def load(folder: Path, signature: Signature) -> Mapping[str, Score]:
    """A SavedModel that scores, by the name of the signature, ``""`` for the one that is served unasked.

    Raises:
        IntegrityError: A file is missing, damaged or not of a SavedModel.
        Refused: Its graph does more than compute, or reads files that are not the model's.
        SignatureError: Its tensors are not the signature's, or it has no signature of that name.
    """
    wanted = (signature, *signature.others)
    meta = _read(folder)
    with _at(folder):
        models = _opened(meta, folder, [_asked(meta, one.name) for one in wanted])
    scores = {}
    for one, model in zip(wanted, models, strict=True):
        own = _with_rows(model)
        returned = [output.name for output in own.outputs]
        scores["" if one is signature else one.name] = fed(model.call, one, own, returned=returned)
    return scores


def declared(folder: Path, name: str = "") -> Signature:
    """What the SavedModel takes and gives by one of its signatures, and by all others that can be served.

    Models are served by rows. Where one says that it takes so many, or a value alone, it is tried with two.

    Raises:
        IntegrityError: As ``load``.
        Refused: As ``load``.
        SignatureError: It has no such signature, one of what is no tensor, or takes no rows.
    """
    meta = _read(folder)
    with _at(folder):
        first = _asked(meta, name)
        planned(meta, [*first.taken, *first.given])
        rest = [_if_harmless(meta, key) for key in names(meta) if key != name_of(meta, name)]
        others = [other for other in rest if other is not None]
        models = _opened(meta, folder, [first, *others])
    own = _with_rows(models[0])
    served = map(_if_rows, models[1:])
    return replace(own, others=tuple(found for found in served if found is not None))


def _read(folder: Path) -> Any:
    """The ``MetaGraphDef`` that is meant for serving."""
    where = folder / FOLDER
    try:
        content = (where / SAVED_MODEL).read_bytes()
    except OSError as error:
        raise IntegrityError("the model cannot be loaded", where=str(where), why=error.strerror or "") from error
    sniffed_folder({SAVED_MODEL: content})
    with _at(folder):
        from headrace.engines.tensorflow.parts import SavedModel

        graphs = SavedModel.FromString(content).meta_graphs
    found = [graph for graph in graphs if list(graph.meta_info_def.tags) == _TAGS]
    if len(found) != 1:
        tags = [list(graph.meta_info_def.tags) for graph in graphs]
        raise SignatureError("the model has no graph for serving", why=f"its graphs have the tags {tags}")
    return found[0]


class _at:  # noqa: N801 - reads as what it does
    """Tells whatever goes wrong inside as a model that cannot be loaded, but for errors of ours."""

    def __init__(self, folder: Path) -> None:
        self._where = folder / FOLDER

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        """Raise ``IntegrityError`` for an error of another library."""
        if isinstance(error, Exception) and not isinstance(error, (HeadraceError, MemoryError)):
            why = str(error)[:300]
            raise IntegrityError("the model cannot be loaded", where=str(self._where), why=why) from error


def _asked(meta: Any, name: str) -> _Asked:
    own = name_of(meta, name)
    found = meta.signature_def[own]
    nodes = {node.name: node for node in meta.graph_def.node}
    inputs, outputs = inputs_of(found, nodes), tensors(found.outputs)
    kept = own if name or own != DEFAULT_SIGNATURE else ""
    said = Signature("tensor", inputs, outputs, kept, method_of(found))
    taken = {found.inputs[tensor.name].name: tensor for tensor in inputs}
    return _Asked(said, taken, [found.outputs[tensor.name].name for tensor in outputs])


def _if_harmless(meta: Any, name: str) -> _Asked | None:
    """Another signature; None where its tensors do not travel, or what they need does more than compute."""
    try:
        found = _asked(meta, name)
        planned(meta, [*found.taken, *found.given])
    except (SignatureError, Refused):
        return None
    return found


def _if_rows(model: _Model) -> Signature | None:
    try:
        return _with_rows(model)
    except SignatureError:
        return None


def _opened(meta: Any, folder: Path, asked: Sequence[_Asked]) -> list[_Model]:
    """The model by each of these signatures; those that take the same tensors share a part of the graph."""
    parts: dict[frozenset[str], Part] = {}
    for taken in {frozenset(one.taken): one.taken for one in asked}.values():
        given = list(dict.fromkeys(name for one in asked if one.taken.keys() == taken.keys() for name in one.given))
        parts[frozenset(taken)] = Part(planned(meta, [*taken, *given]), taken, given)
    calls = called(list(parts.values()), folder / FOLDER, [(list(one.taken), one.given) for one in asked])
    return [
        _Model(_named(call.run, [output.name for output in one.declared.outputs]), one.declared, call.shapes)
        for call, one in zip(calls, asked, strict=True)
    ]


def _named(call: Callable[[list[NDArray[Any]]], list[NDArray[Any]]], outputs: list[str]) -> Any:
    return lambda arrays: dict(zip(outputs, call(arrays), strict=True))


def _with_rows(model: _Model) -> Signature:
    """The model's signature by rows, seen from its answer to two rows where it does not say so itself."""
    said = _inferred(model)
    inputs, outputs = with_rows(said.tensors), tuple(o for o in said.outputs if isinstance(o, Tensor))
    if all(t.shape[:1] == (-1,) for t in (*said.tensors, *outputs)):
        return said
    try:
        answer = model.call([_blank(tensor) for tensor in inputs])
    except (ValueError, TypeError) as error:
        return _as_said(said, str(error))
    if any(array.shape[:1] != (_TRIED,) for array in answer.values()):
        return _as_said(said, f"it answers {_TRIED} rows with {[list(a.shape) for a in answer.values()]}")
    return replace(said, inputs=inputs, outputs=tuple(_seen(t, answer) for t in outputs))


def _inferred(model: _Model) -> Signature:
    """What it says; outputs of which it says no extents as TensorFlow infers them, where they are by rows."""
    outputs = [output for output in model.declared.outputs if isinstance(output, Tensor)]
    pairs = zip(outputs, model.shapes, strict=True)
    found = [
        Tensor(output.name, output.dtype, tuple(-1 if n is None else n for n in shape))
        if not output.shape and shape and shape[0] is None
        else output
        for output, shape in pairs
    ]
    return replace(model.declared, outputs=tuple(found))


def _blank(tensor: Tensor) -> NDArray[Any]:
    extents = [_TRIED, *(max(extent, 1) for extent in tensor.shape[1:])]
    return np.full(extents, b"" if tensor.dtype in WORDS else 0, NUMPY[tensor.dtype])


def _as_said(said: Signature, why: str) -> Signature:
    """The signature as it is, when that alone has rows."""
    if any(isinstance(field, Tensor) and not field.shape for field in (*said.inputs, *said.outputs)):
        raise SignatureError("the model takes no rows", why=why, fix="export it on a batch of any size")
    return said


def _seen(tensor: Tensor, answer: Mapping[str, NDArray[Any]]) -> Tensor:
    extents = tensor.shape[1:] if tensor.shape else answer[tensor.name].shape[1:]
    return Tensor(tensor.name, tensor.dtype, (-1, *extents))
