"""Who may do what, on every route and call there is: the tables below are held against the routing itself."""

import json
import time
from concurrent.futures import Future

import grpc
import pytest
from guarded import guarded
from rpc_served import rpc_address
from served import ROW, constant, endpoint, gated, model

from headrace.gateway.access import Access
from headrace.gateway.control import Control, ControlPort
from headrace.gateway.openapi import document
from headrace.gateway.routes import ANYBODY
from headrace.gateway.rpc.health import HealthService
from headrace.gateway.rpc.messages import INFERENCE
from headrace.gateway.rpc.server import services_over
from headrace.gateway.token_desk import TokenDesk
from headrace.gateway.vertex import VertexRoutes
from headrace.placement import tokens as own
from headrace.placement.access import FILE, Scope, Tokens
from headrace.serving.keeper import Keeper

VERTEX = VertexRoutes("/hosted/predict", "/hosted/health")
GET = {
    "/v2/health/live": ANYBODY,
    "/v2/health/ready": ANYBODY,
    "/ping": ANYBODY,
    "/health": ANYBODY,
    "/hosted/health": ANYBODY,
    "/": "read",
    "/version": "read",
    "/metrics": "read",
    "/monitoring/prometheus/metrics": "read",
    "/openapi.json": "read",
    "/overview": "read",
    "/v1/models/wine": "read",
    "/V1/models/wine/versions/3/metadata": "read",
    "/v1/models/wine/labels/champion": "read",
    "/v2": "read",
    "/v2/models/wine": "read",
    "/v2/models/wine/versions/3/config": "read",
    "/v2/models/wine/ready": "read",
    "/v2/models/wine/stats": "read",
    "/v2/models/stats": "read",
}
POST = {
    "/v1/models/wine:predict": "score",
    "/v1/models/wine/versions/3:classify": "score",
    "/v1/models/wine/labels/champion:regress": "score",
    "/v2/models/wine/infer": "score",
    "/v2/models/wine/versions/3/infer": "score",
    "/invocations": "score",
    "/hosted/predict": "score",
    "/v2/repository/index": "read",
    "/v2/repository/models/wine/load": "deploy",
    "/v2/repository/models/wine/unload": "deploy",
}
TABLE = [("GET", path, scope) for path, scope in GET.items()] + [("POST", path, scope) for path, scope in POST.items()]
CONTROL = [("GET", "/tokens", "admin"), ("POST", "/tokens", "admin"), ("DELETE", "/tokens/nobody", "admin")]
METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS")
INFERENCE_CALLS = {
    "ServerLive": ANYBODY,
    "ServerReady": ANYBODY,
    "ModelReady": "read",
    "ServerMetadata": "read",
    "ModelMetadata": "read",
    "ModelConfig": "read",
    "ModelStatistics": "read",
    "RepositoryIndex": "read",
    "ModelInfer": "score",
    "ModelStreamInfer": "score",
    "RepositoryModelLoad": "deploy",
    "RepositoryModelUnload": "deploy",
}
PREDICTION_CALLS = {
    **dict.fromkeys(("Predict", "Classify", "Regress", "MultiInference"), "score"),
    "GetModelMetadata": "read",
}
CALLS = {
    "/grpc.health.v1.Health/Check": ANYBODY,
    "/grpc.health.v1.Health/Watch": ANYBODY,
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo": "read",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": "read",
    **{f"/inference.GRPCInferenceService/{name}": scope for name, scope in INFERENCE_CALLS.items()},
    **{f"/tensorflow.serving.PredictionService/{name}": scope for name, scope in PREDICTION_CALLS.items()},
    "/tensorflow.serving.ModelService/GetModelStatus": "read",
    "/tensorflow.serving.ModelService/HandleReloadConfigRequest": "deploy",
}


@pytest.fixture(scope="module")
def gate(tmp_path_factory):
    models = {"wine@3": model("wine@3", constant(7.0), fast=True)}
    how = {"vertex": VERTEX, "metrics": ("headrace", "tensorflow")}
    with gated(tmp_path_factory.mktemp("stream"), endpoint(("wine@3", 2.0), deadline_s=3.0), models, **how) as found:
        yield found


@pytest.fixture
def port(gate, tmp_path):
    """A client of a scoring port that asks for tokens, and the tokens."""
    with guarded(gate, tmp_path) as found:
        yield found


