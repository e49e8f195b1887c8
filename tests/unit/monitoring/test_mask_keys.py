"""Gateways on several hosts that mask one log."""

import socket

import pytest

from headrace.engines.sqlite.ledger import SqliteLedger
from headrace.errors import Unavailable
from headrace.monitoring.alerts import alerts
from headrace.monitoring.mask_keys import KIND, masked_with


@pytest.fixture
def ledger(tmp_path):
    opened = SqliteLedger(tmp_path / "ledger.db")
    yield opened
    opened.close()


def test_one_key_raises_no_alert_and_the_key_is_not_told(ledger):
    for _ in range(2):
        masked_with(ledger, b"secret")
    (fact,) = ledger.query(KIND)
    assert fact.body["host"] == socket.gethostname()
    assert "secret" not in str(fact.body)
    assert alerts(ledger) == []


def test_another_key_raises_one(ledger, monkeypatch):
    monkeypatch.setattr(socket, "gethostname", lambda: "first")
    masked_with(ledger, b"one")
    monkeypatch.setattr(socket, "gethostname", lambda: "second")
    for _ in range(2):
        masked_with(ledger, b"other")
    (alert,) = alerts(ledger)
    assert alert.body["message"].startswith(
        "columns of request logs are masked with another key on second than on first: equal cells have unequal hashes"
    )


def test_a_ledger_that_is_away_stops_nobody():
    class Away:
        def query(self, kind):
            raise Unavailable("the ledger is away")

    masked_with(Away(), b"one")
