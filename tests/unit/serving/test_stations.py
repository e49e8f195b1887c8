"""What a worker process says of itself."""

import threading

import pytest
from memory_exchange import MemoryExchange
from served import endpoint, linear, model, until

from headrace.engines.sqlite.ledger import SqliteLedger
from headrace.errors import Unavailable
from headrace.serving import stations as stations_module
from headrace.serving.deployment import KIND, Deployment
from headrace.serving.desk import answers
from headrace.serving.exchange import Present
from headrace.serving.stations import Stations
from headrace.storage.ledger import Fact


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


def deploy(ledger, *versions):
    """One deployment that names them all."""
    made = Deployment(endpoint(*((version, 0.01) for version in versions)), {version: version for version in versions})
    for version in versions:
        name, _, number = version.partition("@")
        about = model(version, linear).version.to_json()
        ledger.append([Fact("model.version", name, {**about, "version": int(number)}, unique=version)])
    ledger.append([Fact(KIND, "wine", made.to_json())])


def ended(prefix):
    """Wait for the threads of that name."""
    for thread in threading.enumerate():
        if thread.name.startswith(prefix):
            thread.join(10)
            assert not thread.is_alive()


def test_nothing_is_loaded_once_it_was_told_to_stop(exchange, stations, monkeypatch):
    monkeypatch.setattr(stations_module, "_STOP_S", 0.01)
    loaded, stop = [], threading.Event()
    stations._load_model = loaded.append
    deploy(stations.ledger, "wine@1")
    stations.ledger.answers.clear()
    running = threading.Thread(target=stations.run, args=(stop,))
    running.start()
    until(lambda: stations.ledger.asked)
    stop.set()
    running.join(10)
    assert not running.is_alive()
    stations.ledger.answers.set()
    ended("ledger")
    ended("load ")
    assert loaded == []


def test_a_model_that_is_loaded_after_it_was_told_to_stop_is_unloaded(exchange, stations, monkeypatch):
    monkeypatch.setattr(stations_module, "_STOP_S", 0.01)
    begun, go_on, closed, stop = threading.Event(), threading.Event(), threading.Event(), threading.Event()
    made = model("wine@1", linear)
    monkeypatch.setattr(made.loaded, "close", closed.set)

    def slow(_version):
        begun.set()
        assert go_on.wait(10)
        return made

    stations._load_model = slow
    deploy(stations.ledger, "wine@1")
    running = threading.Thread(target=stations.run, args=(stop,))
    running.start()
    assert begun.wait(10)
    stop.set()
    running.join(10)
    assert not running.is_alive()
    go_on.set()
    ended("load ")
    assert closed.is_set()
    assert stations.versions == {"wine@1": "it is being loaded"}


def test_what_other_deployed_versions_take_is_known_without_the_ledger(stations):
    deploy(stations.ledger, "wine@1", "wine@2")
    stations._load_model = lambda version: model(version, linear)
    stations.look()
    ended("load ")
    asked = stations.ledger.asked
    found = stations._projections(model("wine@1", linear))
    assert found("wine@2", "") is None  # the same columns
    assert stations.ledger.asked == asked
    stations._said = "the ledger is away"
    with pytest.raises(Unavailable, match="what wine@7 takes is not known"):
        found("wine@7", "")
    assert stations.ledger.asked == asked
    for kept in stations._kept.values():
        stations._unload(kept)
