"""Kafka passes the exchange suite on two brokers that share no code."""

import pytest
from both_brokers import OnNoida, OnTansu

from headrace.conformance.exchange import ExchangeSuite
from headrace.engines.kafka.exchange import open_exchange

pytestmark = pytest.mark.service


class KafkaCases(ExchangeSuite):
    @pytest.fixture
    def exchange(self, uri, hosts):
        return hosts(open_exchange, uri)

    @pytest.fixture
    def other(self, uri, hosts):
        return hosts(open_exchange, uri)


class TestNoida(OnNoida, KafkaCases):
    pass


class TestTansu(OnTansu, KafkaCases):
    counts = False  # it reports another end than there is
