"""The floor of gRPC: grpc.aio, the protocol's own messages, the same session; nothing else.

``python floor_rpc.py MODEL PORT``
"""

import asyncio
import sys
from typing import Any

import grpc
import numpy as np
from floor_model import session_of

from headrace.gateway.rpc.messages import INFERENCE

session = session_of(sys.argv[1])
taken, given = session.get_inputs()[0].name, session.get_outputs()[-1].name


async def infer(request: Any, context: Any) -> Any:  # noqa: ARG001 - gRPC's signature
    tensor = request.inputs[0]
    pixels = np.array(tensor.contents.fp32_contents, np.float32).reshape(tensor.shape)
    values = session.run([given], {taken: pixels})[0]
    reply = INFERENCE.ModelInferResponse(model_name=request.model_name, id=request.id)
    output = reply.outputs.add(name=given, datatype="FP32", shape=values.shape)
    output.contents.fp32_contents.extend(values.ravel().tolist())
    return reply


async def serve() -> None:
    handler = grpc.unary_unary_rpc_method_handler(
        infer, INFERENCE.ModelInferRequest.FromString, INFERENCE.ModelInferResponse.SerializeToString
    )
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("inference.GRPCInferenceService", {"ModelInfer": handler}),)
    )
    server.add_insecure_port(f"127.0.0.1:{sys.argv[2]}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve())
