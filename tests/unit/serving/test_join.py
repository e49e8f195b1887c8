"""Joins of an endpoint: how they are written, what is left for callers to send, what cannot be joined."""

from dataclasses import replace

import pytest
from served import WINE
from tensor_served import PIXELS

from headrace.errors import SettingsError, UsageError
from headrace.features.view import FeatureView
from headrace.models.signature import Column
from headrace.serving.endpoint import Endpoint, read_endpoint
from headrace.serving.join import Join, asked, check_joins, features

VIEW = FeatureView("cellars", "a" * 64, {"cellar": "string"}, {"ph": "float64", "year": "int32", "staff": "int64"}, 3)
CELLARS = Join("cellars").over(VIEW)


def settings(join):
    return {"deadline_ms": 50, "schedule": [{"model": "wine", "wait_ms": 20}], "join": join}


def test_settings_are_read_and_kept():
    found = read_endpoint("wine", settings([{"view": "cellars", "on": ["place"], "prefix": "c_"}, {"view": "grapes"}]))
    assert found.join == (Join("cellars", ("place",), "c_"), Join("grapes"))
    deployed = replace(found, join=(CELLARS,))
    assert Endpoint.from_json(deployed.to_json()) == deployed
    assert read_endpoint("wine", {"deadline_ms": 50, "schedule": []}).join == ()


@pytest.mark.parametrize(
    ("join", "said"),
    [
        ("cellars", "a list of tables is due"),
        (["cellars"], "a list of tables is due"),
        ([{"on": ["cellar"]}], "view is a name"),
        ([{"view": "cellars", "on": "cellar"}], "on a list of columns"),
        ([{"view": "cellars", "on": [3]}], "on a list of columns"),
        ([{"view": "cellars", "prefix": 3}], "prefix a text"),
        ([{"view": "cellars", "keys": {}}], "unknown setting 'keys'"),
    ],
)
def test_what_is_no_join_is_refused(join, said):
    with pytest.raises(SettingsError, match=said):
        read_endpoint("wine", settings(join))


def test_what_callers_send():
    """What is joined is left out, what is joined by comes in; an input that is a key stays."""
    assert [(c.name, c.dtype) for c in asked(WINE, [CELLARS]).inputs] == [
        ("alcohol", "float64"),
        ("grape", "string"),
        ("organic", "bool"),
        ("cellar", "string"),
    ]
    by_grape = Join("cellars", ("grape",)).over(VIEW)
    assert [c.name for c in asked(WINE, [by_grape]).inputs] == ["alcohol", "grape", "organic"]
    numbered = Join("cellars").over(replace(VIEW, keys={"number": "int16"}))
    assert asked(WINE, [numbered]).inputs[-1] == Column("number", "int64")
    assert asked(WINE, []) is WINE
    assert asked(WINE, [Join("cellars").over(replace(VIEW, columns={"staff": "int64"}))]) is WINE
    assert [f.input.name for f in features(CELLARS, WINE)] == ["ph", "year"]


GOOD = [
    [CELLARS],
    [Join("cellars", ("grape",)).over(VIEW)],
    [Join("cellars", (), "p").over(replace(VIEW, columns={"h": "int8"}))],
    [CELLARS, Join("grapes", ("grape",)).over(replace(VIEW, name="grapes", columns={"alcohol": "float32"}))],
]
BAD = {
    "would join nothing.*its models take.*the view has staff": [
        Join("cellars").over(replace(VIEW, columns={"staff": "int64"}))
    ],
    "joins on 2 columns.*has 1: cellar": [Join("cellars", ("grape", "year")).over(VIEW)],
    "cannot join on 'alcohol'.*as float64, key 'cellar' is string": [Join("cellars", ("alcohol",)).over(VIEW)],
    "cannot join on 'organic'": [Join("cellars", ("organic",)).over(replace(VIEW, keys={"cellar": "int64"}))],
    "cannot join 'year'.*takes int64, the view has float64": [
        Join("cellars").over(replace(VIEW, columns={"year": "float64"}))
    ],
    "cannot join 'organic'.*takes bool, the view has int8": [
        Join("cellars").over(replace(VIEW, columns={"organic": "int8"}))
    ],
    "joins 'ph' twice.*prefix": [CELLARS, Join("others", ("grape",)).over(VIEW)],
    "joins 'ph' twice": [CELLARS, Join("cellars", ("grape",)).over(VIEW)],
    "cannot join on 'ph'.*joined itself": [
        CELLARS,
        Join("more", ("ph",)).over(replace(VIEW, name="more", columns={"alcohol": "float64"})),
    ],
}


@pytest.mark.parametrize("joins", GOOD)
def test_what_can_be_joined(joins):
    check_joins("wine", joins, WINE)


@pytest.mark.parametrize("said", BAD)
def test_what_cannot_be_joined(said):
    with pytest.raises(UsageError, match=said):
        check_joins("wine", BAD[said], WINE)


def test_tensors_have_no_columns_to_join():
    with pytest.raises(UsageError, match="take tensors"):
        check_joins("pixels", [CELLARS], PIXELS)
