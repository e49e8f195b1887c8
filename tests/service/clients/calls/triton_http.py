"""tritonclient's HTTP client, unmodified: JSON and binary, packed and plain, statistics, configuration, index."""

import itertools
import sys

import numpy as np
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

client = triton.InferenceServerClient(sys.argv[1])
assert client.is_server_live()
assert client.is_server_ready()
assert client.is_model_ready("double")
assert client.is_model_ready("double", "1")
assert client.get_server_metadata()["name"] == "headrace"
assert client.get_model_metadata("double")["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 2, 3]}]
assert client.get_model_config("double")["input"][0]["data_type"] == "TYPE_FP32"
assert {"name": "double", "version": "1", "state": "READY", "reason": ""} in client.get_model_repository_index()

x = np.arange(1200, dtype=np.float32).reshape(200, 2, 3)
packings = (None, "gzip", "deflate")
calls = 0
for binary_in, binary_out, packed_in, packed_out in itertools.product((True, False), (True, False), packings, packings):
    given = triton.InferInput("x", x.shape, "FP32").set_data_from_numpy(x, binary_data=binary_in)
    wanted = [triton.InferRequestedOutput("y", binary_data=binary_out)]
    packing = {"request_compression_algorithm": packed_in, "response_compression_algorithm": packed_out}
    reply = client.infer("double", [given], outputs=wanted, request_id="7", **packing)
    assert (reply.as_numpy("y") == 2 * x).all()
    assert reply.get_response()["id"] == "7"
    calls += 1

columns = {"alcohol": 9.5, "density": 0.99, "ph": 3.1}
inputs = [triton.InferInput(n, [1], "FP64").set_data_from_numpy(np.array([v])) for n, v in columns.items()]
assert abs(client.infer("wine", inputs).as_numpy("quality")[0] - 330.4) < 1e-3

(statistics,) = client.get_inference_statistics("double")["model_stats"]
assert (statistics["execution_count"], statistics["inference_count"]) == (calls, calls * 200)
for refused in (lambda: client.load_model("double"), lambda: client.infer("nobody", inputs)):
    try:
        refused()
    except InferenceServerException as error:
        assert error.message()  # noqa: PT017 - no pytest here
    else:
        raise AssertionError("it was not refused")
