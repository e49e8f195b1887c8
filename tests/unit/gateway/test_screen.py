"""From where requests may come: names of the server, and web pages."""

import json

import pytest
from guarded import guarded
from served import ROW, constant, endpoint, gated, model

from headrace.errors import SettingsError
from headrace.gateway.screen import screen_of
from headrace.placement.access import FILE, Scope

PAGE = "https://shop.example.org"
PATH = "/v1/models/wine:predict"
BODY = json.dumps({"instances": [ROW]}).encode()


def asking(page, **headers):
    return {"origin": page, "content-type": "application/json", **headers}


@pytest.fixture(scope="module")
def gate(tmp_path_factory):
    """A gateway that a shop's pages may ask, under a name of its own."""
    screen = screen_of("models.example.org", f"{PAGE}, http://127.0.0.1:3000", addresses=False)
    models = {"wine@3": model("wine@3", constant(7.0), fast=True)}
    deployed = endpoint(("wine@3", 2.0), deadline_s=3.0)
    with gated(tmp_path_factory.mktemp("stream"), deployed, models, screen=screen) as found:
        yield found


@pytest.mark.parametrize("page", [PAGE, "http://127.0.0.1:3000"])
def test_a_page_that_may_ask_can_read_the_answer(gate, page):
    for _ in range(2):
        reply = gate.client.request("POST", PATH, BODY, asking(page))
        assert (reply.status, reply.header("access-control-allow-origin")) == (200, page)
        assert reply.header("vary") == "origin"
        assert "x-headrace-id" in reply.header("access-control-expose-headers")
    assert gate.client.request("POST", PATH, BODY).header("access-control-allow-origin") == ""


def test_a_browser_that_asks_first_is_told_what_it_may(gate):
    asked = asking(PAGE, **{"access-control-request-method": "POST", "access-control-request-headers": "authorization"})
    reply = gate.client.request("OPTIONS", PATH, b"", asked)
    assert (reply.status, reply.body, reply.header("access-control-allow-origin")) == (200, b"", PAGE)
    assert "POST" in reply.header("access-control-allow-methods")
    assert "authorization" in reply.header("access-control-allow-headers")
    assert "*" not in reply.head.decode()


@pytest.mark.parametrize(
    "page", ["https://evil.example.org", f"{PAGE}.evil", PAGE.upper(), "null", "*", "", f"{PAGE}:444"]
)
def test_any_other_page_may_not(gate, page):
    for method, more in (("POST", {}), ("OPTIONS", {"access-control-request-method": "POST"})):
        reply = gate.client.request(method, PATH, BODY, asking(page, **more))
        assert (reply.status, reply.header("access-control-allow-origin")) == (403, "")


@pytest.mark.parametrize(
    ("host", "due"), [("models.example.org", 200), ("MODELS.example.org:1", 200), ("10.0.0.7", 403)]
)
def test_names_are_allowed_and_other_addresses_not(raw, host, due):
    assert raw(f"GET /v2/health/live HTTP/1.1\r\nhost: {host}\r\n\r\n".encode())[0] == due


def test_where_tokens_are_asked_for_a_page_needs_one_and_can_read_why(gate, tmp_path):
    with guarded(gate, tmp_path) as (client, known):
        before = client.request("OPTIONS", PATH, b"", asking(PAGE, **{"access-control-request-method": "POST"}))
        assert before.status == 200
        refused = client.request("POST", PATH, BODY, asking(PAGE))
        assert (refused.status, refused.header("access-control-allow-origin")) == (401, PAGE)
        secret = known.make("shop", [Scope.SCORE])
        reply = client.request("POST", PATH, BODY, asking(PAGE, authorization=f"Bearer {secret}"))
        assert (reply.status, reply.head.lower().count(b"access-control-allow-origin")) == (200, 1)
        assert client.request("POST", PATH, BODY, asking("null", authorization=f"Bearer {secret}")).status == 403


LARGE = {"content-length": str(64 * 1024 * 1024)}
# What is refused: a path, and headers besides.
REFUSED = {
    400: (PATH, {"x-twice": "1\r\nauthorization: a\r\nauthorization: b"}),
    403: (PATH, {"host": "elsewhere.example.org"}),
    404: ("/nowhere", {}),
    413: (PATH, LARGE),
    415: ("/invocations", {"content-encoding": "br"}),
    431: (PATH, {"x-long": "x" * 33_000}),
}


def refused(sent, port, due, origin):
    """The head of the reply to a request from a page."""
    path, more = REFUSED[due]
    headers = {"host": "localhost", "content-length": "2", "origin": origin, **more}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    status, head, body = sent(port, f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode() + b"{}")
    assert (status, "error" in json.loads(body)) == (due if origin == PAGE or b"close" in head else 403, True)
    return head.decode().lower()


@pytest.mark.parametrize("due", REFUSED)
def test_a_page_that_may_ask_can_read_why_it_is_refused(gate, sent, due):
    told = refused(sent, gate.port, due, PAGE)
    assert told.count(f"access-control-allow-origin: {PAGE}") == told.count("vary: origin") == 1
    assert "retry-after" in told.partition("access-control-expose-headers: ")[2]
    assert "access-control" not in refused(sent, gate.port, due, "https://evil.example.org")


def test_so_it_can_before_a_large_body_is_read_and_when_tokens_are_unknown(gate, sent, tmp_path):
    with guarded(gate, tmp_path) as (client, known):
        port, reader = client._target[1], known.make("reader", [Scope.READ])
        for due, more in ((401, {}), (403, {"authorization": f"Bearer {reader}"})):
            for size in ("2", "70000"):
                headers = {"host": "localhost", "origin": PAGE, "content-length": size, **more}
                lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
                status, head, _ = sent(port, f"POST {PATH} HTTP/1.1\r\n{lines}\r\n".encode() + b"{}")
                assert status == due
                assert head.decode().count(f"access-control-allow-origin: {PAGE}") == 1
        (tmp_path / FILE).chmod(0o644)
        reply = client.request("POST", PATH, BODY, asking(PAGE, authorization=f"Bearer {reader}"))
        assert (reply.status, reply.header("access-control-allow-origin")) == (503, PAGE)


@pytest.mark.parametrize(
    ("hosts", "origins"),
    [
        ("https://models", ""),
        ("a b", ""),
        ("*", ""),
        ("", "shop.example.org"),
        ("", "*"),
        ("", f"{PAGE}/"),
        ("", "null"),
    ],
)
def test_what_is_no_name_and_no_origin_is_refused(hosts, origins):
    with pytest.raises(SettingsError, match="is due"):
        screen_of(hosts, origins, addresses=False)
