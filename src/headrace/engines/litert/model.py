"""A LiteRT model inside its worker: read whole, found to be of built-in operators, and only then given to LiteRT."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headrace.engines.litert.program import Entry, entry, keys, read
from headrace.errors import IntegrityError, SignatureError
from headrace.models.artifact import existing
from headrace.models.feeding import fed
from headrace.models.signature import Signature, Tensor
from headrace.models.tensors import NUMPY
from headrace.serving.worker import Score

MAIN_FILE = "model.litert"

Arrays = list[NDArray[Any]]
Call = Callable[[Arrays], Arrays]


def load(folder: Path, signature: Signature) -> Mapping[str, Score]:
    """A model that scores, by the name of the signature, ``""`` for the one that is served unasked.

    Raises:
        IntegrityError: The file is missing, no model, or points outside itself.
        Refused: It needs operators that are not built in, or weights in another file.
        SignatureError: Its tensors are not the signature's, or it has no signature of that name.
    """
    path = existing(folder / MAIN_FILE)
    content = path.read_bytes()
    model, scores = read(content), {}
    for one in (signature, *signature.others):
        called = entry(model, one.name)
        call, own = _of_rows(partial(_started, content, called, path), called.signature)
        returned = tuple(called.outputs) if called.key else ()
        scores["" if one is signature else one.name] = fed(call, one, own, returned=returned)
    return scores


def declared(folder: Path, name: str = "") -> Signature:
    """The tensors that a signature of the model takes and gives, and all others that can be served.

    An extent that varies is -1. So is the first where it is one and the model can be called with more rows, or once for
    each row.

    Raises:
        IntegrityError: As ``load``.
        Refused: As ``load``.
        SignatureError: It has no signature of that name, or one whose tensors do not travel.
    """
    path = existing(folder / MAIN_FILE)
    content = path.read_bytes()
    model = read(content)
    called = entry(model, name)
    own = _of_rows(partial(_started, content, called, path), called.signature)[1]
    served = (_if_served(model, key, partial(_started, content, path=path)) for key in keys(model) if key != called.key)
    return replace(own, others=tuple(found for found in served if found is not None))


def _if_served(model: Mapping[str, Any], key: str, started: Callable[[Entry], Call]) -> Signature | None:
    """Another signature; None where its tensors do not travel, or it does not score what is tried."""
    try:
        called = entry(model, key)
        return replace(_of_rows(partial(started, called), called.signature)[1], name=key)
    except (SignatureError, IntegrityError, RuntimeError, ValueError):
        return None


def _started(content: bytes, called: Entry, path: Path) -> Call:
    from ai_edge_litert.interpreter import Interpreter

    try:
        interpreter = Interpreter(model_content=content, num_threads=1)
        if not called.subgraph:
            return _Graph(interpreter, called)
        runner = interpreter.get_signature_runner(called.key)
    except (ValueError, RuntimeError) as error:
        raise IntegrityError("the model cannot be loaded", where=str(path), why=str(error)[:300]) from error

    def call(arrays: Arrays) -> Arrays:
        found = runner(**dict(zip(called.inputs, arrays, strict=True)))
        return [found[name] for name in called.outputs]

    return call


class _Graph:
    """The first graph of a model; it is laid out anew only when shapes change, which costs more than a call."""

    def __init__(self, interpreter: Any, called: Entry) -> None:
        self._interpreter = interpreter
        self._inputs, self._outputs = list(called.inputs.values()), list(called.outputs.values())
        self._shapes: list[tuple[int, ...]] | None = None

    def __call__(self, arrays: Arrays) -> Arrays:
        shapes = [array.shape for array in arrays]
        if shapes != self._shapes:
            self._shapes = None
            for number, shape in zip(self._inputs, shapes, strict=True):
                self._interpreter.resize_tensor_input(number, shape)
            self._interpreter.allocate_tensors()
            self._shapes = shapes
        for number, array in zip(self._inputs, arrays, strict=True):
            self._interpreter.set_tensor(number, array)
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(number) for number in self._outputs]


def _of_rows(start: Callable[[], Call], own: Signature) -> tuple[Call, Signature]:
    """A model that takes any number of rows, where it can, and what it takes and gives then.

    Models are converted for one row, often so that they take no more: such a model is called once for each.
    """
    call = start()
    if any(tensor.shape[:1] not in {(1,), (-1,)} for tensor in own.tensors):
        return call, own
    rows = [[_row(tensor, number) for tensor in own.tensors] for number in (1, 2)]
    due = _by_row(call)([np.concatenate(pair) for pair in zip(*rows, strict=True)])
    if any(array.shape[:1] != (2,) for array in due):
        return call, own
    free = replace(own, inputs=tuple(map(_free, own.inputs)), outputs=tuple(map(_free, own.outputs)))
    try:
        found = call([np.concatenate(pair) for pair in zip(*rows, strict=True)])
        whole = all(np.allclose(a, b, 1e-4, 1e-5, equal_nan=True) for a, b in zip(found, due, strict=True))
    except (RuntimeError, ValueError):
        whole = False
    return (call, free) if whole else (_by_row(start()), free)


def _by_row(call: Call) -> Call:
    def called(arrays: Arrays) -> Arrays:
        answers = [call([array[i : i + 1] for array in arrays]) for i in range(len(arrays[0]))]
        return [np.concatenate(parts) if parts[0].ndim else np.stack(parts) for parts in zip(*answers, strict=True)]

    return called


def _row(tensor: Tensor, number: int) -> NDArray[Any]:
    """Something to try a model with: numbers around zero; of integers, which may count into something, zeros."""
    shape = [max(extent, 1) for extent in (1, *tensor.shape[1:])]
    kind = np.dtype(NUMPY[tensor.dtype])
    return (np.random.default_rng(number).normal(size=shape) if kind.kind == "f" else np.zeros(shape)).astype(kind)


def _free(tensor: Any) -> Any:
    return replace(tensor, shape=(-1, *tensor.shape[1:]))