@pytest.fixture
def control(gate, tmp_path):
    """The same of a control port."""
    keeper, desk = Keeper(gate.plane, [], post=gate.loop.call_soon_threadsafe), TokenDesk(Tokens(tmp_path), gate.loop)
    with guarded(gate, tmp_path, ControlPort(gate.server.handler, Control(keeper), desk, gate.loop)) as found:
        yield found


def ask(client, method, path, secret=None, body=b""):
    headers = {} if secret is None else {"authorization": f"Bearer {secret}"}
    return client.request(method, path, body, headers)


def statuses(client, known, method, path):
    """Scope to what its holder is answered there, and what is answered to nobody in particular."""
    made = {scope: known.make(f"only-{scope}", [scope]) for scope in Scope}
    found = {scope: ask(client, method, path, secret).status for scope, secret in made.items()}
    for scope in Scope:
        known.revoke(f"only-{scope}")
    return found, ask(client, method, path).status


def test_the_table_has_every_route_and_every_method_of_it(gate):
    gateway = gate.server.handler
    for route in gateway.declared:
        told = {(method, needed) for method, path, needed in TABLE if route.path.fullmatch(path)}
        due = {(method.decode(), needed) for method, needed in route.needs.items() if method != b"HEAD"}
        assert told == due, f"the tables of this test do not say who may ask for {route.path.pattern}"
        assert route.needs.get(b"HEAD") == route.needs.get(b"GET")
    for method, path, needed in TABLE:
        assert gateway.needs(path.encode())[method.encode()] == needed


def test_what_openapi_tells_of_needs_a_scope_as_well(gate):
    told = document(gate.plane, VERTEX, ("/metrics", "/monitoring/prometheus/metrics"))["paths"]
    assert len(told) > 25
    for path, methods in told.items():
        there = path.replace("{version}", "3").replace("{label}", "champion").encode()
        assert {method.upper().encode() for method in methods} <= set(gate.server.handler.needs(there)), path


@pytest.mark.parametrize(("method", "path", "needed"), TABLE)
def test_a_port_that_asks_for_tokens_lets_in_who_has_the_scope(port, method, path, needed):
    found, nobody = statuses(*port, method, path)
    if needed == ANYBODY:
        assert {nobody, *found.values()} <= {200}
        return
    assert nobody == 401
    assert {scope: status in {401, 403} for scope, status in found.items()} == {
        scope: scope not in {needed, "admin"} for scope in Scope
    }
    assert {status for scope, status in found.items() if scope not in {needed, "admin"}} == {403}


@pytest.mark.parametrize(
    ("method", "path", "needed"), [*(row for row in TABLE if row[2] in {ANYBODY, "deploy"}), *CONTROL]
)
def test_on_the_control_port_nothing_is_for_anybody(control, method, path, needed):
    found, nobody = statuses(*control, method, path)
    due = "read" if needed == ANYBODY else needed
    assert nobody == 401
    assert {scope for scope, status in found.items() if status != 403} == {due, "admin"}


def test_the_table_has_what_the_control_port_alone_answers(control):
    client, known = control
    for route in TokenDesk.routes:
        told = {(method, needed) for method, path, needed in CONTROL if route.path.fullmatch(path)}
        assert told == {(method.decode(), needed) for method, needed in route.needs.items() if method != b"HEAD"}
    secret = known.make("admin", [Scope.ADMIN])
    for method, path in (("PUT", "/tokens"), ("DELETE", "/tokens"), ("GET", "/tokens/x"), ("POST", "/tokens/x")):
        assert ask(client, method, path, secret).status == 405


