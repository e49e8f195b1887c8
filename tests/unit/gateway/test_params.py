"""Parameters of a model: said with a request over every protocol that has a place for them, checked, and kept."""

import json
import threading

import numpy as np
import pytest
from rpc_served import rpc_channel
from served import Function, Gated, Held, model, until
from tensor_served import posting

from headrace.gateway.app import Gateway
from headrace.gateway.rpc.messages import INFERENCE
from headrace.gateway.vertex import VertexRoutes
from headrace.models.params import Param
from headrace.models.signature import Column, Signature, Tensor
from headrace.serving.endpoint import Batching, Endpoint, Preference
from headrace.serving.log import RequestLog

FACTOR, UP = Param("factor", "float64", 2.0), Param("up", "bool", default=True)
BY = Param("by", "int64", [0], many=True)
A, Y = (Column("a", "float64"),), (Column("y", "float32"),)
SCALED = Signature("table", A, Y, params=(FACTOR, UP, BY))
FACTORED = Signature("table", A, Y, params=(Param("factor", "float64", 5.0),))
PLAIN = Signature("table", A, Y)
TENSOR = Signature("tensor", (Tensor("x", "float32", (-1, 1)),), (Tensor("y", "float32", (-1, 1)),), params=(FACTOR,))


class Tunable(Function):
    """A loaded model that is a function of a batch and of parameters by name; remembers what it was told."""

    def __init__(self, function, **defaults):
        super().__init__(lambda batch: function(batch, **defaults))
        self._function, self._defaults = function, defaults
        self.told = []

    def tuned(self, params):
        self.told.append(dict(params))
        return Function(lambda batch: self._function(batch, **self._defaults | params))


def scaled(batch, factor=2.0, up=True, by=(0,)):
    y = batch["numbers"][:, 0] * factor + sum(by)
    return {"y": (y if up else -y).astype(np.float32)}


def tunable(reference, function, signature):
    made = model(reference, None, signature=signature)
    object.__setattr__(made, "loaded", Tunable(function))
    return made


def served(gate, name, models, **more):
    """An endpoint that prefers the first of ``models`` and has the others beside it as shadows."""
    first, *others = models
    deployed = Endpoint(name, (Preference(first, 2.0),), 3.0, shadows=tuple(others), **more)
    gate.flip(deployed, models)


@pytest.fixture(scope="module")
def models():
    return {
        "scaled@1": tunable("scaled@1", scaled, SCALED),
        "less@1": tunable("less@1", lambda batch, factor=5.0: scaled(batch, factor), FACTORED),
        "plain@1": model("plain@1", lambda batch: scaled(batch, 1.0), signature=PLAIN),
    }


@pytest.fixture(scope="module")
def gate(tmp_path_factory, models):
    """``scaled`` beside a model with fewer parameters and one with none, then others by themselves."""
    found = Gated(tmp_path_factory.mktemp("stream"), ("scaled", "plain", "hidden", "tensor"))
    served(found, "scaled", models)
    served(found, "plain", {"plain@1": models["plain@1"]})
    served(found, "hidden", {"scaled@1": models["scaled@1"]}, mask=("by",))
    double = tunable("tensor@1", lambda batch, factor=2.0: {"y": batch["x"] * np.float32(factor)}, TENSOR)
    served(found, "tensor", {"tensor@1": double})
    yield found
    found.close()


@pytest.fixture
def post(gate):
    return posting(gate)


@pytest.mark.parametrize(
    "rows",
    [
        {"dataframe_split": {"columns": ["a"], "data": [[1.0], [3.0]]}},
        {"dataframe_records": [{"a": 1.0}, {"a": 3.0}]},
        {"instances": [{"a": 1.0}, {"a": 3.0}]},
        {"inputs": {"a": [1.0, 3.0]}},
        {"inputs": [{"a": 1.0}, {"a": 3.0}]},
    ],
)
def test_mlflows_params_reach_the_model_in_every_form(post, rows):
    assert post("/invocations", rows) == (200, {"predictions": [2.0, 6.0]})
    assert post("/invocations", {**rows, "params": None}) == (200, {"predictions": [2.0, 6.0]})
    assert post("/invocations", {**rows, "params": {}}) == (200, {"predictions": [2.0, 6.0]})
    assert post("/invocations", {**rows, "params": {"factor": 10}}) == (200, {"predictions": [10.0, 30.0]})
    told = {"params": {"by": [1, 2], "up": False}, **rows}
    assert post("/invocations", told) == (200, {"predictions": [-5.0, -9.0]})


