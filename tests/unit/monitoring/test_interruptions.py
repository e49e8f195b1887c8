"""Alerts about logs that cannot be written: one when it begins, one when it is over, whatever the ledger's disk does."""

import itertools
from dataclasses import dataclass

import pytest

from headrace.engines.sqlite.ledger import SqliteLedger
from headrace.errors import Unavailable
from headrace.monitoring.alerts import STILL, alerts
from headrace.monitoring.interruptions import Interruptions
from headrace.monitoring.left_open import LeftOpen
from headrace.serving.counters import EndpointCounters

FULL = "the disk is full"


@dataclass
class Log:
    """What is seen of a ``LogWriter``."""

    failed: int = 0
    trouble: str = ""
    reason: str = FULL


class FullLedger(SqliteLedger):
    """On a disk that is full for as long as it is said."""

    full = False

    def append(self, facts):
        if self.full:
            raise Unavailable("the ledger did not take the facts", why=FULL)
        return super().append(facts)


class Gateway:
    """Looks once for each moment, and does at once what it is given."""

    def __init__(self, folder, name=""):
        self.ledger, self.now, self.log = FullLedger(folder / "ledger.db"), 100.0, Log()
        self.exchange = self.behind = self.unfollowed = ""
        self.counters = EndpointCounters()
        self._looks = Interruptions(self.ledger, lambda task: task(), clock=lambda: self.now, gateway=name)

    def look(self, after_s=0.2):
        self.now += after_s
        troubles = [{"wine": said} for said in (self.exchange, self.behind)]
        self._looks.look({"wine": self.log}, *troubles, {"wine": self.counters}, {"wine": self.unfollowed})
        return [fact.body["message"] for fact in alerts(self.ledger, "wine")]


@pytest.fixture
def gateway(tmp_path):
    made = Gateway(tmp_path)
    yield made
    made.ledger.close()


def test_an_interruption_is_told_when_it_begins_and_when_it_is_over(gateway):
    gateway.log.failed = 7  # before anybody looked: told all the same
    assert gateway.look() == ["requests are answered without being logged: the disk is full"]
    gateway.look(10.0)
    gateway.log.trouble, gateway.log.failed = FULL, 10
    assert gateway.look()[2:] == [f"requests are answered without being logged: {FULL}"]
    gateway.log.failed = 50
    gateway.look(30.0)
    gateway.log.trouble = ""
    assert len(gateway.look(1.0)) == 3
    assert gateway.look(2.0)[3:] == ["requests are logged again after 30 s; 43 were answered and not logged"]
    assert len(gateway.look(60.0)) == 4
    facts = alerts(gateway.ledger, "wine")
    assert [(fact.body["about"], fact.body["over"]) for fact in facts] == [("log", False), ("log", True)] * 2
    assert facts[2].body["window"] == facts[3].body["window"]


def test_one_of_several_gateways_says_which_it_is(tmp_path):
    second = Gateway(tmp_path, "second")
    second.log.failed = 1
    assert second.look() == ["requests are answered without being logged: the disk is full (gateway second)"]
    second.ledger.close()


def test_a_log_that_comes_and_goes_is_one_interruption(gateway):
    for turn in range(50):
        gateway.log.trouble = FULL * (turn % 2)
        gateway.log.failed += turn % 2
        gateway.look()
    gateway.log.trouble = ""
    assert gateway.look(5.0) == [
        f"requests are answered without being logged: {FULL}",
        "requests are logged again after 10 s; 25 were answered and not logged",
    ]


def test_what_the_ledger_cannot_take_is_told_when_it_can(gateway):
    gateway.ledger.full, gateway.log.trouble = True, FULL
    assert gateway.look() == []
    gateway.log.trouble = ""
    assert gateway.look(5.0) == []
    gateway.ledger.full = False
    assert gateway.look(0.2) == []  # not at every look: a full disk is busy enough
    begins, ends = gateway.look(1.0)
    assert begins.endswith(FULL)
    assert ends.startswith("requests are logged again after 0 s")


def test_workers_that_do_not_keep_up_are_told_once_that_lasts(gateway):
    gateway.behind = "requests for wine@1 wait 0.9 s for workers"  # while they share them out anew
    assert gateway.look() == []
    gateway.behind = ""
    assert gateway.look(5.0) == []
    gateway.behind = "requests for wine@1 wait 1.2 s for workers"
    assert gateway.look() == []
    gateway.behind = "requests for wine@1 wait 2.1 s for workers"
    told = gateway.look(3.0)
    assert told == ["workers do not keep up: requests for wine@1 wait 2.1 s for workers"]
    gateway.behind = ""
    assert gateway.look(3.0)[-1] == "workers keep up again after 3 s"
    assert {fact.body["about"] for fact in alerts(gateway.ledger, "wine")} == {"workers"}


