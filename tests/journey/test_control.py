"""The control port of a gateway as users start it."""

import json
import re
import subprocess
import sys
import threading

import grpc
import pytest
from wine_project import ROW, WineProject

from headrace.client import Client
from headrace.gateway.rpc.messages import INFERENCE
from headrace.placement.tokens import NAME

PATH = "/v2/repository/models/wine"


@pytest.fixture
def control(tmp_path):
    """Clients of the scoring and the control port, the address of control's gRPC, and the token."""
    project = WineProject(tmp_path)
    project.deploy(project.register(0.5))
    project.close()
    command = [sys.executable, "-m", "headrace.gateway", "--root", str(tmp_path), "--port", "0"]
    command += ["--control-port", "0", "--control-grpc-port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as gateway:
        lines = "".join(gateway.stdout.readline() for _ in range(3))
        said = []
        drains = [threading.Thread(target=lambda s=s: said.append(s.read())) for s in (gateway.stdout, gateway.stderr)]
        for drain in drains:
            drain.start()
        http, rpc, scoring = re.findall(r"127\.0\.0\.1:\d+", lines)
        clients = Client(f"http://{scoring}"), Client(f"http://{http}")
        clients[0].wait_ready()
        token = (tmp_path / ".headrace" / NAME).read_text().strip()
        yield *clients, rpc, token
        for client in clients:
            client.close()
        gateway.terminate()
        assert gateway.wait(15) == 0
        for drain in drains:
            drain.join()
    assert token not in "".join(said)


def ask(client, verb, token, body=b""):
    reply = client.request("POST", f"{PATH}/{verb}", body, {"authorization": f"Bearer {token}"})
    return reply.status, reply.body.decode()


def state(client):
    (row,) = json.loads(client.request("POST", "/v2/repository/index").body)
    return row["state"]


def test_only_who_has_the_token_loads_and_unloads(control):
    scoring, port, _, token = control
    for wrong in ("", "x", token[:-1], token + "x"):
        assert ask(port, "unload", wrong)[0] == 401
    assert port.request("GET", "/v2/health/ready").status == 401
    for scheme, due in (("bearer", 200), ("BEARER", 200), ("Basic", 401), ("", 401)):
        assert port.request("GET", "/v2", b"", {"authorization": f"{scheme} {token}"}).status == due
    assert ask(scoring, "unload", token)[0] == 400
    assert ask(port, "unload", token, b'{"parameters": {"unload_dependents": false}}') == (200, "{}")
    assert state(scoring) == "UNAVAILABLE"
    assert b"control port" in scoring.request("GET", "/v1/models/wine").body
    assert scoring.raw("wine", json.dumps({"instances": [ROW]}).encode()).status == 503
    assert ask(port, "load", token) == (200, "{}")
    assert state(scoring) == "READY"
    assert scoring.predict("wine", rows=[ROW]).winner == "wine@1"
    status, said = ask(port, "load", token, b'{"parameters": {"file:1/model.onnx": "AAAA"}}')
    assert (status, "files are not taken from callers" in said) == (400, True)
    assert ask(port, "load", token, b'{"parameters": {"config": "{}"}}')[0] == 400
    for unreadable in (b"[", b'{"a": ' + b"[" * 50_000 + b"]" * 50_000 + b"}", b'{"parameters": {"\xff": 1}}', b"\xff"):
        assert ask(port, "load", token, unreadable)[0] == 400


def test_grpc_asks_for_the_token_too(control):
    scoring, _, address, token = control
    with grpc.insecure_channel(address) as channel:

        def call(verb, metadata):
            method = channel.unary_unary(
                f"/inference.GRPCInferenceService/RepositoryModel{verb}",
                request_serializer=lambda message: message.SerializeToString(),
                response_deserializer=lambda data: data,
            )
            request = getattr(INFERENCE, f"RepositoryModel{verb}Request")(model_name="wine")
            return method(request, timeout=10, metadata=metadata)

        for metadata in ((), (("authorization", "Bearer x"),)):
            with pytest.raises(grpc.RpcError) as refused:
                call("Unload", metadata)
            assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED
        mine = (("authorization", f"Bearer {token}"),)
        call("Unload", mine)
        assert state(scoring) == "UNAVAILABLE"
        call("Load", mine)
        assert state(scoring) == "READY"
