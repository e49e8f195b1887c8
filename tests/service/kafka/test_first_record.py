"""The first record of a process, and the first that it looks up: clients connect by then."""

import time

import pytest
from both_brokers import OnNoida, OnTansu

from headrace.engines.kafka.stream import open_stream
from headrace.storage.stream import Record

pytestmark = pytest.mark.service

AT_ONCE_S = 0.3
"""Without that the client library waits for half a second at least, at each of its first steps."""
FOUND_S = 0.05
"""By itself it waits as long before its second connection."""


class FirstRecord:
    def test_it_does_not_wait_once_the_topic_is_ready(self, uri, hosts, figure):
        taken = []
        for _ in range(3):  # one of them meets a calm machine
            stream = hosts(open_stream, uri)
            stream.append("orders", [])
            begun = time.monotonic()
            stream.append("orders", [Record("a", b"1", 1)])
            taken.append(time.monotonic() - begun)
        figure("first record on Kafka, ms", min(taken) * 1000)
        assert min(taken) < AT_ONCE_S

    def test_it_is_found_at_once_where_topics_are_asked_that_are_not_there(self, uri, hosts, figure):
        hosts(open_stream, uri).append("orders", [Record("a", b"1", 1)])
        taken = []
        for _ in range(5):
            stream = hosts(open_stream, uri)
            begun = time.monotonic()
            assert [len(stream.find(topic, "a")) for topic in ("bills", "letters", "orders")] == [0, 0, 1]
            taken.append(time.monotonic() - begun)
        figure("first record looked up on Kafka, ms", min(taken) * 1000)
        assert min(taken) < FOUND_S


class TestNoida(OnNoida, FirstRecord):
    pass


class TestTansu(OnTansu, FirstRecord):
    pass
