"""TensorFlow Serving's REST protocol: predict by rows or columns, classify, regress, status, metadata.

Shapes follow tensorflow/serving@9d981c5c (docs/reference/protocols.md); errors are ``{"error": text}``.
"""

import base64
import re
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import unquote

import msgspec
from msgspec import UNSET

from headrace.errors import HeadraceError, NotFound, SignatureError, Unavailable, UnknownSignature, UsageError
from headrace.gateway.answers import (
    Render,
    Respond,
    by_rows,
    encode,
    error_body,
    parse,
    refuse_foreign_type,
    single,
    unused,
    version_number,
    versions_of,
)
from headrace.gateway.depth import check_value, passing_over
from headrace.gateway.faults import said
from headrace.gateway.http import Request, Response, Send
from headrace.gateway.numbers import of_columns, of_rows
from headrace.gateway.routes import READ, SCORE, Route
from headrace.gateway.row_limit import SUSPECT_BYTES, check_rows
from headrace.gateway.tfs_examples import check_outputs, classify_reply, parse_examples, regress_reply
from headrace.gateway.tfs_flat import flat_decoder, flattened, upright
from headrace.models.signature import DEFAULT_SIGNATURE, Column, Dtype, Signature, Tensor
from headrace.serving.dataplane import DataPlane
from headrace.serving.rendezvous import Answer, Live
from headrace.serving.request import Input
from headrace.serving.signed import signatures, signed
from headrace.serving.tensors import Decoder
from headrace.serving.tuned import tuned

_WHICH = r"/v1/models/([^/:]+)(?:/versions/([^/:]+)|/labels/([^/:]+))?"
_ACT = re.compile(_WHICH + ":(predict|classify|regress)", re.IGNORECASE)
_READ = re.compile(_WHICH + "(/metadata)?", re.IGNORECASE)
_BARE = re.compile("got `(float|int)`")
_REMEMBERED = 256
METHODS = "tensorflow/serving/"
"""What the names of methods begin with."""
_STATES = {
    "loading": "LOADING",
    "available": "AVAILABLE",
    "unloading": "UNLOADING",
    "unloaded": "END",
    "failed": "END",
}
_DTYPES: dict[Dtype, str] = {
    "bool": "DT_BOOL",
    "uint8": "DT_UINT8",
    "uint16": "DT_UINT16",
    "uint32": "DT_UINT32",
    "uint64": "DT_UINT64",
    "int8": "DT_INT8",
    "int16": "DT_INT16",
    "int32": "DT_INT32",
    "int64": "DT_INT64",
    "float16": "DT_HALF",
    "float32": "DT_FLOAT",
    "float64": "DT_DOUBLE",
    "string": "DT_STRING",
    "bytes": "DT_STRING",
}


class _Named(msgspec.Struct):
    signature_name: str = ""


class _LooseTexts(_Named):
    instances: msgspec.Raw = msgspec.Raw(b"")
    inputs: msgspec.Raw = msgspec.Raw(b"")
    parameters: Any = None


class _Texts(_LooseTexts, forbid_unknown_fields=True):
    pass


_named = msgspec.json.Decoder(_Named)
_texts = msgspec.json.Decoder[_LooseTexts](_Texts)
_loose_texts = msgspec.json.Decoder(_LooseTexts)


class VersionState(NamedTuple):
    """How a version is, in TensorFlow Serving's words: its number, state, error code, and what is wrong."""

    version: int
    state: str
    code: str
    why: str


class _Which(NamedTuple):
    """Endpoint, and the version or label of its preferred model that is asked for, if any."""

    name: str
    version: str | None
    label: str | None


class _Asked(NamedTuple):
    which: _Which
    method: str


