"""What a worker process says of itself."""

import pytest
from memory_exchange import MemoryExchange

from headrace.engines.sqlite.ledger import SqliteLedger
from headrace.serving import stations as stations_module
from headrace.serving.desk import answers
from headrace.serving.exchange import Present
from headrace.serving.stations import Stations


@pytest.fixture
def exchange():
    return MemoryExchange()


@pytest.fixture
def stations(exchange, tmp_path, monkeypatch):
    monkeypatch.setattr(stations_module, "_ANNOUNCE_S", 0.0)
    ledger = SqliteLedger(tmp_path / "ledger.db")
    yield Stations("wine", ledger=ledger, load=pytest.fail, exchange=exchange, worker="w")
    ledger.close()


def test_it_says_that_it_is_there(exchange, stations):
    heard = []
    exchange.listen("wine", heard.extend)
    stations.look()
    assert [answers.decode(message) for message in heard] == [Present("w", {})]


def test_that_nobody_hears_it_is_said_once_and_that_they_do_again(exchange, stations, capsys):
    stations.look()
    exchange.trouble = "no broker"
    for _ in range(3):
        stations.look()
    said = capsys.readouterr().err.splitlines()
    assert said == ["wine: front doors do not hear that it is there: the exchange is away - no broker"]
    exchange.trouble = ""
    for _ in range(3):
        stations.look()
    assert capsys.readouterr().err.splitlines() == ["wine: front doors hear it again"]
