"""gRPC: every call of the Open Inference Protocol's service, typed and raw."""

import struct

import grpc
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rpc_served import rpc_channel
from served import ROW, WINE, linear
from tensor_served import DATATYPES, PAIR, PIXELS, echo, echoed, renamed, sums, tensors_gated

from headrace.gateway.oip_reply import to_bytes
from headrace.gateway.rpc.messages import INFERENCE
from headrace.gateway.rpc.tensors import _CONTENTS
from headrace.models.signature import Column, Signature
from headrace.models.tensors import NUMPY

X = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
LABEL = Signature("table", (Column("a", "int64"),), (Column("label", "int64"),))
KINDS = {"alcohol": "FP64", "grape": "BYTES", "year": "INT64", "ph": "FP32", "organic": "BOOL"}


def labelled(batch):
    return {"label": batch["numbers"][:, 0].astype(np.float32)}


@pytest.fixture(scope="module")
def gate(tmp_path_factory):
    served = {"pixels": (PIXELS, sums), "pair": (PAIR, renamed), "wine": (WINE, linear), "label": (LABEL, labelled)}
    served |= {dtype: (echo(dtype), echoed) for dtype in DATATYPES}
    with tensors_gated(tmp_path_factory.mktemp("stream"), served) as found:
        yield found


@pytest.fixture(scope="module")
def channel(gate):
    with rpc_channel(gate) as found:
        yield found


@pytest.fixture
def call(channel):
    def ask(asked, /, **fields):
        request = getattr(INFERENCE, f"{asked}Request")(**fields)
        method = channel.unary_unary(
            f"/inference.GRPCInferenceService/{asked}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=getattr(INFERENCE, f"{asked}Response").FromString,
        )
        return method(request, timeout=10)

    return ask


def tensor(name, array, dtype, *, raw):
    item = INFERENCE.InferTensor(name=name, datatype=DATATYPES[dtype], shape=array.shape)
    if not raw:
        cells = [c.encode() if isinstance(c, str) else c for c in array.ravel().tolist()]
        getattr(item.contents, _CONTENTS[DATATYPES[dtype]]).extend(cells)
    return item


def test_health_and_metadata(call):
    assert call("ServerLive").live
    assert call("ServerReady").ready
    assert call("ModelReady", name="pixels").ready
    assert not call("ModelReady", name="nobody").ready  # clients wait so for what is loaded later
    assert not call("ModelReady", name="pixels", version="9").ready
    assert call("ServerMetadata").name == "headrace"
    reply = call("ModelMetadata", name="pixels", version="1")
    assert (reply.inputs[0].datatype, list(reply.inputs[0].shape), list(reply.versions)) == ("FP32", [-1, 2, 3], ["1"])
    config = call("ModelConfig", name="pair").config
    assert [(i.name, i.data_type, list(i.dims)) for i in config.input] == [("a", 9, [-1]), ("name", 13, [-1, -1])]


def test_statistics_and_index(call):
    before = call("ModelStatistics", name="pixels").model_stats[0]
    call("ModelInfer", model_name="pixels", inputs=[tensor("pixels", X, "float32", raw=False)])
    after = call("ModelStatistics", name="pixels").model_stats[0]
    assert after.inference_count == before.inference_count + 2
    assert after.inference_stats.success.count == before.inference_stats.success.count + 1
    (batch,) = [one for one in after.batch_stats if one.batch_size == 2]
    assert (batch.compute_infer.count >= 1, batch.compute_infer.ns > 0) == (True, True)
    assert len(call("ModelStatistics").model_stats) == len(DATATYPES) + 4
    assert {m.state for m in call("RepositoryIndex").models} == {"READY"}


@pytest.mark.parametrize("raw", [True, False])
def test_infer_answers_as_it_is_asked(call, raw):
    reply = call(
        "ModelInfer",
        model_name="pixels",
        id="7",
        inputs=[tensor("pixels", X, "float32", raw=raw)],
        outputs=[INFERENCE.InferRequestedOutput(name="double")],
        raw_input_contents=[X.tobytes()] if raw else [],
    )
    assert (reply.id, reply.model_version, [o.name for o in reply.outputs]) == ("7", "1", ["double"])
    found = np.frombuffer(reply.raw_output_contents[0], "<f4") if raw else reply.outputs[0].contents.fp32_contents
    assert list(found) == (X * 2).ravel().tolist()


@pytest.mark.parametrize("raw", [True, False])
def test_a_table_takes_one_tensor_a_column(call, raw):
    dtypes = {"FP64": "float64", "BYTES": "string", "INT64": "int64", "FP32": "float32", "BOOL": "bool"}
    columns = {n: np.array([v], NUMPY[dtypes[KINDS[n]]]) for n, v in ROW.items()}
    sent = {n: (array, dtypes[KINDS[n]]) for n, array in columns.items()}
    reply = call(
        "ModelInfer",
        model_name="wine",
        inputs=[tensor(n, array, dtype, raw=raw) for n, (array, dtype) in sent.items()],
        raw_input_contents=[to_bytes(array, dtype) for array, dtype in sent.values()] if raw else [],
    )
    found = struct.unpack("<f", reply.raw_output_contents[0]) if raw else tuple(reply.outputs[0].contents.fp32_contents)
    assert found == (147.5,)


