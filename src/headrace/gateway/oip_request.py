"""Inference requests of the Open Inference Protocol: JSON tensors, and raw ones behind the JSON.

With the header ``Inference-Header-Content-Length`` a body is so many bytes of JSON and then the tensors that say
``binary_data_size``, in order. A shape is compared with the signature and with the bytes sent before anything is made.
"""

import math
import re
import struct
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from headrace.errors import SignatureError, UsageError
from headrace.gateway.depth import check_value, passing_over
from headrace.gateway.numbers import numbers
from headrace.gateway.row_limit import SUSPECT_BYTES, check_tensors, check_values
from headrace.models.signature import WORDS, Dtype, Tensor
from headrace.models.tensors import NUMPY, as_words, check_shape, from_cells, makeable
from headrace.serving.request import Input, check_row_count
from headrace.serving.tensors import Decoder, TensorDecoder, flat_type, row_type
from headrace.serving.tuned import tuned

DATATYPES: Mapping[Dtype, str] = {
    "bool": "BOOL",
    "uint8": "UINT8",
    "uint16": "UINT16",
    "uint32": "UINT32",
    "uint64": "UINT64",
    "int8": "INT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
    "string": "BYTES",
    "bytes": "BYTES",
}
_DTYPES = {datatype: dtype for dtype, datatype in DATATYPES.items()}
_INTEGERS = frozenset(name for name in _DTYPES if "INT" in name)
_NUMBERS = _INTEGERS | {"FP16", "FP32", "FP64"}
# A column of a table is checked cell by cell, so that any datatype will do that holds its values.
_TAKES = {"bool": frozenset({"BOOL"}), "string": frozenset({"BYTES"}), "float32": _NUMBERS, "float64": _NUMBERS}
_LENGTH = struct.Struct("<I")
_NESTED = re.compile(rb"\s*\[\s*\[")

SIGNATURE = "signature_name"
"""The parameter of a request that names one of the model's signatures, as TensorFlow Serving's requests call it."""

_SHARED = "shared_memory_region"

Cell = float | int | str | bool | None
Sent = memoryview | NDArray[Any] | None


class InputTensor(msgspec.Struct, forbid_unknown_fields=True):
    """One tensor as sent; ``data`` is JSON not read yet, empty when its bytes follow."""

    name: str
    shape: list[int]
    datatype: str
    data: msgspec.Raw = msgspec.Raw(b"")
    parameters: dict[str, Any] | None = None


class OutputWanted(msgspec.Struct, forbid_unknown_fields=True):
    """An output that is asked for."""

    name: str
    parameters: dict[str, Any] | None = None


class Infer(msgspec.Struct, forbid_unknown_fields=True):
    """An inference request; what is optional may be null, as clients that fill a form send it."""

    inputs: list[InputTensor]
    id: str | None = None
    outputs: list[OutputWanted] | None = None
    parameters: dict[str, Any] | None = None


class _LooseTensor(InputTensor, forbid_unknown_fields=False):
    pass


class _LooseOutput(OutputWanted, forbid_unknown_fields=False):
    pass


class _LooseInfer(Infer, forbid_unknown_fields=False):
    inputs: list[_LooseTensor]  # type: ignore[assignment]
    outputs: list[_LooseOutput] | None = None  # type: ignore[assignment]


class _Parameters(msgspec.Struct):
    parameters: dict[str, Any] | None = None


_infer = msgspec.json.Decoder(Infer)
_loose = msgspec.json.Decoder[Infer](_LooseInfer)
_parameters = msgspec.json.Decoder(_Parameters)
_cells = msgspec.json.Decoder(list[Cell | list[Cell]])


