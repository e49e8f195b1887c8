"""Canaries in a gateway in a thread, with models that misbehave and a clock of their own."""

import time
from dataclasses import replace
from functools import partial
from itertools import pairwise

import pytest
from served import ROW, WINE, Held, constant, endpoint, gated, model, until

from headrace.delivery.canary import WAITED, Plan, begin
from headrace.delivery.deploy import deploy
from headrace.delivery.rollout import Rollouts
from headrace.delivery.traffic import NOBODY, prefer, split
from headrace.engines.sqlite.ledger import SqliteLedger
from headrace.errors import SettingsError
from headrace.models.version import ModelVersion
from headrace.monitoring.alerts import alerts
from headrace.serving.deployment import amend, current
from headrace.serving.ledger_source import LedgerSource
from headrace.serving.split import WHOLE
from headrace.storage.ledger import Fact

RULES = ("error_rate > 1%",)


def raises(batch):
    raise RuntimeError("no")


def slow(batch, lasts_s=0.003):
    over = time.monotonic() + lasts_s
    while time.monotonic() < over:
        pass
    return constant(2.0)(batch)


class Stage:
    """A canary of wine@2 beside wine@1, on a gateway that is looked at by hand."""

    def __init__(self, gate, ledger):
        self.gate, self.ledger = gate, ledger
        self.now = 1000.0
        self.written = []
        self.source = LedgerSource(ledger=ledger, files=None, runtime=None, moved=lambda *_: None)
        refused = self.source.refused_change
        self.rollouts = Rollouts(gate.plane, ledger, self.written.append, refused, lambda: self.now)

    def look(self):
        async def look():
            self.rollouts.look()

        self.gate.call(look())

    def write(self):
        """Do what the gateway wants written, and serve what stands then."""
        changes = self.written[:]
        self.written.clear()
        for change in changes:
            change()
        self.serve()

    def serve(self):
        async def flip():
            standing = current(self.ledger, "wine")
            self.gate.plane.flip(standing, {name: self.models[name] for name in standing.models.values()})

        self.gate.call(flip())

    def ask(self, count):
        return [self.gate.client.predict("wine", rows=[ROW]).winner for _ in range(count)]


@pytest.fixture
def staged(tmp_path):
    ledger = SqliteLedger(tmp_path / "ledger.db")
    for number in (1, 2):
        version = ModelVersion("wine", number, f"wine{number}", WINE, "python")
        ledger.append([Fact("model.version", "wine", version.to_json(), unique=str(version))])
    first = endpoint(("wine@1", 0.02))
    deploy(ledger, first)
    models = {"wine@1": model("wine@1", constant(1.0), fast=True)}
    with gated(tmp_path, first, models) as gate:
        stage = Stage(gate, ledger)

        def begun(candidate, *, fast=True, steps=("50%", "100%"), rules=RULES, least=20, champion=None):
            own = {"wine@1": model("wine@1", champion, fast=True)} if champion else models
            stage.models = {**own, "wine@2": model("wine@2", candidate, fast=fast)}
            begin(ledger, "wine", "wine@2", Plan(steps, 60.0, rules, least), NOBODY)
            stage.serve()
            stage.look()
            return stage

        yield begun
    ledger.close()


def test_a_candidate_that_fails_answers_nobody_any_more_before_the_ledger_says_so(staged):
    stage = staged(raises)
    stage.ask(30)
    stage.look()
    assert len(stage.written) == 1
    live = stage.gate.plane.live("wine")
    assert live.arms == []
    stage.look()
    assert len(stage.written) == 1  # it is being written
    stage.write()
    standing = current(stage.ledger, "wine")
    assert standing.endpoint == endpoint(("wine@1", 0.02))
    assert standing.why == "canary of wine@2 ended at 50 %: error_rate > 1%: 100%, of 30 requests"
    (alert,) = alerts(stage.ledger, "wine")
    assert (alert.body["about"], alert.body["message"]) == ("canary", standing.why)
    assert set(stage.ask(20)) == {"wine@1"}


def test_a_slow_candidate_is_compared_with_the_champion(staged):
    stage = staged(slow, fast=False, rules=("p50_ms > 1.5x champion",))
    stage.ask(40)
    stage.look()
    stage.write()
    assert "p50_ms > 1.5x champion" in current(stage.ledger, "wine").why


def test_an_equally_quick_candidate_is_not_slower_because_it_is_called_second(staged):
    """Models on the event loop are called one after the other: the second pays for the first, which finds caches cold."""
    stage = staged(constant(2.0), rules=("p50_ms > 1.2x champion", "p99_ms > 1.5x champion"))
    for _ in range(20):
        stage.ask(50)
        stage.look()
        assert stage.written == []