class TensorFlowServing:
    """``/v1`` over a data plane."""

    routes = (Route(_ACT, SCORE), Route(_READ, READ))

    def __init__(self, plane: DataPlane) -> None:
        self._plane, self._respond = plane, Respond(plane, error_body)
        self._asked: dict[str, _Asked] = {}

    def __call__(self, request: Request, path: str, send: Send) -> None:
        """Answer a request below ``/v1``."""
        try:
            if request.method == b"POST" and (asked := self._asked.get(path) or self._read(path)):
                self._act(asked, request, send)
            elif request.method in {b"GET", b"HEAD"} and (found := _READ.fullmatch(path)):
                send(self._metadata(found) if found[4] else self._status(found))
            else:
                self.lost(request, path, send)
        except HeadraceError as error:
            send(error_body(error))

    @staticmethod
    def lost(request: Request, path: str, send: Send) -> None:
        """Answer a request that asks nothing of ours."""
        missing = path == "/v1/models" and request.method == b"GET"
        malformed = f"Malformed request: {request.method.decode()} {path}"
        send(error_body(UsageError("Missing model name in request." if missing else malformed)))

    def _read(self, path: str) -> "_Asked | None":
        """What a path asks; that of the last few is remembered."""
        found = _ACT.fullmatch(path)
        if found is None:
            return None
        asked = _Asked(_which(found), found[4].lower())
        if len(self._asked) < _REMEMBERED:
            self._asked[path] = asked
        return asked

    def _find(self, which: "_Which") -> Live:
        name, version, label = which
        try:
            if label is not None:
                return self._plane.label(name, label)
            return self._plane.live(name) if version is None else self._plane.version(name, version_number(version))
        except NotFound as error:
            asked = f"Latest({name})" if version is None else f"Specific({name}, {version})"
            raise NotFound(f"Servable not found for request: {asked}", why=str(error)) from None

    def _act(self, asked: "_Asked", request: Request, send: Send) -> None:
        live, method = self._find(asked.which), asked.method
        refuse_foreign_type(request)
        if live.signature.others:
            live = signed(live, _signature_name(request.body))
        if method == "predict":
            parsed, render = parse(live, request.body, _parse)
        else:
            check_outputs(method, live.signature)
            parsed, signature_name = parse(live, request.body, parse_examples)
            check_signature_name(signature_name, live.signature)
            render = _classify if method == "classify" else _regress
        self._respond(live, parsed, render, request, send)

    def _status(self, found: re.Match[str]) -> Response:
        which = _which(found)
        version = None if which.version is None else version_number(which.version)
        rows = [
            {"version": str(v), "state": state, "status": {"error_code": code, "error_message": why}}
            for v, state, code, why in version_states(self._plane, which.name, version, which.label)
        ]
        body: dict[str, Any] = {"model_version_status": rows}
        if version is not None or which.label is not None:
            return Response(200, encode(body))
        # The same path is KServe's probe of a model (docs/decisions/0034).
        try:
            self._plane.live(which.name)
        except Unavailable as error:
            return Response(503, encode(body | {"name": which.name, "ready": False, "error": said(error)}))
        return Response(200, encode(body | {"name": which.name, "ready": True}))

    def _metadata(self, found: re.Match[str]) -> Response:
        live = self._find(_which(found))
        told = {
            signature.name or DEFAULT_SIGNATURE: {
                "inputs": {f.name: _tensor_info(f) for f in signature.inputs},
                "outputs": {f.name: _tensor_info(f) for f in signature.outputs},
                "method_name": f"{METHODS}{signature.method}",
            }
            for signature in signatures(live)
        }
        body = {
            "model_spec": {"name": unquote(found[1]), "signature_name": "", "version": versions_of(live)[0]},
            "metadata": {"signature_def": {"signature_def": told}},
        }
        return Response(200, encode(body))


