"""Classify, regress, labels and the words of errors; predict is in test_protocols and test_tensors."""

import json
from dataclasses import replace

import numpy as np
import pytest
from served import ROW, constant, endpoint, gated, linear, model
from tensor_served import echo, tensors_gated

from headrace.models.signature import Column, Signature, Tensor

PROBABILITIES = Signature("tensor", (Tensor("x", "float32", (-1, 2)),), (Tensor("p", "float32", (-1, 3)),))
NAMED = Signature(
    "tensor", PROBABILITIES.inputs, (Tensor("classes", "string", (-1, 2)), Tensor("scores", "float32", (-1, 2)))
)
OFFSET = Signature(
    "tensor",
    (Tensor("x", "float32", (-1, 1)), Tensor("by", "float32", (-1,))),
    (Tensor("y", "float32", (-1, 1)), Tensor("all", "float32", (-1, 2))),
)
PARITY = Signature(
    "table", (Column("n", "int64"), Column("word", "string")), (Column("even", "float32"), Column("odd", "float32"))
)


def thirds(batch):
    total = batch["x"].sum(1, keepdims=True)
    return {"p": (total * np.array([[1.0, 2.0, 3.0]])).astype(np.float32)}


def named(batch):
    count = len(batch["x"])
    return {"classes": np.array([["red", "white"]] * count, object), "scores": batch["x"]}


def parity(batch):
    odd = (batch["numbers"][:, 0] % 2).astype(np.float32)
    return {"even": 1 - odd, "odd": odd}


@pytest.fixture(scope="module")
def gate(tmp_path_factory):
    served = {"thirds": (PROBABILITIES, thirds), "named": (NAMED, named), "parity": (PARITY, parity)}
    served["scalar"] = (echo("float32", (-1,)), lambda batch: {"y": batch["x"] * 2})
    served["column"] = (echo("float32", (-1, 1)), lambda batch: {"y": batch["x"] * 2})
    served["offset"] = (OFFSET, lambda batch: {"y": batch["x"] + batch["by"][:, None], "all": batch["x"].repeat(2, 1)})
    served["named_one"] = (replace(echo("float32"), name="regress_x"), lambda batch: {"y": batch["x"]})
    served["cube"] = (echo("float32", (-1, 1, 1)), lambda batch: {"y": batch["x"]})
    with tensors_gated(tmp_path_factory.mktemp("stream"), served) as found:
        yield found


@pytest.fixture
def post(gate):
    return lambda path, body: send(gate, path, body)


def send(gate, path, body):
    reply = gate.client.request("POST", path, body if isinstance(body, bytes) else json.dumps(body).encode())
    return reply.status, json.loads(reply.body)


def test_classify_labels_the_columns_of_one_output_by_position(post):
    status, reply = post("/v1/models/thirds:classify", {"examples": [{"x": [1, 1]}, {"x": [0, 1]}]})
    due = [[["0", 2.0], ["1", 4.0], ["2", 6.0]], [["0", 1.0], ["1", 2.0], ["2", 3.0]]]
    assert (status, reply) == (200, {"results": due})


def test_classify_takes_labels_from_classes(post):
    reply = post("/v1/models/named:classify", {"examples": [{"x": [0.25, 0.75]}]})
    assert reply == (200, {"results": [[["red", 0.25], ["white", 0.75]]]})


def test_classify_labels_outputs_by_name_and_merges_the_context(post):
    body = {"signature_name": "serving_default", "context": {"word": "w"}, "examples": [{"n": 3}, {"n": [4]}]}
    due = [[["even", 0.0], ["odd", 1.0]], [["even", 1.0], ["odd", 0.0]]]
    assert post("/v1/models/parity:classify", body) == (200, {"results": due})
    status, reply = post("/v1/models/parity:classify", {"context": {"n": 1}, "examples": [{"n": 3, "word": "w"}]})
    assert (status, reply["error"]) == (400, "feature 'n' is in the context and in example 0")


def test_regress_gives_a_value_an_example(post):
    assert post("/v1/models/scalar:regress", {"examples": [{"x": 1.5}, {"x": [2]}]}) == (200, {"results": [3.0, 4.0]})


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("scalar:regress", {}, "key 'examples' is expected and was not found"),
        ("scalar:classify", {"examples": []}, "'examples' value is an empty array"),
        ("scalar:classify", {"examples": {}}, "to be an list/array"),
        ("scalar:classify", {"examples": [[1]]}, "Example must be JSON object"),
        (
            "scalar:classify",
            {"examples": [{"x": 1}], "signature_name": 1},
            "'signature_name' key must be a string value.",
        ),
        (
            "scalar:classify",
            {"examples": [{"x": 1}], "signature_name": "other"},
            'Serving signature key "other" not found.',
        ),
        ("scalar:predict", {"instances": [1.0], "signature_name": "other"}, 'Serving signature key "other" not found.'),
        (
            "scalar:predict",
            {"instances": [1.0], "signature_name": None},
            "'signature_name' key must be a string value.",
        ),
        ("scalar:regress", {"examples": [{"x": "text"}]}, "expected `float`".replace("`", "")),
        ("scalar:regress", {"examples": [{"z": 1}]}, "x"),
        ("scalar:regress", {"examples": [{"x": {"b64": "!"}}]}, "base64"),
        ("scalar:regress", b"", "JSON Parse error: The document is empty"),
        ("thirds:regress", {"examples": [{"x": [1, 1]}]}, "Expected one value per example"),
        ("cube:classify", {"examples": [{"x": [1]}]}, "Expected scores of shape"),
        ("scalar:guess", {}, "Malformed request: POST /v1/models/scalar:guess"),
        ("scalar/labels/nobody:predict", {"instances": [1.0]}, "Unrecognized servable version label: nobody"),
        ("scalar/versions/1/labels/x:predict", {"instances": [1.0]}, "Malformed request"),
    ],
)
def test_what_is_refused_and_in_which_words(post, path, body, said):
    status, reply = post(f"/v1/models/{path}", body)
    assert (status, list(reply)) == (400, ["error"])
    assert said in reply["error"]


