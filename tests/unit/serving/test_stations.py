"""What a worker process says of itself."""

import threading

import pytest
from memory_exchange import MemoryExchange
from served import until

from headrace.engines.sqlite.ledger import SqliteLedger
from headrace.errors import Unavailable
from headrace.serving import stations as stations_module
from headrace.serving.desk import answers
from headrace.serving.exchange import Present
from headrace.serving.stations import Stations


class HangingLedger(SqliteLedger):
    """Does not answer while it is told so."""

    def __init__(self, path):
        super().__init__(path)
        self.answers, self.asked = threading.Event(), 0
        self.answers.set()

    def query(self, *asked, **how):
        self.asked += 1
        if not self.answers.wait(30):
            raise Unavailable("the ledger is away")
        return super().query(*asked, **how)


@pytest.fixture
def exchange():
    return MemoryExchange()


@pytest.fixture
def stations(exchange, tmp_path, monkeypatch):
    monkeypatch.setattr(stations_module, "_ANNOUNCE_S", 0.0)
    ledger = HangingLedger(tmp_path / "ledger.db")
    made = Stations("wine", ledger=ledger, load=pytest.fail, exchange=exchange, worker="w")
    made.ledger = ledger
    yield made
    ledger.close()


def test_it_says_that_it_is_there(exchange, stations):
    heard = []
    exchange.listen("wine", heard.extend)
    stations.announce()
    assert [answers.decode(message) for message in heard] == [Present("w", {})]


def test_that_nobody_hears_it_is_said_once_and_that_they_do_again(exchange, stations, capsys):
    stations.announce()
    exchange.trouble = "no broker"
    for _ in range(3):
        stations.announce()
    said = capsys.readouterr().err.splitlines()
    assert said == ["wine: front doors do not hear that it is there: the exchange is away - no broker"]
    exchange.trouble = ""
    for _ in range(3):
        stations.announce()
    assert capsys.readouterr().err.splitlines() == ["wine: front doors hear it again"]


def test_while_the_ledger_does_not_answer_it_goes_on_saying_that_it_is_there(exchange, stations):
    heard, stop = [], threading.Event()
    exchange.listen("wine", heard.extend)
    stations.ledger.answers.clear()
    running = threading.Thread(target=stations.run, args=(stop,))
    running.start()
    until(lambda: stations.ledger.asked and len(heard) >= 3)
    assert stations.ledger.asked == 1
    stations.ledger.answers.set()
    stop.set()
    running.join()
    assert answers.decode(heard[-1]).leaving