def parse_infer(decoder: Decoder, body: bytes, header_bytes: int | None) -> tuple[Infer, Input]:
    """What is asked, and the input it holds.

    Args:
        decoder: Of the endpoint.
        body: As sent.
        header_bytes: How many bytes of it are JSON; None for all, 0 for a body that is the only input itself.

    Raises:
        SignatureError: A tensor does not fit the signature.
        UsageError: This is no inference request.
    """
    if header_bytes == 0:
        return _raw_request(decoder, body)
    end = len(body) if header_bytes is None else header_bytes
    if end > len(body):
        raise UsageError("Inference-Header-Content-Length exceeds the body", why=f"{end} > {len(body)} bytes")
    head = memoryview(body)[:end]
    try:
        if end > SUSPECT_BYTES:
            check_tensors(head)
        asked = _decoded(head)
    except msgspec.ValidationError as error:
        raise UsageError("this is no inference request", why=str(error)) from None
    tail = memoryview(body)[end:]
    return asked, with_params(decoder, asked.parameters, parse_tensors(decoder, _with_bytes(asked.inputs, tail)))


def _decoded(head: memoryview) -> Infer:
    """The request; its parameters, which may hold anything, are looked at where there are some."""
    try:
        asked = _infer.decode(head)
    except msgspec.ValidationError as error:
        asked = passing_over(_loose, head, error)
    if asked.parameters:
        check_value(asked.parameters, around=1)
    for wanted in asked.outputs or ():
        check_value(wanted.parameters, around=3)
    return asked


def with_params(decoder: Decoder, parameters: Mapping[str, Any] | None, given: Input) -> Input:
    """The input with those parameters of its request that the model declares; the others are the protocol's.

    Raises:
        SignatureError: One is of another type.
    """
    signature = decoder.signature
    if not parameters or not signature.params:
        return given
    return tuned(given, signature, {p.name: parameters[p.name] for p in signature.params if p.name in parameters})


def refuse_shared(name: str, parameters: Collection[str] | None) -> None:
    """Raise ``SignatureError`` where a tensor's parameters say that it lies, or is to lie, in shared memory."""
    if parameters and _SHARED in parameters:
        raise SignatureError("shared memory is not spoken", where=f"tensor {name!r}", fix="have its values in messages")


def signature_asked(body: bytes, header_bytes: int | None) -> str:
    """Which signature a request asks for, empty for none; what is wrong with the body is said when it is parsed."""
    try:
        return signature_of(_parameters.decode(memoryview(body)[:header_bytes]).parameters) if header_bytes != 0 else ""
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return ""


def signature_of(parameters: Mapping[str, Any] | None) -> str:
    """The signature that a request's parameters name; empty for none.

    Raises:
        UsageError: It is no text.
    """
    name = (parameters or {}).get(SIGNATURE) or ""
    if not isinstance(name, str):
        raise UsageError(f"parameter {SIGNATURE} is {str(name)[:50]!r}", why="the name of a signature is due")
    return name


def parse_tensors(decoder: Decoder, sent: Sequence[tuple[InputTensor, Sent]]) -> Input:
    """The input that tensors make, each with its bytes, its array, or None where its values are in its JSON.

    Raises:
        SignatureError: A tensor does not fit the signature.
    """
    if isinstance(decoder, TensorDecoder):
        return decoder.of_arrays(_arrays(decoder, sent))
    return decoder.of_mapping(_columns(decoder, sent))


def from_bytes(data: memoryview, *, name: str, datatype: str, shape: Sequence[int]) -> NDArray[Any]:
    """A raw tensor: little-endian, row-major, BOOL one byte, BYTES a length of four bytes before each element.

    Raises:
        SignatureError: The bytes are not what datatype and shape say.
    """
    if datatype == "BYTES":
        return _elements(data, name, shape)
    kind = np.dtype(NUMPY[_dtype(name, datatype)]).newbyteorder("<")
    due = math.prod(shape) * kind.itemsize
    if due != len(data) or not makeable(shape):
        raise SignatureError(f"tensor {name!r} has {len(data)} bytes", why=f"{datatype} {list(shape)} is {due} bytes")
    if datatype == "BOOL":
        return np.frombuffer(data, np.uint8).reshape(shape).astype(np.bool_)
    return np.frombuffer(data, kind).reshape(shape)


