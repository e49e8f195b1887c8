"""gzip and deflate, both ways, and what a packed body may not do."""

import contextlib
import gzip
import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from served import ROW

from headrace.gateway.encodings import WORTH_BYTES, UnreadableBody, chosen, packed, unpacked
from headrace.gateway.http import BODY_LIMIT, Response

PACK = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "deflate ": lambda body: zlib.compress(body, wbits=-15),
    "identity": bytes,
    "GZIP": lambda body: gzip.compress(body[:9]) + gzip.compress(body[9:]),
}
PATH = "/v1/models/wine:predict"


@pytest.mark.parametrize("encoding", PACK)
def test_a_packed_request_is_read(gate, encoding):
    body = PACK[encoding](json.dumps({"instances": [ROW]}).encode())
    reply = gate.client.request("POST", PATH, body, {"content-encoding": encoding})
    assert json.loads(reply.body) == {"predictions": [147.5]}


@pytest.mark.parametrize(("accepted", "unpack"), [("gzip", gzip.decompress), ("deflate, gzip;q=0", zlib.decompress)])
def test_a_long_reply_is_packed_as_asked(gate, accepted, unpack):
    body = json.dumps({"instances": [ROW] * 400}).encode()
    reply = gate.client.request("POST", PATH, body, {"accept-encoding": accepted})
    assert reply.header("content-encoding") == accepted.partition(",")[0]
    assert json.loads(unpack(reply.body)) == {"predictions": [147.5] * 400}
    assert reply.header("x-headrace-winner") == "wine@3"


def test_a_short_reply_and_one_to_a_client_that_unpacks_nothing_go_as_they_are(gate):
    body = json.dumps({"instances": [ROW]}).encode()
    assert gate.client.request("POST", PATH, body, {"accept-encoding": "gzip"}).header("content-encoding") == ""
    long = json.dumps({"instances": [ROW] * 400}).encode()
    for accepted in ("identity", "br", "gzip;q=0"):
        assert gate.client.request("POST", PATH, long, {"accept-encoding": accepted}).body[:1] == b"{"


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
def test_a_bomb_is_refused_before_it_unpacks(gate, pack):
    bomb = pack(bytes(64 * BODY_LIMIT)) if pack is zlib.compress else pack(bytes(4 * BODY_LIMIT)) * 8
    assert len(bomb) < BODY_LIMIT
    encoding = "gzip" if pack is gzip.compress else "deflate"
    reply = gate.client.request("POST", PATH, bomb, {"content-encoding": encoding})
    assert (reply.status, b"once unpacked" in reply.body) == (413, True)


@pytest.mark.parametrize(
    ("encoding", "body", "status"),
    [
        ("gzip", b"no gzip", 400),
        ("gzip", gzip.compress(b"{}" * 99, mtime=0)[:-9], 400),
        ("deflate", b"\xff\xff\xff", 400),
        ("deflate", b"x", 400),
        ("br", b"x", 415),
        ("gzip, gzip", b"x", 415),
    ],
)
def test_a_broken_or_foreign_body_is_refused(gate, encoding, body, status):
    reply = gate.client.request("POST", PATH, body, {"content-encoding": encoding})
    assert (reply.status, list(json.loads(reply.body))) == (status, ["error"])


@given(st.binary(max_size=5000), st.sampled_from(["gzip", "deflate"]))
def test_there_and_back(body, kind):
    reply = packed(Response(200, body), kind.encode())
    assert unpacked(reply.body, kind.encode() if len(body) >= WORTH_BYTES else b"identity") == body


@given(st.binary(max_size=300), st.sampled_from([b"gzip", b"deflate"]))
def test_any_bytes_are_unpacked_or_refused(body, kind):
    with contextlib.suppress(UnreadableBody):
        assert isinstance(unpacked(body, kind), bytes)


@pytest.mark.parametrize(
    ("accepted", "kind"),
    [(b"gzip, deflate, br", "gzip"), (b"deflate", "deflate"), (b"*", "gzip"), (b"gzip;q=0.1, deflate;q=0.9", "deflate"),
     (b"*;q=0", ""), (b"", ""), (b"gzip;q=x", "")],
)  # fmt: skip
def test_the_encoding_is_chosen_by_weight(accepted, kind):
    assert chosen(accepted) == kind
