import json
import random
from dataclasses import replace

import pytest

from headrace.cli.experiment import lines
from headrace.delivery.experiment import Asked, Standing, begun, judge
from headrace.errors import NotFound, UsageError
from headrace.serving.deployment import Deployment
from headrace.serving.endpoint import Endpoint, Preference
from headrace.serving.records import Prediction
from headrace.serving.split import WHOLE, Split

MODELS = {"late@champion": "late@1", "late@2": "late@2", "late@3": "late@3"}


def deployment(split, *, seq=1, at=100.0, models=MODELS):
    schedule = tuple(Preference(model, 0.02) for model in models)
    return Deployment(Endpoint("late", schedule, 0.05, {"late": 0.5}, split=split), models, seq=seq, at=at)


def standing(split):
    return Standing(deployment(split), 100.0, frozenset({1}))


HALF = standing(Split({"late@2": 0.5}))
KEYED = standing(Split({"late@2": 0.5}, "customer"))


def prediction(number, drawn, answer, *, key="", winner=None):
    values = answer if isinstance(answer, list) else [answer]
    return Prediction(
        f"id{number}", "late", 0, {}, (), {"late": values}, winner or drawn, "", 0.001, (), 1, drawn=drawn, key=key
    )  # fmt: skip


PLAIN = Asked()


def judged(entries, asked=PLAIN, on=HALF):
    """``entries``: (drawn, answer, label or None, key)."""
    predictions = [prediction(n, drawn, answer, key=key) for n, (drawn, answer, _, key) in enumerate(entries)]
    labels = {f"id{n}": {0: label} for n, (_, _, label, _) in enumerate(entries) if label is not None}
    pages = [list(enumerate(predictions[i : i + 100])) for i in range(0, len(predictions), 100)]
    found = judge(on, pages, lambda identifier: labels.get(identifier, {}), asked)
    return {side.model: side for side in found.sides}, found


def simulated(count, chance, *, seed=1, key=lambda n: ""):
    rolls = random.Random(seed)
    return [
        (drawn := rolls.choice(["late@1", "late@2"]), 0.5, float(rolls.random() < chance[drawn]), key(n))
        for n in range(count)
    ]


def test_outcomes_are_compared_by_what_was_drawn():
    entries = [("late@1", 0.2, 1.0, ""), ("late@1", 0.8, 1.0, ""), ("late@2", 1.0, 1.0, ""), ("late@2", 0.5, None, "")]
    sides, found = judged([*entries, ("", 0.1, 1.0, "")])  # a request that was no part of it
    assert found.control == "late@1"
    assert (sides["late@1"].mean, sides["late@2"].mean) == (pytest.approx((0.64 + 0.04) / 2), 0.0)
    assert [(s.requests, s.labelled, s.units) for s in sides.values()] == [(2, 2, 2), (2, 1, 1)]
    assert sides["late@1"].verdict is None
    assert sides["late@2"].verdict.says == "open"


def test_labels_that_only_one_model_loses_are_said_before_the_verdict():
    chance = {"late@1": 0.2, "late@2": 0.2}
    entries = simulated(2000, chance)
    _, sound = judged(entries)
    lost = [
        (d, a, None if d == "late@2" and n % 3 == 0 else label, key) for n, (d, a, label, key) in enumerate(entries)
    ]
    sides, found = judged(lost)
    assert (sound.skewed, found.skewed) == (False, True)
    assert {side.model: side.share for side in found.sides} == {"late@1": 0.5, "late@2": 0.5}
    total = sum(side.units for side in sides.values())
    told = list(lines(found))
    assert f"do not trust what follows: {total / 2:,.0f} of late@1, {total / 2:,.0f} of late@2 are due" in told[-3]
    assert told[-1].startswith("late@2 against late@1: ")
    assert not any("trust" in line for line in lines(sound))


def test_requests_count_for_what_was_drawn_whoever_answered():
    fell_back = prediction(0, "late@2", 0.9, winner="late@1")
    found = judge(HALF, [[(0, fell_back)]], lambda _: {0: 1.0}, Asked())
    assert {s.model: s.requests for s in found.sides} == {"late@1": 0, "late@2": 1}


def test_callers_who_went_have_no_outcome():
    gone = prediction(0, "late@2", 0.9, winner="gone")
    found = judge(HALF, [[(0, gone)]], lambda _: {0: 1.0}, Asked())
    assert [s.requests for s in found.sides] == [0, 0]


@pytest.mark.parametrize(
    ("chance", "smaller", "says"),
    [({"late@1": 0.2, "late@2": 0.3}, None, "better"), ({"late@1": 0.2, "late@2": 0.3}, True, "worse")],
)
def test_a_difference_is_found_and_has_a_direction(chance, smaller, says):
    asked = Asked(outcome="label", smaller_is_better=smaller)
    sides, _ = judged(simulated(8000, chance), asked)
    verdict = sides["late@2"].verdict
    assert verdict.says == says
    assert verdict.low < 0.1 < verdict.high


def test_equal_models_stay_open():
    sides, _ = judged(simulated(8000, {"late@1": 0.2, "late@2": 0.2}), Asked(outcome="label"))
    assert sides["late@2"].verdict.says == "open"


