"""tritonclient, unmodified, on the control port: load, unload and index with the token in a header; HTTP or gRPC."""

import sys

import numpy as np
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import InferenceServerException

protocol, address, token = sys.argv[1:]
triton = {"http": tritonclient.http, "grpc": tritonclient.grpc}[protocol]
client = triton.InferenceServerClient(address)
mine = {"authorization": f"Bearer {token}"}


def index():
    found = client.get_model_repository_index(headers=mine)
    rows = found if protocol == "http" else [{"name": m.name, "version": m.version, **reason(m)} for m in found.models]
    return {(row["name"], row["version"]): (row["state"], row["reason"]) for row in rows}


def reason(model):
    return {"state": model.state, "reason": model.reason}


def refused(call, *said):
    try:
        call()
    except InferenceServerException as error:
        assert all(text in error.message() for text in said), error.message()  # noqa: PT017 - no pytest here
    else:
        raise AssertionError("it was not refused")


def doubled(x):
    given = triton.InferInput("x", x.shape, "FP32")
    given.set_data_from_numpy(x)
    return client.infer("double", [given], headers=mine).as_numpy("y")


refused(lambda: client.load_model("double"), "token")
refused(lambda: client.unload_model("double", headers={"authorization": "Bearer wrong"}), "token")
refused(client.get_model_repository_index, "token")

state, why = index()["wine", "2"]
assert (state, "does not answer as the trained model did" in why) == ("UNAVAILABLE", True)
assert index()["wine", "1"] == ("READY", "")
refused(lambda: client.load_model("wine", headers=mine), "does not answer as the trained model did", "goes on")

x = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
assert (doubled(x) == 2 * x).all()
client.unload_model("double", headers=mine)
assert not client.is_model_ready("double", headers=mine)
assert index()["double", "1"][0] == "UNAVAILABLE"
refused(lambda: doubled(x), "unloaded through the control port")
client.load_model("double", headers=mine)
assert client.is_model_ready("double", "1", headers=mine)
assert index()["double", "1"] == ("READY", "")
assert (doubled(x) == 2 * x).all()

refused(lambda: client.load_model("nobody", headers=mine), "no endpoint named 'nobody'")
refused(lambda: client.load_model("double", headers=mine, config='{"max_batch_size": 8}'), "'config' is refused")
files = {"file:1/model.onnx": b"model"}
refused(lambda: client.load_model("double", headers=mine, config="{}", files=files), "refused")