def test_a_quick_candidate_does_not_pay_for_the_champion_that_is_called_before_it(staged):
    stage = staged(constant(2.0), rules=("p50_ms > 0.5",), champion=partial(slow, lasts_s=0.001))
    stage.ask(60)
    stage.look()
    assert stage.written == []
    assert stage.gate.plane.counters["wine"].scorers["wine@1"].fine.quantile(0.5) >= 0.001


def test_a_candidate_that_the_machine_held_up_once_is_not_slower_ever_after(staged):
    """It leaves the event loop then, and waits for a thread until it was measured anew."""
    calls = []

    def held_up(batch):
        calls.append(1)
        return slow(batch, lasts_s=0.015 if len(calls) == 50 else 0.0)

    stage = staged(held_up, rules=("p50_ms > 3x champion",))
    for _ in range(20):
        stage.ask(20)
        stage.look()
        assert stage.written == []
    assert stage.gate.plane.live("wine").scorers[1].state == "thread"


def test_while_two_are_compared_each_is_called_first_as_often_as_the_other(staged):
    called = []

    def noted(name, batch):
        called.append(name)
        return constant(1.0)(batch)

    stage = staged(partial(noted, "candidate"), champion=partial(noted, "champion"))
    stage.ask(400)
    firsts = called[0::2]
    assert 140 < firsts.count("candidate") < 260
    assert (
        100 < sum(one != other for one, other in pairwise(firsts)) < 300
    )  # and not in turn: requests may come in pairs
    split(stage.ledger, "wine", WHOLE)
    stage.serve()
    stage.look()
    called.clear()
    stage.ask(10)
    assert called[0::2] == ["champion"] * 10  # otherwise scheduled ones come first


def test_the_tail_is_known_from_many_requests_only_and_waited_for(staged):
    stage = staged(constant(2.0), rules=("p99_ms > 1000x champion",))
    stage.ask(499)
    stage.now += 61
    stage.look()
    stage.write()
    assert current(stage.ledger, "wine").canary.step == 0
    assert [fact.body["why"] for fact in stage.ledger.query(WAITED, "wine")] == [
        "no step further yet: p99_ms > 1000x champion: not measured, no champion"
    ]
    stage.look()
    assert stage.written == []  # said once
    stage.ask(1)
    stage.look()
    stage.write()
    assert current(stage.ledger, "wine").canary.step == 1


def test_a_champion_without_a_number_neither_ends_a_canary_nor_lets_it_go_on(staged):
    stage = staged(constant(2.0), rules=("p50_ms > 1.5x champion",), champion=raises)
    stage.ask(40)
    stage.look()
    assert stage.written == []
    stage.now += 61
    stage.look()
    stage.write()
    standing = current(stage.ledger, "wine")
    assert standing.canary.step == 0
    (waited,) = stage.ledger.query(WAITED, "wine")
    assert waited.body["deployment"] == standing.seq
    assert "p50_ms > 1.5x champion: " in waited.body["why"]
    assert waited.body["why"].endswith(", no champion")


def test_a_good_candidate_goes_on_after_its_time_and_enough_requests(staged):
    stage = staged(constant(2.0))
    stage.ask(10)
    stage.now += 61
    stage.look()
    assert stage.written == []  # too few requests
    won = stage.ask(200)
    assert 60 < won.count("wine@2") < 140
    stage.look()
    stage.write()
    assert current(stage.ledger, "wine").canary.step == 1
    stage.look()
    assert set(stage.ask(30)) == {"wine@2"}
    stage.look()
    assert stage.written == []  # its time begins anew
    stage.now += 61
    stage.look()
    stage.write()
    assert current(stage.ledger, "wine").canary is None
    assert set(stage.ask(10)) == {"wine@2"}
    stage.look()
    assert stage.gate.plane.counters["wine"].scorers["wine@2"].fine is None


def test_how_far_a_canary_is_is_told_with_its_rules(staged):
    rules = ("error_rate > 1%", "p99_ms > 1000x champion", "p50_ms > 0.000001", "error_rate > 90%")
    stage = staged(raises, rules=rules)
    stage.ask(10)
    stage.now += 7
    stage.rollouts.look()
    told = stage.rollouts.told("wine")
    assert (told.candidate, told.step, told.shares, told.met, told.least) == ("wine@2", 1, (0.5, 1.0), 10, 20)
    assert (told.lasted_s, told.every_s) == (7.0, 60.0)
    assert [rule.state for rule in told.rules] == ["seems to hold", *["not known yet"] * 2, "may be luck"]
    stage.ask(40)
    stage.look()
    told = stage.rollouts.told("wine")
    assert [rule.said for rule in told.rules][::3] == ["error_rate > 1%: 100%", "error_rate > 90%: 100%"]
    assert told.rules[0].state == "holds"
    split(stage.ledger, "wine", WHOLE)
    stage.serve()
    assert stage.rollouts.told("wine") is None, "before the next look"


