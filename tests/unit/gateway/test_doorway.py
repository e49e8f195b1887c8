"""A large body is read only of who may send it; nobody else has the server hold more than a little."""

import gzip
import json

import pytest
from guarded import guarded
from served import ROW

from headrace.gateway.doorway import UNASKED_BYTES
from headrace.placement.access import FILE, Scope

PATH = "/v1/models/wine:predict"
LARGE = 16 * 1024 * 1024


@pytest.fixture
def port(gate, tmp_path):
    with guarded(gate, tmp_path) as found:
        yield found


@pytest.fixture
def send(sent, port):
    """Send the beginning of a request, and never its end."""

    def ask(length, secret=None, body=b"", more=()):
        lines = [f"POST {PATH} HTTP/1.1", "host: localhost", length, *more]
        lines += [] if secret is None else [f"authorization: Bearer {secret}"]
        return sent(port[0]._target[1], "\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    return ask


@pytest.mark.parametrize(
    "length", [f"content-length: {UNASKED_BYTES + 1}", f"content-length: {LARGE}", "transfer-encoding: chunked"]
)
def test_who_may_not_is_refused_before_the_body_comes(port, send, length):
    known = port[1]
    reader = known.make("reader", [Scope.READ])
    for secret, due, challenge in (
        (None, 401, b'realm="headrace"'),
        ("x", 401, b"invalid_token"),
        (reader, 403, b"scope"),
    ):
        for more in ((), ("expect: 100-continue",)):
            status, head, body = send(length, secret, b"5\r\nxxxxx\r\n", more)
            assert (status, b"connection: close" in head, challenge in head) == (due, True, True)
            assert json.loads(body)["error"]


def test_who_may_is_read_to_the_end(port, send):
    client, known = port
    secret = known.make("shop", [Scope.SCORE])
    body = json.dumps({"instances": [ROW] * 5000}).encode()
    assert len(body) > UNASKED_BYTES
    for _ in range(2):
        reply = client.request("POST", PATH, body, {"authorization": f"Bearer {secret}"})
        assert len(json.loads(reply.body)["predictions"]) == 5000
    chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    assert send("transfer-encoding: chunked", secret, chunks)[0] == 200
    assert send(f"content-length: {LARGE + 1}", secret)[0] == 413


def test_a_small_body_is_refused_and_the_connection_goes_on(port):
    client, known = port
    secret = known.make("shop", [Scope.SCORE])
    body = json.dumps({"instances": [ROW]}).encode()
    refused = client.request("POST", PATH, body)
    assert (refused.status, refused.header("connection")) == (401, "")
    assert client.request("POST", PATH, body, {"authorization": f"Bearer {secret}"}).status == 200


@pytest.mark.parametrize(
    "length", ["content-length: -1", "content-length: x", "content-length: 99999999999999999999999"]
)
def test_a_length_that_is_none_is_malformed_whoever_sends_it(port, send, length):
    known = port[1]
    assert send(length, known.make("shop", [Scope.SCORE]))[0] in {400, 413}
    assert send(length)[0] in {400, 401}


def test_nobody_is_read_while_tokens_cannot_be(port, send, tmp_path):
    known = port[1]
    secret = known.make("shop", [Scope.SCORE])
    (tmp_path / FILE).chmod(0o644)
    assert send(f"content-length: {LARGE}", secret)[0] == 503


HEALTH = "/v2/health/ready"


def test_what_is_for_anybody_has_no_body(sent, port):
    """Else whoever reaches the port could have it hold a large one, or unpack a small one that is large within."""
    client, _ = port
    for length in (f"content-length: {UNASKED_BYTES + 1}", "transfer-encoding: chunked"):
        head = f"GET {HEALTH} HTTP/1.1\r\nhost: localhost\r\n{length}\r\n"
        assert sent(client._target[1], f"{head}\r\n5\r\nxxxxx\r\n".encode())[0] == 401
    packed = gzip.compress(b"0" * LARGE * 2)
    assert len(packed) < UNASKED_BYTES
    assert client.request("GET", HEALTH, packed, {"content-encoding": "gzip"}).status == 200
    assert client.request("GET", HEALTH, b"{}").status == 200
    assert client.request("GET", HEALTH).status == 200
