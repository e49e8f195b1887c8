"""Messages in a topic of records that headrace did not write."""

import pytest
from confluent_kafka import Producer

from headrace.engines.kafka.stream import open_stream
from headrace.settings import Settings
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


@pytest.mark.parametrize("name", ["noida", "tansu"])
def test_they_are_passed_over(name, request, tmp_path):
    broker = request.getfixturevalue(name)
    uri = broker.uri()
    stream = open_stream(Settings(root=tmp_path), uri)
    first = stream.append("orders", [Record("a", b"1", 1)])
    producer = Producer({"bootstrap.servers": broker.address})
    for value in STRANGE:
        producer.produce(f"{uri.rpartition('/')[2]}.orders", value, partition=0)
    assert producer.flush(10) == 0
    last = stream.append("orders", [Record("b", b"2", 2), Record("a", b"3", 3)])
    assert [r.key for r in stream.read("orders")] == ["a", "b", "a"]
    assert [r.offset for r in stream.find("orders", "a")] == [first, last + 1]
    assert stream.find("orders", "hello") == []
    stream.close()
