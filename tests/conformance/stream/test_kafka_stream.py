"""Kafka passes the stream suite on two brokers that share no code."""

import pytest

from headrace.conformance.stream import StreamSuite
from headrace.engines.kafka.stream import open_stream
from headrace.settings import Settings

pytestmark = pytest.mark.service


class KafkaCases(StreamSuite):
    """The suite, on whatever ``broker`` is."""

    @pytest.fixture
    def uri(self, broker):
        return broker.uri()

    @pytest.fixture
    def stream(self, uri, tmp_path):
        opened = open_stream(Settings(root=tmp_path / "one"), uri)
        yield opened
        opened.close()

    @pytest.fixture
    def other(self, uri, tmp_path):
        """Another host: it shares the brokers and nothing else."""
        opened = open_stream(Settings(root=tmp_path / "two"), uri)
        yield opened
        opened.close()


class TestNoida(KafkaCases):
    @pytest.fixture
    def broker(self, noida):
        return noida


class TestTansu(KafkaCases):
    forgets = False  # it drops the connection of whoever asks it to delete records

    @pytest.fixture
    def broker(self, tansu):
        return tansu
