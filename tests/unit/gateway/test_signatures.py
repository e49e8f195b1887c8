"""Models of several signatures: each request chooses one by name, over every protocol that has a place for it."""

import json
import threading
from base64 import b64encode
from dataclasses import replace

import grpc
import numpy as np
import pytest
from memory_exchange import MemoryExchange
from rpc_served import rpc_channel
from served import Gated, model, until
from tensor_served import posting, several

from headrace.gateway.rpc.messages import INFERENCE
from headrace.gateway.rpc.tfs_messages import SERVING
from headrace.models.signature import Signature, Tensor
from headrace.models.version import ModelVersion
from headrace.serving import desk as desk_module
from headrace.serving.endpoint import Endpoint, Preference
from headrace.serving.exchange import Present, pack
from headrace.serving.lane import Terms
from headrace.serving.log import RequestLog
from headrace.serving.remote import elsewhere
from headrace.serving.split import Split
from headrace.serving.station import Station

EXAMPLES, ROWS = (Tensor("inputs", "bytes", (-1,)),), Tensor("x", "float32", (-1,))
HALF = Signature(
    "tensor",
    (ROWS,),
    (Tensor("y", "float32", (-1,)),),
    others=(
        Signature("tensor", EXAMPLES, (Tensor("scores", "float32", (-1, 2)),), "classify_x", "classify"),
        Signature("tensor", EXAMPLES, (Tensor("outputs", "float32", (-1, 1)),), "regress_x", "regress"),
        Signature("tensor", (ROWS,), (Tensor("z", "float32", (-1,)),), "negative"),
    ),
)


def parsed(batch):
    """The feature ``x`` of serialised examples, as a graph would parse it; 10 more for a feature ``word``."""
    rows = []
    for cell in batch["inputs"]:
        features = SERVING.Example.FromString(cell).features.feature
        rows.append(features["x"].float_list.value[0] + 10 * list(features["word"].bytes_list.value).count(b"\xff"))
    return np.array(rows, np.float32)


def half_plus(added):
    return {
        "": lambda batch: {"y": batch["x"] / 2 + added},
        "classify_x": lambda batch: {"scores": np.column_stack([parsed(batch), parsed(batch) / 2 + added])},
        "regress_x": lambda batch: {"outputs": (parsed(batch) / 2 + added)[:, None]},
        "negative": lambda batch: {"z": -batch["x"]},
    }


@pytest.fixture(scope="module")
def gate(tmp_path_factory):
    """``half``: version 2, then 1, which lacks ``negative``; ``hidden`` masks ``x``; ``apart`` is split."""
    found = Gated(tmp_path_factory.mktemp("stream"), ("half", "hidden", "apart"))
    fewer = replace(HALF, others=HALF.others[:2])
    schedule = (Preference("half@2", 2.0), Preference("half@1", 2.5))
    two, one = several("half@2", half_plus(2), HALF), several("half@1", half_plus(3), fewer)
    found.flip(Endpoint("half", schedule, 3.0), {"half@2": two, "half@1": one})
    only = (Preference("hidden@1", 2.0),)
    found.flip(Endpoint("hidden", only, 3.0, mask=("x",)), {"hidden@1": several("hidden@1", half_plus(2), HALF)})
    both = {f"apart@{n}": several(f"apart@{n}", half_plus(n), HALF) for n in (1, 2)}
    order = (Preference("apart@1", 2.0), Preference("apart@2", 2.5))
    found.flip(Endpoint("apart", order, 3.0, split=Split({"apart@2": 0.5}, "x-customer")), both)
    yield found
    found.close()


@pytest.fixture
def post(gate):
    return posting(gate)


@pytest.fixture(scope="module")
def call(gate):
    with rpc_channel(gate) as channel:

        def ask(method, request, answer):
            messages = INFERENCE if "Inference" in method else SERVING
            return channel.unary_unary(
                f"/{method}",
                request_serializer=lambda message: message.SerializeToString(),
                response_deserializer=getattr(messages, answer).FromString,
            )(request, timeout=10)

        yield ask


