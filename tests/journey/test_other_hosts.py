"""A gateway that other hosts reach: tokens and TLS over HTTP and gRPC, with the clients that people use.

127.0.0.2 stands for another host: headrace takes it for one, and nobody outside reaches it.
"""

import json
import os
import signal
import ssl
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import grpc
import pytest
import requests
from certificates import write_certificate
from server_process import serving, until
from wine_project import ROW, WineProject

from headrace.client import Client
from headrace.client.credentials import pinned
from headrace.errors import Forbidden, Unauthorized, Unavailable, UsageError
from headrace.gateway.rpc.health import HEALTH
from headrace.gateway.rpc.messages import INFERENCE
from headrace.placement.access import Scope, Tokens

HOST = "127.0.0.2"
PORTS = ("--grpc-port", "0", "--control-port", "0", "--control-grpc-port", "0")
BODY = {"instances": [ROW]}
INFER = "/inference.GRPCInferenceService/ModelInfer"
LOAD = "/inference.GRPCInferenceService/RepositoryModelLoad"
HEALTH_CHECK = "/grpc.health.v1.Health/Check"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    found = WineProject(tmp_path_factory.mktemp("project"), 'allowed_hosts = "models.example.org"\n')
    found.deploy(found.register(0.5), deadline_s=2.0)
    found.close()
    return found


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return write_certificate(tmp_path_factory.mktemp("tls"), HOST)


@pytest.fixture(scope="module")
def known(project):
    """The project's tokens, and one of each scope."""
    tokens = Tokens(project.root / ".headrace")
    return tokens, {scope: tokens.make(f"only-{scope}", [scope]) for scope in Scope}


@pytest.fixture(scope="module")
def server(project, certificate):
    options = ("--host", HOST, "--tls-certificate", str(certificate[0]), "--tls-key", str(certificate[1]), *PORTS)
    with serving(project.root, *options, client=lambda url: Client(url, tls=pinned(certificate[0]))) as found:
        yield found


@pytest.fixture
def session(certificate):
    """Requests' session that trusts the certificate, and checks that it is for the address."""
    with requests.Session() as found:
        found.verify, found.trust_env = str(certificate[0]), False
        yield found


@pytest.fixture
def channel(server, certificate):
    """A function that makes a channel, with TLS unless it is told not to."""
    opened = []

    def make(address, *, plain=False):
        credentials = grpc.ssl_channel_credentials(certificate[0].read_bytes())
        opened.append(grpc.insecure_channel(address) if plain else grpc.secure_channel(address, credentials))
        return opened[-1]

    yield make
    for one in opened:
        one.close()


def bearer(secret):
    return {"authorization": f"Bearer {secret}"}


def code(channel, method, message, secret=None):
    metadata = () if secret is None else (("authorization", f"Bearer {secret}"),)
    try:
        channel.unary_unary(method)(message.SerializeToString(), metadata=metadata, timeout=20)
    except grpc.RpcError as error:
        return error.code().name
    return "OK"


def test_http_takes_tls_and_a_token_for_what_is_asked(server, session, known):
    tokens, made = known
    url = f"{server.url}/v1/models/wine:predict"
    assert url.startswith(f"https://{HOST}:")
    refused = session.post(url, json=BODY)
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, 'Bearer realm="headrace"')
    lacking = session.post(url, json=BODY, headers=bearer(made[Scope.READ]))
    assert (lacking.status_code, 'scope="score"' in lacking.headers["www-authenticate"]) == (403, True)
    answered = session.post(url, json=BODY, headers=bearer(made[Scope.SCORE]))
    assert answered.json()["predictions"] == [pytest.approx(329.9)]
    assert session.get(f"{server.url}/metrics").status_code == 401
    scraped = session.get(f"{server.url}/metrics", headers=bearer(made[Scope.READ]))
    assert 'headrace_requests_total{endpoint="wine"} ' in scraped.text
    for path in ("/v2/health/ready", "/ping"):
        assert session.get(server.url + path).status_code == 200
    large = {"instances": [ROW] * 5000}
    assert len(session.post(url, json=large, headers=bearer(made[Scope.SCORE])).json()["predictions"]) == 5000
    leaving = tokens.make("leaving", [Scope.SCORE])
    assert session.post(url, json=BODY, headers=bearer(leaving)).status_code == 200
    tokens.revoke("leaving")
    assert session.post(url, json=BODY, headers=bearer(leaving)).status_code == 401


