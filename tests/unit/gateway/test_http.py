"""The server as a hostile or odd client meets it: bytes in, bytes out."""

import gc
import json
import random
import socket
import time
from contextlib import suppress

import pytest
from served import ROW, constant, endpoint, gated, model

from headrace.gateway import http as http_module
from headrace.gateway.http import Request
from headrace.serving.rendezvous import Rendezvous

BODY = json.dumps({"instances": [ROW]}).encode()
PATH = b"/v1/models/wine:predict"


def request(*lines, body=BODY, path=PATH, host=b"host: 127.0.0.1:1", version=b"1.1"):
    head = [b"POST " + path + b" HTTP/" + version, host, b"content-length: %d" % len(body), *lines]
    return b"\r\n".join(line for line in head if line) + b"\r\n\r\n" + body


def replies(port, message, count):
    """The statuses of ``count`` replies on one connection."""
    found, data = [], b""
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.sendall(message)
        while len(found) < count:
            while b"\r\n\r\n" not in data:
                data += connection.recv(65536)
            head, _, data = data.partition(b"\r\n\r\n")
            due = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            while len(data) < due:
                data += connection.recv(65536)
            found.append((int(head[9:12]), data[:due]))
            data = data[due:]
    return found


def test_a_connection_is_kept_and_pipelined_replies_keep_their_order(gate):
    rows = [{**ROW, "alcohol": float(i)} for i in range(100)]
    message = b"".join(request(body=json.dumps({"instances": [row]}).encode()) for row in rows)
    found = replies(gate.port, message, 100)
    assert [json.loads(body)["predictions"] for _, body in found] == [[135.0 + i] for i in range(100)]


def test_a_request_may_come_byte_by_byte(gate):
    message = request()
    with socket.create_connection(("127.0.0.1", gate.port), 10) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for i in range(len(message)):
            connection.sendall(message[i : i + 1])
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")


def test_chunked_bodies(raw):
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(BODY[i : i + 7]), BODY[i : i + 7]) for i in range(0, len(BODY), 7))
    head = b"POST " + PATH + b" HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n"
    assert raw(head + chunks + b"0\r\n\r\n")[0] == 200
    assert raw(head + b"zz\r\n{}\r\n0\r\n\r\n")[0] == 400


def test_http_1_0_and_close(gate):
    for message in (request(version=b"1.0"), request(b"connection: close")):
        with socket.create_connection(("127.0.0.1", gate.port), 10) as connection:
            connection.sendall(message)
            data = b""
            while piece := connection.recv(65536):
                data += piece
        assert data.startswith(b"HTTP/1.1 200")
        assert b"connection: close" in data


def test_a_client_that_waits_to_send_is_told_to(gate):
    with socket.create_connection(("127.0.0.1", gate.port), 10) as connection:
        connection.sendall(request(b"expect: 100-continue", body=BODY)[: -len(BODY)])
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(BODY)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")


def test_an_18_mb_body_is_413_and_the_client_gets_to_read_it(raw):
    status, _, body = raw(request(body=b" " * 18_000_000))
    assert status == 413
    assert b"16777216" in body


def test_an_undeclared_body_is_counted_as_it_comes(gate):
    head = b"POST " + PATH + b" HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n"
    chunk = b"%x\r\n%b\r\n" % (1 << 20, b" " * (1 << 20))
    with socket.create_connection(("127.0.0.1", gate.port), 10) as connection:
        connection.sendall(head)
        for _ in range(17):
            connection.sendall(chunk)
        assert connection.recv(65536).startswith(b"HTTP/1.1 413")


def test_a_body_just_within_the_limit_is_read(raw):
    filled = BODY + b" " * (http_module.BODY_LIMIT - len(BODY))
    assert raw(request(body=filled))[0] == 200


@pytest.mark.parametrize(
    "lines",
    [
        [b"x-long: " + b"a" * 40_000],
        [b"x-%d: %b" % (i, b"a" * 500) for i in range(100)],
    ],
)
def test_headers_beyond_32_kib_are_431(raw, lines):
    assert raw(request(*lines))[0] == 431


def test_a_header_that_never_ends_is_431(gate):
    with socket.create_connection(("127.0.0.1", gate.port), 10) as connection:
        connection.sendall(b"POST " + PATH + b" HTTP/1.1\r\nx: ")
        with suppress(OSError):
            for _ in range(40):
                connection.sendall(b"a" * 1000)
        assert connection.recv(65536).startswith(b"HTTP/1.1 431")