def test_few_requests_end_no_canary(staged):
    stage = staged(raises)
    stage.ask(19)
    stage.look()
    assert stage.written == []


def test_callers_who_go_end_no_canary(staged):
    """Thirty of them while the candidate has one request in hand: more than enough to be beyond luck."""
    held = Held()
    stage = staged(held, fast=False, least=1, steps=("100%",))

    async def ask(count, *, leave):
        plane, live = stage.gate.plane, stage.gate.plane.live("wine")
        given = live.decoder.of_records([ROW])
        asked = [plane.predict(live, given, lambda _: None) for _ in range(count)]
        if leave:
            for request in asked:
                request.cancel()

    stage.gate.call(ask(1, leave=False))
    until(lambda: held.seen)
    stage.gate.call(ask(30, leave=True))
    held.go.set()
    counters = stage.gate.plane.counters["wine"].scorers["wine@2"]
    until(lambda: counters.scored + counters.late)
    stage.look()
    assert (stage.written, counters.dropped["cancelled"]) == ([], 30)


def test_a_ledger_that_cannot_be_written_is_tried_again(staged):
    stage = staged(raises)
    stage.ask(30)
    stage.look()
    (change,) = stage.written
    stage.ledger.close()
    with pytest.raises(Exception, match="closed"):
        change()
    stage.written.clear()
    stage.look()
    assert stage.written == []
    stage.now += 6
    stage.look()
    assert len(stage.written) == 1
    assert set(stage.ask(5)) == {"wine@1"}  # the candidate stays out meanwhile


def test_requests_under_way_in_an_arm_are_not_lost_sight_of_when_the_canary_ends(staged):
    stage = staged(raises)
    stage.ask(30)
    live = stage.gate.plane.live("wine")
    live.arms[0].open += 1
    drawn = live.arms[0]
    stage.look()
    assert live.arms == []
    assert live.busy  # its models are not unloaded yet
    drawn.open -= 1
    assert not live.busy


@pytest.mark.parametrize(("error", "ends"), [(SettingsError("a bad file"), True), (OSError("no disk"), False)])
def test_a_candidate_that_was_refused_for_good_ends_its_canary(staged, error, ends):
    stage = staged(constant(2.0))
    begun = current(stage.ledger, "wine")
    stage.source.poll()
    stage.source.failed(stage.source.aspired("wine"), "wine@2", error)
    stage.look()
    stage.look()
    assert len(stage.written) == int(ends)  # once; what may be the machine's fault is tried again
    stage.write()
    standing = current(stage.ledger, "wine")
    if not ends:
        assert standing == begun
        return
    assert standing.why == "canary of wine@2 ended at 50 %: it cannot be served: a bad file"
    assert (standing.canary, standing.endpoint) == (None, endpoint(("wine@1", 0.02)))
    stage.source.poll()
    stage.now += 6
    stage.look()
    assert stage.written == []


def test_a_canary_that_cannot_be_followed_takes_no_gateway_down(staged, capfd):
    stage = staged(constant(2.0))
    amend(stage.ledger, "wine", lambda d: replace(d, canary=replace(d.canary, abort_if=("of_tomorrow > 1",))))
    stage.serve()
    stage.look()
    stage.ask(30)
    stage.look()
    stage.look()
    assert stage.written == []
    assert capfd.readouterr().err.count("the canary of endpoint wine cannot be followed") == 1


@pytest.mark.parametrize("ran", [True, False])
def test_a_version_that_took_over_and_is_refused_is_taken_back_by_who_served_before(staged, ran):
    stage = staged(constant(2.0))
    standing = split(stage.ledger, "wine", WHOLE)
    if ran:
        stage.source.poll()  # otherwise the gateway starts after the promotion, perhaps weeks later
    prefer(stage.ledger, "wine", "wine@2")
    stage.source.poll()
    stage.source.failed(stage.source.aspired("wine"), "wine@2", SettingsError("a bad file"))
    stage.look()
    stage.look()
    assert len(stage.written) == int(ran)
    stage.write()
    now = current(stage.ledger, "wine")
    if not ran:
        assert now.models[now.endpoint.schedule[0].model] == "wine@2"
        return
    assert (now.endpoint, now.models, now.restores) == (standing.endpoint, standing.models, standing.seq)
    assert (now.who, now.why) == ("gateway", "wine@2 did not take over: it cannot be served: a bad file")
    assert [alert.body["message"] for alert in alerts(stage.ledger, "wine")] == [now.why]
