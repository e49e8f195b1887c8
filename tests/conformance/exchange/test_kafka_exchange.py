"""Kafka passes the exchange suite on two brokers that share no code."""

import pytest
from both_brokers import OnNoida, OnTansu

from headrace.conformance.exchange import ExchangeSuite, Heard, until
from headrace.engines.kafka import exchange as module
from headrace.engines.kafka.exchange import open_exchange

pytestmark = pytest.mark.service


class KafkaCases(ExchangeSuite):
    @pytest.fixture
    def exchange(self, uri, hosts):
        return hosts(open_exchange, uri)

    @pytest.fixture
    def other(self, uri, hosts):
        return hosts(open_exchange, uri)

    def test_front_doors_that_drew_the_same_partition_hear_their_own_answers_only(self, uri, hosts, monkeypatch):
        monkeypatch.setattr(module, "ANSWERS", 2)  # for announcements, and for answers to all
        exchange, other = hosts(open_exchange, uri), hosts(open_exchange, uri)
        first, second = Heard(exchange), Heard(other)
        assert first.address % 2 == second.address % 2 == 1
        exchange.tell("late", b"for the second", second.address)
        other.tell("late", b"for the first", first.address)
        exchange.tell("late", b"for both")
        until(lambda: len(first.messages) == len(second.messages) == 2)
        assert (sorted(first.messages), sorted(second.messages)) == (
            [b"for both", b"for the first"],
            [b"for both", b"for the second"],
        )


class TestNoida(OnNoida, KafkaCases):
    pass


class TestTansu(OnTansu, KafkaCases):
    counts = False  # it reports another end than there is
