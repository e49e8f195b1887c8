"""Kafka passes the stream suite on two brokers that share no code."""

import pytest
from both_brokers import OnNoida, OnTansu

from headrace.conformance.stream import StreamSuite
from headrace.engines.kafka.stream import open_stream

pytestmark = pytest.mark.service


class KafkaCases(StreamSuite):
    @pytest.fixture
    def stream(self, uri, hosts):
        return hosts(open_stream, uri)

    @pytest.fixture
    def other(self, uri, hosts):
        return hosts(open_stream, uri)


class TestNoida(OnNoida, KafkaCases):
    pass


class TestTansu(OnTansu, KafkaCases):
    forgets = False  # it drops the connection of whoever asks it to delete records
