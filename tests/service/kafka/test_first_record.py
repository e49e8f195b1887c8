"""The first record of a process: a producer gets its number by then."""

import time

import pytest
from both_brokers import OnNoida, OnTansu

from headrace.engines.kafka.stream import open_stream
from headrace.storage.stream import Record

pytestmark = pytest.mark.service

AT_ONCE_S = 0.3
"""Without that the client library waits for half a second at least, at each of its first steps."""


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


class TestNoida(OnNoida, FirstRecord):
    pass


class TestTansu(OnTansu, FirstRecord):
    pass