def version_states(
    plane: DataPlane, name: str, version: int | None = None, label: str | None = None
) -> list[VersionState]:
    """The versions of an endpoint's preferred model, newest first, or the one that is asked for; 0: not known yet.

    Raises:
        NotFound: There is no such endpoint, or nothing is known of that version.
        UsageError: There is no such label.
        Unavailable: A label is asked for, and the endpoint is not ready.
    """
    try:
        status = plane.status(name)
    except NotFound:
        raise NotFound(f"Could not find any versions of model {name}") from None
    if label is not None:
        version = int(versions_of(plane.label(name, label))[0])
    if version is not None and version not in status.own:
        raise NotFound(f"Could not find version {version} of model {name}")
    if not status.own:
        end = VersionState(0, "END", "UNAVAILABLE", status.refused)
        return [VersionState(0, "LOADING", "OK", "") if status.state == "loading" else end]
    known = status.own if version is None else {version: status.own[version]}
    return [
        VersionState(v, _STATES[known[v].state], "UNAVAILABLE" if known[v].why else "OK", known[v].why)
        for v in sorted(known, reverse=True)
    ]


def _signature_name(body: bytes) -> str:
    """Which signature a body asks for; what is wrong with the body is said when it is read for that."""
    try:
        return _named.decode(body).signature_name
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return ""


def _which(found: re.Match[str]) -> _Which:
    return _Which(unquote(found[1]), found[2], None if found[3] is None else unquote(found[3]))


def _parse(decoder: Decoder, body: bytes) -> tuple[Input, Render]:
    """The request's rows, and how its answer is told."""
    read = _whole
    if len(body) > SUSPECT_BYTES:
        check_rows(decoder, body)
        read = _parsed
    try:
        return read(decoder, body)
    except (msgspec.ValidationError, SignatureError) as error:
        found = _flat(decoder, body, meant=_BARE.search(str(error)) is not None)
        if found is None:
            raise
        return found


def _flat(decoder: Decoder, body: bytes, *, meant: bool) -> tuple[Input, Render] | None:
    """The same of a request with values where the model takes rows of one; None when it is no such request.

    Where one value stood for a row, the others are ``meant`` to as well: what is wrong is what this reading meets.
    """
    if "tfs_flat" not in decoder.parsers:
        decoder.parsers["tfs_flat"] = flat_decoder(decoder)
    flat = decoder.parsers["tfs_flat"]
    if flat is None:
        return None
    try:
        given, render = _parsed(flat, body)
    except (msgspec.ValidationError, HeadraceError):
        if meant:
            raise
        return None
    return upright(given, decoder.signature), _flat_of(render)


def _parsed(decoder: Decoder, body: bytes) -> tuple[Input, Render]:
    large = _large(decoder, body) if len(body) > SUSPECT_BYTES else None
    return large or _whole(decoder, body)


def _whole(decoder: Decoder, body: bytes) -> tuple[Input, Render]:
    parser = decoder.parsers.get("tfs")
    if parser is None:
        parser = decoder.parsers["tfs"] = _compiled(decoder)
    try:
        given = parser.decode(body)
    except msgspec.ValidationError as error:
        if "$.signature_name" in str(error):
            raise UsageError("'signature_name' key must be a string value.") from None
        given = passing_over(_loose(decoder), body, error)
    if given.signature_name:
        check_signature_name(given.signature_name, decoder.signature)
    if given.instances is not UNSET and given.inputs is UNSET:
        found: tuple[Input, Render] = decoder.of_rows(given.instances), _rows_reply
        return _told(decoder, given.parameters, *found) if given.parameters else found
    if given.inputs is not UNSET and given.instances is UNSET:
        found = decoder.of_columns(given.inputs), _columns_reply
        return _told(decoder, given.parameters, *found) if given.parameters else found
    if given.inputs is UNSET:
        raise UsageError("Missing 'inputs' or 'instances' key")
    raise UsageError("'inputs' and 'instances' exclude each other")


def _told(decoder: Decoder, parameters: Any, rows: Input, render: Render) -> tuple[Input, Render]:
    """TensorFlow Serving has no parameters, and passes them over; Vertex AI's requests have them here."""
    check_value(parameters, around=1)
    if decoder.signature.params:
        return tuned(rows, decoder.signature, parameters), render
    return rows, partial(_with_unused, render)