def test_what_is_not_there(gate, post):
    status, reply = post("/v1/models/nobody:predict", {"instances": [1.0]})
    assert (status, reply["error"].startswith("Servable not found for request: Latest(nobody)")) == (404, True)
    status, reply = post("/v1/models/scalar/versions/7:predict", {"instances": [1.0]})
    assert (status, reply["error"].startswith("Servable not found for request: Specific(scalar, 7)")) == (404, True)
    for path, said in (("nobody", "any versions of model nobody"), ("scalar/versions/7", "version 7 of model scalar")):
        reply = gate.client.request("GET", f"/v1/models/{path}")
        assert (reply.status, json.loads(reply.body)) == (404, {"error": f"Could not find {said}"})


def test_the_path_is_read_whatever_its_case(post):
    assert post("/v1/Models/scalar/Versions/1:PREDICT", {"instances": [1.0]}) == (200, {"predictions": [2.0]})


def test_a_label_is_an_alias_of_a_loaded_version(tmp_path):
    deployed = endpoint(("wine@4", 2.0), ("wine@3", 2.5), deadline_s=3.0)
    models = {"wine@4": model("wine@4", linear, fast=True), "wine@3": model("wine@3", constant(1.0), fast=True)}
    with gated(tmp_path, deployed, models) as gate:
        path = "/v1/models/wine/labels/champion"

        def move(version):
            gate.loop.call_soon_threadsafe(gate.plane.move, "wine", "champion", version)

        def asked():
            return send(gate, f"{path}:predict", {"instances": [ROW]})

        assert asked()[0] == 400
        move(3)
        assert asked() == (200, {"predictions": [1.0]})
        move(4)
        assert asked() == (200, {"predictions": [147.5]})
        move(5)  # not loaded: the label stays where it was
        assert asked() == (200, {"predictions": [147.5]})
        move(3)
        assert asked() == (200, {"predictions": [1.0]})
        (status,) = json.loads(gate.client.request("GET", path).body)["model_version_status"]
        assert status["version"] == "3"
        assert json.loads(gate.client.request("GET", f"{path}/metadata").body)["model_spec"]["version"] == "3"


@pytest.mark.parametrize(
    ("asked", "due"),
    [
        ({"instances": [1.0, 2.0, 5.0]}, {"predictions": [2.0, 4.0, 10.0]}),
        ({"instances": [[1.0], [2.0]]}, {"predictions": [[2.0], [4.0]]}),
        ({"instances": [{"x": 1.0}, {"x": 2.0}]}, {"predictions": [2.0, 4.0]}),
        ({"inputs": [1.0, 2.0]}, {"outputs": [2.0, 4.0]}),
        ({"inputs": {"x": [1.0, 2.0]}}, {"outputs": [2.0, 4.0]}),
        ({"inputs": {"x": [[1.0], [2.0]]}}, {"outputs": [[2.0], [4.0]]}),
    ],
)
def test_rows_of_one_value_are_told_as_they_were_asked(post, asked, due):
    assert post("/v1/models/column:predict", asked) == (200, due)


def test_only_rows_of_one_value_are_told_as_values(post):
    asked = {"instances": [{"x": 1.0, "by": 10.0}, {"x": 2.0, "by": 20.0}]}
    due = {"predictions": [{"y": 11.0, "all": [1.0, 1.0]}, {"y": 22.0, "all": [2.0, 2.0]}]}
    assert post("/v1/models/offset:predict", asked) == (200, due)


@pytest.mark.parametrize("asked", [[1.0, [2.0]], [1.0, "2"], ["x"], [[1.0, 2.0]], [], [1e400], [None]])
def test_what_fits_neither_way_is_refused(post, asked):
    status, reply = post("/v1/models/column:predict", {"instances": asked})
    assert (status, list(reply)) == (400, ["error"])


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"instances": [1.0], "inputs": [1.0]}, "'inputs' and 'instances' exclude each other"),
        ({"instances": [{"x": 1.0, "z": 1.0}]}, "unknown field z"),
        ({"instances": [1.0, "2"]}, "$.instances[1]"),
        ({"instances": [[1.0], [2.0, 3.0]]}, "$.instances[1]"),
    ],
)
def test_what_is_wrong_beside_a_value_for_a_row_is_what_is_said(post, asked, said):
    status, reply = post("/v1/models/column:predict", asked)
    assert (status, said in reply["error"]) == (400, True), reply


def test_a_model_goes_by_the_name_of_its_signature(post, gate):
    asked = {"instances": [[1.0, 2.0]]}
    for name, due in (("regress_x", 200), ("", 200), ("serving_default", 400), ("other", 400)):
        assert post("/v1/models/named_one:predict", {**asked, "signature_name": name})[0] == due
    found = json.loads(gate.client.request("GET", "/v1/models/named_one/metadata").body)
    assert list(found["metadata"]["signature_def"]["signature_def"]) == ["regress_x"]