def test_predict_by_name(post):
    url = "/v1/models/half:predict"
    assert post(url, {"instances": [1.0, 2.0]}) == (200, {"predictions": [2.5, 3.0]})
    for name, due in (("serving_default", 2.5), ("negative", -1.0), ("", 2.5)):
        body = {"signature_name": name, "instances": [1.0]}
        assert post(url, body) == (200, {"predictions": [due]})
        assert post(url, dict(reversed(body.items()))) == (200, {"predictions": [due]})
    status, reply = post(url, {"signature_name": "other", "instances": [1.0]})
    assert (status, 'Serving signature key "other" not found.' in reply["error"]) == (400, True)
    assert "must be a string" in post(url, {"signature_name": 1, "instances": [1.0]})[1]["error"]


@pytest.fixture
def worked(tmp_path, monkeypatch):
    """``half`` in two workers; version 2 is at the front door too, where it would answer otherwise."""
    monkeypatch.setattr(desk_module, "_ABSENT_S", 60.0)  # a busy machine is no fault of a worker's
    exchange, fewer = MemoryExchange(), replace(HALF, others=HALF.others[:2])
    found = Gated(tmp_path, ("half",), exchange)
    stations = [
        Station("half", made, exchange.other(), "w", projections=lambda *_: None, terms=Terms())
        for made in (several("half@2", half_plus(2), HALF), several("half@1", half_plus(3), fewer))
    ]
    here = several("half@2", {name: lambda _: pytest.fail("scored here") for name in half_plus(2)}, HALF)
    schedule = (Preference("half@2", 20.0), Preference("half@1", 20.0))
    models = {"half@2": here, "half@1": elsewhere(ModelVersion("half", 1, "00", fewer, "python"))}
    found.flip(Endpoint("half", schedule, 30.0), models)
    desk = found.desks.of("half")
    until(lambda: not desk.trouble)
    exchange.tell("half", pack(Present("w", {"half@1": "", "half@2": ""})))
    until(lambda: desk.workers("half@1"))
    yield found
    for station in stations:
        station.stop()
        station.join()
    found.close()


def test_workers_score_by_the_signature_that_a_request_names(worked):
    """Those that have it; a default answers for none."""
    post = posting(worked)
    for name, due in (("", 2.5), ("negative", -1.0)):
        assert post("/v1/models/half:predict", {"signature_name": name, "instances": [1.0]}) == (
            200,
            {"predictions": [due]},
        )
    examples = {"signature_name": "regress_x", "examples": [{"x": 1.0}, {"x": [2.0]}]}
    assert post("/v1/models/half:regress", examples) == (200, {"results": [2.5, 3.0]})
    log = RequestLog(worked.stream, "half")

    def scores(of):
        return [{s.model: of(s) for s in prediction.scores} for _, prediction in log.predictions(-1, 10)]

    due = [
        {"half@2": {"y": [2.5]}, "half@1": {"y": [3.5]}},
        {"half@2": {"z": [-1.0]}},
        {"half@2": {"outputs": [[2.5], [3.0]]}, "half@1": {"outputs": [[3.5], [4.0]]}},
    ]
    until(lambda: scores(lambda score: dict(score.outputs)) == due)  # some come after the answer
    assert scores(lambda score: score.worker) == [dict.fromkeys(each, "w") for each in due]
    assert worked.plane.counters["half"].scorers["half@2"].here == 0


def test_examples_of_rest_become_serialised_ones(post):
    examples = {"examples": [{"x": 1.0}, {"x": [2.0]}]}
    asked = {"signature_name": "regress_x", **examples}
    assert post("/v1/models/half:regress", asked) == (200, {"results": [2.5, 3.0]})
    body = {"signature_name": "classify_x", "context": {"word": [{"b64": "/w=="}]}, **examples}
    assert post("/v1/models/half:classify", body) == (200, {"results": [[["", 11], ["", 7.5]], [["", 12], ["", 8]]]})
    status, reply = post("/v1/models/half:regress", {"signature_name": "regress_x", "examples": [{"x": [1.0, "a"]}]})
    assert (status, "several kinds" in reply["error"]) == (400, True)


def test_large_requests_are_held_to_a_number_of_values_not_of_features(gate):
    def asked(count, values):
        examples = [{"x": 1.0, "more": [1] * values}] * count
        body = json.dumps({"signature_name": "regress_x", "examples": examples}, separators=(",", ":"))
        return gate.client.request("POST", "/v1/models/half:regress", body.encode())

    reply = asked(2000, 60)  # more values than a request may have rows
    assert (reply.status, len(json.loads(reply.body)["results"])) == (200, 2000)
    reply = asked(2000, 1100)
    assert (reply.status, b"at most 2000000 are read" in reply.body) == (400, True)


