"""What a LiteRT model is made of: its tensors, its operators, and what it calls its inputs and outputs."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headrace.engines.litert.flatbuffer import FlatBuffer
from headrace.errors import IntegrityError, Refused, SignatureError
from headrace.models.signature import Dtype, Signature, Tensor

MARK = b"TFL3"
"""What a model's file has after its first four bytes."""

_DEFAULT = "serving_default"
_LAST_OPERATOR = 161
_REFUSED = {31: "a call", 32: "a custom operator", 51: "a delegate", 127: "no operator"}
_TYPES: Mapping[int, tuple[Dtype, int]] = {
    0: ("float32", 4),
    1: ("float16", 2),
    2: ("int32", 4),
    3: ("uint8", 1),
    4: ("int64", 8),
    6: ("bool", 1),
    7: ("int16", 2),
    9: ("int8", 1),
    10: ("float64", 8),
    12: ("uint64", 8),
    15: ("uint32", 4),
    16: ("uint16", 2),
}
"""Types by their numbers in the file, with bytes a value; text, complex numbers and halves of bytes do not travel."""


@dataclass(frozen=True)
class Entry:
    """One way to call a model.

    Attributes:
        key: What the model calls it; empty where it has no signatures.
        subgraph: Which of its graphs.
        inputs: Tensors that it takes, by name, each with its number in the graph.
        outputs: Tensors that it gives.
        signature: The same, with types and shapes.
    """

    key: str
    subgraph: int
    inputs: Mapping[str, int]
    outputs: Mapping[str, int]
    signature: Signature


def read(content: bytes) -> dict[str, Any]:
    """The model in a file, found to be whole and of built-in operators alone.

    Raises:
        IntegrityError: It is no model, or points outside its file or its parts.
        Refused: It names a custom operator, a delegate, weights in another file, or what is not known.
    """
    if content[4:8] != MARK:
        raise IntegrityError("the model cannot be loaded", why=f"it has {content[4:8]!r} where {MARK!r} is due")
    model = FlatBuffer(content).root("Model")
    for code in model.get("operator_codes", ()):
        _check_operator(code)
    if not model.get("subgraphs"):
        raise IntegrityError("the model cannot be loaded", why="it has no graph")
    for graph in model["subgraphs"]:
        _check_graph(graph, model)
    _check_numbers([said.get("buffer", 0) for said in model.get("metadata", ())], model.get("buffers", ()))
    return model


def keys(model: Mapping[str, Any]) -> tuple[str, ...]:
    """What the model calls its signatures, in alphabetical order; nothing where it has none."""
    return tuple(sorted(str(said.get("key", "")) for said in model.get("signatures", ())))


def entry(model: Mapping[str, Any], name: str = "") -> Entry:
    """A signature of the model, or its first graph where it has none.

    Args:
        model: As ``read`` gives it.
        name: Of the signature; empty for ``serving_default``, or the only one.

    Raises:
        SignatureError: There is none of that name, or one of its tensors has a type that does not travel.
        IntegrityError: It names a tensor that is not there.
    """
    known = {str(said.get("key", "")): said for said in model.get("signatures", ())}
    if not known and not name:
        return _unnamed(model["subgraphs"][0])
    key = name or (_DEFAULT if _DEFAULT in known else next(iter(known), ""))
    if key not in known or (len(known) > 1 and not name and key != _DEFAULT):
        raise SignatureError(f"the model has no signature {key!r}", why=f"it has {', '.join(sorted(known)) or 'none'}")
    number = int(known[key].get("subgraph", 0))
    _check_numbers([number], model["subgraphs"])
    graph = model["subgraphs"][number]
    inputs, outputs = (
        {str(said.get("name", "")): int(said.get("tensor", 0)) for said in known[key].get(side, ())}
        for side in ("inputs", "outputs")
    )
    return _entry(graph, inputs, outputs, key=key, subgraph=number)


def _unnamed(graph: Mapping[str, Any]) -> Entry:
    inputs, outputs = (
        {str(graph["tensors"][number].get("name", number)): number for number in graph.get(side, ())}
        for side in ("inputs", "outputs")
    )
    return _entry(graph, inputs, outputs)


def _entry(
    graph: Mapping[str, Any], inputs: dict[str, int], outputs: dict[str, int], *, key: str = "", subgraph: int = 0
) -> Entry:
    tensors = graph.get("tensors", ())
    _check_numbers([*inputs.values(), *outputs.values()], tensors)
    if not inputs or not outputs:
        raise SignatureError("the model takes or gives nothing", why=f"{len(inputs)} inputs, {len(outputs)} outputs")
    taken, given = (tuple(_tensor(n, tensors[i]) for n, i in side.items()) for side in (inputs, outputs))
    name = "" if key == _DEFAULT else key
    return Entry(key, subgraph, inputs, outputs, Signature("tensor", taken, given, name))


def _tensor(name: str, tensor: Mapping[str, Any]) -> Tensor:
    kind = tensor.get("type", 0)
    if kind not in _TYPES:
        raise SignatureError(f"tensor {name!r} has a type that does not travel", why=f"type {kind} of the format")
    return Tensor(name, _TYPES[kind][0], tuple(tensor.get("extents") or tensor.get("shape", ())))


def _check_operator(code: Mapping[str, Any]) -> None:
    number = max(code.get("old_code", 0), code.get("code", 0))
    name = str(code.get("custom_code", ""))
    if number in _REFUSED or name or not 0 <= number <= _LAST_OPERATOR:
        what = (
            "the Flex delegate's operator" if name.startswith("Flex") else _REFUSED.get(number, "an unknown operator")
        )
        raise Refused(
            f"the model needs {what}",
            why=f"{name or number} is not built in",
            fix="convert it with built-in operators only (TFLITE_BUILTINS)",
        )


def _check_graph(graph: Mapping[str, Any], model: Mapping[str, Any]) -> None:
    tensors, buffers = graph.get("tensors", ()), model.get("buffers", ())
    _check_numbers([*graph.get("inputs", ()), *graph.get("outputs", ())], tensors)
    for tensor in tensors:
        _check_numbers([tensor.get("buffer", 0)], buffers)
        _check_constant(tensor, len(buffers[tensor.get("buffer", 0)].get("data", b"")))
    for operator in graph.get("operators", ()):
        _check_numbers([operator.get("code", 0)], model.get("operator_codes", ()))
        taken = [number for number in operator.get("inputs", ()) if number != -1]  # an input that is left out
        _check_numbers([*taken, *operator.get("outputs", ()), *operator.get("intermediates", ())], tensors)


def _check_constant(tensor: Mapping[str, Any], size: int) -> None:
    """Raise ``IntegrityError`` unless a constant has as many bytes as its shape says."""
    shape, kind = tensor.get("shape", ()), tensor.get("type", 0)
    if any(n < -1 for n in (*shape, *tensor.get("extents", ()))):
        raise IntegrityError("the model cannot be loaded", why=f"a tensor has the shape {list(shape)}")
    if size and kind in _TYPES and math.prod(shape) * _TYPES[kind][1] != size:
        raise IntegrityError("the model cannot be loaded", why=f"a tensor of shape {list(shape)} has {size} bytes")


def _check_numbers(numbers: Sequence[int], of: Sequence[Any]) -> None:
    for number in numbers:
        if not 0 <= number < len(of):
            raise IntegrityError("the model cannot be loaded", why=f"it names part {number} of {len(of)}")