def _large(decoder: Decoder, body: bytes) -> tuple[Input, Render] | None:
    """The same of many numbers, without making lists of them; None of what is to be read otherwise."""
    try:
        try:
            texts = _texts.decode(body)
        except msgspec.ValidationError as error:
            texts = passing_over(_loose_texts, body, error)
    except msgspec.ValidationError:
        return None
    if bool(texts.instances) == bool(texts.inputs):
        return None
    given = of_rows(decoder, texts.instances) if texts.instances else of_columns(decoder, texts.inputs)
    if given is None:
        return None
    check_signature_name(texts.signature_name, decoder.signature)
    render = _rows_reply if texts.instances else _columns_reply
    return _told(decoder, texts.parameters, given, render) if texts.parameters else (given, render)


def _loose(decoder: Decoder) -> Any:
    """The same parser, which passes over the fields that the protocol does not have."""
    parser = decoder.parsers.get("tfs_loose")
    if parser is None:
        parser = decoder.parsers["tfs_loose"] = _compiled(decoder, strict=False)
    return parser


def _compiled(decoder: Decoder, *, strict: bool = True) -> Any:
    fields: list[Any] = [
        ("instances", decoder.many_rows | msgspec.UnsetType, UNSET),
        ("inputs", decoder.columns | msgspec.UnsetType, UNSET),
        ("signature_name", str, ""),
        ("parameters", Any, None),
    ]
    return msgspec.json.Decoder(msgspec.defstruct("Predict", fields, forbid_unknown_fields=strict))


def _rows_reply(_live: Live, answer: Answer) -> Response:
    outputs = _with_bytes(answer.outputs)
    values = single(outputs)
    return Response(200, encode({"predictions": by_rows(outputs) if values is None else values}))


def _columns_reply(_live: Live, answer: Answer) -> Response:
    outputs = _with_bytes(answer.outputs)
    values = single(outputs)
    return Response(200, encode({"outputs": outputs if values is None else values}))


def _with_unused(render: Render, live: Live, answer: Answer) -> Response:
    return unused(render(live, answer))


def _flat_rows_reply(live: Live, answer: Answer) -> Response:
    return _rows_reply(live, answer._replace(outputs=flattened(answer.outputs, live.signature)))


def _flat_columns_reply(live: Live, answer: Answer) -> Response:
    return _columns_reply(live, answer._replace(outputs=flattened(answer.outputs, live.signature)))


def _flat_of(render: Render) -> Render:
    if isinstance(render, partial):
        return partial(render.func, _FLAT[render.args[0]])
    return _FLAT[render]


_FLAT: Mapping[Render, Render] = {_rows_reply: _flat_rows_reply, _columns_reply: _flat_columns_reply}


def _with_bytes(outputs: Mapping[str, Any]) -> Mapping[str, Any]:
    """Text of outputs whose name ends in ``_bytes`` is written as base64."""
    for name in outputs:
        if name.endswith("_bytes"):
            break
    else:
        return outputs
    texts = [name for name, v in outputs.items() if name.endswith("_bytes") and getattr(v, "dtype", "") == "O"]
    return {**outputs, **{name: _b64(outputs[name]) for name in texts}}


def _b64(cells: Any) -> Any:
    if not isinstance(cells, str | bytes):
        return [_b64(cell) for cell in cells]
    return {"b64": base64.b64encode(cells if isinstance(cells, bytes) else cells.encode()).decode()}


def _classify(_live: Live, answer: Answer) -> Response:
    return classify_reply(answer)


def _regress(_live: Live, answer: Answer) -> Response:
    return regress_reply(answer)


def check_signature_name(name: str, own: Signature) -> None:
    """Raise ``UnknownSignature`` for a signature that is not the one that is served."""
    if name and name != (own.name or DEFAULT_SIGNATURE):
        raise UnknownSignature(f'Serving signature key "{name}" not found.')


def _tensor_info(field: Column | Tensor) -> dict[str, Any]:
    shape = field.shape if isinstance(field, Tensor) else (-1,)
    dims = [{"size": str(n), "name": ""} for n in shape]
    return {
        "dtype": _DTYPES[field.dtype],
        "tensor_shape": {"dim": dims, "unknown_rank": False},
        "name": f"{field.name}:0",
    }