def test_serialised_examples_may_be_sent_to_predict(post):
    example = SERVING.Example()
    example.features.feature["x"].float_list.value.append(4.0)
    sent = {"b64": b64encode(example.SerializeToString()).decode()}
    body = {"signature_name": "regress_x", "instances": [sent]}
    assert post("/v1/models/half:predict", body) == (200, {"predictions": [[4.0]]})


def request(name, kind, **fields):
    asked = getattr(SERVING, kind)(model_spec=SERVING.ModelSpec(name="half", signature_name=name), **fields)
    if kind != "PredictRequest":
        for value in (1.0, 5.0):
            example = asked.input.example_list_with_context.examples.add()
            example.features.feature["x"].float_list.value.append(value)
        asked.input.example_list_with_context.context.features.feature["word"].bytes_list.value.append(b"\xff")
    return asked


def test_the_grpc_of_tensorflow_serving(call):
    service = "tensorflow.serving.PredictionService"
    reply = call(f"{service}/Regress", request("regress_x", "RegressionRequest"), "RegressionResponse")
    assert [one.value for one in reply.result.regressions] == [7.5, 9.5]
    assert (reply.model_spec.signature_name, reply.model_spec.version.value) == ("regress_x", 2)
    reply = call(f"{service}/Classify", request("classify_x", "ClassificationRequest"), "ClassificationResponse")
    rows = [[(one.label, one.score) for one in row.classes] for row in reply.result.classifications]
    assert rows == [[("", 11.0), ("", 7.5)], [("", 15.0), ("", 9.5)]]
    tensor = SERVING.TensorProto(dtype=1, float_val=[3.0])
    tensor.tensor_shape.dim.add(size=1)
    reply = call(f"{service}/Predict", request("negative", "PredictRequest", inputs={"x": tensor}), "PredictResponse")
    assert list(reply.outputs["z"].float_val) == [-3.0]
    with pytest.raises(grpc.RpcError) as refused:
        call(f"{service}/Predict", request("other", "PredictRequest", inputs={"x": tensor}), "PredictResponse")
    assert refused.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert refused.value.details() == 'Serving signature key "other" not found.'
    for method, kind in (("Classify", "Classification"), ("Regress", "Regression")):
        with pytest.raises(grpc.RpcError) as refused:
            call(f"{service}/{method}", request("other", f"{kind}Request"), f"{kind}Response")
        assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert refused.value.details() == "No signature was found with the name: other"


def test_metadata_tells_all(gate, call):
    found = json.loads(gate.client.request("GET", "/v1/models/half/metadata").body)
    told = found["metadata"]["signature_def"]["signature_def"]
    methods = {name: signature["method_name"] for name, signature in told.items()}
    due = {"serving_default": "predict", "classify_x": "classify", "regress_x": "regress", "negative": "predict"}
    assert methods == {name: f"tensorflow/serving/{method}" for name, method in due.items()}
    assert told["regress_x"]["inputs"]["inputs"]["dtype"] == "DT_STRING"
    asked = SERVING.GetModelMetadataRequest(model_spec={"name": "half"}, metadata_field=["signature_def"])
    reply = call("tensorflow.serving.PredictionService/GetModelMetadata", asked, "GetModelMetadataResponse")
    signatures = SERVING.SignatureDefMap.FromString(reply.metadata["signature_def"].value).signature_def
    assert {name: signature.method_name for name, signature in signatures.items()} == {
        name: f"tensorflow/serving/{method}" for name, method in due.items()
    }


@pytest.mark.parametrize("binary", [False, True])
def test_the_open_inference_protocol_by_a_parameter(gate, binary):
    data = np.array([3.0], "<f4").tobytes() if binary else b""
    about = {"parameters": {"binary_data_size": 4}} if binary else {"data": [3.0]}
    tensor = {"name": "x", "shape": [1], "datatype": "FP32", **about}

    def asked(name):
        head = json.dumps({"parameters": {"signature_name": name}, "inputs": [tensor]}).encode()
        length = {"inference-header-content-length": str(len(head))} if binary else {}
        reply = gate.client.request("POST", "/v2/models/half/infer", head + data, length)
        return reply.status, json.loads(reply.body)

    status, reply = asked("negative")
    assert (status, reply["outputs"][0]["name"], reply["outputs"][0]["data"]) == (200, "z", [-3.0])
    assert asked("serving_default")[1]["outputs"][0]["data"] == [3.5]
    assert asked("other")[0] == 400
    assert asked(7)[0] == 400