def test_with_a_key_a_caller_counts_once():
    entries = [("late@1", 0.5, float(n % 2), "a") for n in range(50)] + [("late@1", 0.5, 1.0, "b")]
    sides, found = judged(entries, Asked(outcome="label"), KEYED)
    assert found.key == "customer"
    assert (sides["late@1"].labelled, sides["late@1"].units) == (51, 2)
    assert sides["late@1"].mean == pytest.approx((0.5 + 1.0) / 2)


def test_three_models_are_judged_more_strictly():
    entries = simulated(6000, {"late@1": 0.2, "late@2": 0.25})
    two, _ = judged(entries, Asked(outcome="label"))
    both = standing(Split({"late@2": 0.4, "late@3": 0.2}))
    three, _ = judged(entries, Asked(outcome="label"), both)
    width = {n: v.high - v.low for n, v in (("two", two["late@2"].verdict), ("three", three["late@2"].verdict))}
    assert width["three"] > width["two"]


def test_rows_and_outcomes():
    entry = prediction(0, "late@1", [0.9, 0.1, 0.6])
    labels = {0: 1.0, 2: 0.0, 7: 1.0}  # row 1 is not known yet, row 7 never was
    for outcome, mean in (("error", (0.01 + 0.36) / 2), ("accuracy", 0.5), ("label", 2 / 3)):
        found = judge(HALF, [[(0, entry)]], lambda _: labels, Asked(outcome=outcome))
        assert found.sides[0].mean == pytest.approx(mean)


def test_text_answers_have_no_error():
    with pytest.raises(UsageError, match="--outcome label"):
        judged([("late@1", ["yes"], 1.0, "")])


def test_how_many_outcomes_a_lift_needs():
    entries = simulated(2000, {"late@1": 0.2, "late@2": 0.2})
    sides, _ = judged(entries, Asked(outcome="label", lift=0.01))
    more, _ = judged(entries, Asked(outcome="label", lift=0.02))
    assert sides["late@2"].needed > more["late@2"].needed > 1000


@pytest.mark.parametrize(
    ("count", "said"),
    [(150, "is said once late@1 has 200: 50 are missing"), (200, "cannot be said: those of late@1 are all alike")],
)
def test_why_it_is_not_known_yet_how_many_a_lift_needs(count, said):
    entries = [("late@1", 0.5, 1.0, ""), ("late@2", 0.5, 1.0, "")] * count
    _, found = judged(entries, Asked(outcome="label", lift=0.01))
    assert list(lines(found))[-1] == f"  how many outcomes so small a lift takes {said}"
    assert "how many" not in "".join(lines(judged(entries)[1]))


def test_an_interval_without_ends_is_plain_json():
    _, found = judged([("late@1", 0.2, 1.0, "")])
    told = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert told["sides"][1]["verdict"]["low"] is None


def test_an_experiment_lasts_while_the_same_models_are_split_into_the_same_shares():
    split = [Split({"late@2": part}, "customer") for part in (0.05, 0.25)]
    other = {**MODELS, "late@2": "late@4"}
    chain = [
        deployment(split[1], seq=1, at=1.0, models=other),
        deployment(split[0], seq=2, at=2.0),
        deployment(split[1], seq=3, at=3.0),
        deployment(split[1], seq=4, at=4.0),
    ]
    assert begun(chain) == Standing(chain[3], 3.0, frozenset({3, 4}), anew=True)
    assert not begun(chain[:2]).anew  # another model was split before
    with pytest.raises(NotFound, match="no experiment"):
        begun([*chain, deployment(WHOLE, seq=5, at=5.0)])


def test_shares_that_change_while_outcomes_drift_tell_no_equal_models_apart():
    """Pooled, the arm that grew late has the late outcomes: worse by 0.2, and sure of it."""
    rolls, entries = random.Random(3), []
    for seq, share, chance in ((2, 0.1, 0.2), (3, 0.9, 0.5)):
        for _ in range(4000):
            drawn = "late@2" if rolls.random() < share else "late@1"
            entries.append(replace(prediction(len(entries), drawn, 0.5), deployment=seq))
            entries[-1] = entries[-1], float(rolls.random() < chance)
    labels = {p.id: {0: label} for p, label in entries}
    pages = [[(n, p) for n, (p, _) in enumerate(entries)]]
    chain = [deployment(Split({"late@2": part}), seq=seq, at=seq) for seq, part in ((2, 0.1), (3, 0.9))]
    found = judge(begun(chain), pages, labels.get, Asked(outcome="label"))
    assert found.anew
    assert sum(side.requests for side in found.sides) == 4000
    assert found.sides[1].verdict.says == "open"
    assert abs(found.sides[1].verdict.lift) < 0.1
    pooled = Standing(chain[-1], 2.0, frozenset({2, 3}))
    assert judge(pooled, pages, labels.get, Asked(outcome="label")).sides[1].verdict.says == "better"


@pytest.mark.parametrize("given", [{"alpha": 0.0}, {"alpha": 1.5}, {"alpha": float("nan")}, {"lift": float("inf")}])
def test_what_cannot_be_asked_is_refused_before_anything_is_read(given):
    with pytest.raises(UsageError, match=next(iter(given))):
        Asked(**given)
