"""Open Inference Protocol v2 over REST, JSON tensors: one tensor a column, or one a tensor input.

Shapes follow kserve/open-inference-protocol@d49cc23 (docs/reference/protocols.md); errors are ``{"error": text}``.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote

import msgspec

from headrace import __version__
from headrace.errors import HeadraceError, NotFound, SignatureError, Unavailable, UsageError
from headrace.gateway.answers import encode, error_body, parse, respond
from headrace.gateway.http import Request, Response, Send
from headrace.gateway.tfs import refuse_foreign_type
from headrace.models.signature import Column, Dtype, Tensor
from headrace.refs import Ref
from headrace.serving.dataplane import DataPlane
from headrace.serving.rendezvous import Answer, Live
from headrace.serving.request import Input, TableDecoder

_MODEL = re.compile(r"/v2/models/([^/]+)(?:/versions/([^/]+))?(/ready|/infer)?")
_DATATYPES: Mapping[Dtype, str] = {
    "bool": "BOOL",
    "int64": "INT64",
    "int32": "INT32",
    "uint8": "UINT8",
    "float32": "FP32",
    "float64": "FP64",
    "string": "BYTES",
}
_INTEGERS = frozenset({"INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64"})
_TAKES = {
    "bool": frozenset({"BOOL"}),
    "string": frozenset({"BYTES"}),
    "float32": _INTEGERS | {"FP16", "FP32", "FP64"},
    "float64": _INTEGERS | {"FP16", "FP32", "FP64"},
}

Cell = float | int | str | bool | None


class _Tensor(msgspec.Struct):
    name: str
    shape: list[int]
    datatype: str
    data: list[Cell | list[Cell]]


class _Wanted(msgspec.Struct):
    name: str


class _Infer(msgspec.Struct):
    inputs: list[_Tensor]
    id: str = ""
    outputs: list[_Wanted] = []


_infer = msgspec.json.Decoder(_Infer)


class OpenInference:
    """``/v2`` over a data plane."""

    def __init__(self, plane: DataPlane) -> None:
        self._plane = plane

    def __call__(self, request: Request, path: str, send: Send) -> None:
        """Answer a request below ``/v2``."""
        path = path.rstrip("/")
        try:
            found = _MODEL.fullmatch(path)
            if found and found[3] == "/infer":
                _only(request, b"POST")
                self._infer(unquote(found[1]), found[2], request, send)
                return
            _only(request, b"GET", b"HEAD")
            if found:
                send(self._ready(found) if found[3] else self._model_metadata(unquote(found[1]), found[2]))
            else:
                send(self._server(path))
        except HeadraceError as error:
            send(error_body(error))

    def _server(self, path: str) -> Response:
        if path == "/v2":
            return Response(200, encode({"name": "headrace", "version": __version__, "extensions": []}))
        if path == "/v2/health/live":
            return Response(200, encode({"live": True}))
        if path == "/v2/health/ready":
            ready = self._plane.ready
            return Response(200 if ready else 503, encode({"ready": ready, "live": True}))
        raise NotFound(f"nothing is served at {path[:200]}")

    def _find(self, name: str, version: str | None) -> Live:
        if version is None:
            return self._plane.live(name)
        if not version.isdigit():
            raise UsageError(f"version {version!r} is no number")
        return self._plane.version(name, int(version))

    def _ready(self, found: re.Match[str]) -> Response:
        name = unquote(found[1])
        try:
            self._find(name, found[2])
        except Unavailable:
            return Response(503, encode({"name": name, "ready": False}))
        return Response(200, encode({"name": name, "ready": True}))

    def _model_metadata(self, name: str, version: str | None) -> Response:
        live = self._find(name, version)
        versions = [Ref.parse(scorer.name).selector for scorer in live.scorers[:1]]
        body = {
            "name": name,
            "versions": versions,
            "platform": "headrace",
            "inputs": [_described(f) for f in live.signature.inputs],
            "outputs": [_described(f) for f in live.signature.outputs],
        }
        return Response(200, encode(body))

    def _infer(self, name: str, version: str | None, request: Request, send: Send) -> None:
        refuse_foreign_type(request)
        live = self._find(name, version)
        asked, parsed = parse(live, request.body, _parse)
        wanted = [w.name for w in asked.outputs] or [f.name for f in live.signature.outputs]
        unknown = set(wanted) - {f.name for f in live.signature.outputs}
        if unknown:
            raise SignatureError(f"there is no output {', '.join(sorted(unknown))}")

        def render(live: Live, answer: Answer) -> bytes:
            return encode(_reply(live, answer, name=name, asked=asked.id, wanted=wanted))

        respond(self._plane, live, parsed, render=render, send=send, fail=error_body)


def _parse(decoder: TableDecoder, body: bytes) -> tuple[_Infer, Input]:
    try:
        asked = _infer.decode(body)
    except msgspec.ValidationError as error:
        raise UsageError("this is no inference request", why=str(error)) from None
    dtypes: dict[str, Dtype] = {c.name: c.dtype for c in decoder.signature.columns}
    columns: dict[str, Sequence[Any]] = {}
    for tensor in asked.inputs:
        taken = _TAKES.get(dtypes.get(tensor.name, ""), _INTEGERS)
        if tensor.name in dtypes and tensor.datatype not in taken:
            raise SignatureError(
                f"column {tensor.name!r} has datatype {tensor.datatype!r}",
                why=f"{' or '.join(sorted(taken))} is due",
            )
        if tensor.name in columns:
            raise SignatureError(f"column {tensor.name!r} is given twice")
        columns[tensor.name] = _flat(tensor)
    return asked, decoder.of_mapping(columns)


def _flat(tensor: _Tensor) -> list[Cell]:
    """The cells of a column, sent as ``[rows]`` or ``[rows, 1]``, flat or nested."""
    rows = tensor.shape[0] if tensor.shape else -1
    if len(tensor.shape) not in {1, 2} or tensor.shape[1:] not in ([], [1]):
        raise SignatureError(
            f"column {tensor.name!r} has shape {tensor.shape}", why="a named column is [rows] or [rows, 1]"
        )
    cells: list[Cell] = []
    for item in tensor.data:
        if isinstance(item, list):
            cells.extend(item)
        else:
            cells.append(item)
    if len(cells) != rows:
        raise SignatureError(f"column {tensor.name!r} has {len(cells)} values", why=f"its shape says {rows}")
    return cells


def _reply(live: Live, answer: Answer, *, name: str, asked: str, wanted: Sequence[str]) -> dict[str, Any]:
    dtypes: dict[str, Dtype] = {f.name: f.dtype for f in live.signature.outputs}
    outputs = [
        {
            "name": output,
            "shape": _shape(answer.outputs[output]),
            "datatype": _DATATYPES[dtypes[output]],
            "data": answer.outputs[output],
        }
        for output in wanted
    ]
    version = answer.winner.partition("@")[2]
    return {"model_name": name, "model_version": version, "id": asked or answer.id, "outputs": outputs}


def _shape(values: Sequence[Any]) -> list[int]:
    shape = [len(values)]
    while values and isinstance(values[0], list):
        values = values[0]
        shape.append(len(values))
    return shape


def _described(field: Column | Tensor) -> dict[str, Any]:
    shape = list(field.shape) if isinstance(field, Tensor) else [-1]
    return {"name": field.name, "datatype": _DATATYPES[field.dtype], "shape": shape}


def _only(request: Request, *methods: bytes) -> None:
    if request.method not in methods:
        raise UsageError(f"{request.method.decode()} is not allowed here", fix=f"use {methods[0].decode()}")
