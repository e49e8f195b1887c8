"""A canary over two gateways of one project, each a process of its own."""

import time

import pytest
from server_process import serving, until
from wine_project import ROW, WineProject, asking

from headrace.delivery.canary import GATEWAY, Plan, begin
from headrace.delivery.traffic import NOBODY
from headrace.models.aliases import Move, aliases, move
from headrace.monitoring.alerts import alerts
from headrace.serving.deployment import current, history

NEVER = 3600.0


@pytest.fixture
def project(tmp_path):
    opened = WineProject(tmp_path)
    for bias in (0.5, 0.7):
        opened.register(bias)
    move(opened.platform.ledger(), "wine", Move("champion", 1))
    opened.deploy("wine@champion", deadline_s=5.0)
    yield opened
    opened.close()


@pytest.fixture
def two(project):
    with serving(project.root) as first, serving(project.root) as second:
        yield first, second


def canary(project, *, every_s, rules=(), steps=("50%", "100%"), key="", least=20):
    return begin(project.platform.ledger(), "wine", "wine@2", Plan(steps, every_s, rules, least, key), NOBODY)


def winner(server, **headers):
    return server.client.predict("wine", rows=[ROW], headers=headers).winner


def follows(server, *, candidate="wine@2"):
    """Wait until the gateway has loaded the candidate and draws it."""
    until(lambda: winner(server) == candidate)


def steps(project):
    return [
        (d.who == GATEWAY, d.canary.share if d.canary else None) for d in history(project.platform.ledger(), "wine")
    ]


@pytest.mark.slow
def test_both_give_the_share_and_a_key_meets_the_same_model_on_either(project, two):
    canary(project, every_s=NEVER, key="x-customer")
    for server in two:
        until(lambda server=server: winner(server, **{"x-customer": "0"}) is not None and "wine@2" in drawn(server))
    first, second = (drawn(server) for server in two)
    assert first == second
    assert 25 < first.count("wine@2") < 75


def drawn(server):
    return [winner(server, **{"x-customer": str(n)}) for n in range(100)]


@pytest.mark.slow
def test_each_step_is_taken_once_and_the_candidate_takes_over_on_both(project, two):
    ledger = project.platform.ledger()
    canary(project, every_s=1.0, rules=("error_rate > 1%",))
    with asking(two[0].client) as one, asking(two[1].client) as other:
        until(lambda: current(ledger, "wine").canary is None)
        for winners in (one, other):
            until(lambda winners=winners: winners[-1] == "wine@2")
    assert steps(project)[1:] == [(False, 0.5), (True, 1.0), (True, None)]
    assert aliases(ledger, "wine")["champion"] == 2
    assert set(one) == set(other) == {"wine@1", "wine@2"}  # no error among them


@pytest.mark.slow
def test_one_that_sees_a_rule_hold_ends_it_for_the_other_that_has_seen_nothing(project, two):
    ledger, (busy, idle) = project.platform.ledger(), two
    canary(project, every_s=NEVER, rules=("p50_ms > 0.00001",), steps=("100%",))
    follows(idle)
    with asking(busy.client) as winners:
        until(lambda: current(ledger, "wine").canary is None)
        until(lambda: winners[-1] == "wine@1")
    standing = current(ledger, "wine")
    assert standing.who == GATEWAY
    assert standing.why.startswith("canary of wine@2 ended at 100 %: p50_ms > 0.00001: ")
    until(lambda: winner(idle) == "wine@1")
    assert {winner(idle) for _ in range(30)} == {"wine@1"}
    assert steps(project)[1:] == [(False, 1.0), (True, None)]
    assert [alert.body["message"] for alert in alerts(ledger, "wine")] == [standing.why]


@pytest.mark.slow
def test_one_that_is_killed_leaves_the_other_to_go_on(project, two):
    ledger, (killed, left) = project.platform.ledger(), two
    canary(project, every_s=1.0)
    follows(killed)
    killed.process.kill()
    killed.process.wait()
    with asking(left.client):
        until(lambda: current(ledger, "wine").canary is None)
    assert steps(project)[1:] == [(False, 0.5), (True, 1.0), (True, None)]


@pytest.mark.slow
def test_while_none_runs_the_share_stays_and_one_that_starts_goes_on_from_there(project):
    """Its time begins anew: how the candidate did before, nobody remembers."""
    ledger, every_s = project.platform.ledger(), 3.0
    with serving(project.root) as server:
        canary(project, every_s=every_s, steps=("50%", "75%", "100%"))
        with asking(server.client):
            until(lambda: current(ledger, "wine").canary.step == 1)
        server.process.kill()
        server.process.wait()
    frozen, killed = current(ledger, "wine"), time.monotonic()
    until(lambda: time.monotonic() - killed > every_s)  # what would have been the end of the step
    assert current(ledger, "wine") == frozen
    begun = time.monotonic()
    with serving(project.root) as server:
        won = [winner(server) for _ in range(60)]
        assert 30 < won.count("wine@2") < 58
        assert current(ledger, "wine") == frozen
        with asking(server.client):
            until(lambda: current(ledger, "wine").canary.step == 2)
            assert time.monotonic() - begun >= every_s
            until(lambda: current(ledger, "wine").canary is None)
    assert steps(project)[1:] == [(False, 0.5), (True, 0.75), (True, 1.0), (True, None)]
