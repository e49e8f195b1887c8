"""The signatures that a SavedModel declares, as ours; read from its messages alone."""

from collections.abc import Mapping, Sequence
from typing import Any

from headrace.engines.tensorflow.graph import INITIALISER
from headrace.errors import SignatureError
from headrace.models.signature import Dtype, Tensor

DEFAULT = "serving_default"

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


def definition(meta: Any, name: str) -> Any:
    """The ``SignatureDef`` of a name; without one the default, or the only one.

    Raises:
        SignatureError: There is none of that name, or no default among several.
    """
    known = {key: found for key, found in meta.signature_def.items() if key != INITIALISER}
    if name or DEFAULT in known:
        found = known.get(name or DEFAULT)
    else:
        found = next(iter(known.values())) if len(known) == 1 else None
    if found is None:
        what = f"the model has no signature {name!r}" if name else f"the model has no signature {DEFAULT!r}"
        why = f"it has {', '.join(sorted(known)) or 'none'}"
        raise SignatureError(what, why=why, fix="headrace models import PATH --signature-name NAME")
    return found


def tensors(infos: Mapping[str, Any]) -> tuple[Tensor, ...]:
    """The inputs or outputs of a ``SignatureDef`` in the order of their names; no extents where the rank is unknown.

    Raises:
        SignatureError: One is no tensor, or of a type that does not travel.
    """
    return tuple(_tensor(name, infos[name]) for name in sorted(infos))


def with_rows(declared: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Tensors whose first extent, fixed or not said, is any number of rows."""
    return tuple(Tensor(t.name, t.dtype, (-1, *t.shape[1:])) for t in declared)


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
