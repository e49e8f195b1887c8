"""Requests that two servers would read differently, and connections that are made to cost more than they send."""

import json
import re
import socket
import time
from contextlib import suppress

import pytest
from served import ROW, endpoint, gated, linear, model

from headrace.gateway import http as http_module

BODY = json.dumps({"instances": [ROW]}).encode()
CHUNKED = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
DUE = {"predictions": [147.5]}


def request(*lines, body=BODY, path=b"/v1/models/wine:predict", declared=True):
    head = [b"POST " + path + b" HTTP/1.1", b"host: localhost", *lines]
    if declared:
        head.append(b"content-length: %d" % len(body))
    return b"\r\n".join(head) + b"\r\n\r\n" + body


def chunked(*lines, body=CHUNKED):
    return request(b"transfer-encoding: chunked", *lines, body=body, declared=False)


def all_of(port, message):
    """Everything that comes back until the server closes."""
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.sendall(message)
        data = b""
        while piece := connection.recv(65536):
            data += piece
    return data


def statuses(data):
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", data)]


HIDDEN = b"GET /openapi.json HTTP/1.1\r\nhost: localhost\r\n\r\n"

SHAPES = {
    "both lengths": request(b"transfer-encoding: chunked", body=b"0\r\n\r\n" + HIDDEN),
    "both lengths, turned round": chunked(b"content-length: 5", body=b"0\r\n\r\n" + HIDDEN),
    "two equal lengths": request(b"content-length: %d" % len(BODY)),
    "two lengths": request(b"content-length: 3"),
    "a list of lengths": request(b"content-length: 3, 3", body=b"abc" + HIDDEN, declared=False),
    "a signed length": request(b"content-length: +3", body=b"abc", declared=False),
    "a hexadecimal length": request(b"content-length: 0x3", body=b"abc", declared=False),
    "a space before the colon": request(b"content-length : 3", body=b"abc", declared=False),
    "a coding that is no chunked": request(b"transfer-encoding: xchunked", body=CHUNKED, declared=False),
    "identity": request(b"transfer-encoding: identity", body=CHUNKED, declared=False),
    "chunked, then another": request(b"transfer-encoding: chunked, identity", body=CHUNKED, declared=False),
    "another, then chunked": request(b"transfer-encoding: gzip, chunked", body=CHUNKED, declared=False),
    "another in a line of its own": chunked(b"transfer-encoding: gzip"),
    "chunked twice": chunked(b"transfer-encoding: chunked"),
    "a folded header": request(b"x: a\r\n b"),
    "a folded coding": request(b"transfer-encoding:\r\n chunked", body=CHUNKED, declared=False),
    "bare line feeds": request().replace(b"\r\n", b"\n"),
    "a bare line feed in a header": request(b"x: a\ny: b"),
    "a bare carriage return in a header": request(b"x: a\ry: b"),
    "two hosts": request(b"host: localhost"),
    "two types": request(b"content-type: application/json", b"content-type: text/csv"),
    "two encodings": request(b"content-encoding: identity", b"Content-Encoding: gzip"),
    "two tokens": request(b"authorization: Bearer a", b"Authorization: Bearer b"),
    "a chunk of a negative size": chunked(body=b"-1\r\n" + BODY),
    "a chunk of a huge size": chunked(body=b"f" * 17 + b"\r\n" + BODY),
    "a chunk longer than it says": chunked(body=b"1\r\n" + BODY + b"\r\n0\r\n\r\n"),
    "a chunk with bare line feeds": chunked(body=CHUNKED.replace(b"\r\n", b"\n")),
    "a chunk of no size": chunked(body=b"\r\n" + BODY + b"\r\n0\r\n\r\n"),
    "a tunnel": b"CONNECT localhost:80 HTTP/1.1\r\nhost: localhost\r\n\r\n" + HIDDEN,
    "HTTP/2's preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a version that is none": b"GET /ping HTTP/1.2\r\nhost: localhost\r\n\r\n",
    "no version": b"GET /ping\r\n\r\n",
} | {
    f"byte {byte:#04x} in a header's {part}": request(line % bytes([byte]))
    for byte in (0, 1, 8, 11, 127)
    for part, line in (("name", b"x%by: b"), ("value", b"x: a%bb"))
}  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_a_request_that_may_be_read_in_two_ways_is_refused_once_and_ends_the_connection(gate, shape):
    before = gate.plane.counters["wine"].requests
    assert [400 <= status < 500 for status in statuses(all_of(gate.port, SHAPES[shape]))] == [True]
    assert gate.plane.counters["wine"].requests == before


