"""Secrets of the environment, of settings, headers and tokens come out nowhere."""

import http.client
import io
import json
import os
import subprocess
import sys
import zipfile

import grpc
import pytest
from server_process import serving
from wine_project import ROW, WineProject

from headrace.gateway.rpc.messages import INFERENCE
from headrace.placement.access import Scope, Tokens
from headrace.placement.tokens import NAME

CANARY = "canary-4f1b2c"
TOLD = {
    "AWS_SECRET_ACCESS_KEY": f"{CANARY}-aws",
    "MLFLOW_TRACKING_PASSWORD": f"{CANARY}-mlflow",
    "HEADRACE_SECRET": f"{CANARY}-own",
    "HEADRACE_TOKEN": f"{CANARY}-token",
    "DATABASE_URL": f"postgres://user:{CANARY}-database@127.0.0.1/x",
}
HEADERS = {
    "authorization": f"Bearer {CANARY}-header",
    "cookie": f"session={CANARY}-cookie",
    "x-api-key": f"{CANARY}-key",
    f"x-{CANARY}": "1",
}
GOOD = json.dumps({"instances": [ROW]})
PATHS = (
    "/v1/models/wine:predict",
    "/v2/models/wine/infer",
    "/invocations",
    "/v2/repository/models/wine/load",
    "/nowhere",
)
PORTS = ("--grpc-port", "0", "--control-port", "0", "--control-grpc-port", "0")


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """Where a secret could come out: name of the place to what is there, after good and bad requests."""
    root = tmp_path_factory.mktemp("project")
    project = WineProject(root)
    project.deploy(project.register(1.0), deadline_s=2.0)
    project.close()
    (root / "headrace.toml").write_text(f'store = "s3://user:{CANARY}-setting@127.0.0.1/bucket?key={CANARY}-query"\n')
    made = Tokens(root / ".headrace").make("scraper", [Scope.READ])
    before = ("env", "HEADRACE_STORE=local", *(f"{name}={value}" for name, value in TOLD.items()))
    found = {}
    with serving(root, "--endpoint", "wine", *PORTS, before=before) as server:
        control = int(server.control.rpartition(":")[2])
        for port in (server.port, control):
            for path in PATHS:
                for body in (GOOD, "{", "", '{"instances": 1}'):
                    found[f"reply of {port} to {body!r} at {path}"] = reply(port, path, body)
            found |= told_tokens(port, made)
        for address in (server.rpc, server.control_rpc):
            found[f"reply of {address}"] = refused(address)
            found[f"reply of {address} to a token that may not"] = refused(address, f"Bearer {made}")
        found["metrics"] = reply(server.port, "/metrics", None)
        token = (root / ".headrace" / NAME).read_bytes().strip()
        server.end()
        found["what the server said"] = server.said().encode()
    for command in (
        ("doctor", "--json"),
        ("doctor",),
        ("config", "list"),
        ("serving", "ls"),
        ("backup", str(root / "kept")),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "headrace", *command],
            cwd=root,
            env={**os.environ, **TOLD},
            capture_output=True,
            check=False,
            timeout=60,
        )
        found[f"headrace {' '.join(command)}"] = done.stdout + done.stderr
    found["a wrong setting"] = subprocess.run(
        [sys.executable, "-m", "headrace", "config", "list"],
        cwd=root,
        env={**os.environ, "HEADRACE_PORT": TOLD["DATABASE_URL"]},
        capture_output=True,
        check=False,
    ).stderr
    for path in root.rglob("*"):
        if path.is_file() and path.name not in {NAME, "headrace.toml"}:
            found[str(path.relative_to(root))] = unpacked(path.read_bytes())
    return found, (token, made.encode())


def told_tokens(port, made):
    """What a port replies to a token that is good for something else, and to one in a URL."""
    shown = {"authorization": f"Bearer {made}"}
    found = {f"reply of {port} to a token that may not": reply(port, PATHS[0], GOOD, shown)}
    for where in (f"?access_token={made}", f"?x={made}", f"/{made}"):
        found[f"reply of {port} to a token in its URL{where[:3]}"] = reply(port, PATHS[0] + where, GOOD, shown)
    return found


def reply(port, path, body, more=()):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(
        "GET" if body is None else "POST", path, body, {**HEADERS, **dict(more), "content-type": "application/json"}
    )
    found = connection.getresponse()
    whole = str(found.getheaders()).encode() + found.read()
    connection.close()
    return whole


def refused(address, shown=HEADERS["authorization"]):
    request = INFERENCE.ModelInferRequest(model_name="wine").SerializeToString()
    said = {**HEADERS, "authorization": shown}
    metadata = [(name, value) for name, value in said.items() if name != "cookie"]
    with grpc.insecure_channel(address) as channel, pytest.raises(grpc.RpcError) as error:
        channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")(request, timeout=10, metadata=metadata)
    return f"{error.value.details()} {error.value.trailing_metadata()}".encode()


def unpacked(data):
    """A file with the members of the archives in it, as a backup has some."""
    if not zipfile.is_zipfile(io.BytesIO(data)):
        return data
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return data + b"".join(unpacked(archive.read(name)) for name in archive.namelist())


def test_there_is_something_to_find(said):
    found, tokens = said
    assert min(map(len, tokens)) > 30
    assert b'"name": "scraper"' in found[".headrace/tokens.json"]
    assert b"lacks the scope score" in b"".join(text for place, text in found.items() if "may not" in place)
    assert all(b"no place in a URL" in text for place, text in found.items() if "in its URL" in place)
    assert b'"predictions":' in next(text for place, text in found.items() if "predict" in place)
    assert {place for place, text in found.items() if b"kept" in text or "kept" in place}
    assert any("requests.wine" in place for place in found)
    assert b"s3://***@127.0.0.1/bucket?***" in found["headrace config list"]


def test_no_secret_comes_out(said):
    found, tokens = said
    assert [place for place, text in found.items() if CANARY.encode() in text] == []
    assert [place for place, text in found.items() if any(token in text for token in tokens)] == []
