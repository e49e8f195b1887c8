"""Messages in a topic of records that headrace did not write."""

import pytest
from both_brokers import OnNoida, OnTansu
from confluent_kafka import Producer

from headrace.engines.kafka.address import Address
from headrace.engines.kafka.stream import open_stream
from headrace.storage.stream import Record

pytestmark = pytest.mark.service

STRANGE = (
    b"",
    b"hello",
    b'{"key": "a"}',
    b"\x92\xa1p\xc4\x00",
    b"\x92\xa1j\x91\x00",
    b"\x92\xa1j\x91\xcd\xff\xff",
    b"\x92\xa1j\x90",
)
"""The last four look like ours: a part of nothing, and batches whose parts are no parts, are not there, or are none."""


class Strangers:
    def test_they_are_passed_over(self, uri, hosts):
        stream, address = hosts(open_stream, uri), Address.parse(uri)
        first = stream.append("orders", [Record("a", b"1", 1)])
        producer = Producer(address.properties())
        for value in STRANGE:
            producer.produce(f"{address.prefix}.orders", value, partition=0)
        assert producer.flush(10) == 0
        last = stream.append("orders", [Record("b", b"2", 2), Record("a", b"3", 3)])
        assert [r.key for r in stream.read("orders")] == ["a", "b", "a"]
        assert [r.offset for r in stream.find("orders", "a")] == [first, last + 1]
        assert stream.find("orders", "hello") == []


class TestNoida(OnNoida, Strangers):
    pass


class TestTansu(OnTansu, Strangers):
    pass
