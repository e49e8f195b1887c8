"""The exchange that unit tests use does what the real ones do."""

import pytest
from memory_exchange import MemoryExchange

from headrace.conformance.exchange import ExchangeSuite


class TestMemoryExchange(ExchangeSuite):
    @pytest.fixture
    def exchange(self):
        return MemoryExchange()

    @pytest.fixture
    def other(self, exchange):
        return exchange.other()
