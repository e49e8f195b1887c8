"""The health service that probes ask over gRPC."""

import time
from contextlib import ExitStack, contextmanager

import grpc
import pytest
from rpc_served import rpc_address, rpc_channel
from served import endpoint, gated, linear, model

from headrace.gateway.rpc.health import HEALTH


def check(channel, service=""):
    method = channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=HEALTH.HealthCheckResponse.FromString,
    )
    return method(HEALTH.HealthCheckRequest(service=service), timeout=10).status


@contextmanager
def watching(channel, service=""):
    """What a watcher is told, as it comes."""
    method = channel.unary_stream(
        "/grpc.health.v1.Health/Watch",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=HEALTH.HealthCheckResponse.FromString,
    )
    call = method(HEALTH.HealthCheckRequest(service=service), timeout=20)
    yield (reply.status for reply in call)
    call.cancel()


def test_who_watches_is_told_of_every_change(tmp_path):
    with (
        gated(tmp_path) as gate,
        rpc_channel(gate) as channel,
        watching(channel) as told,
        watching(channel, "nobody") as unknown,
    ):
        assert (next(told), next(unknown)) == (2, 3)
        gate.flip(endpoint(("wine@3", 2.0)), {"wine@3": model("wine@3", linear, fast=True)})
        assert next(told) == 1
        gate.loop.call_soon_threadsafe(gate.plane.withdraw, "wine")
        assert next(told) == 2


def test_a_watcher_is_let_go_when_the_server_ends(tmp_path):
    with gated(tmp_path) as gate, ExitStack() as serving:
        gate.flip(endpoint(("wine@3", 2.0)), {"wine@3": model("wine@3", linear, fast=True)})
        address = serving.enter_context(rpc_address(gate))
        with grpc.insecure_channel(address) as channel, watching(channel) as told:
            assert next(told) == 1
            begun = time.monotonic()
            serving.close()
            assert list(told) == [2]
            assert time.monotonic() - begun < 4  # what waits for streams waits for five seconds


def test_it_serves_once_every_endpoint_can_score(tmp_path):
    with gated(tmp_path) as gate, rpc_channel(gate) as channel:
        assert check(channel) == 2
        gate.flip(endpoint(("wine@3", 2.0)), {"wine@3": model("wine@3", linear, fast=True)})
        assert check(channel) == 1
        for service in ("inference.GRPCInferenceService", "tensorflow.serving.PredictionService"):
            assert check(channel, service) == 1
        with pytest.raises(grpc.RpcError) as refused:
            check(channel, "nobody")
        assert refused.value.code() == grpc.StatusCode.NOT_FOUND
