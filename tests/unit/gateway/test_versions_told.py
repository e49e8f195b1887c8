"""How each version is, in the words of TensorFlow Serving (REST and gRPC) and of Triton's repository index."""

import json
from dataclasses import replace

import grpc
import pytest
from rpc_served import rpc_channel
from served import endpoint, gated, linear, model, until

from headrace.gateway.rpc.tfs_messages import SERVING
from headrace.serving.status import Note

NOTES = {"wine@5": Note("failed", "a flipped bit"), "wine@4": Note("loading"), "wine@2": Note("unloading")}
TOLD = {3: ("AVAILABLE", ""), 5: ("END", "a flipped bit"), 4: ("LOADING", ""), 2: ("UNLOADING", "")}
NUMBERS = {20: "LOADING", 30: "AVAILABLE", 40: "UNLOADING", 50: "END"}


@pytest.fixture(scope="module")
def gate(tmp_path_factory):
    deployed = endpoint(("wine@3", 2.0), deadline_s=3.0)
    with gated(tmp_path_factory.mktemp("stream"), deployed, {"wine@3": model("wine@3", linear, fast=True)}) as found:
        found.loop.call_soon_threadsafe(found.plane.note, "wine", "wine@5: a flipped bit", NOTES)
        yield found


@pytest.fixture
def rest(gate):
    def ask(which=""):
        reply = gate.client.request("GET", f"/v1/models/wine{which}")
        rows = json.loads(reply.body)["model_version_status"] if reply.status == 200 else []
        assert {row["status"]["error_code"] == "OK" for row in rows if not row["status"]["error_message"]} <= {True}
        return reply.status, {int(r["version"]): (r["state"], r["status"]["error_message"]) for r in rows}

    return ask


@pytest.fixture
def rpc(gate):
    with rpc_channel(gate) as channel:
        method = channel.unary_unary(
            "/tensorflow.serving.ModelService/GetModelStatus",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=SERVING.GetModelStatusResponse.FromString,
        )

        def ask(**fields):
            spec = SERVING.ModelSpec(name="wine", **fields)
            rows = method(SERVING.GetModelStatusRequest(model_spec=spec), timeout=10).model_version_status
            assert all((row.status.error_code == 0) == (not row.status.error_message) for row in rows)
            return {row.version: (NUMBERS[row.state], row.status.error_message) for row in rows}

        yield ask


def test_tensorflow_servings_status_tells_of_every_version(rest, rpc):
    assert rest() == (200, TOLD)
    assert rpc() == TOLD
    assert list(rest()[1]) == list(rpc()) == [5, 4, 3, 2]
    assert rest("/versions/5") == (200, {5: TOLD[5]})
    assert rpc(version=SERVING.Int64Value(value=5)) == {5: TOLD[5]}
    assert rest("/versions/6") == (404, {})
    with pytest.raises(grpc.RpcError) as unknown:
        rpc(version=SERVING.Int64Value(value=6))
    assert unknown.value.code() == grpc.StatusCode.NOT_FOUND


def test_tritons_index_tells_of_every_version(gate):
    def index(body=b""):
        rows = json.loads(gate.client.request("POST", "/v2/repository/index", body).body)
        return {int(row["version"]): (row["state"], row["reason"]) for row in rows}

    due = {3: ("READY", ""), 5: ("UNAVAILABLE", "a flipped bit"), 4: ("LOADING", ""), 2: ("UNLOADING", "")}
    assert index() == due
    assert index(b'{"ready": true}') == {3: ("READY", "")}


def test_a_probe_of_kserves_learns_whether_a_model_can_score(gate):
    def told():
        reply = gate.client.request("GET", "/v1/models/young")
        body = json.loads(reply.body)
        return reply.status, body["ready"], body["model_version_status"][0]["state"], body.get("error")

    gate.loop.call_soon_threadsafe(gate.plane.note, "young")
    until(lambda: "young" in gate.plane.names)
    why = "endpoint 'young' is not ready - its models are being loaded"
    assert told() == (503, False, "LOADING", why)
    assert gate.client.status("young")[0]["state"] == "LOADING"
    gate.flip(replace(endpoint(("young@1", 2.0)), name="young"), {"young@1": model("young@1", linear, fast=True)})
    assert told() == (200, True, "AVAILABLE", None)