def _elements(data: memoryview, name: str, shape: Sequence[int]) -> NDArray[Any]:
    count, cells, at = math.prod(shape), [], 0
    fault = SignatureError(f"tensor {name!r} has not the {count} elements of its shape", why="or their lengths lie")
    if not makeable(shape) or count * _LENGTH.size > len(data):
        raise fault
    for _ in range(count):
        if at + _LENGTH.size > len(data):
            raise fault
        (size,) = _LENGTH.unpack_from(data, at)
        start, at = at + _LENGTH.size, at + _LENGTH.size + size
        if at > len(data):
            raise fault
        cells.append(bytes(data[start:at]))
    if at != len(data):
        raise fault
    array = np.empty(count, np.object_)
    array[:] = cells
    return array.reshape(shape)


def _dtype(name: str, datatype: str) -> Dtype:
    dtype = _DTYPES.get(datatype)
    if dtype is None:
        raise SignatureError(f"tensor {name!r} has datatype {datatype!r}", why=f"one of {', '.join(_DTYPES)} is due")
    return dtype


def _arrays(decoder: TensorDecoder, sent: Sequence[tuple[InputTensor, Sent]]) -> dict[str, NDArray[Any]]:
    found: dict[str, NDArray[Any]] = {}
    for item, raw in sent:
        tensor = decoder.tensors.get(item.name)
        if tensor is None or item.name in found:
            said = "is given twice" if tensor else "is not an input of this model"
            raise SignatureError(f"tensor {item.name!r} {said}", why=f"it takes {', '.join(decoder.names)}")
        if item.datatype != DATATYPES[tensor.dtype]:
            raise SignatureError(
                f"tensor {item.name!r} has datatype {item.datatype!r}", why=f"{DATATYPES[tensor.dtype]} is due"
            )
        check_shape(item.shape, tensor)
        found[item.name] = _of_json(item, tensor) if raw is None else _array(item, raw)
    return found


def _of_json(item: InputTensor, tensor: Tensor) -> NDArray[Any]:
    size, text = math.prod(item.shape), memoryview(item.data)
    # Each value takes a byte and a comma at least: a shape that promises more than was sent is a lie.
    if 2 * size - 1 > len(text) or not makeable(item.shape):
        raise SignatureError(f"tensor {tensor.name!r} has too few values", why=f"its shape says {item.shape}")
    if len(text) > SUSPECT_BYTES:
        check_values(tensor.name, text, math.prod(max(n, 1) for n in item.shape))
        if tensor.dtype not in WORDS:
            return _of_large(item, tensor, size)
    nested = _NESTED.match(text)
    kind = list[row_type(tensor)] if nested else flat_type(tensor, size)  # type: ignore[misc]
    try:
        cells = msgspec.json.decode(text, type=kind)
    except msgspec.ValidationError as error:
        raise SignatureError(f"tensor {tensor.name!r} is refused", why=str(error)) from None
    if not nested:
        return from_cells(cells, Tensor(tensor.name, tensor.dtype, (size,))).reshape(item.shape)
    return from_cells(cells, Tensor(tensor.name, tensor.dtype, tuple(item.shape)))


def _of_large(item: InputTensor, tensor: Tensor, size: int) -> NDArray[Any]:
    found = numbers(item.data, tensor)
    if list(found.shape) not in (item.shape, [size]):
        raise SignatureError(f"tensor {tensor.name!r} is {list(found.shape)}", why=f"its shape says {item.shape}")
    return found.reshape(item.shape)


def _columns(decoder: Decoder, sent: Sequence[tuple[InputTensor, Sent]]) -> dict[str, Sequence[Any]]:
    dtypes: dict[str, Dtype] = {c.name: c.dtype for c in decoder.signature.columns}
    columns: dict[str, Sequence[Any]] = {}
    for item, raw in sent:
        if item.name not in decoder.sent:
            raise decoder.unknown(item.name)
        taken = _TAKES.get(dtypes.get(item.name, ""), _INTEGERS)
        if item.name in dtypes and item.datatype not in taken:
            raise SignatureError(
                f"column {item.name!r} has datatype {item.datatype!r}", why=f"{' or '.join(sorted(taken))} is due"
            )
        if item.name in columns:
            raise SignatureError(f"column {item.name!r} is given twice")
        if len(item.shape) not in {1, 2} or item.shape[1:] not in ([], [1]):
            raise SignatureError(
                f"column {item.name!r} has shape {item.shape}", why="a named column is [rows] or [rows, 1]"
            )
        columns[item.name] = _json_cells(item) if raw is None else _raw_cells(item, raw)
    return columns