def test_nothing_is_answered_without_tls(server, project, known):
    plain = Client(f"http://{HOST}:{server.port}", token=known[1][Scope.SCORE], unencrypted=True)
    with pytest.raises(Unavailable):
        plain.predict("wine", rows=[ROW])


def test_names_that_are_allowed_and_any_address_are_ours(server, session, known):
    for host, due in (
        (f"{HOST}:{server.port}", 200),
        ("10.0.0.7", 200),
        ("[fd00::7]:8700", 200),
        ("models.example.org", 200),
        ("Models.Example.org:443", 200),
        ("evil.example.org", 403),
        ("models.example.org.evil", 403),
        ("", 403),
    ):
        headers = {**bearer(known[1][Scope.READ]), "host": host}
        assert session.get(f"{server.url}/overview", headers=headers).status_code == due, host
    page = {**bearer(known[1][Scope.READ]), "origin": "https://models.example.org"}
    assert session.get(f"{server.url}/overview", headers=page).status_code == 403


def test_the_control_port_takes_a_token_to_deploy(server, session, known):
    made = known[1]
    url = f"{server.control}/v2/repository/models/wine/load"
    assert url.startswith("https://")
    assert session.post(url).status_code == 401
    assert session.post(url, headers=bearer(made[Scope.SCORE])).status_code == 403
    assert session.post(url, headers=bearer(made[Scope.DEPLOY])).status_code == 200
    assert session.get(f"{server.control}/v2/health/ready").status_code == 401


def test_grpc_takes_tls_and_a_token_for_what_is_asked(server, channel, known):
    made, scoring = known[1], channel(server.rpc)
    asked = INFERENCE.ModelInferRequest(model_name="wine")
    for name, value in ROW.items():
        asked.inputs.add(name=name, datatype="FP64", shape=[1]).contents.fp64_contents.append(value)
    assert code(scoring, INFER, asked) == "UNAUTHENTICATED"
    assert code(scoring, INFER, asked, made[Scope.READ]) == "PERMISSION_DENIED"
    assert code(scoring, INFER, asked, made[Scope.SCORE]) == "OK"
    assert code(scoring, HEALTH_CHECK, HEALTH.HealthCheckRequest()) == "OK"
    control, load = channel(server.control_rpc), INFERENCE.RepositoryModelLoadRequest(model_name="wine")
    assert code(control, LOAD, load, made[Scope.SCORE]) == "PERMISSION_DENIED"
    assert code(control, LOAD, load, made[Scope.DEPLOY]) == "OK"
    assert code(channel(server.rpc, plain=True), INFER, asked, made[Scope.SCORE]) == "UNAVAILABLE"


def test_the_typed_client_shows_the_token_of_the_environment(server, certificate, known, monkeypatch, tmp_path):
    made, trusting = known[1], ssl.create_default_context(cafile=str(certificate[0]))
    with Client(server.url, tls=trusting) as nobody, pytest.raises(Unauthorized, match="a token is due"):
        nobody.predict("wine", rows=[ROW])
    monkeypatch.setenv("HEADRACE_TOKEN", made[Scope.SCORE])
    with Client(server.url, tls=trusting) as ours:
        assert ours.predict("wine", rows=[ROW]).winner == "wine@1"
        assert ours.predict("wine", rows=[ROW], headers={"x-any": "1"}).winner == "wine@1"
        with pytest.raises(Forbidden, match="lacks the scope read"):
            ours.overview()
    monkeypatch.delenv("HEADRACE_TOKEN")
    (tmp_path / "token").write_text(made[Scope.READ] + "\n")
    monkeypatch.setenv("HEADRACE_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    with Client(server.url) as reader:
        assert reader.overview().endpoints[0].name == "wine"
    another = write_certificate(tmp_path, HOST)[0]
    for tls in (ssl.create_default_context(cafile=str(another)), pinned(another)):
        with pytest.raises(Unavailable, match="certificate verify failed"):
            Client(server.url, tls=tls).overview()
    with pytest.raises(UsageError, match=r"not sent to models\.example\.org unencrypted") as refused:
        Client("http://models.example.org:8700", token=made[Scope.READ])
    assert made[Scope.READ] not in str(refused.value)


def test_a_renewed_certificate_is_shown_and_a_broken_one_is_not(project, tmp_path, known):
    cert, key, first = write_certificate(tmp_path, HOST)

    def shown(port):
        return ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate((HOST, port)))

    options = ("--host", HOST, "--tls-certificate", str(cert), "--tls-key", str(key), "--grpc-port", "0")
    with serving(project.root, *options, client=lambda url: Client(url, tls=pinned(cert))) as server:
        ports = server.port, int(server.rpc.rpartition(":")[2])
        assert {shown(port) for port in ports} == {first}
        second = write_certificate(tmp_path, HOST)[2]
        server.process.send_signal(signal.SIGHUP)
        until(lambda: {shown(port) for port in ports} == {second})
        cert.write_text("no certificate")
        server.process.send_signal(signal.SIGHUP)
        until(lambda: "the certificate stays as it was" in server.said())
        assert {shown(port) for port in ports} == {second}
        assert server.end()[0] == 0


