import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from served import ROW, constant, endpoint, gated, model

from headrace.errors import HeadraceError, SettingsError
from headrace.refs import new_id
from headrace.serving.endpoint import Endpoint, Preference, read_endpoint
from headrace.serving.split import Split, drawn, share

BODY = json.dumps({"instances": [ROW]}).encode()
BOTH = {"a@1": model("a@1", constant(1.0), fast=True), "b@1": model("b@1", constant(2.0), fast=True)}


def asked(gate, *, times=1, **headers):

    for _ in range(times):
        yield gate.client.raw("wine", BODY, headers=headers)


@pytest.mark.parametrize(("said", "means"), [(0.05, 0.05), ("5%", 0.05), ("0.05", 0.05), (1, 1.0), ("100%", 1.0)])
def test_a_share_is_said_in_two_ways(said, means):
    assert share("a", said) == pytest.approx(means)


@pytest.mark.parametrize("said", [0, -0.1, 1.01, "101%", "five", True, None, "nan", [0.1]])
def test_what_is_no_share_is_refused(said):
    with pytest.raises(SettingsError, match="share of a"):
        share("a", said)


def test_shares_are_at_most_all():
    Split({"a": 0.1, "b": 0.2, "c": 0.7})
    with pytest.raises(SettingsError, match="together"):
        Split({"a": 0.6, "b": 0.5})


@given(st.text(), st.floats(0, 1), st.floats(0, 1))
def test_who_has_the_challenger_keeps_it_when_its_share_grows(key, one, other):
    less, more = sorted((one, other))
    if drawn([less], key, "late") == 0:
        assert drawn([more], key, "late") == 0


@given(st.text(), st.floats(0, 0.5), st.floats(0, 0.5), st.floats(0, 0.5))
def test_of_two_challengers_none_loses_a_caller_while_the_other_grows(key, one, other, third):
    less, more = sorted((one, other))
    for before, after in [([less, third], [more, third]), ([third, less], [third, more])]:
        was = drawn(before, key, "late")
        assert was == 2 or drawn(after, key, "late") == was


def test_callers_stay_however_the_shares_are_written_and_whichever_ends():
    lines = tuple(Preference(model, 0.02) for model in ("a@1", "b@1", "c@1"))
    keys = [str(number) for number in range(2000)]

    def who(**shares):
        deployed = Endpoint("late", lines, 0.05, split=Split({f"{name}@1": part for name, part in shares.items()}))
        widths = list(deployed.shares.values())
        names = [*deployed.shares, "rest"]
        return {key: names[drawn(widths, key, "late")] for key in keys}

    both = who(b=0.2, c=0.3)
    assert who(c=0.3, b=0.2) == both
    grown, alone = who(c=0.3, b=0.4), who(c=0.3)
    assert {key for key in keys if grown[key] == "c@1"} == {key for key in keys if both[key] == "c@1"}
    assert {key for key in keys if alone[key] == "c@1"} == {key for key in keys if both[key] == "c@1"}
    assert Counter(both.values()).keys() == {"b@1", "c@1", "rest"}


def test_a_gateway_draws_in_the_order_of_the_schedule(tmp_path):
    deployed = endpoint(("a@1", 0.02), ("b@1", 0.02), ("c@1", 0.02), split=Split({"c@1": 0.5, "b@1": 0.5}, key="x-c"))
    models = {**BOTH, "c@1": model("c@1", constant(3.0), fast=True)}
    with gated(tmp_path, deployed, models) as gate:
        won = {key: next(asked(gate, **{"x-c": key})).header("x-headrace-winner") for key in map(str, range(40))}
    assert won == {key: ("b@1", "c@1")[drawn([0.5, 0.5], key, "wine")] for key in won}


def test_draws_follow_the_shares_and_the_salt():
    ids = [new_id() for _ in range(20_000)]
    counts = Counter(drawn([0.05, 0.25], i, "late") for i in ids)
    for part, due in enumerate((0.05, 0.25, 0.70)):
        # Five standard deviations of a binomial share.
        assert abs(counts[part] / len(ids) - due) < 5 * (due * (1 - due) / len(ids)) ** 0.5
    alike = sum(drawn([0.5], i, "late") == drawn([0.5], i, "other") for i in ids)
    assert abs(alike / len(ids) - 0.5) < 0.02


