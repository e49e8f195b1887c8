import pytest
from confluent_kafka import KafkaError

from headrace.engines.kafka.address import Address
from headrace.engines.kafka.writing import Writer
from headrace.errors import SettingsError, Unauthorized, Unavailable


@pytest.fixture
def writer():
    made = Writer(Address.parse("kafka://127.0.0.1:1"))
    yield made
    made.close()


def refused(writer, code, *, fatal=False):
    """The producer, once a broker has answered one of its messages so; and what the caller is told."""
    producer = writer._outlet.producer()
    return producer, writer._failed(producer, KafkaError(code, "said so", fatal), "broker topic")


@pytest.mark.parametrize(
    "code",
    [
        KafkaError.INVALID_PRODUCER_EPOCH,
        KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER,
        KafkaError.PRODUCER_FENCED,
        KafkaError.UNKNOWN_PRODUCER_ID,
    ],
)
def test_a_producer_that_the_broker_takes_for_another_is_replaced(writer, code):
    producer, told = refused(writer, code)
    assert isinstance(told, Unavailable)
    assert writer._outlet.producer() is not producer


def test_one_that_can_never_write_again_is_replaced(writer):
    producer, _ = refused(writer, KafkaError.NOT_LEADER_FOR_PARTITION, fatal=True)
    assert writer._outlet.producer() is not producer


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (KafkaError.NOT_ENOUGH_REPLICAS, Unavailable),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, Unauthorized),
        (KafkaError.MSG_SIZE_TOO_LARGE, SettingsError),
    ],
)
def test_any_other_goes_on(writer, code, kind):
    producer, told = refused(writer, code)
    assert type(told) is kind
    assert writer._outlet.producer() is producer


def test_once_nobody_answered_in_time_nobody_waits(writer):
    refused(writer, KafkaError._MSG_TIMED_OUT)
    with pytest.raises(Unavailable, match="no broker answers since 0 s"):
        writer.send("topic", [b"message"])
    with pytest.raises(Unavailable, match="no broker answers"), writer.reaching("topic"):
        pytest.fail("asked all the same")
