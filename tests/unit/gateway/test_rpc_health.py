"""The health service that probes ask over gRPC."""

import grpc
import pytest
from rpc_served import rpc_channel
from served import endpoint, gated, linear, model

from headrace.gateway.rpc.health import HEALTH


def check(channel, service=""):
    method = channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=HEALTH.HealthCheckResponse.FromString,
    )
    return method(HEALTH.HealthCheckRequest(service=service), timeout=10).status


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
