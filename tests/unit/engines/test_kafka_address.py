import pytest

from headrace.engines.kafka.address import Address
from headrace.errors import NameRefused, SettingsError


def test_all_that_an_address_says():
    read = Address.parse("kafka://a:9092,b:9093/shop?replicas=3&security.protocol=SASL_SSL&sasl.username=ada")
    assert (read.brokers, read.prefix, read.replicas) == ("a:9092,b:9093", "shop", 3)
    properties = read.properties(acks="all")
    assert properties["bootstrap.servers"] == "a:9092,b:9093"
    assert (properties["security.protocol"], properties["sasl.username"]) == ("SASL_SSL", "ada")
    assert properties["acks"] == "all"


def test_what_an_address_may_leave_out():
    read = Address.parse("kafka://broker:9092")
    assert (read.prefix, read.replicas) == ("headrace", -1)


def test_the_password_comes_from_the_environment_alone(monkeypatch):
    monkeypatch.setenv("HEADRACE_KAFKA_PASSWORD", "secret")
    read = Address.parse("kafka://broker:9092?sasl.username=ada")
    assert read.properties()["sasl.password"] == "secret"
    assert "secret" not in repr(read)
    monkeypatch.delenv("HEADRACE_KAFKA_PASSWORD")
    assert "sasl.password" not in read.properties()


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("kafka:///shop", "no broker is named"),
        ("kafka://broker:9092?retention=7", "'retention' is not one of"),
        ("kafka://broker:9092?sasl.password=x", "'sasl.password' is not one of"),
        ("kafka://broker:9092?replicas=0", "a number from 1"),
        ("kafka://broker:9092?replicas=many", "a number from 1"),
        ("kafka://ada:secret@broker:9092", "a user does not belong"),
    ],
)
def test_what_is_no_address_is_refused_with_an_example(uri, said):
    with pytest.raises(SettingsError, match=said) as refused:
        Address.parse(uri)
    assert "secret" not in str(refused.value)


def test_topics_get_names_that_are_names():
    with pytest.raises(NameRefused):
        Address.parse("kafka://broker:9092/../shop")