@pytest.mark.parametrize("trailer", [b"host: evil.example", b"origin: https://evil.example", b"content-encoding: gzip"])
def test_trailers_change_nothing(gate, trailer):
    message = chunked(b"connection: close", body=CHUNKED[:-2] + trailer + b"\r\n\r\n")
    assert statuses(all_of(gate.port, message)) == [200]


@pytest.mark.parametrize(
    "endless",
    [b"x: " + b"a" * 500, b"x: a\r\n" * 100, b"\r\n\r\n0;" + b"a" * 500],
    ids=["a trailer that never ends", "trailers without end", "an extension that never ends"],
)
def test_what_follows_the_last_chunk_is_bounded(gate, endless):
    with socket.create_connection(("127.0.0.1", gate.port), 10) as connection:
        start = CHUNKED[:-2] if endless.startswith(b"x") else CHUNKED[:-7]
        connection.sendall(chunked(body=start + endless[: endless.rfind(b"a")]))
        with suppress(OSError):
            for _ in range(400):
                connection.sendall(b"a" * 300 if b"\r\n" not in endless[4:] else endless)
        assert 400 <= int(connection.recv(65536)[9:12]) < 500


def test_a_long_pipeline_that_pauses_amid_a_request_is_read_on(gate):
    asked = b"GET /ping HTTP/1.1\r\nhost: localhost\r\n\r\n"
    with socket.create_connection(("127.0.0.1", gate.port), 10) as connection:
        connection.sendall(asked * 2000 + asked[:20])
        found = b""
        while len(statuses(found)) < 2000:
            found += connection.recv(1 << 20)
        connection.sendall(asked[20:])
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
    assert set(statuses(found)) == {200}


def test_replies_keep_their_order_when_a_later_request_is_refused(tmp_path):
    def slow(batch):
        time.sleep(0.05)
        return linear(batch)

    with gated(tmp_path, endpoint(("wine@3", 2.0), deadline_s=3.0), {"wine@3": model("wine@3", slow)}) as gate:
        found = all_of(gate.port, request() + request() + b"no request\r\n\r\n")
        assert statuses(found) == [200, 200, 400]
        waiting = request() + request(b"expect: 100-continue", b"connection: close")
        assert statuses(all_of(gate.port, waiting)) == [200, 200]


def test_a_pipeline_is_read_no_further_than_it_is_answered(tmp_path):
    bodies, free = [], []

    def held(batch):
        while not free:
            time.sleep(0.001)
        return linear(batch)

    with gated(tmp_path, endpoint(("wine@3", 20.0), deadline_s=30.0), {"wine@3": model("wine@3", held)}) as gate:
        filled = request(body=BODY + b" " * (4 << 20))
        with socket.create_connection(("127.0.0.1", gate.port), 10) as connection:
            connection.settimeout(0.5)
            with suppress(TimeoutError):
                for _ in range(40):
                    connection.sendall(filled)
                    bodies.append(filled)
            kept = [len(request.body) for each in gate.server.connections for request in each._waiting]
            free.append(True)
            assert sum(kept) < 3 * http_module.BODY_LIMIT
            assert len(bodies) < 40


def test_a_client_that_does_not_read_is_answered_no_further_and_cut_off(gate, monkeypatch):
    for limit in ("IDLE_TIMEOUT_S", "READ_TIMEOUT_S"):
        monkeypatch.setattr(http_module, limit, 1.0)
    asked = b"GET /openapi.json HTTP/1.1\r\nhost: localhost\r\n\r\n"
    with socket.create_connection(("127.0.0.1", gate.port), 10) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(0.2)
        with pytest.raises(TimeoutError):  # it reads no more
            connection.sendall(asked * 200_000)
        (held,) = [each for each in gate.server.connections if each._waiting]
        assert held._transport.get_write_buffer_size() < (1 << 20)
        until = time.monotonic() + 5
        while gate.server.connections and time.monotonic() < until:
            time.sleep(0.01)
        assert not gate.server.connections


def test_a_body_of_tiny_chunks_takes_no_more_memory_than_it_has_bytes(gate):
    import tracemalloc

    pieces = b"2\r\n  \r\n" * 250_000
    tracemalloc.start()
    try:
        reply = all_of(gate.port, chunked(b"connection: close", body=pieces + CHUNKED))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert json.loads(reply.partition(b"\r\n\r\n")[2]) == DUE
    assert peak < 6 << 20
