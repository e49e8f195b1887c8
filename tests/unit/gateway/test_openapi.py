"""The OpenAPI document is true: what it offers is answered, what fits its schemas is never a fault of ours."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from served import ROW, WINE, linear
from tensor_served import PAIR, PIXELS, renamed, sums, tensors_gated

from headrace.gateway.openapi import document as document_of
from headrace.gateway.vertex import VertexRoutes

ROWS = json.dumps({"instances": [ROW]}).encode()


@pytest.fixture(scope="module")
def gate(tmp_path_factory):
    served = {"wine": (WINE, linear), "pixels": (PIXELS, sums), "pair": (PAIR, renamed)}
    with tensors_gated(tmp_path_factory.mktemp("stream"), served, event_time="") as found:
        yield found


@pytest.fixture(scope="module")
def document(gate):
    return json.loads(gate.client.request("GET", "/openapi.json").body)


def whole(value, document):
    """The same with what it refers to in its place."""
    if isinstance(value, dict) and "$ref" in value:
        _, *place = value["$ref"].split("/")
        for part in place:
            document = document[part]
        return document
    if isinstance(value, dict):
        return {name: whole(each, document) for name, each in value.items()}
    return [whole(each, document) for each in value] if isinstance(value, list) else value


def operations(document, method):
    """Path, with every value of its parameter, to what it says of a method."""
    found = {}
    document = whole(document, document)
    for path, methods in document["paths"].items():
        if method in methods:
            (wanted,) = [p for p in methods[method].get("parameters", ()) if p["in"] == "path"] or [{"schema": {}}]
            for value in wanted["schema"].get("enum", [] if "name" in wanted else [""]):
                found[path.replace(f"{{{wanted.get('name')}}}", str(value))] = methods[method]
    return found


def test_every_path_to_read_is_there(gate, document):
    found = operations(document, "get")
    assert len(found) > 20
    assert {"/v1/models/wine/versions/1/metadata", "/v2/models/pair/versions/1/ready"} <= found.keys()
    for path, operation in found.items():
        reply = gate.client.request("GET", path)
        assert reply.status == 200, path
        (kind,) = operation["responses"]["200"]["content"]
        assert reply.header("content-type").startswith(kind)


def test_what_is_set_up_besides_is_there(gate, tmp_path):
    routes = VertexRoutes("/at/predict", "/at/health")
    paths = document_of(gate.plane, routes, ["/metrics", "/monitoring/prometheus/metrics"])["paths"]
    assert {"/at/predict", "/at/health", "/monitoring/prometheus/metrics"} <= paths.keys()
    assert paths["/at/predict"] == paths["/v1/models/wine:predict"]
    both = document_of(gate.plane, VertexRoutes("/at", "/at"))["paths"]["/at"]
    assert both.keys() == {"get", "post"}


def test_labels_are_there(gate, document):
    """Whichever: an alias may be made and moved at any time."""
    gate.plane.move("wine", "stable", 1)
    for method in ("predict", "classify", "regress"):
        path = f"/v1/models/wine/labels/{{label}}:{method}"
        assert document["paths"][path]["post"]["parameters"][0]["name"] == "label"
        body = ROWS if method == "predict" else json.dumps({"examples": [ROW]}).encode()
        assert gate.client.request("POST", path.replace("{label}", "stable"), body).status == 200
        assert gate.client.request("POST", path.replace("{label}", "none"), body).status == 400


def test_the_forms_that_invocations_and_infer_take_are_there(document):
    asked = operations(document, "post")["/invocations"]["requestBody"]["content"]
    assert asked.keys() == {"application/json", "text/csv", "application/vnd.apache.parquet"}
    forms = [list(form.get("properties", {})) for form in asked["application/json"]["schema"]["oneOf"]]
    names = ("instances", "inputs", "dataframe_records", "dataframe_split")
    assert forms == [*([name, "params"] for name in names), []]
    infer = operations(document, "post")["/v2/models/pixels/infer"]
    assert "application/octet-stream" in infer["requestBody"]["content"]


def test_endpoints_have_their_own_schemas(document):
    body = operations(document, "post")["/v1/models/wine:predict"]["requestBody"]["content"]["application/json"]
    row = body["schema"]["oneOf"][0]["properties"]["instances"]["items"]
    assert row["required"] == [c.name for c in WINE.columns]
    assert (row["properties"]["ph"]["type"], row["additionalProperties"]) == (["number", "null"], False)
    body = operations(document, "post")["/v1/models/pixels:predict"]["requestBody"]["content"]["application/json"]
    bare = body["schema"]["oneOf"][0]["properties"]["instances"]["items"]["oneOf"][0]
    assert (bare["minItems"], bare["items"]["maxItems"]) == (2, 3)


def values(schema):
    """A strategy for what fits a schema, as far as the document uses JSON Schema."""
    if "oneOf" in schema:
        return st.one_of([values(each) for each in schema["oneOf"]])
    if "const" in schema:
        return st.just(schema["const"])
    kind = schema.get("type")
    if isinstance(kind, list):
        return st.one_of([st.none() if k == "null" else values({**schema, "type": k}) for k in kind])
    return KINDS[kind](schema)


def arrays(schema):
    if "prefixItems" in schema:
        return st.tuples(*map(values, schema["prefixItems"])).map(list)
    sizes = {"min_size": schema.get("minItems", 0), "max_size": schema.get("maxItems", 3)}
    return st.lists(values(schema.get("items", {"type": "number"})), **sizes)


def objects(schema):
    fields = {name: values(each) for name, each in schema.get("properties", {}).items()}
    needed = schema.get("required", ())
    return st.fixed_dictionaries(
        {name: each for name, each in fields.items() if name in needed},
        optional={name: each for name, each in fields.items() if name not in needed},
    )


KINDS = {
    "array": arrays,
    "object": objects,
    "string": lambda _: st.text(max_size=5),
    "boolean": lambda _: st.booleans(),
    "integer": lambda schema: st.integers(schema.get("minimum"), schema.get("maximum")),
    "number": lambda _: st.floats(-60000, 60000, width=16),
}


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_what_fits_a_schema_gets_a_documented_answer(gate, document, data):
    path, operation = data.draw(st.sampled_from(sorted(operations(document, "post").items(), key=lambda pair: pair[0])))
    body = data.draw(values(operation["requestBody"]["content"]["application/json"]["schema"]))
    reply = gate.client.request("POST", path, json.dumps(body).encode())
    assert str(reply.status) in operation["responses"], (path, body, reply.body)
    assert reply.status < 500
    assert json.loads(reply.body)


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["instances", "inputs", "name", "b64", "data", "shape", "ph"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_is_sent_is_answered_and_never_a_fault_of_ours(gate, document, data):
    path = data.draw(st.sampled_from(sorted(operations(document, "post"))))
    keys = [
        "instances",
        "inputs",
        "examples",
        "context",
        "signature_name",
        "dataframe_split",
        "dataframe_records",
        "outputs",
        "id",
        "ready",
    ]
    body = data.draw(JUNK | st.dictionaries(st.sampled_from(keys), JUNK, max_size=4))
    reply = gate.client.request("POST", path, json.dumps(body).encode())
    assert reply.status in {200, 400, 415, 422}, (path, body, reply.body)
