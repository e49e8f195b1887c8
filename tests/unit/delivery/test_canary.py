from dataclasses import replace

import pytest

from headrace.delivery.canary import GATEWAY, Plan, abort, begin, further, refuse
from headrace.delivery.deploy import Allowed, deploy
from headrace.delivery.promotion import promote
from headrace.delivery.requirements import Requirements
from headrace.delivery.rollback import rollback
from headrace.delivery.traffic import NOBODY, split
from headrace.engines.sqlite.ledger import SqliteLedger
from headrace.errors import GateFailed, NotFound, SettingsError, SignatureError, UsageError
from headrace.models.aliases import Move, aliases
from headrace.models.signature import Column, Signature
from headrace.models.version import ModelVersion
from headrace.serving.deployment import current, history
from headrace.serving.endpoint import Endpoint, Preference
from headrace.serving.split import WHOLE, Split
from headrace.storage.ledger import Fact

PLAN = Plan(("5%", "25%", "100%"), 600.0, ("error_rate > 1%",), key="x-customer")


def signature(*names):
    return Signature("table", tuple(Column(n, "float64") for n in names), (Column("good", "float32"),))


@pytest.fixture
def ledger(tmp_path):
    opened = SqliteLedger(tmp_path / "ledger.db")
    for number, columns in ((1, "ab"), (2, "ab"), (3, "abc")):
        version = ModelVersion("good", number, f"good{number}", signature(*columns), "onnx")
        opened.append([Fact("model.version", "good", version.to_json(), unique=str(version))])
    promote(opened, "good@1", Move("champion", 0))
    promote(opened, "good@2", Move("challenger", 0))
    deploy(opened, Endpoint("good", (Preference("good@champion", 0.02),), 0.05, {"good": 0.5}))
    yield opened
    opened.close()


def preferred(deployment):
    return [deployment.models[p.model] for p in deployment.endpoint.schedule]


def test_a_canary_that_goes_through(ledger):
    before = current(ledger, "good")
    made = begin(ledger, "good", "good@challenger", PLAN, NOBODY)
    seen = [made]
    while seen[-1].canary is not None:
        seen.append(further(ledger, seen[-1]))
    assert [d.endpoint.split for d in seen] == [
        *(Split({"good@challenger": part}, "x-customer") for part in (0.05, 0.25, 1.0)),
        WHOLE,
    ]
    assert [preferred(d) for d in seen] == [["good@1", "good@2"]] * 3 + [["good@2"]]
    assert made.canary.before == before.seq
    assert seen[-1].endpoint == before.endpoint
    assert aliases(ledger, "good")["champion"] == 2
    assert history(ledger, "good") == [before, *seen]  # the timeline
    assert seen[1].who == GATEWAY
    assert seen[1].why == "canary of good@2: 25 %, step 2 of 3"
    assert preferred(rollback(ledger, "good", before.seq)) == ["good@1"]


def test_a_canary_that_is_ended(ledger):
    before = current(ledger, "good")
    made = further(ledger, begin(ledger, "good", "good@2", PLAN, NOBODY))
    ended = abort(ledger, made, "error_rate > 1%: 0.5")
    assert (ended.endpoint, ended.models, ended.restores) == (before.endpoint, before.models, before.seq)
    assert ended.why == "canary of good@2 ended at 25 %: error_rate > 1%: 0.5"
    assert ended.canary is None
    assert aliases(ledger, "good")["champion"] == 1


def test_gateways_that_come_too_late_change_nothing(ledger):
    made = begin(ledger, "good", "good@2", PLAN, NOBODY)
    once = further(ledger, made)
    assert further(ledger, made) == once
    assert abort(ledger, made, "late") == once
    by_hand = split(ledger, "good", WHOLE)
    assert by_hand.canary is None
    assert further(ledger, once) == by_hand


def test_a_gateway_that_finishes_too_late_moves_no_alias(ledger):
    made = begin(ledger, "good", "good@2", PLAN, NOBODY)
    last = further(ledger, further(ledger, made))
    by_hand = split(ledger, "good", WHOLE)
    assert further(ledger, last) == by_hand
    assert aliases(ledger, "good")["champion"] == 1


@pytest.mark.parametrize("steps", [0, 1, 2, 3])
def test_a_rollback_goes_back_to_before_the_canary(ledger, steps):
    before = current(ledger, "good")
    made = begin(ledger, "good", "good@2", PLAN, NOBODY)
    for _ in range(steps):
        made = further(ledger, made)
    back = rollback(ledger, "good")
    assert (back.endpoint, back.models, back.restores) == (before.endpoint, before.models, before.seq)
    assert aliases(ledger, "good")["champion"] == 1


