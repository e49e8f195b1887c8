"""Tensors of gRPC requests and replies: typed contents, or raw ones, never both."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headrace.errors import SignatureError
from headrace.gateway.oip_reply import shape_of, to_bytes
from headrace.gateway.oip_request import (
    DATATYPES,
    Infer,
    InputTensor,
    OutputWanted,
    Sent,
    parse_tensors,
    refuse_shared,
    with_params,
)
from headrace.gateway.rpc.messages import INFERENCE
from headrace.models.signature import Dtype, Signature
from headrace.models.tensors import NUMPY, check_extents, makeable
from headrace.serving.rendezvous import Answer
from headrace.serving.request import Input
from headrace.serving.tensors import Decoder

_CONTENTS = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    "INT64": "int64_contents",
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
_DTYPES: dict[str, Dtype] = {datatype: dtype for dtype, datatype in DATATYPES.items()}


def parse_request(decoder: Decoder, request: Any) -> tuple[Infer, Input]:
    """What a ``ModelInferRequest`` asks, and the input it holds.

    Raises:
        SignatureError: A tensor or parameter does not fit the signature, or a tensor has no contents, or both kinds.
    """
    for tensor in request.inputs:
        refuse_shared(tensor.name, tensor.parameters)
    raw = request.raw_input_contents
    if raw and (len(raw) != len(request.inputs) or any(tensor.HasField("contents") for tensor in request.inputs)):
        raise SignatureError(f"{len(raw)} raw contents for {len(request.inputs)} inputs", why="all are raw, or none")
    pairs: list[tuple[InputTensor, Sent]] = []
    for i, tensor in enumerate(request.inputs):
        check_extents(tensor.name, len(tensor.shape))
        item = InputTensor(tensor.name, list(tensor.shape), tensor.datatype)
        pairs.append((item, memoryview(raw[i]) if raw else _typed(item, tensor.contents)))
    wanted = [OutputWanted(o.name, dict.fromkeys(o.parameters)) for o in request.outputs]
    given = parse_tensors(decoder, pairs)
    if decoder.signature.params:
        given = with_params(decoder, {name: _said(one) for name, one in request.parameters.items()}, given)
    return Infer(inputs=[], id=request.id, outputs=wanted), given


def _said(parameter: Any) -> Any:
    """The value of an ``InferParameter``; None when it has none."""
    return next((value for _, value in parameter.ListFields()), None)


def reply_to(request: Any, answer: Answer, signature: Signature, wanted: Sequence[str]) -> Any:
    """The ``ModelInferResponse``: raw where the request was raw, or where an output has no typed contents."""
    dtypes: dict[str, Dtype] = {field.name: field.dtype for field in signature.outputs}
    raw = bool(request.raw_input_contents) or any(DATATYPES[dtypes[name]] not in _CONTENTS for name in wanted)
    reply = INFERENCE.ModelInferResponse(
        model_name=request.model_name, model_version=answer.winner.partition("@")[2], id=request.id or answer.id
    )
    for name in wanted:
        values, datatype = answer.outputs[name], DATATYPES[dtypes[name]]
        output = reply.outputs.add(name=name, datatype=datatype, shape=shape_of(values))
        if raw:
            reply.raw_output_contents.append(to_bytes(values, dtypes[name]))
            continue
        cells = np.asarray(values, NUMPY[dtypes[name]]).ravel().tolist()
        if datatype == "BYTES":
            cells = [cell.encode() if isinstance(cell, str) else cell for cell in cells]
        getattr(output.contents, _CONTENTS[datatype]).extend(cells)
    return reply


def _typed(item: InputTensor, contents: Any) -> NDArray[Any]:
    field = _CONTENTS.get(item.datatype)
    if field is None:
        known = ", ".join(_CONTENTS)
        raise SignatureError(f"tensor {item.name!r} has datatype {item.datatype!r}", why=f"one of {known} is due")
    cells: list[Any] = list(getattr(contents, field))
    if len(cells) != math.prod(item.shape) or not makeable(item.shape):
        raise SignatureError(f"tensor {item.name!r} has {len(cells)} values", why=f"its shape says {item.shape}")
    try:
        array: NDArray[Any] = np.array(cells, NUMPY[_DTYPES[item.datatype]])
    except (OverflowError, ValueError) as error:
        raise SignatureError(f"tensor {item.name!r} is refused", why=str(error)) from None
    return array.reshape(item.shape)
