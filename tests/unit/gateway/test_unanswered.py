"""Requests that no model answers, where the endpoint has no default: why, and whether to try again."""

import json
import threading

import grpc
import numpy as np
import pytest
from rpc_served import rpc_channel
from served import ROW, Gated, model

from headrace.gateway.rpc.messages import INFERENCE
from headrace.serving.endpoint import Endpoint, Preference
from headrace.serving.outcome import DIED

KINDS = {
    "alcohol": ("FP64", "fp64_contents"),
    "grape": ("BYTES", "bytes_contents"),
    "year": ("INT64", "int64_contents"),
    "ph": ("FP64", "fp64_contents"),
    "organic": ("BOOL", "bool_contents"),
}
RELEASED = threading.Event()


def infinite(batch):
    return {"quality": np.full(len(batch["numbers"]), np.inf, np.float32)}


def raising(batch):
    raise ValueError("no such grape")


def dying(batch):
    raise RuntimeError(DIED)


def slow(batch):
    RELEASED.wait(30)
    return {"quality": np.zeros(len(batch["numbers"]), np.float32)}


FUNCTIONS = {"infinite": infinite, "raising": raising, "dying": dying, "slow": slow}
FAULTS = {
    "infinite": (500, "infinite@1 failed (ValueError: 'quality' is not finite)"),
    "raising": (500, "raising@1 failed (ValueError: no such grape)"),
    "dying": (503, f"dying@1 failed (RuntimeError: {DIED})"),
    "slow": (503, "slow@1 had not answered after 100 ms"),
}


@pytest.fixture(scope="module")
def gate(tmp_path_factory):
    found = Gated(tmp_path_factory.mktemp("stream"), tuple(FUNCTIONS))
    for name, function in FUNCTIONS.items():
        reference = f"{name}@1"
        served = model(reference, function, fast=name != "slow")
        found.flip(Endpoint(name, (Preference(reference, 0.1),), 0.2), {reference: served})
    yield found
    RELEASED.set()
    found.close()


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("which", ["", "/versions/1"])
def test_it_is_told_why_and_by_the_status_whether_to_try_again(gate, name, which):
    status, why = FAULTS[name]
    if which:
        why = why.replace("100 ms", "200 ms")
    reply = gate.client.request("POST", f"/v1/models/{name}{which}:predict", json.dumps({"instances": [ROW]}).encode())
    assert reply.status == status
    said = json.loads(reply.body)["error"]
    assert f" - {why} - fix: headrace serving explain " in said
    assert said.rpartition(" ")[2] in said.partition(" - ")[0]


@pytest.mark.parametrize(("name", "code"), [("infinite", "INTERNAL"), ("slow", "UNAVAILABLE")])
def test_grpc_says_the_same_by_its_codes(gate, name, code):
    request = INFERENCE.ModelInferRequest(model_name=name)
    for column, (kind, field) in KINDS.items():
        cell = ROW[column].encode() if kind == "BYTES" else ROW[column]
        request.inputs.add(name=column, datatype=kind, shape=[1], contents={field: [cell]})
    with rpc_channel(gate) as channel, pytest.raises(grpc.RpcError) as refused:
        channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")(request.SerializeToString(), timeout=10)
    assert refused.value.code() == grpc.StatusCode[code]
    assert FAULTS[name][1] in refused.value.details()
