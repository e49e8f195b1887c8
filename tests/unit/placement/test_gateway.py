import socket
from contextlib import suppress

import pytest

from headrace.errors import UsageError
from headrace.placement.bind import Bind
from headrace.placement.gateway import Beside, addresses, checked_names, gateway_spec
from headrace.placement.services import free_port

FAMILIES = (socket.AF_INET, socket.AF_INET6)


def test_names_of_metrics_are_known_ones_each_once():
    assert checked_names("triton, headrace,triton") == ("triton", "headrace")
    for said in ("", "headrace,", "prometheus"):
        with pytest.raises(UsageError, match="one or more of headrace,tensorflow,triton"):
            checked_names(said)
    with pytest.raises(UsageError, match="prometheus"):
        Beside(metrics_names="prometheus")


def test_a_gateway_with_other_names_is_another():
    named = Beside(metrics_names="headrace,triton")
    command = ["python", "-m", "headrace.gateway", *named.options("127.0.0.1")]
    assert command[-2:] == ["--metrics-names", "headrace,triton"]
    assert named.offered_by(command)
    assert Beside().offered_by(command)
    assert not Beside(metrics_names="triton").offered_by(command)


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_port_that_is_none_is_refused(port):
    for ask in (lambda: Bind(port=port), lambda: Beside(grpc_port=port)):
        with pytest.raises(UsageError, match=f"port {port} is none"):
            ask()


def test_two_ports_that_are_one_are_refused(tmp_path):
    for bind, beside in ((Bind(port=8700), Beside(grpc_port=8700)), (Bind(), Beside(control_port=1, grpc_port=1))):
        with pytest.raises(UsageError, match=r"are both .* 0 for a free one"):
            gateway_spec(tmp_path, bind=bind, beside=beside)
    gateway_spec(tmp_path, bind=Bind(port=8700), beside=Beside(grpc_port=0, control_port=0))


def test_an_ipv6_address_stands_in_brackets(tmp_path):
    spec = gateway_spec(tmp_path, bind=Bind("::1", 8700), beside=Beside(grpc_port=8701, control_port=8702))
    assert spec.ready_url == "http://[::1]:8700/v2/health/ready"
    assert addresses(spec.command) == {"grpc": "[::1]:8701", "control": "http://[::1]:8702"}
    assert gateway_spec(tmp_path, bind=Bind(port=8700)).ready_url == "http://127.0.0.1:8700/v2/health/ready"


def hosts():
    """Loopback addresses that this machine has."""
    yield "127.0.0.1"
    with suppress(OSError), socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::1", 0))
        yield "::1"


@pytest.mark.parametrize("host", list(hosts()))
def test_a_free_port_is_one_of_that_address(host):
    with socket.create_server((host, free_port(host)), family=FAMILIES[":" in host]) as server:
        assert server.getsockname()[0] == host
