"""A client that knows no message beforehand: services, messages and a call by what the server says of itself."""

import sys

import grpc
import numpy as np
from google.protobuf import message_factory
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

X = np.arange(12, dtype=np.float32).reshape(2, 2, 3)

with grpc.insecure_channel(sys.argv[1]) as channel:
    database = ProtoReflectionDescriptorDatabase(channel)
    assert {"inference.GRPCInferenceService", "tensorflow.serving.PredictionService"} <= set(database.get_services())
    pool = DescriptorPool(database)

    def call(service, name, **fields):
        method = pool.FindServiceByName(service).FindMethodByName(name)
        asked = message_factory.GetMessageClass(method.input_type)
        told = message_factory.GetMessageClass(method.output_type)
        return channel.unary_unary(
            f"/{service}/{name}", request_serializer=asked.SerializeToString, response_deserializer=told.FromString
        )(asked(**fields), timeout=10)

    given = {"name": "x", "datatype": "FP32", "shape": X.shape, "contents": {"fp32_contents": X.ravel().tolist()}}
    reply = call("inference.GRPCInferenceService", "ModelInfer", model_name="double", inputs=[given])
    assert list(reply.outputs[0].contents.fp32_contents) == (2 * X).ravel().tolist()
    status = call("tensorflow.serving.ModelService", "GetModelStatus", model_spec={"name": "double"})
    (version,) = status.model_version_status
    states = version.DESCRIPTOR.fields_by_name["state"].enum_type
    assert states.values_by_number[version.state].name == "AVAILABLE"
