import json
import socket

import pytest
from served import constant, endpoint, gated, linear, model


@pytest.fixture(scope="module")
def gate(tmp_path_factory):
    """The wine endpoint: a linear model, then a constant one; event time ``at``."""
    deployed = endpoint(("wine@3", 2.0), ("plain@1", 2.5), deadline_s=3.0, event_time="at")
    models = {"wine@3": model("wine@3", linear, fast=True), "plain@1": model("plain@1", constant(1.0), fast=True)}
    with gated(tmp_path_factory.mktemp("stream"), deployed, models) as found:
        yield found


@pytest.fixture
def post(gate):
    """Send a body to a path; return status and decoded reply."""

    def send(path, body, headers=()):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        lines = [f"POST {path} HTTP/1.1", "host: localhost", f"content-length: {len(data)}", *headers]
        status, head, text = exchange(gate.port, "\r\n".join(lines).encode() + b"\r\n\r\n" + data)
        return status, (json.loads(text) if b"application/json" in head else text.decode())

    return send


@pytest.fixture
def get(gate):
    def read(path):
        reply = gate.client.request("GET", path)
        return reply.status, (json.loads(reply.body) if reply.body[:1] in b"{[" else reply.body.decode())

    return read


@pytest.fixture
def sent():
    """Send bytes to a port as they are; return status, head and body."""
    return exchange


def exchange(port, message):
    """Send bytes on a fresh connection and read one reply by its content length, or until the end."""
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.sendall(message)
        return read_reply(connection)


def read_reply(connection, rest=b""):
    data = rest
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        if not piece:
            raise ConnectionError(f"closed after {data!r}")
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    due = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    while len(body) < due:
        body += connection.recv(65536)
    return int(head[9:12]), head.lower(), body[:due]


@pytest.fixture
def raw(gate):
    """Send bytes as they are; return status, head and body."""
    return lambda message: exchange(gate.port, message)
