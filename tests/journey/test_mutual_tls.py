"""A gateway that takes callers with a certificate of its authority alone, by HTTP and gRPC."""

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
from datetime import timedelta

import grpc
import pytest
import requests
from certificates import Authority, write_certificate
from server_process import serving, until
from wine_project import ROW, WineProject

from headrace.client import Client
from headrace.client.credentials import pinned
from headrace.errors import SettingsError, Unavailable
from headrace.gateway.rpc.messages import INFERENCE

HOST = "127.0.0.1"
LIVE = "/inference.GRPCInferenceService/ServerLive"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A project with a certificate, and the authority of its callers."""
    root = tmp_path_factory.mktemp("wine")
    project = WineProject(root)
    project.deploy(project.register(0.5), deadline_s=2.0)
    project.close()
    write_certificate(root, HOST)
    return root


@pytest.fixture(scope="module")
def shown(folder, tmp_path_factory):
    """Certificates by what they are: of the authority, expired, of another authority, and the gateway's own."""
    authority, other = Authority(folder), Authority(tmp_path_factory.mktemp("other"))
    own = folder / "own.pem"
    own.write_bytes((folder / "cert.pem").read_bytes() + (folder / "key.pem").read_bytes())
    return {
        "good": authority.issue("shop"),
        "expired": authority.issue("late", lasts=timedelta(hours=-1)),
        "foreign": other.issue("stranger"),
        "own": own,
    }


@pytest.fixture(scope="module")
def server(folder, shown):
    cert, key, authority = folder / "cert.pem", folder / "key.pem", folder / "clients-ca.pem"
    options = ("--tls-certificate", str(cert), "--tls-key", str(key), "--tls-client-ca", str(authority))
    options += ("--grpc-port", "0", "--control-port", "0", "--control-grpc-port", "0")
    with serving(folder, *options, client=lambda url: Client(url, tls=pinned(cert, shown["good"]))) as found:
        yield found


def status(url, folder, certificate):
    try:
        return requests.get(url, verify=str(folder / "cert.pem"), cert=certificate, timeout=20).status_code
    except requests.ConnectionError:  # of which an SSLError is one
        return "refused"


def code(address, folder, certificate):
    pem = None if certificate is None else certificate.read_bytes()
    credentials = grpc.ssl_channel_credentials((folder / "cert.pem").read_bytes(), pem, pem)
    with grpc.secure_channel(address, credentials) as channel:
        call = channel.unary_unary(LIVE)
        try:
            call(INFERENCE.ServerLiveRequest().SerializeToString(), timeout=20)
        except grpc.RpcError as error:
            return error.code().name
    return "OK"


def test_who_shows_one_of_the_authority_is_let_in(server, folder, shown):
    assert server.client.predict("wine", rows=[ROW]).winner == "wine@1"
    assert status(f"{server.url}/v2/health/live", folder, str(shown["good"])) == 200
    assert status(f"{server.control}/v2/health/live", folder, str(shown["good"])) == 401  # and a token is due besides
    assert code(server.rpc, folder, shown["good"]) == "OK"
    assert code(server.control_rpc, folder, shown["good"]) == "UNAUTHENTICATED"


@pytest.mark.parametrize("which", ["none", "expired", "foreign", "own"])
def test_nobody_else_is_by_no_port(server, folder, shown, which):
    certificate = shown.get(which)
    for url in (server.url, server.control):
        assert status(f"{url}/v2/health/live", folder, certificate and str(certificate)) == "refused"
    for address in (server.rpc, server.control_rpc):
        assert code(address, folder, certificate) == "UNAVAILABLE"
    with Client(server.url, tls=pinned(folder / "cert.pem", certificate)) as client, pytest.raises(Unavailable):
        client.overview()
    assert "Traceback" not in server.said()


def test_a_session_is_not_resumed(server, folder, shown):
    """Who resumes one is not asked for a certificate again, and it may have expired meanwhile."""
    context = pinned(folder / "cert.pem", shown["good"])
    port, session = int(server.url.rpartition(":")[2]), None
    for _ in range(2):
        with (
            socket.create_connection((HOST, port), timeout=10) as plain,
            context.wrap_socket(plain, server_hostname=HOST, session=session) as secure,
        ):
            secure.sendall(b"GET /v2/health/live HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")
            assert secure.recv(1000).startswith(b"HTTP/1.1 200")
            assert (secure.session_reused, secure.version()) == (False, "TLSv1.3")
            session = secure.session
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with (
        pytest.raises(ssl.SSLError),
        socket.create_connection((HOST, port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname=HOST),
    ):
        pass


HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5)
"""How a connection of HTTP/2 begins: with settings, here none."""


