"""Inference replies of the Open Inference Protocol: JSON tensors, and raw ones behind the JSON where asked for."""

import struct
from typing import Any

import numpy as np

from headrace.errors import SignatureError
from headrace.gateway.answers import encode
from headrace.gateway.http import Response
from headrace.gateway.oip_request import DATATYPES, Infer, refuse_shared
from headrace.models.signature import WORDS, Dtype, Signature
from headrace.models.tensors import NUMPY
from headrace.serving.rendezvous import Answer

BINARY = b"application/octet-stream"


def wanted_outputs(asked: Infer, signature: Signature) -> dict[str, bool]:
    """Outputs to reply with, and whether each is to be raw.

    Raises:
        SignatureError: There is no such output, or what is asked of it is not offered.
    """
    raw = (asked.parameters or {}).get("binary_data_output") is True
    known = {field.name for field in signature.outputs}
    wanted = {}
    for output in asked.outputs or ():
        parameters = output.parameters or {}
        if output.name not in known:
            raise SignatureError(f"there is no output {output.name}", why=f"there is {', '.join(sorted(known))}")
        if "classification" in parameters:
            raise SignatureError("the classification extension is not spoken", where=f"output {output.name!r}")
        refuse_shared(output.name, parameters)
        wanted[output.name] = parameters.get("binary_data", raw) is True
    return wanted or {field.name: raw for field in signature.outputs}


def infer_reply(answer: Answer, signature: Signature, *, name: str, asked: Infer, wanted: dict[str, bool]) -> Response:
    """The reply to an inference request."""
    dtypes: dict[str, Dtype] = {field.name: field.dtype for field in signature.outputs}
    outputs, tail = [], []
    for output, binary in wanted.items():
        values = answer.outputs[output]
        item: dict[str, Any] = {"name": output, "shape": shape_of(values), "datatype": DATATYPES[dtypes[output]]}
        if binary:
            tail.append(to_bytes(values, dtypes[output]))
            item["parameters"] = {"binary_data_size": len(tail[-1])}
        else:
            item["data"] = values.ravel() if isinstance(values, np.ndarray) else values
        outputs.append(item)
    version = answer.winner.partition("@")[2]
    body = {"model_name": name, "model_version": version, "id": asked.id or answer.id, "outputs": outputs}
    head = encode(body)
    if not tail:
        return Response(200, head)
    line = b"inference-header-content-length: %d\r\n" % len(head)
    return Response(200, b"".join([head, *tail]), BINARY, line)


def to_bytes(values: Any, dtype: Dtype) -> bytes:
    """A raw tensor, as ``oip_request.from_bytes`` reads it."""
    array = np.asarray(values, NUMPY[dtype])
    if dtype in WORDS:
        texts = [cell if isinstance(cell, bytes) else str(cell).encode() for cell in array.ravel().tolist()]
        return b"".join(struct.pack("<I", len(text)) + text for text in texts)
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def shape_of(values: Any) -> list[int]:
    """Extents of an array, or of lists that are not ragged."""
    if isinstance(values, np.ndarray):
        return list(values.shape)
    shape = [len(values)]
    while values and isinstance(values[0], list):
        values = values[0]
        shape.append(len(values))
    return shape
