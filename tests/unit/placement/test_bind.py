"""Where a server may listen, and how its command line says so."""

from pathlib import Path

import pytest

from headrace.errors import SettingsError, UsageError
from headrace.placement.bind import Bind, bind_of
from headrace.placement.gateway import addresses, asks_for_tokens, certificate_of, check_same, gateway_spec
from headrace.placement.services import ServiceState
from headrace.settings import load_settings

FILES = Path("/tls/cert.pem"), Path("/tls/key.pem")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "127.0.0.2", "10.0.0.7", "models.example.org"])
def test_another_host_takes_a_certificate_or_a_word(host):
    with pytest.raises(
        UsageError, match=r"is refused - .* fix: --tls-certificate and --tls-key; or --expose-unencrypted"
    ):
        Bind(host)
    assert Bind(host, 8700, *FILES).exposed
    assert Bind(host, unencrypted=True).exposed


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_this_machine_takes_neither(host):
    assert not Bind(host).exposed
    assert Bind(host, 0, *FILES).scheme == "https"


def test_a_certificate_without_its_key_is_refused():
    for files in ((FILES[0], None), (None, FILES[1])):
        with pytest.raises(SettingsError, match="belong together"):
            Bind("127.0.0.1", 0, *files)


def test_files_of_settings_lie_in_the_project(tmp_path):
    (tmp_path / "headrace.toml").write_text('tls_certificate = "tls/cert.pem"\ntls_key = "/run/key.pem"\nport = 1\n')
    found = bind_of(load_settings(tmp_path))
    assert found == Bind("127.0.0.1", 1, tmp_path / "tls/cert.pem", Path("/run/key.pem"))


def test_the_command_says_all_of_it(tmp_path):
    spec = gateway_spec(tmp_path, bind=Bind("0.0.0.0", 8700, *FILES))
    assert spec.ready_url == "https://127.0.0.1:8700/v2/health/ready"
    assert certificate_of(spec.command) == FILES[0]
    assert asks_for_tokens(spec.command)
    assert addresses([*spec.command, "--control-port", "1"]) == {"control": "https://0.0.0.0:1"}
    plain = gateway_spec(tmp_path, bind=Bind(port=8700)).command
    assert (certificate_of(plain), asks_for_tokens(plain)) == (None, False)
    assert "--expose-unencrypted" in gateway_spec(tmp_path, bind=Bind("::", 8700, unencrypted=True)).command


def test_a_running_gateway_must_be_bound_as_was_typed(tmp_path):
    bind = Bind("0.0.0.0", 8700, *FILES)
    running = ServiceState(
        "gateway", "running", 1, "https://127.0.0.1:8700", "", tuple(gateway_spec(tmp_path, bind=bind).command)
    )
    typed = {"host": "0.0.0.0", "port": 8700, "tls_certificate": "/tls/cert.pem", "tls_key": "/tls/key.pem"}
    check_same(running, (), bind.asked(typed))
    check_same(running, (), Bind().asked({"host": None, "port": None}))
    check_same(running, (), Bind().asked({"port": 0}))
    others = Bind("127.0.0.1", 8700), Bind(port=8701), Bind("0.0.0.0", 8700, Path("/tls/other.pem"), FILES[1])
    for other, name in zip(others, ("host", "port", "tls_certificate"), strict=True):
        with pytest.raises(UsageError, match="already serving"):
            check_same(running, (), other.asked({name: "said"}))
    with pytest.raises(UsageError, match="already serving"):
        check_same(running, (), bind.asked(typed), detach=False)