@pytest.mark.parametrize(
    "message",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
        b"GET\r\n\r\n",
        b"POST /v1 HTTP/1.1\r\nhost: localhost\r\ncontent-length: -1\r\n\r\n",
        b"POST /v1 HTTP/1.1\r\nhost: localhost\r\ncontent-length: 99999999999999999999\r\n\r\n",
        b"POST /v1 HTTP/1.1\r\nhost: localhost\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\nabc",
        b"POST /v1 HTTP/1.1\r\nbad header line\r\n\r\n",
    ],
)
def test_what_is_no_http_is_4xx(raw, message):
    assert 400 <= raw(message)[0] < 500


def test_a_request_that_trickles_in_is_ended(gate, monkeypatch):
    monkeypatch.setattr(http_module, "READ_TIMEOUT_S", 0.1)
    with socket.create_connection(("127.0.0.1", gate.port), 10) as connection:
        connection.sendall(request()[:-5])
        assert connection.recv(65536).startswith(b"HTTP/1.1 408")


def test_a_silent_connection_is_closed(gate, monkeypatch):
    monkeypatch.setattr(http_module, "READ_TIMEOUT_S", 0.1)
    with socket.create_connection(("127.0.0.1", gate.port), 10) as connection:
        begun = time.monotonic()
        assert connection.recv(10) == b""
        assert time.monotonic() - begun < 5


@pytest.mark.parametrize(
    ("host", "due"),
    [
        (b"host: localhost", 200),
        (b"host: localhost:8700", 200),
        (b"host: 127.0.0.1:9", 200),
        (b"host: [::1]:8700", 200),
        (b"host: LOCALHOST", 200),
        (b"host: evil.example", 403),
        (b"host: localhost.evil.example", 403),
        (b"host: localhost@evil.example", 403),
        (b"host: 127.0.0.1.evil.example:8700", 403),
        (b"host: ", 403),
        (b"", 400),
    ],
)
def test_a_foreign_host_is_refused(raw, host, due):
    assert raw(request(host=host))[0] == due


@pytest.mark.parametrize("origin", [b"https://evil.example", b"null", b"http://localhost:3000"])
def test_any_origin_is_refused(raw, origin):
    assert raw(request(b"origin: " + origin))[0] == 403


@pytest.mark.parametrize("path", [b"//", b"/nothing", b"/v3/models", b"*", b"//v1/models/wine:predict", b"/metrics/x"])
def test_what_is_not_served_is_404(raw, path):
    status, _, body = raw(request(path=path))
    assert status == 404
    assert "error" in json.loads(body)


@pytest.mark.parametrize(
    "name", [b"..%2f..%2fetc%2fpasswd", b"%00", b"wine%2e", b"a" * 5000, b"\xff", b"%ff%fe", b"$(id)"]
)
def test_odd_names_find_nothing(raw, name):
    for path in (b"/v1/models/" + name + b":predict", b"/v2/models/" + name + b"/infer"):
        assert raw(request(path=path))[0] in {400, 404}


def test_a_fault_of_ours_is_500_without_its_stack(gate, raw, monkeypatch, capsys):
    def broken(*_):
        raise RuntimeError("secret detail")

    monkeypatch.setattr(type(gate.plane), "predict", broken)
    status, _, body = raw(request())
    assert (status, body) == (500, b'{"error":"internal error"}')
    assert "secret detail" in capsys.readouterr().err


def test_many_odd_requests_leave_the_server_well(gate, raw):
    chance = random.Random(7)
    for _ in range(300):
        message = bytearray(request())
        for _ in range(chance.randint(1, 6)):
            message[chance.randrange(len(message))] = chance.randrange(256)
        with socket.create_connection(("127.0.0.1", gate.port), 10) as connection:
            connection.sendall(bytes(message))
            connection.shutdown(socket.SHUT_WR)
            data = b""
            while piece := connection.recv(65536):
                data += piece
        assert not data.startswith(b"HTTP/1.1 5")
    assert raw(request())[0] == 200


def test_a_client_that_goes_away_costs_nothing(gate, raw):
    before = gate.plane.counters["wine"].requests
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", gate.port), 10) as connection:
            connection.sendall(request() * 3)
    until = time.monotonic() + 5
    while gate.server.connections and time.monotonic() < until:
        time.sleep(0.01)
    assert raw(request())[0] == 200
    assert gate.plane.counters["wine"].requests > before


@pytest.mark.parametrize("log", ["off", "durable"])
def test_a_request_is_let_go_with_its_reply(tmp_path, log):
    """Without waiting for the collector of cycles, which would cost as much as a tenth of the request."""
    models = {"a@1": model("a@1", constant(1.0), fast=True)}
    with gated(tmp_path, endpoint(("a@1", 0.02), log=log), models) as gate:
        gc.collect()
        gc.disable()
        try:
            for _ in range(50):
                gate.client.predict("wine", rows=[ROW])
            left = [one for one in gc.get_objects() if isinstance(one, Request | Rendezvous)]
        finally:
            gc.enable()
    assert len(left) <= 2
