"""Signatures: exactly what a model takes and gives; nothing is registered or scored without one."""

import math
from dataclasses import dataclass
from typing import Any, Literal

from headrace.models.params import Param

Dtype = Literal[
    "bool",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "int8",
    "int16",
    "int32",
    "int64",
    "float16",
    "float32",
    "float64",
    "string",
    "bytes",
]
"""Types on the wire; columns of tables are bool, int64, float32, float64 or string."""

WORDS: frozenset[Dtype] = frozenset({"string", "bytes"})
"""Types whose values are no numbers: UTF-8 text, or bytes of any kind such as those of an image file."""


Method = Literal["predict", "classify", "regress"]
"""What a signature is asked by, in TensorFlow Serving's words; one that is not for predicting takes examples."""

DEFAULT_SIGNATURE = "serving_default"
"""What callers may call the signature that is served unasked, where it has no name of its own."""


@dataclass(frozen=True)
class Column:
    """One named input column of a table, or one output.

    Attributes:
        name: As the training table calls it.
        dtype: Its type on the wire.
        nullable: Whether null is legal (it becomes NaN inside).
    """

    name: str
    dtype: Dtype
    nullable: bool = False


@dataclass(frozen=True)
class Tensor:
    """One named tensor; -1 in ``shape`` is any extent, the first is the batch."""

    name: str
    dtype: Dtype
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Signature:
    """What a model takes and gives.

    Attributes:
        kind: ``table``: named columns only, in any order. ``tensor``: tensors only.
        inputs: Columns (table) or tensors (tensor).
        outputs: What a score holds, per row.
        name: Which of the model's own signatures this is; empty for the only one, or the one it serves unasked.
        method: What it is asked by.
        others: The model's other signatures, each with a name by which callers choose it.
        params: What a request may say besides its input.
    """

    kind: Literal["table", "tensor"]
    inputs: tuple[Column, ...] | tuple[Tensor, ...]
    outputs: tuple[Column, ...] | tuple[Tensor, ...]
    name: str = ""
    method: Method = "predict"
    others: tuple["Signature", ...] = ()
    params: tuple[Param, ...] = ()

    def named(self, name: str) -> "Signature | None":
        """This one, or the other one of that name; None when the model has none."""
        if name in {"", self.name or DEFAULT_SIGNATURE}:
            return self
        return next((other for other in self.others if other.name == name), None)

    @property
    def columns(self) -> tuple[Column, ...]:
        """The input columns of a table signature (empty for tensors)."""
        return tuple(c for c in self.inputs if isinstance(c, Column))

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """The input tensors of a tensor signature (empty for tables)."""
        return tuple(t for t in self.inputs if isinstance(t, Tensor))

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values, for the ledger and for metadata replies."""
        fields: dict[str, Any] = {
            "kind": self.kind,
            "inputs": [_field_json(c) for c in self.inputs],
            "outputs": [_field_json(c) for c in self.outputs],
        }
        fields |= {"name": self.name} if self.name else {}
        fields |= {"method": self.method} if self.method != "predict" else {}
        fields |= {"params": [param.to_json() for param in self.params]} if self.params else {}
        return fields | ({"others": [other.to_json() for other in self.others]} if self.others else {})

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Signature":
        """Back from ``to_json``."""
        inputs: Any = tuple(_field_of(c) for c in data["inputs"])
        outputs: Any = tuple(_field_of(c) for c in data["outputs"])
        others = tuple(map(cls.from_json, data.get("others", ())))
        params = tuple(map(Param.from_json, data.get("params", ())))
        return cls(data["kind"], inputs, outputs, data.get("name", ""), data.get("method", "predict"), others, params)


def is_null(value: object) -> bool:
    """Whether a cell is null as a table means it: None or NaN."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def _field_json(field: Column | Tensor) -> dict[str, Any]:
    if isinstance(field, Column):
        return {"name": field.name, "dtype": field.dtype, "nullable": field.nullable}
    return {"name": field.name, "dtype": field.dtype, "shape": list(field.shape)}


def _field_of(data: dict[str, Any]) -> Column | Tensor:
    if "shape" in data:
        return Tensor(data["name"], data["dtype"], tuple(data["shape"]))
    return Column(data["name"], data["dtype"], data.get("nullable", False))
