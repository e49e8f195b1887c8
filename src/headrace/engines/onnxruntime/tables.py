"""Which inputs of a graph the columns of a table go into."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from headrace.errors import SignatureError
from headrace.models.matrices import spaced
from headrace.models.runtime import Batch, numeric, textual
from headrace.models.signature import Signature
from headrace.models.tensors import NUMPY

KINDS = {"float32": "float", "float64": "double"}
"""What ONNX Runtime calls our types, where it calls them otherwise."""
Feed = Callable[[Batch], Batch]
"""Makes of a table's batch what the graph takes."""
_FLOAT32 = np.dtype(np.float32)
_TEXT = "tensor(string)"
_TYPES = {f"tensor({KINDS.get(dtype, dtype)})": np.dtype(made) for dtype, made in NUMPY.items()}
_MATRIX = 2
"""Extents of one."""


def table_feed(inputs: Sequence[ort.NodeArg], signature: Signature) -> Feed:
    """What makes of a table's batch the inputs of a graph.

    A graph takes all numbers as one matrix and all texts as another, in the signature's order, or each column by its
    name (which may have underscores for spaces), ``[rows, 1]`` or ``[rows]``.

    Raises:
        SignatureError: It takes something else, or whole numbers where the signature allows null.
    """
    numbers = [field for field in inputs if field.type in _TYPES and field.type != _TEXT]
    texts = [field for field in inputs if field.type == _TEXT]
    if len(numbers) + len(texts) == len(inputs):
        own = [column.name for column in signature.columns]
        called = spaced((field.name for field in inputs), own)
        if sorted(called) == sorted(own):
            return _by_name(dict(zip(called, inputs, strict=True)), signature)
        if (len(numbers), len(texts)) == (bool(numeric(signature)), bool(textual(signature))):
            return _by_matrices(numbers, texts, signature)
    taken = ", ".join(f"{field.name}: {field.type} {field.shape}" for field in inputs)
    raise SignatureError(
        f"the graph takes {taken}",
        why=f"the signature has the columns {', '.join(column.name for column in signature.columns)}",
        fix="a graph of a table takes its numbers as one matrix and its texts as another, or each column by its name",
    )


def _by_name(inputs: Mapping[str, ort.NodeArg], signature: Signature) -> Feed:
    """Args: the graph's inputs by the names of the signature's columns."""
    numbers, texts = numeric(signature), textual(signature)
    for name, field in inputs.items():
        if (field.type == _TEXT) != (name in texts):
            own, graph = ("text", "numbers") if name in texts else ("numbers", "text")
            raise SignatureError(f"column {name!r} is {own} in the signature", why=f"the graph takes {graph}")
        if field.shape[1:] not in ([], [1]):
            raise SignatureError(f"the graph's {field.name!r} is {field.shape}", why="a column has one value a row")
    _check_nulls([inputs[name] for name in numbers], signature)

    def feed(batch: Batch) -> Batch:
        given = {inputs[n].name: _column(batch["numbers"], at, inputs[n]) for at, n in enumerate(numbers)}
        return given | {inputs[n].name: _column(batch["strings"], at, inputs[n]) for at, n in enumerate(texts)}

    return feed


def _column(matrix: NDArray[Any], at: int, field: ort.NodeArg) -> NDArray[Any]:
    column = np.ascontiguousarray(matrix[:, at], _TYPES[field.type])
    return column if len(field.shape) == 1 else column[:, None]


def _by_matrices(numbers: Sequence[ort.NodeArg], texts: Sequence[ort.NodeArg], signature: Signature) -> Feed:
    for fields, names in ((numbers, numeric(signature)), (texts, textual(signature))):
        for field in fields:
            if len(field.shape) != _MATRIX or field.shape[1] not in {len(names), None} | _named(field.shape[1]):
                raise SignatureError(
                    f"the graph's input {field.name!r} is {field.type} {field.shape}",
                    why=f"a matrix of {len(names)} columns is due: {', '.join(names)}",
                )
    _check_nulls(numbers, signature)
    number, text = (numbers[0].name if numbers else ""), (texts[0].name if texts else "")
    dtype = _TYPES[numbers[0].type] if numbers else _FLOAT32
    if number in {"", "numbers"} and text in {"", "strings"} and dtype == _FLOAT32:
        return _narrow

    def feed(batch: Batch) -> Batch:
        given = {number: batch["numbers"].astype(dtype, copy=False)} if number else {}
        return given | ({text: batch["strings"]} if text else {})

    return feed


def _named(extent: int | str | None) -> set[str]:
    return {extent} if isinstance(extent, str) else set()


def _check_nulls(numbers: Sequence[ort.NodeArg], signature: Signature) -> None:
    """Null is NaN, which only floats hold."""
    floats = all(_TYPES[field.type].kind == "f" for field in numbers)
    nullable = [column.name for column in signature.columns if column.nullable and column.dtype != "string"]
    if nullable and not floats:
        raise SignatureError(
            f"column {nullable[0]!r} may be null", why="the graph takes whole numbers, which have no null"
        )


def _narrow(batch: Batch) -> Batch:
    """The batch of a graph that takes what a batch has, but numbers as float32."""
    numbers = batch.get("numbers")
    if numbers is None or numbers.dtype is _FLOAT32:
        return batch
    return {**batch, "numbers": numbers.astype(np.float32)}
