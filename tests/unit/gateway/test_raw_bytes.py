"""Bytes that are no text, such as those of image files, on every protocol: in, out, in the log and beside text."""

import base64
import json
import struct

import numpy as np
import pytest
from rpc_served import rpc_channel
from tensor_served import echo, posting, tensors_gated

from headrace.gateway.rpc.messages import INFERENCE
from headrace.gateway.rpc.tfs_messages import SERVING
from headrace.models.signature import Signature, Tensor
from headrace.serving.log import RequestLog

RAW = [b"\x89PNG\r\n\x00\xff", b"caf\xc3\xa9"]
SAID = [{"b64": base64.b64encode(RAW[0]).decode()}, "café"]
NAMED = Signature("tensor", (Tensor("x", "bytes", (-1, 1)),), (Tensor("x_bytes", "bytes", (-1, 1)),))


@pytest.fixture(scope="module")
def gate(tmp_path_factory):
    served = {"one": (echo("bytes", (-1,)), lambda batch: {"y": batch["x"]})}
    served["named"] = (NAMED, lambda batch: {"x_bytes": batch["x"]})
    served["text"] = (echo("string", (-1,)), lambda batch: {"y": batch["x"]})
    served["length"] = (
        Signature("tensor", (Tensor("x", "bytes", (-1,)),), (Tensor("n", "int64", (-1,)),)),
        lambda batch: {"n": np.array([len(cell) for cell in batch["x"]])},
    )
    with tensors_gated(tmp_path_factory.mktemp("stream"), served) as found:
        yield found


@pytest.fixture
def post(gate):
    return posting(gate)


@pytest.fixture
def infer(gate):
    with rpc_channel(gate) as channel:
        yield channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=INFERENCE.ModelInferResponse.FromString,
        )


def framed(cells):
    return b"".join(struct.pack("<I", len(cell)) + cell for cell in cells)


def test_tensorflow_serving_takes_b64_and_answers_it(post):
    assert post("/v1/models/one:predict", {"instances": SAID}) == (200, {"predictions": SAID})
    assert post("/v1/models/one:predict", {"instances": [{"x": SAID[0]}]}) == (200, {"predictions": SAID[:1]})
    assert post("/v1/models/one:predict", {"inputs": {"x": SAID}}) == (200, {"outputs": SAID})
    assert post("/v1/models/length:predict", {"inputs": SAID}) == (200, {"outputs": [8, 5]})


def test_outputs_called_bytes_are_b64_even_when_they_are_text(post):
    due = [[{"b64": base64.b64encode(cell).decode()}] for cell in RAW]
    assert post("/v1/models/named:predict", {"instances": [[cell] for cell in SAID]}) == (200, {"predictions": due})


def test_mlflow_takes_them_as_tensorflow_serving_does(gate):
    """The first endpoint is the one that ``/invocations`` reaches."""
    headers = {"content-type": "application/json"}
    for body in ({"instances": SAID}, {"inputs": {"x": SAID}}):
        reply = gate.client.request("POST", "/invocations", json.dumps(body).encode(), headers)
        assert (reply.status, json.loads(reply.body)) == (200, {"predictions": SAID})


@pytest.mark.parametrize("said", ["no base64!", "/w="])
def test_what_is_no_base64_is_refused(post, said):
    status, reply = post("/v1/models/one:predict", {"instances": [{"b64": said}]})
    assert (status, "Unable to base64 decode" in reply["error"]) == (400, True)


def test_a_model_of_text_refuses_what_is_none(post):
    status, reply = post("/v1/models/text:predict", {"instances": [SAID[0]]})
    assert (status, "no UTF-8 text" in reply["error"]) == (400, True)
    head = json.dumps(
        {"inputs": [{"name": "x", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": 12}}]}
    ).encode()
    status, reply = post(
        "/v2/models/text/infer", head + framed(RAW[:1]), {"inference-header-content-length": len(head)}
    )
    assert (status, "'x'" in reply["error"], "no UTF-8 text" in reply["error"]) == (400, True, True)


def test_the_open_inference_protocol_in_json(post):
    sent = {"name": "x", "shape": [2], "datatype": "BYTES", "data": SAID}
    status, reply = post("/v2/models/one/infer", {"inputs": [sent]})
    assert (status, reply["outputs"][0]) == (200, {"name": "y", "shape": [2], "datatype": "BYTES", "data": SAID})


def test_the_binary_extension_both_ways(gate):
    raw = framed(RAW)
    about = {"name": "x", "shape": [2], "datatype": "BYTES", "parameters": {"binary_data_size": len(raw)}}
    head = json.dumps({"inputs": [about], "parameters": {"binary_data_output": True}}).encode()
    reply = gate.client.request(
        "POST", "/v2/models/one/infer", head + raw, {"inference-header-content-length": str(len(head))}
    )
    assert reply.status == 200
    assert reply.body[int(reply.header("inference-header-content-length")) :] == raw


def test_a_body_that_is_the_input_itself(gate):
    headers = {"inference-header-content-length": "0", "content-type": "application/octet-stream"}
    reply = gate.client.request("POST", "/v2/models/one/infer", RAW[0], headers)
    assert reply.status == 200
    assert reply.body.endswith(framed(RAW[:1]))


def test_grpc_takes_raw_and_typed_contents(infer):
    request = INFERENCE.ModelInferRequest(model_name="one")
    tensor = request.inputs.add(name="x", datatype="BYTES", shape=[2])
    request.raw_input_contents.append(framed(RAW))
    assert infer(request, timeout=10).raw_output_contents[0] == framed(RAW)
    del request.raw_input_contents[:]
    tensor.contents.bytes_contents.extend(RAW)
    assert list(infer(request, timeout=10).outputs[0].contents.bytes_contents) == RAW


def test_the_grpc_of_tensorflow_serving(gate):
    tensor = SERVING.TensorProto(dtype=7, string_val=RAW)
    tensor.tensor_shape.dim.add(size=2)
    with rpc_channel(gate) as channel:
        predict = channel.unary_unary(
            "/tensorflow.serving.PredictionService/Predict",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=SERVING.PredictResponse.FromString,
        )
        reply = predict(
            SERVING.PredictRequest(model_spec=SERVING.ModelSpec(name="one"), inputs={"x": tensor}), timeout=10
        )
    assert list(reply.outputs["y"].string_val) == RAW


def test_the_client_sends_bytes_in_rows_and_columns(gate):
    assert gate.client.predict("one", rows=RAW).values == SAID
    assert gate.client.predict("one", columns={"x": RAW}).values == SAID


def test_the_client_sends_and_reads_arrays_of_bytes(gate):
    answer, outputs = gate.client.infer("one", {"x": np.array(RAW, object)})
    assert outputs["y"].tolist() == [RAW[0], "café"]
    found = RequestLog(gate.stream, "one").find(answer.id)
    assert (list(found.columns["x"]), list(found.outputs["y"])) == (SAID, SAID)
