"""The gateway as an OpenAPI 3.1 document: every path with the schemas that the deployed signatures say."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from headrace import __version__
from headrace.errors import UsageError
from headrace.gateway.oip_request import DATATYPES
from headrace.gateway.tfs_examples import check_outputs
from headrace.models.signature import Column, Signature, Tensor
from headrace.serving.dataplane import DataPlane
from headrace.serving.rendezvous import Live

Json = dict[str, Any]

_PLAIN = frozenset({404})  # of routes that tell their health in plain text
_INTEGER_BITS = (8, 16, 32, 64)


def _between(kind: str, low: float, high: float) -> Json:
    return {"type": kind, "minimum": low, "maximum": high}


# Models of tables take float32 whatever their columns say, so a larger number is refused.
_FLOAT = _between("number", -3.4028234663852886e38, 3.4028234663852886e38)
_KINDS: Mapping[str, Json] = {
    "bool": {"type": "boolean"},
    "string": {"type": "string"},
    "float16": _between("number", -65504, 65504),
    "float32": _FLOAT,
    "float64": _FLOAT,
    **{f"int{bits}": _between("integer", -(2 ** (bits - 1)), 2 ** (bits - 1) - 1) for bits in _INTEGER_BITS},
    **{f"uint{bits}": _between("integer", 0, 2**bits - 1) for bits in _INTEGER_BITS},
}
_ERROR = {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]}
_OBJECT = {"type": "object"}
_OBJECTS = {"type": "array", "items": _OBJECT}
_WORDS = {"type": "string"}
_MLFLOW_ERROR = {
    "type": "object",
    "properties": {"error_code": _WORDS, "message": _WORDS},
    "required": ["error_code", "message"],
}


def document(plane: DataPlane) -> Json:
    """The document as JSON values; endpoints that are not loaded yet are left out."""
    paths = _server_paths()
    for position, name in enumerate(plane.names):
        if plane.status(name).deployment is None:
            continue
        live = plane.live(name)
        paths |= _endpoint_paths(quote(name, safe=""), live)
        if position == 0:
            paths["/invocations"] = {"post": _invocations(live)}
    return {
        "openapi": "3.1.0",
        "info": {"title": "headrace", "version": __version__, "description": "Endpoints served by this gateway."},
        "paths": paths,
    }


def _server_paths() -> Json:
    return {
        "/v2": {"get": _get("The server")},
        "/v2/health/live": {"get": _get("Whether the server lives")},
        "/v2/health/ready": {"get": _get("Whether every endpoint can score", also=(503,))},
        "/v2/models/stats": {"get": _get("Counts and times of all versions")},
        "/v2/repository/index": {"post": _post("Endpoints and versions with their state", _index(), answer=_OBJECTS)},
        "/ping": {"get": _get("Whether every endpoint can score", "text/plain", also=(404,))},
        "/health": {"get": _get("Whether every endpoint can score", "text/plain", also=(404,))},
        "/version": {"get": _get("The version of headrace", "text/plain")},
        "/metrics": {"get": _get("Metrics for Prometheus", "text/plain")},
        "/overview": {"get": _get("Endpoints with their versions, memory and traffic")},
        "/openapi.json": {"get": _get("This document")},
    }


def _endpoint_paths(name: str, live: Live) -> Json:
    rows, columns = _rows(live), _columns(live)
    predict = {"oneOf": [_only(instances=rows), _only(inputs=columns)]}
    examples = _only(examples=_many(_by_name(live.signature)))
    v1, v2 = f"/v1/models/{name}", f"/v2/models/{name}"
    said = {"classify": "Classes with their scores, by example", "regress": "One value an example"}
    methods = {method: summary for method, summary in said.items() if _gives(method, live.signature)}
    return {
        f"{v1}:predict": {"post": _post("Score rows or columns", predict)},
        **{f"{v1}:{method}": {"post": _post(summary, examples)} for method, summary in methods.items()},
        v1: {"get": _get("Versions with their state")},
        f"{v1}/metadata": {"get": _get("Inputs and outputs")},
        f"{v2}/infer": {"post": _post("Score tensors", _infer(live.signature))},
        v2: {"get": _get("Inputs and outputs")},
        f"{v2}/ready": {"get": _get("Whether it can score", also=(503,))},
        f"{v2}/stats": {"get": _get("Counts and times by version")},
        f"{v2}/config": {"get": _get("What it takes and gives, in Triton's words")},
    }


def _gives(method: str, signature: Signature) -> bool:
    try:
        check_outputs(method, signature)
    except UsageError:
        return False
    return True


def _invocations(live: Live) -> Json:
    """MLflow says what is wrong in its own words, and in plain text which content types it takes."""
    said = _post("Score, as MLflow asks", _invocation(live), refused=(422, 429, 503), error=_MLFLOW_ERROR)
    said["responses"]["400"] = _refused({"anyOf": [_MLFLOW_ERROR, _ERROR]})
    said["responses"]["413"] = _refused(_ERROR)
    said["responses"]["415"] = _refused(_ERROR)
    said["responses"]["415"]["content"]["text/plain"] = {"schema": _WORDS}
    return said


def _rows(live: Live) -> Json:
    row = _by_name(live.signature)
    if live.decoder.event_time:
        row["properties"] |= {live.decoder.names[-1]: {"type": ["string", "number"]}}
    bare = _bare(live.signature)
    return _many(row if bare is None else {"oneOf": [bare, row]})


def _columns(live: Live) -> Json:
    columns = _by_name(live.signature, many=True)
    if live.decoder.event_time:
        columns["properties"] |= {live.decoder.names[-1]: _many({"type": ["string", "number"]})}
    bare = _bare(live.signature)
    return columns if bare is None else {"oneOf": [_many(bare), columns]}


def _invocation(live: Live) -> Json:
    rows = _rows(live)
    return {
        "oneOf": [
            _only(instances=rows),
            _only(inputs=_columns(live)),
            _only(dataframe_records=_many(_by_name(live.signature))),
        ]
    }


def _infer(signature: Signature) -> Json:
    tensors = [
        _only(
            name={"const": field.name},
            shape={"type": "array", "items": {"type": "integer", "minimum": 0}},
            datatype={"const": DATATYPES[field.dtype]},
            data={"type": "array"},
        )
        for field in signature.inputs
    ]
    inputs = {"type": "array", "prefixItems": tensors, "minItems": len(tensors), "maxItems": len(tensors)}
    body = _only(inputs=inputs)
    body["properties"] |= {
        "id": {"type": "string"},
        "outputs": {"type": "array", "items": _only(name={"type": "string"})},
    }
    return body


def _index() -> Json:
    return {"type": "object", "properties": {"ready": {"type": "boolean"}}}


def _by_name(signature: Signature, *, many: bool = False) -> Json:
    cells = {field.name: _many(_cell(field)) if many else _cell(field) for field in signature.inputs}
    return {**_only(**cells), "additionalProperties": False}


def _bare(signature: Signature) -> Json | None:
    """One row of an only tensor, sent without its name."""
    (first, *others) = signature.inputs
    return None if others or not isinstance(first, Tensor) else _cell(first)


def _cell(field: Column | Tensor) -> Json:
    kind = _KINDS[field.dtype]
    if isinstance(field, Column):
        return {**kind, "type": [kind["type"], "null"]} if field.nullable else kind
    for extent in reversed(field.shape[1:]):
        kind = {"type": "array", "items": kind} | ({} if extent < 0 else {"minItems": extent, "maxItems": extent})
    return kind


def _many(item: Json) -> Json:
    return {"type": "array", "items": item, "minItems": 1}


def _only(**properties: Json) -> Json:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _get(summary: str, kind: str = "application/json", *, also: Sequence[int] = ()) -> Json:
    return {"summary": summary, "responses": _responses(kind, also)}


def _post(
    summary: str,
    schema: Json,
    *,
    refused: Sequence[int] = (400, 413, 415, 429, 503),
    answer: Json = _OBJECT,
    error: Json = _ERROR,
) -> Json:
    body = {"required": True, "content": {"application/json": {"schema": schema}}}
    responses = _responses("application/json", refused, answer=answer, error=error)
    return {"summary": summary, "requestBody": body, "responses": responses}


def _responses(kind: str, others: Sequence[int], *, answer: Json = _OBJECT, error: Json = _ERROR) -> Json:
    schema = _WORDS if kind == "text/plain" else answer
    found: Json = {"200": {"description": "The answer", "content": {kind: {"schema": schema}}}}
    found["403"] = _refused(_ERROR)  # from a web page, or to another host
    return found | {str(status): _refused(error, kind if status in _PLAIN else "application/json") for status in others}


def _refused(schema: Json, kind: str = "application/json") -> Json:
    return {"description": "Why not", "content": {kind: {"schema": _WORDS if kind == "text/plain" else schema}}}
