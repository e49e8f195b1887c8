"""MLflow's signatures as ours: columns and tensors, with names for what has none."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from headrace.errors import SignatureError
from headrace.models.params import Kind, Param
from headrace.models.signature import WORDS, Column, Dtype, Signature, Tensor
from headrace.models.tensors import NUMPY

INPUT, OUTPUT = "input", "output"
"""What the only tensor is called that MLflow leaves without a name."""

_COLUMNS: Mapping[str, Dtype] = {
    "boolean": "bool",
    "integer": "int64",
    "long": "int64",
    "float": "float32",
    "double": "float64",
    "string": "string",
}
_ANSWERS: Mapping[Dtype, Dtype] = {"int32": "int64", "int64": "int64", "float64": "float64"}
_PARAMS: Mapping[str, Kind] = {
    "boolean": "bool",
    "integer": "int32",
    "long": "int64",
    "float": "float32",
    "double": "float64",
    "string": "string",
    "datetime": "datetime",
}
_SAY = "say what is to be served: --signature"


def signature_of(schemas: Any) -> Signature:
    """What a model with MLflow's signature takes and gives.

    Inputs that MLflow calls optional may be null. Answers are one column each for a table, called as MLflow calls them,
    otherwise ``output``, or ``output_0``, ``output_1`` for a matrix. Where answers are text, which no table is answered
    with, each column is a tensor of its own, found by its name all the same.

    Args:
        schemas: MLflow's ``ModelSignature``; None when the model was saved without.

    Raises:
        SignatureError: There is none, or it has what cannot be served: inputs without names, dates, nested values, text
            as the answer where columns may be null; a parameter whose default is not finite.
    """
    if schemas is None or schemas.inputs is None or schemas.outputs is None:
        lacks = "signature" if schemas is None else "inputs" if schemas.inputs is None else "outputs"
        raise SignatureError(f"the MLmodel says no {lacks}", fix=f"save the model with a signature, or {_SAY}")
    return replace(_rows_of(schemas), params=params_of(schemas))


def params_of(schemas: Any) -> tuple[Param, ...]:
    """The parameters that MLflow's ``ModelSignature`` declares; MLflow takes null for any of them but objects.

    Raises:
        SignatureError: A default is not finite.
    """
    declared = schemas.params.to_dict() if schemas is not None and schemas.params is not None else ()
    return tuple(_param(said) for said in declared)


def _param(said: Mapping[str, Any]) -> Param:
    kind = _PARAMS.get(said["type"], "object")
    return Param(said["name"], kind, said["default"], many=bool(said["shape"]), nullable=kind != "object")


def _rows_of(schemas: Any) -> Signature:
    """What a model takes and gives for each row."""
    inputs, outputs = schemas.inputs.inputs, schemas.outputs.inputs
    if schemas.inputs.is_tensor_spec():
        return Signature("tensor", _tensors(inputs, INPUT), _tensors(outputs, OUTPUT))
    columns, answers = tuple(map(_column, inputs)), _tensors(outputs, OUTPUT)
    if any(tensor.dtype in WORDS for tensor in answers) and not any(column.nullable for column in columns):
        return Signature("tensor", tuple(Tensor(c.name, c.dtype, (-1,)) for c in columns), answers)
    return Signature("table", columns, tuple(_answers(answers)))


def _column(spec: Any) -> Column:
    dtype = _COLUMNS.get(getattr(spec.type, "name", ""))
    if spec.name is None or dtype is None:
        why = f"it has no name, and is {spec.type!r}" if spec.name is None else f"{spec.type!r} does not travel"
        raise SignatureError(f"the MLmodel's column {spec.name or ''!r} cannot be served", why=why, fix=_SAY)
    return Column(str(spec.name), dtype, nullable=not spec.required)


def _tensors(specs: Sequence[Any], only: str) -> tuple[Tensor, ...]:
    return tuple(_tensor(spec, only if len(specs) == 1 else "") for spec in specs)


def _tensor(spec: Any, otherwise: str) -> Tensor:
    """A tensor, or a column of what a model of tensors answers."""
    name = str(spec.name or otherwise)
    shape = getattr(spec, "shape", (-1,))
    kind = spec.type if hasattr(spec, "shape") else getattr(spec.type, "to_numpy", lambda: None)()
    words: dict[str, Dtype] = {"O": "string", "S": "bytes", "U": "string"}
    dtype = words.get(getattr(kind, "kind", ""))
    dtype = dtype or next((d for d in NUMPY if d not in WORDS and kind == NUMPY[d]), None)
    if not name or dtype is None or not shape:
        raise SignatureError(
            f"the MLmodel's tensor {name!r} cannot be served", why=f"{kind} of extents {list(shape)}", fix=_SAY
        )
    return Tensor(name, dtype, tuple(int(extent) for extent in shape))


def _answers(tensors: Sequence[Tensor]) -> Iterator[Column]:
    for tensor in tensors:
        width = {1: 1, 2: tensor.shape[-1]}.get(len(tensor.shape), -1)
        if tensor.dtype in WORDS or width < 1:
            what = "text" if tensor.dtype in WORDS else f"extents {list(tensor.shape)}"
            raise SignatureError(
                f"the MLmodel's answer {tensor.name!r} is {what}",
                why="a table, whose columns may be null, is answered with columns of numbers",
                fix=_SAY,
            )
        names = [tensor.name] if width == 1 else [f"{tensor.name}_{number}" for number in range(width)]
        yield from (Column(name, _ANSWERS.get(tensor.dtype, "float32")) for name in names)
