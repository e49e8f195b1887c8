"""Kafka passes the exchange suite on two brokers that share no code."""

import pytest

from headrace.conformance.exchange import ExchangeSuite
from headrace.engines.kafka.exchange import open_exchange
from headrace.settings import Settings

pytestmark = pytest.mark.service


class KafkaCases(ExchangeSuite):
    """The suite, on whatever ``broker`` is."""

    @pytest.fixture
    def uri(self, broker):
        return broker.uri()

    @pytest.fixture
    def exchange(self, uri, tmp_path):
        opened = open_exchange(Settings(root=tmp_path), uri)
        yield opened
        opened.close()

    @pytest.fixture
    def other(self, uri, tmp_path):
        """Another host: it shares the brokers and nothing else."""
        opened = open_exchange(Settings(root=tmp_path), uri)
        yield opened
        opened.close()


class TestNoida(KafkaCases):
    @pytest.fixture
    def broker(self, noida):
        return noida


class TestTansu(KafkaCases):
    counts = False  # it reports another end than there is

    @pytest.fixture
    def broker(self, tansu):
        return tansu