def test_an_alias_that_moved_on_is_no_way_round_the_canary(ledger):
    promote(ledger, "good@2", Move("champion", 0))
    made = begin(ledger, "good", "good@champion", PLAN, NOBODY)
    assert preferred(made) == ["good@1", "good@2"]
    assert made.endpoint.split.shares == {"good@2": 0.05}


def test_a_shadow_becomes_the_candidate(ledger):
    shadowed = Endpoint("good", (Preference("good@1", 0.02),), 0.05, {"good": 0.5}, shadows=("good@challenger",))
    deploy(ledger, shadowed)
    made = begin(ledger, "good", "good@2", PLAN, NOBODY)
    assert made.endpoint.shadows == ()
    assert made.canary.candidate == "good@challenger"
    for _ in range(3):
        made = further(ledger, made)
    assert preferred(made) == ["good@2"]
    assert made.endpoint.schedule[0].model == "good@2"


@pytest.mark.parametrize(
    ("reference", "plan", "error", "says"),
    [
        ("good@9", PLAN, NotFound, "good"),
        ("good@1", PLAN, UsageError, "prefers already"),
        ("good@3", PLAN, SignatureError, "cannot share an endpoint"),
        ("good@2", Plan((), 600.0), UsageError, "must grow"),
        ("good@2", Plan(("25%", "5%"), 600.0), UsageError, "must grow"),
        ("good@2", Plan(("5%", "200%"), 600.0), SettingsError, "at most 1"),
        ("good@2", Plan(("5%",), 1.0, key="Authorization"), SettingsError, "this header is a secret"),
        ("good@2", Plan(("5%",), 0.0), UsageError, "lasts some time"),
        ("good@2", Plan(("5%",), 1.0, ("bad > 1",)), UsageError, "nothing measures 'bad'"),
        ("good@2", Plan(("5%",), 1.0, ("__import__('os')",)), UsageError, "is no rule"),
        ("good@2", Plan(("5%",), 1.0, ("error_rate > 1",)), UsageError, "never or always true.*error_rate > 1%"),
    ],
)
def test_what_cannot_be_a_canary_is_refused(ledger, reference, plan, error, says):
    before = current(ledger, "good")
    with pytest.raises(error, match=says):
        begin(ledger, "good", reference, plan, NOBODY)
    assert current(ledger, "good") == before


def test_one_canary_at_a_time(ledger):
    begin(ledger, "good", "good@2", PLAN, NOBODY)
    with pytest.raises(UsageError, match="under way"):
        begin(ledger, "good", "good@2", PLAN, NOBODY)


def test_a_canary_needs_what_the_project_requires(ledger):
    with pytest.raises(GateFailed):
        begin(ledger, "good", "good@2", PLAN, NOBODY, Requirements(("parity",)))


def test_settings_do_not_end_a_canary_unasked(ledger):
    before = current(ledger, "good")
    standing = begin(ledger, "good", "good@2", PLAN, NOBODY)
    with pytest.raises(UsageError, match=r"canary of good@2 under way .*headrace serving rollback good first.*--force"):
        deploy(ledger, before.endpoint)
    assert current(ledger, "good") == standing
    made = deploy(ledger, before.endpoint, allowed=Allowed(end_traffic=True))
    assert (made.canary, made.endpoint) == (None, before.endpoint)


def test_an_alias_does_not_go_on_naming_what_a_gateway_refused_after_it_took_over(ledger):
    before = current(ledger, "good")
    made = begin(ledger, "good", "good@2", PLAN, NOBODY)
    while made.canary is not None:
        made = further(ledger, made)
    assert (made.instead, aliases(ledger, "good")["champion"]) == (before.seq, 2)
    back = refuse(ledger, made, "a bad file")
    assert (back.endpoint, back.models, back.restores) == (before.endpoint, before.models, before.seq)
    assert (back.who, back.why) == (GATEWAY, "good@2 did not take over: a bad file")
    assert aliases(ledger, "good")["champion"] == 1
    assert refuse(ledger, made, "a bad file") == back  # the second gateway comes too late


def test_what_was_changed_meanwhile_is_not_taken_back(ledger):
    made = begin(ledger, "good", "good@2", PLAN, NOBODY)
    while made.canary is not None:
        made = further(ledger, made)
    standing = deploy(ledger, replace(made.endpoint, deadline_s=0.2))
    assert refuse(ledger, made, "a bad file") == standing
    assert aliases(ledger, "good")["champion"] == 2