def test_a_whole_number_that_a_model_or_a_default_answers_as_a_float_is_told(call):
    """What a table answers is whatever its model gave."""
    array = np.array([2, 3])
    for raw in (False, True):
        sent = [array.tobytes()] if raw else []
        reply = call(
            "ModelInfer", model_name="label", inputs=[tensor("a", array, "int64", raw=raw)], raw_input_contents=sent
        )
        found = np.frombuffer(reply.raw_output_contents[0], "<i8") if raw else reply.outputs[0].contents.int64_contents
        assert (reply.outputs[0].datatype, list(found)) == ("INT64", [2, 3])


@pytest.mark.parametrize("dtype", sorted(set(DATATYPES) - {"float16"}))
def test_every_datatype_has_typed_contents(call, dtype):
    array = np.array([["a", "ü"]], object) if dtype == "string" else np.array([[0, 1]], NUMPY[dtype])
    reply = call("ModelInfer", model_name=dtype, inputs=[tensor("x", array, dtype, raw=False)])
    assert reply.outputs[0].contents == tensor("y", array, dtype, raw=False).contents


def test_a_datatype_without_typed_contents_goes_raw(call):
    array = np.array([[0.5, 1]], np.float16)
    sent = INFERENCE.InferTensor(name="x", datatype="FP16", shape=[1, 2])
    reply = call("ModelInfer", model_name="float16", inputs=[sent], raw_input_contents=[array.tobytes()])
    assert reply.raw_output_contents[0] == array.tobytes()


FAULTS = {
    "another name": ({"model_name": "nobody"}, "NOT_FOUND"),
    "another version": ({"model_version": "9"}, "NOT_FOUND"),
    "no number": ({"model_version": "x"}, "INVALID_ARGUMENT"),
    "nothing": ({"inputs": []}, "INVALID_ARGUMENT"),
    "raw and typed": ({"raw_input_contents": [X.tobytes()]}, "INVALID_ARGUMENT"),
    "too much raw": ({"raw_input_contents": [b"", b""]}, "INVALID_ARGUMENT"),
    "an unknown output": ({"outputs": [INFERENCE.InferRequestedOutput(name="x")]}, "INVALID_ARGUMENT"),
    "a lie": (
        {"inputs": [INFERENCE.InferTensor(name="pixels", datatype="FP32", shape=[2**40, 2, 3])]},
        "INVALID_ARGUMENT",
    ),
    "a negative": ({"inputs": [INFERENCE.InferTensor(name="pixels", datatype="FP32", shape=[-1])]}, "INVALID_ARGUMENT"),
    "no datatype": ({"inputs": [INFERENCE.InferTensor(name="pixels", shape=[1])]}, "INVALID_ARGUMENT"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_does_not_fit_is_refused_with_a_code(call, name):
    change, code = FAULTS[name]
    request = {"model_name": "pixels", "inputs": [tensor("pixels", X, "float32", raw=False)]} | change
    with pytest.raises(grpc.RpcError) as caught:
        call("ModelInfer", **request)
    assert caught.value.code().name == code
    assert caught.value.details()


def test_shared_memory_is_refused_before_a_client_reads_it(call):
    """It would find there what lay there before, and take that for the answer."""
    region = {"shared_memory_region": INFERENCE.InferParameter(string_param="region")}
    output = INFERENCE.InferRequestedOutput(name="double", parameters=region)
    elsewhere = INFERENCE.InferTensor(name="pixels", datatype="FP32", shape=X.shape, parameters=region)
    for inputs, outputs in (([tensor("pixels", X, "float32", raw=False)], [output]), ([elsewhere], [])):
        with pytest.raises(grpc.RpcError, match="shared memory is not spoken") as caught:
            call("ModelInfer", model_name="pixels", inputs=inputs, outputs=outputs)
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_a_call_that_is_not_offered(channel):
    method = channel.unary_unary("/inference.GRPCInferenceService/SystemSharedMemoryRegister")
    with pytest.raises(grpc.RpcError) as caught:
        method(b"", timeout=10)
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_a_stream_answers_each_request_and_goes_on_after_a_fault(channel):
    method = channel.stream_stream(
        "/inference.GRPCInferenceService/ModelStreamInfer",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=INFERENCE.ModelStreamInferResponse.FromString,
    )
    good = INFERENCE.ModelInferRequest(model_name="pixels", inputs=[tensor("pixels", X, "float32", raw=False)])
    bad = INFERENCE.ModelInferRequest(model_name="nobody")
    replies = list(method(iter([good, bad, good]), timeout=10))
    assert ["nobody" in r.error_message for r in replies] == [False, True, False]
    assert list(replies[2].infer_response.outputs[0].contents.fp32_contents) == [15.0, 51.0]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200))
def test_any_bytes_are_answered_and_never_a_fault_of_ours(channel, body):
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")(body, timeout=10)
    assert caught.value.code() in {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND}
