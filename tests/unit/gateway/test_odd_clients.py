"""Clients in common use that speak HTTP in their own ways: what they send is answered as they can read it."""

import json
import socket

import pytest
from served import ROW

BODY = json.dumps({"instances": [ROW]}).encode()
DUE = {"predictions": [147.5]}
# Java's client, unless told otherwise, and curl --http2 send these with every request over plain HTTP.
UPGRADE = (b"connection: Upgrade, HTTP2-Settings", b"upgrade: h2c", b"http2-settings: AAMAAABkAARAAAAA")


def request(*lines, body=BODY, version=b"1.1", path=b"/v1/models/wine:predict"):
    head = [b"POST " + path + b" HTTP/" + version, b"host: localhost", b"content-length: %d" % len(body), *lines]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


def chunked(*lines):
    head = [b"POST /v1/models/wine:predict HTTP/1.1", b"host: localhost", b"transfer-encoding: chunked", *lines]
    return b"\r\n".join(head) + b"\r\n\r\n" + b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)


PLAIN = b"GET /version HTTP/1.1\r\nhost: localhost\r\n\r\n"
LAST = b"GET /version HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"


def everything(port, *parts):
    """Send the parts one after the other, the last of which asks to close; return the replies' statuses and bodies."""
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for part in parts:
            connection.sendall(part)
        data = b""
        while piece := connection.recv(65536):
            data += piece
    found = []
    while data:
        head, _, data = data.partition(b"\r\n\r\n")
        size = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        found.append((int(head[9:12]), data[:size]))
        data = data[size:]
    return found


@pytest.mark.parametrize("asking", [request(*UPGRADE), chunked(*UPGRADE)], ids=["declared", "chunked"])
def test_a_client_that_would_rather_speak_http_2_is_answered(gate, asking):
    first, version, last = everything(gate.port, asking + PLAIN + LAST)
    assert (first[0], json.loads(first[1])) == (200, DUE)
    assert version == last == (200, version[1])


def test_its_request_may_come_in_pieces(gate):
    message = request(*UPGRADE)
    first, _ = everything(gate.port, *(message[i : i + 1] for i in range(len(message))), LAST)
    assert (first[0], json.loads(first[1])) == (200, DUE)


def test_it_may_ask_again(gate):
    with socket.create_connection(("127.0.0.1", gate.port), 10) as connection:
        for _ in range(3):
            connection.sendall(request(*UPGRADE))
            assert connection.recv(65536).endswith(b'{"predictions":[147.5]}')


def test_upgrades_one_behind_the_other_end_the_connection(gate):
    (_, body), (status, _) = everything(gate.port, request(*UPGRADE) * 3)
    assert (json.loads(body), status) == (DUE, 400)


def test_a_body_too_large_is_refused_behind_an_upgrade_as_well(gate):
    message = request(*UPGRADE).replace(b"content-length: %d" % len(BODY), b"content-length: 99999999")
    ((status, _),) = everything(gate.port, message)
    assert status == 413


def test_http_1_0_is_told_that_its_connection_is_kept(raw, gate):
    kept = request(b"connection: Keep-Alive", version=b"1.0")
    status, head, body = raw(kept)
    assert (status, json.loads(body)) == (200, DUE)
    assert b"\r\nconnection: keep-alive" in head
    assert [status for status, _ in everything(gate.port, kept, request(version=b"1.0"))] == [200, 200]


def test_http_1_0_is_not_told_to_go_on(raw):
    assert raw(request(b"expect: 100-continue", version=b"1.0"))[0] == 200


@pytest.mark.parametrize("kind", [b"text/plain;charset=UTF-8", b"application/x-www-form-urlencoded", b""])
def test_what_fetch_and_curl_say_unasked_is_taken_for_json(raw, kind):
    status, _, body = raw(request(*([b"content-type: " + kind] if kind else [])))
    assert (status, json.loads(body)) == (200, DUE)


@pytest.mark.parametrize("host", [b"localhost", b"127.0.0.1:8501", b"LOCALHOST"])
def test_an_absolute_target_is_answered_as_its_path(raw, host):
    status, _, body = raw(request(path=b"http://" + host + b"/v1/models/wine:predict"))
    assert (status, json.loads(body)) == (200, DUE)
    assert raw(b"GET HTTP://" + host + b" HTTP/1.1\r\nhost: localhost\r\n\r\n")[2].startswith(b'{"server":"headrace')


def test_the_host_of_an_absolute_target_counts_and_not_the_header(raw):
    foreign = request(path=b"http://evil.example/v1/models/wine:predict")
    hidden = request(path=b"http://localhost@evil.example/v1/models/wine:predict")
    assert [raw(message)[0] for message in (foreign, hidden)] == [403, 403]
    assert raw(request(path=b"http://localhost/version").replace(b"host: localhost", b"host: evil.example"))[0] == 405
    assert raw(request(path=b"ftp://localhost/v1/models/wine:predict"))[0] == 404


def test_http_1_0_needs_no_host_and_1_1_does(raw):
    old = request(version=b"1.0").replace(b"host: localhost\r\n", b"")
    status, _, body = raw(old)
    assert (status, json.loads(body)) == (200, DUE)
    assert raw(b"GET /ping HTTP/1.0\r\n\r\n")[0] == 200
    assert raw(old.replace(b"HTTP/1.0", b"HTTP/1.1"))[0] == 400
    assert raw(b"GET /ping HTTP/1.0\r\nhost: evil.example\r\n\r\n")[0] == 403
    assert raw(b"GET /ping HTTP/1.0\r\norigin: null\r\n\r\n")[0] == 403


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v2/models/wine/infer", "POST"),
        ("DELETE", "/v2/models/wine", "GET, HEAD"),
        ("POST", "/v2/health/ready", "GET, HEAD"),
        ("GET", "/v2/repository/index", "POST"),
        ("GET", "/invocations", "POST"),
        ("POST", "/ping", "GET, HEAD"),
        ("OPTIONS", "/version", "GET, HEAD"),
        ("POST", "/metrics", "GET, HEAD"),
        ("PUT", "/openapi.json", "GET, HEAD"),
        ("POST", "/overview", "GET, HEAD"),
    ],
)
def test_another_method_is_405_and_says_which_is_due(gate, method, path, allowed):
    reply = gate.client.request(method, path)
    assert (reply.status, reply.header("allow")) == (405, allowed)
    assert f"{method} is not allowed here" in json.loads(reply.body)["error"]


@pytest.mark.parametrize("path", ["/invocations/", "/ping/", "/health/live"])
def test_what_is_below_a_path_of_mlflow_is_404(gate, path):
    for method in ("GET", "POST"):
        assert gate.client.request(method, path).status == 404


def test_tensorflow_servings_paths_are_read_without_regard_to_case(gate):
    assert json.loads(gate.client.request("POST", "/V1/Models/wine:Predict", BODY).body) == DUE
    assert gate.client.request("GET", "/V1/models/wine/MetaData").status == 200
    assert gate.client.request("GET", "/V1/models/Wine").status == 404
