"""Arrays as the Open Inference Protocol's raw tensors, both ways: the shortest way for large ones."""

import json
import struct
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headrace.client.connection import Reply
from headrace.errors import SignatureError

HEADER = "inference-header-content-length"

_NAMES = {
    "?": "BOOL",
    **{code: f"UINT{8 * np.dtype(code).itemsize}" for code in "BHIQ"},
    **{code: f"INT{8 * np.dtype(code).itemsize}" for code in "bhiq"},
    "e": "FP16",
    "f": "FP32",
    "d": "FP64",
}
_DTYPES = {name: np.dtype(code) for code, name in _NAMES.items()}
_LENGTH = struct.Struct("<I")


def packed(
    inputs: Mapping[str, NDArray[Any]], parameters: Mapping[str, str] = MappingProxyType({})
) -> tuple[bytes, dict[str, str]]:
    """A request's body and its headers; arrays of text are sent as UTF-8, bytes as they are.

    Args:
        inputs: Tensor to array.
        parameters: Of the request.

    Raises:
        SignatureError: An array is neither numbers, truth values, text nor bytes.
    """
    said, tail = [], []
    for name, given in inputs.items():
        array = np.asarray(given)
        datatype, data = _raw(name, array)
        about = {"binary_data_size": len(data)}
        said.append({"name": name, "shape": list(array.shape), "datatype": datatype, "parameters": about})
        tail.append(data)
    head = json.dumps({"inputs": said, "parameters": {"binary_data_output": True, **parameters}}).encode()
    return b"".join([head, *tail]), {"content-type": "application/octet-stream", HEADER: str(len(head))}


def unpacked(reply: Reply) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """What a reply says, and its outputs by name."""
    length = int(reply.header(HEADER) or len(reply.body))
    said = json.loads(reply.body[:length])
    outputs, at = {}, length
    for output in said["outputs"]:
        size = output.get("parameters", {}).get("binary_data_size", 0)
        outputs[output["name"]] = _array(output, reply.body[at : at + size])
        at += size
    return said, outputs


def _raw(name: str, array: NDArray[Any]) -> tuple[str, bytes]:
    if array.dtype.kind in "OSU":
        texts = [cell if isinstance(cell, bytes) else str(cell).encode() for cell in array.ravel().tolist()]
        return "BYTES", b"".join(_LENGTH.pack(len(text)) + text for text in texts)
    # Two of NumPy's letters may mean one type, so types are compared.
    datatype = next((known for known, dtype in _DTYPES.items() if dtype == array.dtype.newbyteorder("=")), None)
    if datatype is None:
        raise SignatureError(
            f"tensor {name!r} has type {array.dtype}", why=f"one of {', '.join(_DTYPES)} or text is due"
        )
    return datatype, array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def _array(output: Mapping[str, Any], data: bytes) -> NDArray[Any]:
    if output["datatype"] != "BYTES":
        return np.frombuffer(data, _DTYPES[output["datatype"]].newbyteorder("<")).reshape(output["shape"])
    cells, at = [], 0
    while at < len(data):
        (size,) = _LENGTH.unpack_from(data, at)
        cells.append(_words(data[at + _LENGTH.size : at + _LENGTH.size + size]))
        at += _LENGTH.size + size
    return np.array(cells, dtype=object).reshape(output["shape"])


def _words(data: bytes) -> str | bytes:
    """Text where it is UTF-8; the protocol tells neither from the other."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data
