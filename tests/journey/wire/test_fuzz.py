"""Spoilt requests of every protocol: never a fault of the server's own, and right answers afterwards."""

import http.client
import os
import random
import socket
from collections import Counter

import grpc
import pytest
from mutations import http_requests, rpc_requests, spoilt
from wine_project import ROW

COUNT = 100_000 if os.environ.get("HEADRACE_SOAK") else 5_000
OWN_FAULTS = {"INTERNAL", "UNKNOWN", "UNAVAILABLE", "DATA_LOSS", "ABORTED", "DEADLINE_EXCEEDED", "CANCELLED"}


def right(server, project):
    """That the server still answers as the model does."""
    assert server.client.predict("wine", rows=[ROW]).values[0] == pytest.approx(project.answer(1.0))
    assert server.process.poll() is None
    assert "Traceback" not in server.said(), server.said()[-3000:]


def no_fault_of_ours(seen, figure):
    ours = sum(count for status, count in seen.items() if str(status)[0] == "5" or status in OWN_FAULTS)
    figure("serving.fuzz_5xx", ours)
    assert not ours, seen


def encoded(path, headers, body):
    lines = [f"{'POST' if body else 'GET'} {path} HTTP/1.1", "host: localhost", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def status_of(connection, path, headers, body):
    connection.request("POST" if body else "GET", path, body or None, headers)
    reply = connection.getresponse()
    reply.read()
    return reply.status


def raw_status(port, message):
    """The first reply's status to bytes as they are; 0 where there is none."""
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        try:
            connection.sendall(message)
            connection.shutdown(socket.SHUT_WR)
            data = b""
            while piece := connection.recv(65536):
                data += piece
        except ConnectionError:
            return 0
    return int(data[9:12]) if data.startswith(b"HTTP/1.1 ") else 0


def test_the_requests_are_good_before_they_are_spoilt(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    assert {status_of(connection, *request) for request in http_requests()} == {200}
    connection.close()
    with grpc.insecure_channel(server.rpc) as channel:
        assert all(channel.unary_unary(method)(message, timeout=10) for method, message in rpc_requests())


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_spoilt_bodies(server, project, figure):
    chance, seen = random.Random(1), Counter()
    requests = [request for request in http_requests() if request[2]]
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    for _ in range(COUNT // 2):
        path, headers, body = chance.choice(requests)
        body = spoilt(body, chance) or b" "
        seen[status_of(connection, path, headers, body)] += 1
    connection.close()
    right(server, project)
    assert seen[400] > COUNT / 20
    no_fault_of_ours(seen, figure)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_spoilt_messages(server, project, figure):
    chance, seen = random.Random(2), Counter()
    messages = [encoded(*request) for request in http_requests()]
    for _ in range(COUNT // 4):
        seen[raw_status(server.port, spoilt(chance.choice(messages), chance))] += 1
    right(server, project)
    assert seen[400] > COUNT / 100
    no_fault_of_ours(seen, figure)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_spoilt_calls(server, project, figure):
    chance, seen, messages = random.Random(3), Counter(), rpc_requests()
    with grpc.insecure_channel(server.rpc) as channel:
        calls = {method: channel.unary_unary(method) for method, _ in messages}
        for _ in range(COUNT // 4):
            method, message = chance.choice(messages)
            try:
                calls[method](spoilt(message, chance), timeout=10)
                seen["OK"] += 1
            except grpc.RpcError as error:
                seen[error.code().name] += 1
    right(server, project)
    assert seen["INVALID_ARGUMENT"] > COUNT / 20
    no_fault_of_ours(seen, figure)