def test_without_tls_it_takes_a_word_and_still_a_token(project, known):
    command = [sys.executable, "-m", "headrace.gateway", "--root", str(project.root), "--host", HOST, "--port", "0"]
    refused = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert refused.returncode == 2
    assert f"host '{HOST}' is refused" in refused.stderr
    assert "--tls-certificate and --tls-key; or --expose-unencrypted" in refused.stderr
    made = known[1]
    with serving(project.root, "--host", HOST, "--expose-unencrypted", "--grpc-port", "0") as server:
        assert (
            f"whoever is on the way to http://{HOST}:{server.port} reads requests, answers and tokens" in server.said()
        )
        assert requests.post(f"{server.url}/v1/models/wine:predict", json=BODY, timeout=20).status_code == 401
        with Client(server.url, token=made[Scope.SCORE], unencrypted=True) as client:
            assert client.predict("wine", rows=[ROW]).winner == "wine@1"
        with grpc.insecure_channel(server.rpc) as channel:
            ready = INFERENCE.ModelReadyRequest(name="wine")
            assert code(channel, "/inference.GRPCInferenceService/ModelReady", ready) == "UNAUTHENTICATED"
            assert code(channel, "/inference.GRPCInferenceService/ModelReady", ready, made[Scope.READ]) == "OK"


def test_loopback_takes_tls_without_a_token(project, tmp_path):
    cert, key, _ = write_certificate(tmp_path, "127.0.0.1")
    options = ("--tls-certificate", str(cert), "--tls-key", str(key))
    with serving(project.root, *options, client=lambda url: Client(url, tls=pinned(cert))) as server:
        found = requests.post(f"{server.url}/v1/models/wine:predict", json=BODY, verify=str(cert), timeout=20)
        assert found.status_code == 200


@pytest.mark.parametrize(
    ("break_it", "why"),
    [
        (lambda cert, _: cert.write_text("none"), "cannot be used"),
        (lambda _, key: key.unlink(), "cannot be read"),
        (lambda cert, _: write_certificate(cert.parent, HOST, passphrase=b"secret"), "without a passphrase"),
        (lambda cert, key: key.write_bytes(_another_key(cert.parent)), "cannot be used"),
    ],
)
def test_a_certificate_that_cannot_be_used_is_said_at_once(project, tmp_path, break_it, why):
    cert, key, _ = write_certificate(tmp_path, HOST)
    break_it(cert, key)
    command = [sys.executable, "-m", "headrace.gateway", "--root", str(project.root), "--host", HOST, "--port", "0"]
    command += ["--tls-certificate", str(cert), "--tls-key", str(key)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, stdin=subprocess.DEVNULL)
    assert (done.returncode, why in done.stderr, "Traceback" in done.stderr) == (2, True, False)


def _another_key(folder):
    (folder / "other").mkdir()
    return write_certificate(folder / "other", HOST)[1].read_bytes()


