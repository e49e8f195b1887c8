"""KServe's REST and gRPC clients, unmodified: health, JSON, binary, gRPC."""

import asyncio
import sys

import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest
from kserve.inference_client import RESTConfig
from kserve.protocol.infer_type import RequestedOutput

HTTP, GRPC = sys.argv[1:]
X = np.arange(12, dtype=np.float32).reshape(2, 2, 3)


def request(*, binary):
    given = InferInput(name="x", shape=list(X.shape), datatype="FP32")
    given.set_data_from_numpy(X, binary_data=binary)
    wanted = RequestedOutput("y", parameters={"binary_data": binary})
    return InferRequest(model_name="double", infer_inputs=[given], request_id="7", request_outputs=[wanted])


async def rest():
    client = InferenceRESTClient(config=RESTConfig(protocol="v2"))
    base = f"http://{HTTP}"
    assert await client.is_server_live(base)
    assert await client.is_server_ready(base)
    assert await client.is_model_ready(base, "double")
    for binary in (False, True):
        reply = await client.infer(base, request(binary=binary), model_name="double")
        assert reply.id == "7"
        assert (reply.outputs[0].as_numpy() == 2 * X).all()


async def grpc():
    client = InferenceGRPCClient(url=GRPC)
    assert await client.is_server_live()
    assert await client.is_server_ready()
    assert await client.is_model_ready("double")
    for binary in (False, True):
        reply = await client.infer(request(binary=binary))
        assert (reply.outputs[0].as_numpy() == 2 * X).all()


async def rest_v1():
    client = InferenceRESTClient(config=RESTConfig(protocol="v1"))
    base = f"http://{HTTP}"
    assert await client.is_server_live(base)
    assert await client.is_model_ready(base, "double")
    reply = await client.infer(base, {"instances": X.tolist()}, model_name="double")
    assert (np.array(reply["predictions"]) == 2 * X).all()


asyncio.run(rest())
asyncio.run(rest_v1())
asyncio.run(grpc())
