import pytest

from headrace.engines.postgres.address import Address
from headrace.engines.postgres.ledger import open_ledger
from headrace.errors import NameRefused, SettingsError
from headrace.settings import Settings


def test_all_that_an_address_says():
    read = Address.parse(
        "postgresql://ada@a:5433,b/shop?schema=orders&sslmode=verify-full&target_session_attrs=read-write"
    )
    assert read.schema == "orders"
    assert {name: read.parameters[name] for name in ("user", "host", "dbname", "sslmode", "target_session_attrs")} == {
        "user": "ada",
        "host": "a,b",
        "dbname": "shop",
        "sslmode": "verify-full",
        "target_session_attrs": "read-write",
    }
    assert "schema" not in read.parameters
    assert read.where == "PostgreSQL at a,b:5433,/shop, schema orders"


def test_what_an_address_may_leave_out():
    read = Address.parse("postgres:///shop")
    assert (read.schema, read.parameters["connect_timeout"]) == ("headrace", "5")
    assert read.where == "PostgreSQL at the local socket/shop, schema headrace"


def test_a_parameter_that_is_given_replaces_ours():
    assert Address.parse("postgresql://a/shop?connect_timeout=2").parameters["connect_timeout"] == "2"


def test_blanks_and_pluses_of_parameters_stay_what_they_are():
    read = Address.parse("postgresql://a/shop?options=-c%20work_mem%3D8MB&application_name=a+b%2Bc")
    assert read.parameters["options"] == "-c work_mem=8MB"
    assert read.parameters["application_name"] == "a+b+c"


@pytest.mark.parametrize(
    "uri",
    [
        "postgresql://ada:open-sesame@a/shop",
        "postgresql://user:open/sesame@a/shop",
        "postgresql://a/shop?password=open-sesame",
        "postgresql://a/shop?sslkey=k.pem&sslpassword=open-sesame",
        "postgresql://ada:open-sesame@a:no-port/shop?what=is",
    ],
)
def test_a_password_is_refused_and_not_told(uri):
    with pytest.raises(SettingsError, match="PGPASSWORD") as raised:
        open_ledger(Settings(root=None), uri)
    assert "sesame" not in str(raised.value)
    assert raised.value.__cause__ is None


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("postgresql://a/shop?retention=7", "retention"),
        ("postgresql://[::1/shop", "names no PostgreSQL database"),
        ("postgresql:ada:open-sesame@a", "two slashes"),
        (f"postgresql://a/shop?schema={'s' * 64}", "at most 63"),
    ],
)
def test_what_is_no_address_is_refused(uri, said):
    with pytest.raises(SettingsError, match=said):
        Address.parse(uri)


def test_a_schema_is_a_name():
    with pytest.raises(NameRefused):
        Address.parse("postgresql://a/shop?schema=a b")