def test_an_admin_makes_lists_and_revokes_tokens(control, gate, tmp_path):
    client, known = control
    admin = known.make("admin", [Scope.ADMIN])
    asked = json.dumps({"name": "shop", "scopes": ["score"], "expires": "90d"}).encode()
    made = ask(client, "POST", "/tokens", admin, asked)
    assert (made.status, made.header("cache-control")) == (201, "no-store")
    secret = json.loads(made.body)["token"]
    assert (
        ask(client, "POST", "/v1/models/wine:predict", secret, json.dumps({"instances": [ROW]}).encode()).status == 200
    )
    assert ask(client, "POST", "/tokens", admin, asked).status == 409
    listed = {row["name"]: row for row in json.loads(ask(client, "GET", "/tokens", admin).body)["tokens"]}
    assert set(listed) == {"control", "admin", "shop"}
    assert listed["shop"]["expires_s"] == pytest.approx(listed["shop"]["made_s"] + 90 * 86400)
    assert ask(client, "GET", "/tokens", secret).status == 403
    assert gate.client.request("GET", "/tokens").status == 404  # not on the scoring port
    assert ask(client, "DELETE", "/tokens/shop", admin).status == 200
    assert ask(client, "DELETE", "/tokens/shop", admin).status == 404
    assert ask(client, "POST", "/v1/models/wine:predict", secret).status == 401
    assert ask(client, "DELETE", "/tokens/admin", admin).status == 200
    assert ask(client, "GET", "/tokens", admin).status == 401


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "asks for no token"),
        (b'{"name": "x"}', "asks for no token"),
        (b'{"name": "x", "scopes": ["read"], "token": "mine"}', "unknown field"),
        (b'{"name": "x", "scopes": []}', "at least one scope"),
        (b'{"name": "x", "scopes": ["all"]}', "one or more of read, score, deploy, admin"),
        (b'{"name": "../x", "scopes": ["read"]}', "not allowed"),
        (b'{"name": "x", "scopes": ["read"], "expires": "soon"}', "no span of time"),
        (b'{"name": "x", "scopes": ["read"], "expires": "0s"}', "expired at once"),
        (b"[" * 50_000, "asks for no token"),
    ],
)
def test_what_asks_for_no_token_is_refused(control, body, why):
    client, known = control
    reply = ask(client, "POST", "/tokens", known.make("admin", [Scope.ADMIN]), body)
    assert (reply.status, why in json.loads(reply.body)["error"]) == (400, True), reply.body
    assert {token.name for token in known.current()} == {"control", "admin"}


@pytest.mark.parametrize(("_", "path", "needed"), TABLE)
def test_a_method_without_a_scope_does_nothing(gate, port, _, path, needed):
    client, known = port
    secret = known.make("all", [Scope.ADMIN])
    for method in METHODS:
        if method.encode() not in gate.server.handler.needs(path.encode()):
            assert gate.client.request(method, path).status in {400, 405}, method
            reply = ask(client, method, path, secret)
            assert (reply.status, bool(reply.header("allow"))) == (405, True), method
            assert ask(client, method, path).status == 401


def test_what_is_nowhere_is_told_to_who_has_a_token(port):
    client, known = port
    secret = known.make("any", [Scope.READ])
    for path in (
        "/nowhere",
        "/v1/nowhere",
        "/v2/nowhere",
        "/ping/x",
        "/overview/x",
        "/metrics/x",
        "/monitoring",
        "/hosted",
    ):
        assert ask(client, "GET", path).status == 401
        assert ask(client, "GET", path, secret).status in {400, 404}


@pytest.mark.parametrize(
    ("header", "why", "challenge"),
    [
        (None, "the header Authorization is missing", 'Bearer realm="headrace"'),
        ("Bearer x", "none of ours, or was revoked", 'Bearer realm="headrace", error="invalid_token"'),
        ("Basic {secret}", "none of ours", 'Bearer realm="headrace", error="invalid_token"'),
        ("{secret}", "none of ours", 'Bearer realm="headrace", error="invalid_token"'),
        ("Bearer {secret}x", "none of ours", 'Bearer realm="headrace", error="invalid_token"'),
        ("Bearer ", "none of ours", 'Bearer realm="headrace", error="invalid_token"'),
    ],
)
def test_who_is_not_known_is_told_how_to_be(port, header, why, challenge):
    client, known = port
    secret = known.make("scraper", [Scope.READ])
    reply = client.request(
        "GET", "/metrics", headers=None if header is None else {"authorization": header.format(secret=secret)}
    )
    assert reply.status == 401
    assert reply.header("www-authenticate") == challenge
    assert why in json.loads(reply.body)["error"]
    assert secret not in str(reply)


def test_who_may_not_is_told_what_is_lacking(port):
    client, known = port
    secret = known.make("scraper", [Scope.READ])
    reply = ask(client, "POST", "/v1/models/wine:predict", secret, json.dumps({"instances": [ROW]}).encode())
    assert reply.status == 403
    assert reply.header("www-authenticate") == 'Bearer realm="headrace", error="insufficient_scope", scope="score"'
    error = json.loads(reply.body)["error"]
    assert error == "token 'scraper' lacks the scope score - it has read - fix: headrace tokens make NAME --scope score"


