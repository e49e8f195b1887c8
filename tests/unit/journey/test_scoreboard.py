"""How commands reach the gateway that the settings name."""

import pytest

from headrace.assembly import open_platform
from headrace.errors import SettingsError
from headrace.journey.scoreboard import gateway_client
from headrace.settings import load_settings


@pytest.fixture
def named(tmp_path):
    """Opens platforms of a project whose gateway is at a URL, and whose certificate to be shown is none."""
    platforms = []

    def at(url):
        settings = load_settings(tmp_path, {"gateway": url, "client_certificate": "absent.pem"})
        platforms.append(open_platform(settings))
        return platforms[-1]

    yield at
    for platform in platforms:
        platform.close()


def test_certificates_are_read_where_they_are_used(named):
    assert gateway_client(named("http://127.0.0.1:1")).ready() is False
    with pytest.raises(SettingsError, match=r"the certificate to be shown cannot be used .*absent\.pem"):
        gateway_client(named("https://127.0.0.1:1"))