def rpc_session(address, context, session=None):
    """Connect as a channel does, and hear the server's settings; return the session, and whether it is an old one."""
    with (
        socket.create_connection((HOST, int(address.rpartition(":")[2])), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname=HOST, session=session) as secure,
    ):
        secure.sendall(HELLO)
        if not secure.recv(1000):
            raise ConnectionResetError("it closed the connection")
        return secure.session, secure.session_reused


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("which", ["expired", "foreign"])
def test_no_session_of_grpc_lets_another_certificate_in(server, folder, shown, version, which):
    for address in (server.rpc, server.control_rpc):
        context = pinned(folder / "cert.pem", shown["good"])
        context.set_alpn_protocols(["h2"])
        context.minimum_version = context.maximum_version = version
        session, _ = rpc_session(address, context)
        session, resumed = rpc_session(address, context, session)
        assert (session.has_ticket, resumed) == (True, False)
        context.load_cert_chain(shown[which])
        with pytest.raises((ssl.SSLError, ConnectionError)):
            rpc_session(address, context, session)


def test_a_renewed_certificate_goes_on_asking(server, folder, shown):
    seen = (folder / "cert.pem").read_bytes()
    write_certificate(folder, HOST)
    assert (folder / "cert.pem").read_bytes() != seen
    server.process.send_signal(signal.SIGHUP)
    until(lambda: status(f"{server.url}/v2/health/live", folder, str(shown["good"])) == 200)
    assert status(f"{server.url}/v2/health/live", folder, None) == "refused"
    assert code(server.rpc, folder, shown["good"]) == "OK"
    assert code(server.rpc, folder, None) == "UNAVAILABLE"


def test_the_typed_client_shows_the_one_of_the_environment(server, folder, shown, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(folder / "cert.pem"))
    with Client(server.url) as nobody, pytest.raises(Unavailable):
        nobody.predict("wine", rows=[ROW])
    monkeypatch.setenv("HEADRACE_CLIENT_CERTIFICATE", str(shown["good"]))
    with Client(server.url) as shop:
        assert shop.predict("wine", rows=[ROW]).winner == "wine@1"
    monkeypatch.setenv("HEADRACE_CLIENT_CERTIFICATE", str(folder / "cert.pem"))  # which has no key
    with pytest.raises(SettingsError, match="the certificate to be shown cannot be used"):
        Client(server.url)


def headrace(folder, *arguments, due=0):
    command = [sys.executable, "-m", "headrace", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=90, env=os.environ)
    assert done.returncode == due, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_commands_of_the_project_show_theirs(folder, shown):
    settings = 'port = 0\ntls_certificate = "cert.pem"\ntls_key = "key.pem"\ntls_client_ca = "clients-ca.pem"\n'
    (folder / "headrace.toml").write_text(settings)
    said = headrace(folder, "serving", "run", "--detach", due=2)
    assert "commands could not reach the gateway - it takes callers with a certificate of" in said
    (folder / "headrace.toml").write_text(f'{settings}client_certificate = "{shown["good"].name}"\n')
    assert "https://" in headrace(folder, "serving", "run", "--detach")
    try:
        assert "answered by wine@1" in headrace(folder, "serving", "predict", "wine", "--row", json.dumps(ROW))
        assert "ready at https://" in headrace(folder, "doctor")
    finally:
        headrace(folder, "serving", "run", "--stop")


@pytest.mark.parametrize(("text", "why"), [("none", "cannot be used"), (None, "cannot be used")])
def test_an_authority_that_is_none_is_said_at_once(folder, tmp_path, text, why):
    if text:
        (tmp_path / "ca.pem").write_text(text)
    command = [sys.executable, "-m", "headrace.gateway", "--root", str(folder), "--port", "0"]
    command += ["--tls-certificate", str(folder / "cert.pem"), "--tls-key", str(folder / "key.pem")]
    command += ["--tls-client-ca", str(tmp_path / "ca.pem")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, f"the authority of callers {why}" in done.stderr) == (2, True)
    assert "Traceback" not in done.stderr


def test_an_authority_without_a_certificate_is_a_mistake(folder):
    (folder / "headrace.toml").write_text("port = 0\n")
    said = headrace(folder, "serving", "run", "--detach", "--tls-client-ca", "clients-ca.pem", due=2)
    assert "callers cannot be asked for certificates - the gateway has none" in said