def test_an_exchange_that_takes_nothing_is_told_once_it_is_no_opening(gateway):
    gateway.exchange = "the exchange is being opened"
    assert gateway.look() == gateway.look(1.0) == []
    gateway.exchange = ""
    assert gateway.look(1.0) == gateway.look(5.0) == []
    gateway.exchange = "no broker answers"
    assert gateway.look() == []
    assert gateway.look(2.0) == ["workers are not asked, the gateway scores itself: no broker answers"]
    gateway.look(60.0)
    gateway.exchange = ""
    assert gateway.look(2.0)[1:] == ["workers are asked again after 62 s"]
    assert {fact.body["about"] for fact in alerts(gateway.ledger, "wine")} == {"exchange"}


def test_a_gateway_that_ends_says_so_of_what_goes_on(gateway):
    gateway.log.failed, gateway.log.trouble = 3, FULL
    gateway.look()
    gateway.exchange = "no broker answers"
    gateway.look(4.0)
    gateway.look(3.0)
    gateway.log.failed = 9
    gateway.look(1.0)
    gateway._looks.end()
    assert gateway.look(9.0)[2:4] == [
        "the gateway ended after 8 s of it; 9 requests were answered and not logged",
        "the gateway ended after 4 s of it",
    ]
    facts = alerts(gateway.ledger, "wine")
    assert [fact.body["over"] for fact in facts[:4]] == [False, False, True, True]
    assert [fact.unique + " over" for fact in facts[:2]] == [fact.unique for fact in facts[2:4]]


def test_only_of_what_was_told(gateway):
    gateway.exchange = "the exchange is being opened"
    gateway.look()
    gateway._looks.end()
    assert alerts(gateway.ledger, "wine") == []


def test_features_that_cannot_be_joined_are_told_once_until_they_can(gateway):
    assert gateway.look() == []
    gateway.counters.unjoined, gateway.counters.unjoined_why = 3, "features of cellars could not be joined: away"
    due = "requests are answered by the default: features of cellars could not be joined: away"
    assert gateway.look() == [due]
    gateway.counters.unjoined = 9
    assert gateway.look(1.0) == [due]
    assert gateway.look(1.0) == [due]
    assert gateway.look(2.0) == [due, "features are joined again after 1 s; 9 requests were answered by the default"]
    facts = alerts(gateway.ledger, "wine")
    assert [(fact.body["about"], fact.body["over"]) for fact in facts] == [("features", False), ("features", True)]
    assert len(gateway.look(60.0)) == 2


def test_a_ledger_that_is_away_is_told_of_once_it_is_back(gateway):
    gateway.unfollowed, gateway.ledger.full = "no route to host", True
    for _ in range(20):
        gateway.look(1.0)
    gateway.unfollowed, gateway.ledger.full = "", False
    for _ in range(3):
        said = gateway.look(1.0)
    assert said == ["deployments are not followed: no route to host", "deployments are followed again after 19 s"]


def test_a_ledger_that_breaks_is_told_again(gateway, monkeypatch):
    def broken(*_about, **_named):
        raise OSError("disk I/O error")

    gateway.log.failed, gateway.log.trouble = 7, FULL
    with monkeypatch.context() as disk:
        disk.setattr(gateway.ledger, "query", broken)
        with pytest.raises(OSError, match="disk"):
            gateway.look()
    assert len(gateway.look(60.0)) == 1


def test_others_hear_that_it_goes_on(gateway):
    gateway.log.failed, gateway.log.trouble = 7, FULL
    for _ in range(25):
        gateway.look(10.0)
    (alert,) = alerts(gateway.ledger, "wine")
    assert [fact.body for fact in gateway.ledger.query(STILL, "wine")] == [{"mark": alert.unique}]
    gateway.ledger.full = True
    for _ in range(13):
        gateway.look(10.0)
    gateway.ledger.full, gateway.log.trouble = False, ""
    for _ in range(26):
        gateway.look(10.0)
    assert len(gateway.ledger.query(STILL)) == 1  # nobody has to know of what is over


def heard_by_another(gateway, seconds):
    """What a gateway of another host says after so long."""
    times = itertools.count(0.0, 10.0)
    other = LeftOpen(gateway.ledger, lambda: next(times))
    for _ in range(0, seconds, 10):
        other.look()


def test_what_another_host_ended_too_early_is_open_again(gateway):
    gateway.log.failed, gateway.log.trouble, gateway.exchange = 7, FULL, "no broker answers"
    gateway.look()
    gateway.look(3.0)
    gateway.exchange = ""
    heard_by_another(gateway, 620)
    gateway.look(2.0)
    gateway.look(118.0)
    gateway.log.failed = 9
    alerted = gateway.look()
    begun, _, *ended, again = alerts(gateway.ledger, "wine")
    assert [fact.body["over"] for fact in ended] == [True, True]
    since = begun.body["window"]
    assert again.body["message"] == f"requests are answered without being logged: {FULL} (still, since {since})"
    assert (again.body["over"], again.body["window"]) == (False, since)
    assert gateway.look(240.0) == gateway.look(240.0) == alerted  # nobody ended that
    gateway.log.trouble = ""
    gateway.look(1.0)
    assert gateway.look(2.0)[-1].endswith("9 were answered and not logged")
    last = alerts(gateway.ledger, "wine")[-1]
    assert (last.unique, last.body["over"]) == (f"{again.unique} over", True)
