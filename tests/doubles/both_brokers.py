"""Suites on two brokers of the Kafka protocol that share no code: mixed into their classes."""

import pytest


class OnNoida:
    @pytest.fixture
    def uri(self, noida):
        return noida.uri()


class OnTansu:
    @pytest.fixture
    def uri(self, tansu):
        return tansu.uri()
