"""tritonclient, HTTP and gRPC, unmodified, against TensorFlow's own test models: half_plus_two, versions 123 and 124."""

import sys

import numpy as np
import tritonclient.grpc as over_grpc
import tritonclient.http as over_http
from tritonclient.utils import InferenceServerException

NAME, X = "half_plus_two", np.array([[1.0], [2.0], [5.0]], np.float32)
DUE = [[2.5], [3.0], [4.5]]


def given(triton, name="x"):
    return [triton.InferInput(name, X.shape, "FP32").set_data_from_numpy(X)]


def check(triton, address, config, metadata):
    """What both transports must answer; they differ in how a reply is a mapping."""
    with triton.InferenceServerClient(address) as client:
        assert client.is_server_ready()
        assert client.is_model_ready(NAME)
        assert client.is_model_ready(NAME, "123")
        (asked,), (told,) = metadata(client)["inputs"], metadata(client)["outputs"]
        assert (asked["name"], asked["datatype"], [int(n) for n in asked["shape"]]) == ("x", "FP32", [-1, 1])
        assert told["name"] == "y"
        assert config(client)["input"][0]["data_type"] == "TYPE_FP32"
        for version in ("", "123", "124"):
            reply = client.infer(NAME, given(triton), model_version=version, request_id="9")
            assert reply.as_numpy("y").tolist() == DUE
        reply = client.infer(NAME, given(triton, "inputs"), parameters={"signature_name": "regress_x2_to_y3"})
        assert reply.as_numpy("outputs").tolist() == [[3.5], [4.0], [5.5]]
        assert "strange" in refused(lambda: client.infer(NAME, given(triton, "strange")))


def refused(call):
    try:
        call()
    except InferenceServerException as error:
        return str(error)
    return ""


def over_both():
    check(over_http, sys.argv[1], lambda c: c.get_model_config(NAME), lambda c: c.get_model_metadata(NAME))
    check(
        over_grpc,
        sys.argv[2],
        lambda c: c.get_model_config(NAME, as_json=True)["config"],
        lambda c: c.get_model_metadata(NAME, as_json=True),
    )
    with over_http.InferenceServerClient(sys.argv[1]) as client:
        packed = {"request_compression_algorithm": "gzip", "response_compression_algorithm": "deflate"}
        wanted = [over_http.InferRequestedOutput("y", binary_data=False)]
        assert client.infer(NAME, given(over_http), outputs=wanted, **packed).as_numpy("y").tolist() == DUE


over_both()