def test_a_share_of_the_requests_prefers_another_model(tmp_path):
    deployed = endpoint(("a@1", 0.02), ("b@1", 0.02), split=Split({"b@1": 0.25}))
    with gated(tmp_path, deployed, BOTH) as gate:
        answers = [gate.client.predict("wine", rows=[ROW]) for _ in range(400)]
        logged = [gate.log.find(answer.id) for answer in answers]
    won = Counter(answer.winner for answer in answers)
    assert 60 < won["b@1"] < 140
    assert all(entry.drawn == entry.winner == answer.winner for entry, answer in zip(logged, answers, strict=True))
    assert all(
        {s.model for s in entry.scores} == {"a@1", "b@1"} for entry in logged
    )  # every model scores every request
    assert "b@1 was drawn; b@1 is preferred" in next(e.reason for e in logged if e.winner == "b@1")
    assert gate.plane.counters["wine"].requests == 400


def test_a_drawn_model_that_fails_is_followed_by_the_schedule(tmp_path):
    def raises(batch):
        raise RuntimeError("no")

    deployed = endpoint(("a@1", 0.02), ("b@1", 0.02), split=Split({"b@1": 1.0}))
    with gated(tmp_path, deployed, {**BOTH, "b@1": model("b@1", raises, fast=True)}) as gate:
        answer = gate.client.predict("wine", rows=[ROW])
        logged = gate.log.find(answer.id)
    assert (answer.winner, logged.drawn) == ("a@1", "b@1")
    assert "b@1 failed" in logged.reason


def test_a_header_keeps_a_caller_with_the_same_model(tmp_path):
    deployed = endpoint(("a@1", 0.02), ("b@1", 0.02), split=Split({"b@1": 0.5}, key="X-Customer"))
    with gated(tmp_path, deployed, BOTH) as gate:
        won = {
            key: {reply.header("x-headrace-winner") for reply in asked(gate, times=5, **{"x-customer": key})}
            for key in map(str, range(40))
        }
        without = next(asked(gate))
        logged = gate.log.find(without.header("x-headrace-id"))
        keyed = gate.log.find(next(asked(gate, **{"x-customer": "7"})).header("x-headrace-id"))
    assert {len(winners) for winners in won.values()} == {1}
    assert {next(iter(winners)) for winners in won.values()} == {"a@1", "b@1"}
    assert (logged.winner, logged.drawn, logged.key) == ("a@1", "", "")  # no key: no part of the split
    assert (keyed.key, {keyed.drawn}) == ("7", won["7"])


def test_an_input_column_is_a_key_too(tmp_path):
    deployed = endpoint(("a@1", 0.02), ("b@1", 0.02), split=Split({"b@1": 0.5}, key=next(iter(ROW))))
    name = next(iter(ROW))
    with gated(tmp_path, deployed, BOTH) as gate:
        won = [
            {gate.client.predict("wine", rows=[{**ROW, name: float(value)}]).winner for _ in range(3)}
            for value in range(30)
        ]
    assert {len(winners) for winners in won} == {1}
    assert len(set.union(*won)) == 2


def test_the_settings_say_a_split():
    table = {
        "deadline_ms": 50,
        "schedule": [{"model": "late@1", "wait_ms": 20}, {"model": "late@2", "wait_ms": 20}],
        "split": {"late@2": "5%"},
        "split_key": "customer",
    }
    read = read_endpoint("late", table)
    assert read.split == Split({"late@2": 0.05}, "customer")
    assert Endpoint.from_json(read.to_json()) == read
    with pytest.raises(HeadraceError, match=r"\[endpoint.late\]"):
        read_endpoint("late", {**table, "split": {"late@2": "half"}})


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"mask": "customer"}, "a list of names"),
        ({"mask": [1]}, "a list of names"),
        ({"split": "5%"}, "a share for each model"),
        ({"split_key": 5}, "a column or a header"),
    ],
)
def test_settings_of_another_kind_are_refused(given, says):
    table = {"deadline_ms": 50, "schedule": [{"model": "late@1", "wait_ms": 20}]}
    with pytest.raises(SettingsError, match=says):
        read_endpoint("late", {**table, **given})