def test_a_clock_that_is_set_back_brings_no_expired_token_back(port, monkeypatch):
    client, known = port
    secret, now = known.make("guest", [Scope.READ], for_s=60), time.time()
    asked = {"authorization": f"Bearer {secret}"}
    statuses = []
    for later_s in (0, 59, -3600, 61, 59, -3600):
        monkeypatch.setattr("headrace.placement.access.time.time", lambda at=now + later_s: at)
        statuses.append(client.request("GET", "/overview", headers=asked).status)
    assert statuses == [200, 200, 200, 401, 401, 401]
    anew = known.make("guest-2", [Scope.READ], for_s=60)
    assert client.request("GET", "/overview", headers={"authorization": f"Bearer {anew}"}).status == 200


def test_revoked_and_expired_tokens_end_between_two_requests(port, tmp_path):
    client, known = port
    for name in ("leaves", "expires"):
        secret = known.make(name, [Scope.SCORE], for_s=3600)
        body = json.dumps({"instances": [ROW]}).encode()
        assert json.loads(ask(client, "POST", "/v1/models/wine:predict", secret, body).body) == {"predictions": [7.0]}
        if name == "leaves":
            Tokens(tmp_path).revoke(name)
        else:
            kept = json.loads((tmp_path / FILE).read_text())
            kept["tokens"][0]["expires_s"] = 0.5
            (tmp_path / FILE).write_text(json.dumps(kept))
        reply = ask(client, "POST", "/v1/models/wine:predict", secret, body)
        assert (reply.status, 'error="invalid_token"' in reply.header("www-authenticate")) == (401, True)
        assert ("token 'expires' expired - at 1970-01-01T00:00:00+00:00" in reply.body.decode()) == (name == "expires")


def test_the_owners_token_is_an_admins_until_it_is_revoked(port, tmp_path):
    client, known = port
    secret = own.control_token(tmp_path)
    assert ask(client, "GET", "/overview", secret).status == 200
    known.revoke("control")
    assert ask(client, "GET", "/overview", secret).status == 401
    assert ask(client, "GET", "/overview", own.control_token(tmp_path)).status == 200


def test_nobody_gets_in_while_tokens_cannot_be_read(port, tmp_path, capfd):
    client, known = port
    secret = known.make("one", [Scope.READ])
    (tmp_path / FILE).chmod(0o644)
    for _ in range(3):
        reply = ask(client, "GET", "/metrics", secret)
        assert (reply.status, str(tmp_path) in reply.body.decode()) == (503, False)
    assert capfd.readouterr().err.count("no token is accepted") == 1
    assert ask(client, "GET", "/v2/health/live").status == 200
    (tmp_path / FILE).chmod(0o600)
    assert ask(client, "GET", "/metrics", secret).status == 200


@pytest.mark.parametrize(
    "where", ["?token={0}", "?a=1&access_token=x", "?x={0}", "?a;Authorization=Bearer%20x", "/{0}"]
)
def test_a_token_in_a_url_is_refused_on_every_port_and_written_nowhere(gate, port, tmp_path, capfd, where):
    client, known = port
    secret = known.make("one", [Scope.SCORE])
    target = "/v1/models/wine:predict" + where.format(secret)
    body = json.dumps({"instances": [ROW]}).encode()
    logged = gate.plane.lives[0].counters.requests
    for asked, said in ((client, secret), (client, None), (gate.client, None)):
        reply = ask(asked, "POST", target, said, body)
        assert reply.status == 400
        assert "a token has no place in a URL" in json.loads(reply.body)["error"]
        assert secret not in str(reply)
    assert gate.plane.lives[0].counters.requests == logged
    assert secret not in "".join(capfd.readouterr())


def test_a_foreign_host_and_a_web_page_are_refused_before_the_token(port):
    client, known = port
    secret = known.make("one", [Scope.ADMIN])
    for headers in ({"origin": "https://example.org"}, {"Origin": "null"}):
        reply = client.request("GET", "/metrics", headers={**headers, "authorization": f"Bearer {secret}"})
        assert reply.status == 403


def test_the_table_has_every_call(gate):
    keeper = Keeper(gate.plane, [], post=gate.loop.call_soon_threadsafe)
    services = HealthService(gate.plane, ()), *services_over(gate.plane, Control(keeper))
    assert {name: rpc.needs for service in services for name, rpc in service.calls.items()} == CALLS
    changes = {name for name, needed in CALLS.items() if needed == "deploy"}
    scoring = {name for service in services_over(gate.plane, None) for name in service.calls}
    assert changes - scoring == {"/tensorflow.serving.ModelService/HandleReloadConfigRequest"}