@pytest.mark.parametrize(
    ("params", "said"),
    [
        (
            {"fator": 1.0},
            "param 'fator' is not one of this model - it takes factor: float64 = 2.0, up: bool = True, by",
        ),
        ({"factor": "2"}, "param 'factor' is refused - a number is due, it is '2'"),
        ({"factor": [2.0]}, "param 'factor' is refused"),
        ({"factor": None}, "param 'factor' is refused"),
        ({"by": 3}, "param 'by' is refused - a list, each a whole number, is due"),
        ({"by": [1.5]}, "param 'by' is refused"),
        ({"up": 1}, "param 'up' is refused - true or false is due"),
        ([1], "params are refused - an object of names and values is due"),
    ],
)
def test_params_that_do_not_fit_are_refused_in_mlflows_words(gate, post, params, said):
    before = gate.plane.counters["scaled"].refused
    status, reply = post("/invocations", {"dataframe_records": [{"a": 1.0}], "params": params})
    assert (status, reply["error_code"]) == (422, "INVALID_PARAMETER_VALUE")
    assert said in reply["message"]
    assert gate.plane.counters["scaled"].refused == before + 1


def test_a_model_that_declares_none_answers_and_says_that_they_are_unused(gate, tmp_path):
    found = Gated(tmp_path, ("plain",))
    try:
        served(found, "plain", {"plain@1": model("plain@1", lambda batch: scaled(batch, 1.0), signature=PLAIN)})
        for params, unused in (({"factor": 3.0}, True), ({}, False)):
            body = json.dumps({"dataframe_records": [{"a": 4.0}], "params": params}).encode()
            reply = found.client.request("POST", "/invocations", body)
            assert (reply.status, json.loads(reply.body)) == (200, {"predictions": [4.0]})
            assert reply.header("x-headrace-params").startswith("unused") == unused
            assert RequestLog(found.stream, "plain").find(reply.header("x-headrace-id")).params == {}
    finally:
        found.close()


def test_vertex_ais_parameters_and_those_of_a_predict_request(gate, post):
    asked = {"instances": [{"a": 1.0}], "parameters": {"factor": 4.0}}
    assert post("/v1/models/scaled:predict", asked) == (200, {"predictions": [4.0]})
    assert post("/v1/models/scaled:predict", {"inputs": {"a": [1.0]}, "parameters": {"by": [5]}})[1] == {
        "outputs": [7.0]
    }
    status, reply = post("/v1/models/scaled:predict", {"instances": [{"a": 1.0}], "parameters": {"fator": 4.0}})
    assert (status, "'fator' is not one" in reply["error"]) == (400, True)
    ignored = json.dumps({"instances": [{"a": 1.0}], "parameters": {"factor": "any"}}).encode()
    reply = gate.client.raw("plain", ignored)  # as TensorFlow Serving ignores them
    assert (json.loads(reply.body), reply.header("x-headrace-params")[:6]) == ({"predictions": [1.0]}, "unused")
    before = gate.server.handler
    gate.server.handler = Gateway(gate.plane, vertex=VertexRoutes("/predict", "/health"))
    try:
        assert post("/predict", asked) == (200, {"predictions": [4.0]})
        refused = gate.client.request("GET", "/predict")
        assert (refused.status, refused.header("allow")) == (405, "POST")
    finally:
        gate.server.handler = before


def test_parameters_of_a_request_with_values_for_rows_of_one(post):
    url = "/v1/models/tensor:predict"
    assert post(url, {"instances": [1.0, 2.0], "parameters": {"factor": 3.0}}) == (200, {"predictions": [3.0, 6.0]})
    assert post(url, {"instances": [[1.0]], "parameters": {"factor": 3.0}}) == (200, {"predictions": [[3.0]]})


def test_parameters_of_the_open_inference_protocol(post):
    tensor = {"name": "a", "shape": [2], "datatype": "FP64", "data": [1.0, 3.0]}

    def infer(parameters, name="scaled"):
        status, reply = post(f"/v2/models/{name}/infer", {"inputs": [tensor], "parameters": parameters})
        return status, reply["outputs"][0]["data"] if status == 200 else reply["error"]

    assert infer({"factor": 3, "binary_data_output": False, "priority": 1}) == (200, [3.0, 9.0])
    assert infer({"by": [1], "up": False}) == (200, [-3.0, -7.0])
    status, said = infer({"factor": "3"})
    assert (status, "param 'factor' is refused" in said) == (400, True)
    assert infer({"factor": "3"}, "plain") == (200, [1.0, 3.0])


