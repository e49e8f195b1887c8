"""Alerts of gateways that are gone."""

import json
import subprocess
import sys

import pytest

from headrace.engines.sqlite.ledger import SqliteLedger
from headrace.errors import Unavailable
from headrace.monitoring.alerts import KIND, STILL, alerts
from headrace.monitoring.left_open import LeftOpen
from headrace.placement.processes import own_life
from headrace.storage.ledger import Fact

SAY = "import json; from headrace.placement.processes import own_life; print(json.dumps(own_life()))"


class FullLedger(SqliteLedger):
    """On a disk that is full for as long as it is said."""

    full = False

    def append(self, facts):
        if self.full:
            raise Unavailable("the ledger did not take the facts", why="the disk is full")
        return super().append(facts)


@pytest.fixture
def ledger(tmp_path):
    opened = FullLedger(tmp_path / "ledger.db")
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def dead():
    """The life of a process that has ended."""
    said = subprocess.run([sys.executable, "-c", SAY], capture_output=True, check=True).stdout
    return {**json.loads(said), "name": ""}


def opened(ledger, mark, by, about="log", **more):
    body = {"about": about, "window": "2026-11-01T00:00:00+00:00", "over": False, "message": "no disk", "by": by}
    ledger.append([Fact(KIND, "wine", body | more, unique=mark)])


def over(ledger):
    return [(fact.unique, fact.body["message"]) for fact in alerts(ledger) if fact.body.get("over")]


def test_what_a_dead_process_left_is_ended_once(ledger, dead):
    opened(ledger, "log wine 1", dead)
    opened(ledger, "exchange wine 2", {**dead, "name": "second"}, about="exchange")
    one, other = LeftOpen(ledger), LeftOpen(ledger)
    for looks in (one, other, one):
        looks.look()
    assert over(ledger) == [
        (
            "log wine 1 over",
            "requests were answered without being logged until the gateway was killed; nobody knows how many",
        ),
        ("exchange wine 2 over", "workers were not asked until the gateway was killed (gateway second)"),
    ]
    assert alerts(ledger)[2].body["window"] == "2026-11-01T00:00:00+00:00"


def test_what_goes_on_or_is_over_or_is_elsewhere_or_was_no_gateways_is_left(ledger, dead):
    opened(ledger, "log wine 1", {**own_life(), "name": ""})
    opened(ledger, "log wine 2", dead)
    opened(ledger, "log wine 2 over", dead, over=True)
    opened(ledger, "log wine 3", {**dead, "host": "another"})
    ledger.append([Fact(KIND, "wine", {"about": "drift", "message": "it moved"}, unique="drift wine")])
    before = over(ledger)
    LeftOpen(ledger).look()
    assert over(ledger) == before


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def looks(found, clock, seconds):
    """Look every ten seconds."""
    for _ in range(0, seconds, 10):
        clock.now += 10
        found.look()


def test_one_on_another_host_is_gone_when_it_says_nothing_any_more(ledger, dead):
    elsewhere, clock = {**dead, "host": "another"}, Clock()
    opened(ledger, "log wine 1", elsewhere)
    opened(ledger, "features wine 2", {**elsewhere, "name": "second"}, about="features")
    found = LeftOpen(ledger, clock)
    found.look()
    for _ in range(5):
        looks(found, clock, 120)
        ledger.append([Fact(STILL, "wine", {"mark": "log wine 1"})])
    looks(found, clock, 60)
    message = "requests were answered by the default until the gateway was not heard of any more; nobody knows how many"
    assert over(ledger) == [("features wine 2 over", f"{message} (gateway second)")]
    looks(found, clock, 600)
    assert [mark for mark, _ in over(ledger)] == ["features wine 2 over", "log wine 1 over"]


def test_who_could_not_look_for_a_while_begins_to_listen_anew(ledger, dead):
    clock = Clock()
    opened(ledger, "log wine 1", {**dead, "host": "another"})
    found = LeftOpen(ledger, clock)
    found.look()
    clock.now += 3600
    found.look()
    looks(found, clock, 590)
    assert over(ledger) == []
    looks(found, clock, 20)
    assert len(over(ledger)) == 1


@pytest.mark.parametrize("changed", [{"started": "1"}, {"boot": "before"}])
def test_another_process_that_has_got_its_number_does_not_keep_it_alive(ledger, changed):
    opened(ledger, "log wine 1", {**own_life(), "name": "", **changed})
    LeftOpen(ledger).look()
    assert len(over(ledger)) == 1


def test_a_ledger_that_takes_nothing_is_asked_again(ledger, dead):
    opened(ledger, "log wine 1", dead)
    looks, ledger.full = LeftOpen(ledger), True
    looks.look()
    assert over(ledger) == []
    ledger.full = False
    looks.look()
    assert len(over(ledger)) == 1
