"""tritonclient's gRPC client, unmodified."""

import sys

import numpy as np
import tritonclient.grpc as triton

client = triton.InferenceServerClient(sys.argv[1])
assert client.is_server_live()
assert client.is_server_ready()
assert client.is_model_ready("double", "1")
assert client.get_server_metadata().name == "headrace"
assert list(client.get_model_metadata("double").inputs[0].shape) == [-1, 2, 3]
assert client.get_model_config("double", as_json=True)["config"]["input"][0]["data_type"] == "TYPE_FP32"
assert {model.state for model in client.get_model_repository_index().models} == {"READY"}

x = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
given = [triton.InferInput("x", x.shape, "FP32").set_data_from_numpy(x)]
before = client.get_inference_statistics("double").model_stats[0].execution_count
for packing in (None, "gzip", "deflate"):
    wanted = [triton.InferRequestedOutput("y")]
    reply = client.infer("double", given, outputs=wanted, request_id="7", compression_algorithm=packing)
    assert (reply.as_numpy("y") == 2 * x).all()
    assert reply.get_response().id == "7"
assert client.get_inference_statistics("double").model_stats[0].execution_count == before + 3

replies = []
client.start_stream(lambda result, error: replies.append((result, error)))
for _ in range(5):
    client.async_stream_infer("double", given)
client.stop_stream()
assert [(error, (result.as_numpy("y") == 2 * x).all()) for result, error in replies] == [(None, True)] * 5