def _json_cells(item: InputTensor) -> list[Cell]:
    """The cells of a column, flat or nested."""
    cells: list[Cell] = []
    if len(memoryview(item.data)) > SUSPECT_BYTES:
        check_row_count(item.shape[0])
        check_values(item.name, item.data, item.shape[0])
    try:
        for cell in _cells.decode(item.data or b"[]"):
            cells.extend(cell if isinstance(cell, list) else [cell])
    except msgspec.ValidationError as error:
        raise SignatureError(f"column {item.name!r} is refused", why=str(error)) from None
    if len(cells) != item.shape[0]:
        raise SignatureError(f"column {item.name!r} has {len(cells)} values", why=f"its shape says {item.shape[0]}")
    return cells


def _array(item: InputTensor, raw: memoryview | NDArray[Any]) -> NDArray[Any]:
    if isinstance(raw, np.ndarray):
        return raw
    return from_bytes(raw, name=item.name, datatype=item.datatype, shape=item.shape)


def _raw_cells(item: InputTensor, raw: memoryview | NDArray[Any]) -> list[Cell]:
    array = _array(item, raw)
    if array.dtype.kind == "O":
        array = as_words(array, Tensor(item.name, "string", (-1,)))
    cells: list[Cell] = array.ravel().tolist()
    if array.dtype.kind == "f":  # raw numbers know no null but NaN
        return [None if cell != cell else cell for cell in cells]  # noqa: PLR0124 - only NaN differs from itself
    return cells


def _with_bytes(sent: Sequence[InputTensor], tail: memoryview) -> Sequence[tuple[InputTensor, Sent]]:
    """Each tensor with its bytes, or None where its values are in the JSON."""
    pairs: list[tuple[InputTensor, Sent]] = []
    at = 0
    for item in sent:
        refuse_shared(item.name, item.parameters)
        size = item.parameters.get("binary_data_size") if item.parameters else None
        if size is None or len(item.parameters or ()) > 1:
            check_value(item.parameters, around=3)
        if size is None:
            pairs.append((item, None))
            continue
        if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= len(tail) - at:
            raise SignatureError(
                f"tensor {item.name!r} has binary_data_size {size!r}", why=f"{len(tail) - at} bytes are left"
            )
        pairs.append((item, tail[at : at + size]))
        at += size
    if at != len(tail):
        raise UsageError(f"{len(tail) - at} bytes follow the last tensor", why="binary_data_size says where each ends")
    return pairs


def _raw_request(decoder: Decoder, body: bytes) -> tuple[Infer, Input]:
    """A body that is the only input itself: one row of it."""
    asked = Infer(inputs=[], parameters={"binary_data_output": True})
    if not isinstance(decoder, TensorDecoder) or len(decoder.tensors) != 1:
        raise SignatureError("a raw body is for a model of one tensor", why=f"it takes {', '.join(decoder.names)}")
    (tensor,) = decoder.tensors.values()
    shape = [1, *tensor.shape[1:]]
    if tensor.dtype in WORDS:
        shape = [1 if n < 0 else n for n in shape]
        if math.prod(shape) != 1:
            raise SignatureError(f"tensor {tensor.name!r} has 1 value", why=f"{shape} is due")
        array: NDArray[Any] = np.empty(1, np.object_)
        array[0] = body
        return asked, decoder.of_arrays({tensor.name: array.reshape(shape)})
    if shape.count(-1) == 1:  # the one extent that varies follows from the size
        one = -math.prod(shape) * np.dtype(NUMPY[tensor.dtype]).itemsize
        shape[shape.index(-1)] = len(body) // max(one, 1)
    raw = from_bytes(memoryview(body), name=tensor.name, datatype=DATATYPES[tensor.dtype], shape=shape)
    return asked, decoder.of_arrays({tensor.name: raw})
