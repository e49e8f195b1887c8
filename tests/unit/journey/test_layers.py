import pytest

from headrace.journey.layers import chosen, layers, version_of
from headrace.settings import Settings


@pytest.mark.parametrize("uri", ["postgresql://db/shop", "postgres://db/shop"])
def test_an_engine_has_one_name_however_its_address_begins(uri):
    settings = Settings(root=None, ledger=uri)
    assert chosen(settings, "ledger") == "postgres"
    assert next(layer for layer in layers(settings) if layer.port == "ledger").version.startswith("psycopg 3")


def test_what_installs_nothing_is_of_headraces_own_version():
    assert version_of("sqlite").startswith("headrace ")
