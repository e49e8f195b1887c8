"""Server reflection: what grpcurl and its like ask before they call anything."""

import grpc
import pytest
from google.protobuf import descriptor_pb2
from rpc_served import rpc_channel
from served import gated

from headrace.gateway.control import Control
from headrace.gateway.rpc.reflection import REFLECTION
from headrace.serving.keeper import Keeper

SERVICES = {
    "inference.GRPCInferenceService",
    "tensorflow.serving.PredictionService",
    "tensorflow.serving.ModelService",
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
}


@pytest.fixture(scope="module")
def gate(tmp_path_factory):
    with gated(tmp_path_factory.mktemp("stream")) as found:
        yield found


@pytest.fixture
def ask(gate):
    with rpc_channel(gate) as channel:

        def call(*asked, version="v1"):
            method = channel.stream_stream(
                f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
                request_serializer=lambda message: message.SerializeToString(),
                response_deserializer=REFLECTION.ServerReflectionResponse.FromString,
            )
            requests = [REFLECTION.ServerReflectionRequest(**one) for one in asked]
            return list(method(iter(requests), timeout=10))

        yield call


def described(reply):
    (data,) = reply.file_descriptor_response.file_descriptor_proto
    return descriptor_pb2.FileDescriptorProto.FromString(data)


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_services_are_listed_and_described(ask, version):
    listed, *found = ask({"list_services": "*"}, *({"file_containing_symbol": n} for n in SERVICES), version=version)
    assert {one.name for one in listed.list_services_response.service} == SERVICES
    files = [described(reply) for reply in found]
    assert {f"{file.package}.{own.name}" for file in files for own in file.service} == SERVICES
    again, *_ = ask({"file_by_filename": files[0].name}, version=version)
    assert described(again) == files[0]


def test_a_file_is_found_by_what_is_in_it(ask):
    symbols = (
        "inference.GRPCInferenceService.ModelInfer",
        "inference.ModelInferRequest.inputs",
        "inference.InferTensor",
    )
    assert {described(reply).package for reply in ask(*({"file_containing_symbol": s} for s in symbols))} == {
        "inference"
    }


def test_what_is_unknown_ends_no_conversation(ask):
    nobody, extension, numbers, listed = ask(
        {"file_containing_symbol": "nobody.Knows"},
        {"file_containing_extension": {"containing_type": "inference.InferTensor", "extension_number": 1}},
        {"all_extension_numbers_of_type": "inference.InferTensor"},
        {"list_services": ""},
    )
    assert [r.error_response.error_code for r in (nobody, extension)] == [5, 5]
    assert numbers.all_extension_numbers_response.base_type_name == "inference.InferTensor"
    assert len(listed.list_services_response.service) == len(SERVICES)


def test_every_method_that_is_described_is_there(gate, ask):
    """Called with nothing, each answers something else than that it is not implemented."""
    keeper = Keeper(gate.plane, (), post=gate.loop.call_soon_threadsafe)
    files = [described(reply) for reply in ask(*({"file_containing_symbol": name} for name in SERVICES))]
    unary = {
        f"/{file.package}.{service.name}/{method.name}"
        for file in files
        for service in file.service
        for method in service.method
        if not method.server_streaming
    }
    assert len(unary) == 19
    with rpc_channel(gate, Control(keeper)) as channel:
        calls = {path: channel.unary_unary(path).future(b"", timeout=10) for path in unary}
        assert [path for path, call in calls.items() if call.code() == grpc.StatusCode.UNIMPLEMENTED] == []