def test_the_grpc_of_the_open_inference_protocol_by_a_parameter(call):
    asked = INFERENCE.ModelInferRequest(model_name="half")
    asked.inputs.add(name="x", datatype="FP32", shape=[1]).contents.fp32_contents.append(3.0)
    asked.parameters["signature_name"].string_param = "negative"
    reply = call("inference.GRPCInferenceService/ModelInfer", asked, "ModelInferResponse")
    assert (reply.outputs[0].name, list(reply.outputs[0].contents.fp32_contents)) == ("z", [-3.0])


def test_a_version_alone_has_its_own(post):
    for path, due in (("half", 2.5), ("half/versions/1", 3.5), ("half/versions/2", 2.5)):
        body = {"signature_name": "regress_x", "examples": [{"x": 1.0}]}
        assert post(f"/v1/models/{path}:regress", body) == (200, {"results": [due]})
    status, reply = post("/v1/models/half/versions/1:predict", {"signature_name": "negative", "instances": [1.0]})
    assert (status, "not found" in reply["error"]) == (400, True)


def test_a_split_draws_alike_for_every_signature(gate):
    def winners(name):
        body = json.dumps({"signature_name": name, "instances": [1.0]}).encode()
        sent = (gate.client.raw("apart", body, headers={"x-customer": str(n)}) for n in range(12))
        return [reply.header("x-headrace-winner") for reply in sent]

    assert set(winners("")) == {"apart@1", "apart@2"}
    assert winners("negative") == winners("")


def test_the_log_says_which_was_asked(gate, post):
    body = {"signature_name": "negative", "instances": [1.0]}
    reply = gate.client.request("POST", "/v1/models/half:predict", json.dumps(body).encode())
    found = RequestLog(gate.stream, "half").find(reply.header("x-headrace-id"))
    assert (found.signature, found.winner, list(found.columns["x"])) == ("negative", "half@2", [1.0])
    assert [score.model for score in found.scores] == ["half@2"]
    reply = gate.client.request("POST", "/v1/models/half:predict", b'{"instances": [1.0]}')
    found = RequestLog(gate.stream, "half").find(reply.header("x-headrace-id"))
    assert (found.signature, [score.model for score in found.scores]) == ("", ["half@2", "half@1"])


def test_what_is_masked_is_in_no_example_either(gate):
    body = json.dumps({"signature_name": "regress_x", "examples": [{"x": 1.0}]}).encode()
    reply = gate.client.request("POST", "/v1/models/hidden:regress", body)
    assert json.loads(reply.body) == {"results": [2.5]}
    found = RequestLog(gate.stream, "hidden").find(reply.header("x-headrace-id"))
    assert (found.raw, "inputs" in found.masked) == (None, True)
    assert all(len(cell) == 16 for row in found.columns["inputs"] for cell in row)  # sixteen digits of a hash


def test_a_swap_waits_for_requests_of_every_signature(tmp_path):
    asked, go = threading.Event(), threading.Event()

    def slow(batch):
        asked.set()
        assert go.wait(20)
        return {"z": -batch["x"]}

    gate = Gated(tmp_path, ("half",))
    endpoint = Endpoint("half", (Preference("half@1", 20.0),), 20.0)
    drained = None
    try:
        gate.flip(endpoint, {"half@1": several("half@1", {**half_plus(2), "negative": slow}, HALF)})
        found = []
        body = b'{"signature_name": "negative", "instances": [1.0]}'
        sends = threading.Thread(
            target=lambda: found.append(gate.client.request("POST", "/v1/models/half:predict", body).body)
        )
        sends.start()
        assert asked.wait(20)
        after = Endpoint("half", (Preference("half@2", 20.0),), 20.0)
        drained = gate.flip(after, {"half@2": model("half@2", lambda b: {"y": b["x"]}, fast=True, signature=HALF)})
        assert not drained.wait(0.05)
        go.set()
        sends.join(20)
        assert json.loads(found[0]) == {"predictions": [-1.0]}
        assert drained.wait(20)
    finally:
        go.set()
        gate.close()
