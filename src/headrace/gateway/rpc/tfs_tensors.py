"""``TensorProto`` and NumPy, both ways."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headrace.errors import SignatureError
from headrace.gateway.http import BODY_LIMIT
from headrace.gateway.oip_reply import shape_of
from headrace.gateway.oip_request import DATATYPES, InputTensor, Sent, from_bytes
from headrace.gateway.rpc.tfs_messages import SERVING
from headrace.models.signature import WORDS, Dtype
from headrace.models.tensors import NUMPY, check_extents, makeable

# TensorFlow's number of a type, and the field that holds its values.
_TYPES: Mapping[Dtype, tuple[int, str]] = {
    "float32": (1, "float_val"),
    "float64": (2, "double_val"),
    "int32": (3, "int_val"),
    "uint8": (4, "int_val"),
    "int16": (5, "int_val"),
    "int8": (6, "int_val"),
    "string": (7, "string_val"),
    "bytes": (7, "string_val"),
    "int64": (9, "int64_val"),
    "bool": (10, "bool_val"),
    "uint16": (17, "int_val"),
    "float16": (19, "half_val"),
    "uint32": (22, "uint32_val"),
    "uint64": (23, "uint64_val"),
}
_DTYPES = {number: dtype for dtype, (number, _) in _TYPES.items()}
_FILL_LIMIT = 1_000_000


def type_number(dtype: Dtype) -> int:
    """TensorFlow's number of a type."""
    return _TYPES[dtype][0]


def read_tensor(name: str, tensor: Any) -> tuple[InputTensor, Sent]:
    """A ``TensorProto`` as the data plane takes it.

    Raises:
        SignatureError: Its type is not served, or it holds not as many values as its shape says.
    """
    dtype = _DTYPES.get(tensor.dtype)
    if dtype is None:
        raise SignatureError(f"tensor {name!r} has type {tensor.dtype}", why="no model takes it")
    check_extents(name, len(tensor.tensor_shape.dim))
    shape = [dim.size for dim in tensor.tensor_shape.dim]
    item = InputTensor(name, shape, DATATYPES[dtype])
    if tensor.tensor_content:
        raw = memoryview(tensor.tensor_content)
        return item, from_bytes(raw, name=name, datatype=item.datatype, shape=shape)
    cells = list(getattr(tensor, _TYPES[dtype][1]))
    size = math.prod(shape)
    if not makeable(shape) or (len(cells) != size and not _fills(cells, size)):
        raise SignatureError(f"tensor {name!r} has {len(cells)} values", why=f"its shape says {shape}")
    return item, np.broadcast_to(_array(name, cells, dtype), (size,)).reshape(shape)


def write_tensor(values: Any, dtype: Dtype) -> Any:
    """A ``TensorProto`` of an output."""
    number, field = _TYPES[dtype]
    tensor = SERVING.TensorProto(dtype=number)
    for extent in shape_of(values):
        tensor.tensor_shape.dim.add(size=extent)
    array = np.asarray(values, NUMPY[dtype]).ravel()
    cells = array.view(np.uint16).tolist() if dtype == "float16" else array.tolist()
    if dtype in WORDS:
        cells = [cell.encode() if isinstance(cell, str) else cell for cell in cells]
    getattr(tensor, field).extend(cells)
    return tensor


def _fills(cells: list[Any], size: int) -> bool:
    """Whether a single value may stand for them all: not where little that is sent would become much."""
    if len(cells) != 1 or size > _FILL_LIMIT:
        return False
    return not isinstance(cells[0], bytes) or len(cells[0]) * size <= BODY_LIMIT


def _array(name: str, cells: list[Any], dtype: Dtype) -> NDArray[Any]:
    try:
        if dtype == "float16":
            return np.array(cells, np.uint16).view(np.float16)
        return np.array(cells, NUMPY[dtype])
    except OverflowError as error:
        raise SignatureError(f"tensor {name!r} is refused", why=str(error)[:200]) from None