def test_parameters_over_grpc_also_those_that_are_zero(gate):
    with rpc_channel(gate) as channel:
        call = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=INFERENCE.ModelInferResponse.FromString,
        )

        def infer(**parameters):
            request = INFERENCE.ModelInferRequest(model_name="scaled")
            request.inputs.add(name="a", datatype="FP64", shape=[1]).contents.fp64_contents.append(3.0)
            for name, (kind, value) in parameters.items():
                setattr(request.parameters[name], f"{kind}_param", value)
            return call(request, timeout=10).outputs[0].contents.fp32_contents[0]

        assert infer() == 6.0
        assert infer(up=("bool", False)) == -6.0
        assert infer(factor=("int64", 0)) == 0.0
        assert infer(factor=("double", 1.5), up=("bool", True)) == 4.5
        for wrong in ("string", "bool"):
            with pytest.raises(Exception, match="'factor' is refused"):
                infer(factor=(wrong, "" if wrong == "string" else False))


def test_what_was_said_is_logged_and_each_model_is_told_what_it_takes(gate, models):
    body = json.dumps({"dataframe_records": [{"a": 1.0}], "params": {"by": [1], "factor": 3}}).encode()
    reply = gate.client.request("POST", "/invocations", body)
    identifier, log = reply.header("x-headrace-id"), RequestLog(gate.stream, "scaled")
    until(lambda: len(log.find(identifier).scores) == 3)
    found = log.find(identifier)
    assert found.params == {"by": [1], "factor": 3.0}
    assert {s.model: s.outputs["y"] for s in found.scores} == {"scaled@1": [4.0], "less@1": [3.0], "plain@1": [1.0]}
    assert models["less@1"].loaded.told[-1] == {"factor": 3.0}
    reply = gate.client.request("POST", "/invocations", json.dumps({"dataframe_records": [{"a": 1.0}]}).encode())
    until(lambda: len(log.find(reply.header("x-headrace-id")).scores) == 3)
    unsaid = log.find(reply.header("x-headrace-id"))
    assert unsaid.params == {}
    assert {s.model: s.outputs["y"] for s in unsaid.scores}["less@1"] == [5.0]  # by its own default


def test_a_parameter_may_be_masked(gate, post):
    asked = json.dumps({"instances": [{"a": 1.0}], "parameters": {"by": [41], "factor": 1.0}}).encode()
    reply = gate.client.request("POST", "/v1/models/hidden:predict", asked)
    found = RequestLog(gate.stream, "hidden").find(reply.header("x-headrace-id"))
    assert json.loads(reply.body) == {"predictions": [42.0]}
    assert (found.params["factor"], len(found.params["by"]), found.masked) == (1.0, 16, ("by",))


def test_requests_with_different_params_are_never_scored_in_one_call(tmp_path):
    held, calls = Held(), []

    def counted(batch, factor=2.0):
        calls.append((factor, len(batch["numbers"])))
        if len(calls) == 1:
            held.seen += 1
            assert held.go.wait(20)
        return scaled(batch, factor)

    gate = Gated(tmp_path, ("scaled",))
    try:
        made = {"scaled@1": tunable("scaled@1", counted, FACTORED)}
        served(gate, "scaled", made, batching=Batching(max_batch_rows=64))
        found = {}

        def ask(number, params):
            body = {"dataframe_records": [{"a": float(number)}], "params": params}
            found[number] = posting(gate)("/invocations", body)[1]["predictions"][0]

        threads = [threading.Thread(target=ask, args=(0, {}))]
        threads[0].start()
        until(lambda: held.seen)
        said = [{"factor": 3.0}, {"factor": 4.0}, {"factor": 3}, {}, {"factor": 4.0}, {}]
        threads += [threading.Thread(target=ask, args=(n, params)) for n, params in enumerate(said, 1)]
        for thread in threads[1:]:
            thread.start()
        scorer = gate.plane.live("scaled").scorers[0]
        until(lambda: scorer.waiting == len(said))
        held.go.set()
        for thread in threads:
            thread.join(10)
        assert found == {n: n * params.get("factor", 2.0) for n, params in enumerate([{}, *said])}
        assert sorted(calls[1:]) == [(2.0, 2), (3.0, 2), (4.0, 2)]
    finally:
        held.go.set()
        gate.close()


def test_openapi_describes_them(gate):
    document = json.loads(gate.client.request("GET", "/openapi.json").body)

    def bodies(path):
        schema = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
        if "$ref" in schema:
            schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        found = [form["properties"] for form in schema.get("oneOf", [schema]) if "properties" in form]
        assert found
        return found

    integer = {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1}
    for form in bodies("/invocations"):
        assert form["params"]["properties"]["factor"] == {"type": "number", "default": 2.0}
    for form in bodies("/v1/models/scaled:predict"):
        assert form["parameters"]["properties"]["by"] == {"type": "array", "items": integer, "default": [0]}
    assert bodies("/v2/models/scaled/infer")[0]["parameters"]["additionalProperties"] is True
    assert all("parameters" not in form for form in bodies("/v1/models/plain:predict"))
