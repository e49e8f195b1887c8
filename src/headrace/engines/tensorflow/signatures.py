"""The signatures that a SavedModel declares, as ours; read from its messages alone."""

from collections.abc import Mapping, Sequence
from typing import Any

from headrace.engines.tensorflow.graph import INITIALISER
from headrace.errors import SignatureError
from headrace.models.signature import DEFAULT_SIGNATURE, Dtype, Method, Tensor

_METHODS: Mapping[str, Method] = {"tensorflow/serving/classify": "classify", "tensorflow/serving/regress": "regress"}

_DTYPES: Mapping[int, Dtype] = {
    1: "float32",
    2: "float64",
    3: "int32",
    4: "uint8",
    5: "int16",
    6: "int8",
    7: "bytes",
    9: "int64",
    10: "bool",
    17: "uint16",
    19: "float16",
    22: "uint32",
    23: "uint64",
}
"""TensorFlow's number of a type to ours."""

_PLACES = frozenset({"Placeholder", "PlaceholderV2", "PlaceholderWithDefault"})


def names(meta: Any) -> tuple[str, ...]:
    """Names of the signatures that are for callers, in alphabetical order."""
    return tuple(sorted(key for key in meta.signature_def if key != INITIALISER))


def name_of(meta: Any, asked: str) -> str:
    """The name that the model itself has for a signature: what is asked; otherwise the default, or the only one.

    Raises:
        SignatureError: There is none of that name, or no default among several.
    """
    known = names(meta)
    wanted = asked or (known[0] if len(known) == 1 else DEFAULT_SIGNATURE)
    if wanted not in known:
        why = f"it has {', '.join(known) or 'none'}"
        fix = "headrace models import PATH --signature-name NAME"
        raise SignatureError(f"the model has no signature {wanted!r}", why=why, fix=fix)
    return wanted


def method_of(definition: Any) -> Method:
    """What a ``SignatureDef`` is asked by."""
    return _METHODS.get(definition.method_name, "predict")


def inputs_of(definition: Any, nodes: Mapping[str, Any]) -> tuple[Tensor, ...]:
    """The inputs of a ``SignatureDef`` in the order of their names.

    Where the graph's placeholder takes strings, whatever the signature says: serialised examples, one a row.

    Args:
        definition: The ``SignatureDef``.
        nodes: The graph's nodes by name.

    Raises:
        SignatureError: One is no tensor, or of a type that does not travel.
    """
    found = tensors(definition.inputs)
    return tuple(
        _as_taken(tensor, nodes.get(definition.inputs[tensor.name].name.partition(":")[0])) for tensor in found
    )


def tensors(infos: Mapping[str, Any]) -> tuple[Tensor, ...]:
    """The inputs or outputs of a ``SignatureDef`` in the order of their names; no extents where the rank is unknown.

    Raises:
        SignatureError: One is no tensor, or of a type that does not travel.
    """
    return tuple(_tensor(name, infos[name]) for name in sorted(infos))


def with_rows(declared: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Tensors whose first extent, fixed or not said, is any number of rows."""
    return tuple(Tensor(t.name, t.dtype, (-1, *t.shape[1:])) for t in declared)


def _as_taken(tensor: Tensor, node: Any) -> Tensor:
    strings = node is not None and node.op in _PLACES and _DTYPES.get(node.attr["dtype"].type) == "bytes"
    return Tensor(tensor.name, "bytes", (-1,)) if strings and tensor.dtype != "bytes" else tensor


def _tensor(name: str, info: Any) -> Tensor:
    dtype = _DTYPES.get(info.dtype)
    if info.WhichOneof("encoding") != "name" or dtype is None:
        raise SignatureError(
            f"tensor {name!r} has a type that does not travel",
            why=f"sparse, ragged or TensorFlow's type {info.dtype}",
            fix="let the model convert it to a dense tensor of float32",
        )
    if dtype == "bytes" and info.tensor_shape.unknown_rank:  # serialised examples, one a row
        return Tensor(name, dtype, (-1,))
    return Tensor(name, dtype, tuple(max(dim.size, -1) for dim in info.tensor_shape.dim))
