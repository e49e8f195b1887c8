"""Alerts of gateways that are gone."""

import json
import subprocess
import sys

import pytest

from headrace.engines.sqlite.ledger import SqliteLedger
from headrace.errors import Unavailable
from headrace.monitoring.alerts import KIND, alerts
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