def headrace(project, *arguments, code=0, **environment):
    command = [sys.executable, "-m", "headrace", *arguments]
    env = {**os.environ, **environment}
    done = subprocess.run(command, cwd=project.root, capture_output=True, text=True, check=False, env=env, timeout=60)
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def test_commands_of_another_host_ask_it_by_its_url(project, server, certificate, known, tmp_path):
    """That host knows the ledger, here an empty one, and neither the gateway's name nor its tokens' file."""
    elsewhere = WineProject(tmp_path)
    elsewhere.close()
    given = {"HEADRACE_GATEWAY": server.url, "SSL_CERT_FILE": str(certificate[0])}
    reading, scoring = (given | {"HEADRACE_TOKEN": known[1][scope]} for scope in (Scope.READ, Scope.SCORE))
    assert "serving" in headrace(elsewhere, "serving", "ls", **reading)
    away = headrace(elsewhere, "serving", "ls", **reading, HEADRACE_LEDGER="sqlite:headrace.toml")
    assert "serving" in away
    assert "what is deployed is not known here: the ledger cannot be opened" in away
    told = headrace(elsewhere, "serving", "predict", "wine", "--row", json.dumps(ROW), "--json", **scoring)
    assert json.loads(told.splitlines()[0])["predictions"] == [pytest.approx(project.answer(0.5))]
    assert "a token is due" in headrace(elsewhere, "serving", "predict", "wine", "--row", "{}", code=4, **given)
    said = headrace(elsewhere, "serving", "run", "--stop", code=2, **reading)
    assert f"{server.url} is not started or stopped from here" in said
    given["HEADRACE_GATEWAY"] = server.url.replace("https", "http")
    assert "unencrypted" in headrace(elsewhere, "serving", "ls", code=2, **given, HEADRACE_TOKEN="x" * 43)


def test_the_commands_of_the_project_go_on_and_no_argument_has_a_token(tmp_path):
    project = WineProject(tmp_path)
    project.deploy(project.register(0.5), deadline_s=2.0)
    project.close()
    cert, key, _ = write_certificate(tmp_path, HOST)
    (tmp_path / "headrace.toml").write_text(
        f'host = "{HOST}"\ntls_certificate = "{cert.name}"\ntls_key = "{key.name}"\n'
    )
    ask = ("serving", "predict", "wine", "--row", json.dumps(ROW))
    said = headrace(project, "serving", "run", "--detach", "--port", "0", "--control-port", "0")
    try:
        assert f"https://{HOST}:" in said
        assert "answered by wine@1" in headrace(project, *ask)
        assert "serving" in headrace(project, "serving", "ls")
        assert f"ready at https://{HOST}:" in headrace(project, "doctor")
        made = {
            scope: headrace(project, "tokens", "make", scope, "--scope", scope, "-q").strip()
            for scope in ("read", "score")
        }
        assert "answered by wine@1" in headrace(project, *ask, HEADRACE_TOKEN=made["score"])
        lacking = headrace(project, *ask, HEADRACE_TOKEN=made["read"], code=4)
        assert "[forbidden] token 'read' lacks the scope score" in lacking
        assert "[unauthorized] the token is not accepted" in headrace(project, *ask, HEADRACE_TOKEN="wrong", code=4)
        (tmp_path / "mine").write_text(made["score"])
        assert "answered by wine@1" in headrace(project, *ask, HEADRACE_TOKEN_FILE="mine")
        assert "the token cannot be read" in headrace(project, *ask, HEADRACE_TOKEN_FILE="nowhere", code=2)
        headrace(project, "tokens", "revoke", "score")
        assert "[unauthorized]" in headrace(project, *ask, HEADRACE_TOKEN=made["score"], code=4)
        secrets = {*made.values(), (tmp_path / ".headrace/control.token").read_text().strip()}
        lines = list(_command_lines())
        assert any("headrace.gateway" in line and str(tmp_path) in line for line in lines)
        assert [line for line in lines if any(secret in line for secret in secrets)] == []
    finally:
        headrace(project, "serving", "run", "--stop")
    log = (tmp_path / ".headrace/services/gateway.log").read_text()
    assert [secret for secret in secrets if secret in log + said] == []


def _command_lines():
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(FileNotFoundError, ProcessLookupError):  # it ended meanwhile
            yield path.read_bytes().decode("latin-1")
