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


@pytest.mark.parametrize("which", ["before", "after"])
def test_of_two_that_begin_at_once_one_raises_it(tmp_path, which):
    class Meanwhile(SqliteLedger):
        """One to which another gateway writes just before, or just after, the first append of ours."""

        begun = False

        def append(self, facts):
            first, self.begun = not self.begun, True
            if first and which == "before":
                masked_with(self, b"other")
            appended = super().append(facts)
            if first and which == "after":
                masked_with(self, b"other")
            return appended

    ledger = Meanwhile(tmp_path / "ledger.db")
    masked_with(ledger, b"one")
    assert len(ledger.query(KIND)) == 2
    assert len(alerts(ledger)) == 1
    ledger.close()


def test_a_ledger_that_is_away_stops_nobody():
    class Away:
        def query(self, kind):
            raise Unavailable("the ledger is away")

    masked_with(Away(), b"one")
