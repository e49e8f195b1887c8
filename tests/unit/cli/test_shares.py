"""How a split and a canary under way read."""

from headrace.cli.shares import lines

SPLIT = {"models": {"wine@2": 0.05, "wine@3": 0.5}, "key": "x-customer"}
CANARY = {
    "candidate": "wine@2",
    "step": 2,
    "shares": [0.05, 0.25],
    "lasted_s": 61.4,
    "every_s": 600.0,
    "met": 1240,
    "least": 20,
    "rules": [{"said": "error_rate > 1%: 0%", "state": "does not hold"}],
}


def test_a_split_names_each_share_and_the_key():
    assert list(lines(SPLIT, None)) == ["split: wine@2 5 %, wine@3 50 % by x-customer"]
    assert list(lines({**SPLIT, "key": ""}, None)) == ["split: wine@2 5 %, wine@3 50 %"]


def test_a_canary_says_how_far_it_is_and_how_its_rules_stand():
    assert list(lines(SPLIT, CANARY)) == [
        "canary of wine@2: 25 % by x-customer, step 2 of 2",
        "  for 61 s of 600 s at least, 1,240 requests of 20 at least",
        "  error_rate > 1%: 0% - does not hold",
    ]


def test_where_nothing_is_split_nothing_is_said():
    assert list(lines(None, None)) == []