@pytest.fixture(scope="module", params=["scoring", "control"])
def rpc(request, gate, tmp_path_factory):
    """A channel to a gRPC port that asks for tokens, the tokens, and what health needs there."""
    known = Tokens(tmp_path_factory.mktemp("tokens"))
    keeper = Keeper(gate.plane, [], post=gate.loop.call_soon_threadsafe)
    control = Control(keeper) if request.param == "control" else None
    with rpc_address(gate, control, Access(known)) as address, grpc.insecure_channel(address) as channel:
        yield channel, known, ANYBODY if control is None else "read"


def code(channel, name, secret=None):
    metadata = () if secret is None else (("authorization", f"Bearer {secret}"),)
    try:
        if name.endswith(("ModelStreamInfer", "ServerReflectionInfo")):
            list(channel.stream_stream(name)(iter([b""]), metadata=metadata, timeout=20))
        elif name.endswith("Watch"):
            watched = channel.unary_stream(name)(b"", metadata=metadata, timeout=20)
            next(watched)
            watched.cancel()
        else:
            channel.unary_unary(name)(b"", metadata=metadata, timeout=20)
    except grpc.RpcError as error:
        return error.code().name
    return "OK"


def test_each_call_lets_in_who_has_the_scope(rpc):
    channel, known, health = rpc
    made = {scope: known.make(f"only-{scope}", [scope]) for scope in Scope}
    reload = "/tensorflow.serving.ModelService/HandleReloadConfigRequest"
    for name, needed in CALLS.items():
        due = health if needed == ANYBODY else needed
        if name == reload and health == ANYBODY:
            assert code(channel, name, made[Scope.DEPLOY]) == "UNIMPLEMENTED"
            continue
        assert (code(channel, name) == "UNAUTHENTICATED") == (due != ANYBODY), name
        for scope, secret in made.items():
            refused = due != ANYBODY and scope not in {due, "admin"}
            found = code(channel, name, secret)
            assert (found == "PERMISSION_DENIED") == refused, (name, scope, found)
            assert found != "UNAUTHENTICATED"
    assert code(channel, "/no.Service/Call") == "UNAUTHENTICATED"
    assert code(channel, "/no.Service/Call", made[Scope.READ]) == "UNIMPLEMENTED"
    for scope in Scope:
        known.revoke(f"only-{scope}")
        assert code(channel, "/inference.GRPCInferenceService/ServerMetadata", made[scope]) == "UNAUTHENTICATED"


def test_a_refused_call_says_why_as_http_does(rpc):
    channel, known, _ = rpc
    secret = known.make("scraper", [Scope.READ])
    call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
    with pytest.raises(grpc.RpcError) as refused:
        call(b"", metadata=(("authorization", f"bearer {secret}"),), timeout=20)
    known.revoke("scraper")
    assert "token 'scraper' lacks the scope score" in refused.value.details()
    trailing = dict(refused.value.trailing_metadata())
    assert trailing["www-authenticate"] == 'Bearer realm="headrace", error="insufficient_scope", scope="score"'
    assert secret not in f"{refused.value.details()} {trailing}"


def test_a_stream_ends_when_its_token_is_revoked(rpc):
    channel, known, _ = rpc
    secret = known.make("long", [Scope.SCORE])
    asked = INFERENCE.ModelInferRequest(model_name="nowhere").SerializeToString()

    def messages():
        yield asked
        told.result(20)
        known.revoke("long")
        yield asked

    told = Future()
    call = channel.stream_stream("/inference.GRPCInferenceService/ModelStreamInfer")
    replies = call(messages(), metadata=(("authorization", f"Bearer {secret}"),), timeout=30)
    assert b"nowhere" in next(replies)
    told.set_result(None)
    with pytest.raises(grpc.RpcError) as ended:
        next(replies)
    assert ended.value.code() == grpc.StatusCode.UNAUTHENTICATED


def test_who_watches_health_on_the_control_port_is_let_go_when_the_token_is_revoked(gate, tmp_path):
    known, keeper = Tokens(tmp_path), Keeper(gate.plane, [], post=gate.loop.call_soon_threadsafe)
    secret = known.make("probe", [Scope.READ])
    with rpc_address(gate, Control(keeper), Access(known)) as address:
        channel = grpc.insecure_channel(address)
        watch = channel.unary_stream("/grpc.health.v1.Health/Watch")
        told = watch(b"", metadata=(("authorization", f"Bearer {secret}"),), timeout=30)
        assert next(told)
        known.revoke("probe")
    with channel, pytest.raises(grpc.RpcError) as ended:  # who may would be told that the server ends
        next(told)
    assert ended.value.code() == grpc.StatusCode.UNAUTHENTICATED
