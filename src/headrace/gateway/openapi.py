"""The gateway as an OpenAPI 3.1 document: every path with the schemas that the deployed signatures say."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from urllib.parse import quote

from headrace import __version__
from headrace.errors import UsageError
from headrace.gateway import openapi_schemas as schemas
from headrace.gateway.answers import versions_of
from headrace.gateway.openapi_schemas import ERROR, MLFLOW_ERROR, OBJECT, WORDS, Json
from headrace.gateway.tfs_examples import check_outputs
from headrace.gateway.vertex import VertexRoutes
from headrace.models.signature import Signature
from headrace.serving.dataplane import DataPlane
from headrace.serving.rendezvous import Live

LENGTH_HEADER = "Inference-Header-Content-Length"
_JSON, _TEXT = "application/json", "text/plain"
_PLAIN = frozenset({404})  # of routes that tell their health in plain text
_TABLES = ("text/csv", "application/vnd.apache.parquet")


def document(plane: DataPlane, vertex: VertexRoutes | None = None, metrics: Iterable[str] = ("/metrics",)) -> Json:
    """The document as JSON values; endpoints that are not loaded yet are left out.

    Args:
        plane: What is served.
        vertex: Routes of Vertex AI that are answered as well.
        metrics: Paths that tell metrics.
    """
    paths = _server_paths() | {path: {"get": _get("Metrics for Prometheus", _TEXT)} for path in metrics}
    bodies: Json = {}
    for position, name in enumerate(plane.names):
        if plane.status(name).deployment is None:
            continue
        live, named = plane.live(name), quote(name, safe="")
        bodies |= {f"{name}.{asked}": make(live) for asked, make in _BODIES.items()}
        own = _model_paths(f"/v1/models/{named}", f"/v2/models/{named}", live)
        paths |= own | _version_paths(named, live) | _label_paths(named, live)
        if position == 0:
            paths["/invocations"] = {"post": _invocations(live)}
            hosted = vertex or VertexRoutes()
            paths |= _vertex_paths(hosted, own[f"/v1/models/{named}:predict"])
    return {
        "openapi": "3.1.0",
        "info": {"title": "headrace", "version": __version__, "description": "Endpoints served by this gateway."},
        "paths": paths,
        "components": {"schemas": bodies | _SHARED, "responses": _REFUSALS},
    }


def _server_paths() -> Json:
    return {
        "/v2": {"get": _get("The server")},
        "/v2/health/live": {"get": _get("Whether the server lives")},
        "/v2/health/ready": {"get": _get("Whether every endpoint can score", also=(503,))},
        "/v2/models/stats": {"get": _get("Counts and times of all versions")},
        "/v2/repository/index": {
            "post": _post("Endpoints and versions with their state", schemas.INDEX, answer=schemas.OBJECTS)
        },
        "/ping": {"get": _get("Whether every endpoint can score", _TEXT, also=(404,))},
        "/health": {"get": _get("Whether every endpoint can score", _TEXT, also=(404,))},
        "/version": {"get": _get("The version of headrace", _TEXT)},
        "/": {"get": _get("What this is, and where the rest lies")},
        "/overview": {"get": _get("Endpoints with their versions, memory and traffic")},
        "/openapi.json": {"get": _get("This document")},
    }


def _model_paths(v1: str, v2: str, live: Live) -> Json:
    """What is answered below these two."""
    infer = _post("Score tensors", _body(live, "infer"), answer=_schema("inferred"))
    infer["parameters"] = [{"name": LENGTH_HEADER, "in": "header", "schema": {"type": "integer", "minimum": 0}}]
    for part in (infer["requestBody"], infer["responses"]["200"]):  # JSON, then raw tensors
        part["content"]["application/octet-stream"] = {"schema": schemas.BYTES}
    return {
        **_tensorflow_paths(v1, live),
        f"{v2}/infer": {"post": infer},
        v2: {"get": _get("Inputs and outputs")},
        f"{v2}/ready": {"get": _get("Whether it can score", also=(503,))},
        f"{v2}/stats": {"get": _get("Counts and times by version")},
        f"{v2}/config": {"get": _get("What it takes and gives, in Triton's words")},
    }


def _tensorflow_paths(v1: str, live: Live) -> Json:
    said = {"classify": "Classes with their scores, by example", "regress": "One value an example"}
    methods = {method: summary for method, summary in said.items() if _gives(method, live.signature)}
    predict, examples = _body(live, "predict"), _body(live, "examples")
    return {
        f"{v1}:predict": {"post": _post("Score rows or columns", predict, answer=_schema("predicted"))},
        **{f"{v1}:{m}": {"post": _post(s, examples, answer=schemas.RESULTS)} for m, s in methods.items()},
        v1: {"get": _get("Versions with their state, and whether they can score", also=(503,))},
        f"{v1}/metadata": {"get": _get("Inputs and outputs")},
    }


def _version_paths(name: str, live: Live) -> Json:
    """One loaded version alone."""
    below = "versions/{version}"
    found = _model_paths(f"/v1/models/{name}/{below}", f"/v2/models/{name}/{below}", live)
    return _with_parameter(found, "version", {"type": "integer", "enum": [int(n) for n in versions_of(live)]})


def _label_paths(name: str, live: Live) -> Json:
    found = _tensorflow_paths(f"/v1/models/{name}/labels/{{label}}", live)
    return _with_parameter(found, "label", {"type": "string", "pattern": "^[A-Za-z0-9_.-]{1,128}$"})


def _with_parameter(paths: Json, name: str, schema: Json) -> Json:
    """The paths with a part that the caller fills in; other values than these may be refused, or be nowhere."""
    parameter = {"name": name, "in": "path", "required": True, "schema": schema}
    for methods in paths.values():
        for operation in methods.values():
            operation.setdefault("parameters", []).append(parameter)
            operation["responses"] |= dict.fromkeys(("400", "404"), _named("refused"))
    return paths


def _vertex_paths(routes: VertexRoutes, predict: Json) -> Json:
    found: Json = {}
    if routes.health:
        found[routes.health] = {"get": _get("Whether every endpoint can score", also=(503,))}
    if routes.predict:
        found[routes.predict] = found.get(routes.predict, {}) | predict
    return found


def _gives(method: str, signature: Signature) -> bool:
    try:
        check_outputs(method, signature)
    except UsageError:
        return False
    return True


def _invocations(live: Live) -> Json:
    """MLflow says what is wrong in its own words, and in plain text which content types it takes."""
    said = _post("Score, as MLflow and SageMaker ask", schemas.invocation(live), answer=schemas.INVOKED)
    by_mlflow, types = _refused(MLFLOW_ERROR), _refused(ERROR)
    types["content"][_TEXT] = {"schema": WORDS}
    said["responses"] |= {"400": _refused({"anyOf": [MLFLOW_ERROR, ERROR]}), "415": types}
    said["responses"] |= dict.fromkeys(("422", "429", "500", "503"), by_mlflow)
    if live.signature.kind == "table":
        said["requestBody"]["content"] |= {kind: {"schema": schemas.BYTES} for kind in _TABLES}
    return said


def _get(summary: str, kind: str = _JSON, *, also: Sequence[int] = ()) -> Json:
    return {"summary": summary, "responses": _responses(kind, also)}


def _post(summary: str, schema: Json, *, answer: Json) -> Json:
    body = {"required": True, "content": {_JSON: {"schema": schema}}}
    return {
        "summary": summary,
        "requestBody": body,
        "responses": _responses(_JSON, (400, 413, 415, 429, 500, 503), answer),
    }


def _responses(kind: str, others: Sequence[int], answer: Json = OBJECT) -> Json:
    schema = WORDS if kind == _TEXT else answer
    found: Json = {"200": {"description": "The answer", "content": {kind: {"schema": schema}}}}
    found["403"] = _named("refused")  # from a web page, or to another host
    plain = kind == _TEXT
    return found | {str(status): _named("unwell" if plain and status in _PLAIN else "refused") for status in others}


def _refused(schema: Json, kind: str = _JSON) -> Json:
    return {"description": "Why not", "content": {kind: {"schema": schema}}}


def _named(response: str) -> Json:
    return {"$ref": f"#/components/responses/{response}"}


def _schema(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _body(live: Live, asked: str) -> Json:
    return _schema(f"{live.deployment.endpoint.name}.{asked}")


_BODIES: Mapping[str, Callable[[Live], Json]] = {
    "predict": schemas.predict,
    "examples": schemas.examples,
    "infer": lambda live: schemas.infer(live.decoder.signature),
}
_SHARED: Json = {"error": ERROR, "predicted": schemas.PREDICTED, "inferred": schemas.INFERRED}
_REFUSALS: Json = {"refused": _refused(_schema("error")), "unwell": _refused(WORDS, _TEXT)}
