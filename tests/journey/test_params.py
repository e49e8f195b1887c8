"""Parameters of a Python function by the command line: said, explained, replayed, and compared over versions."""

import json
import subprocess
import sys

import polars as pl
import pytest
import served_functions

import headrace as hr
from headrace.assembly import open_platform
from headrace.delivery.deploy import deploy
from headrace.models.registry import Registration, register
from headrace.placement.gateway import GATEWAY, gateway_spec
from headrace.serving.endpoint import Endpoint, Preference
from headrace.settings import load_settings


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """``power``: two versions of a function with parameters, the second preferred."""
    folder = tmp_path_factory.mktemp("power")
    (folder / "headrace.toml").write_text("port = 0\n")
    platform = open_platform(load_settings(folder))
    for function in (served_functions.raised, served_functions.powered):
        artifact = hr.serve_function(function, outputs=("y",))
        register(platform.stores(), artifact, Registration("power", pl.DataFrame({"a": [2.0]}), "MIT"))
    schedule = (Preference("power@2", 4.0),)
    deploy(platform.ledger(), Endpoint("power", schedule, 5.0, {"y": -1.0}, standby=("power@1",)), who="test")
    platform.services().start(gateway_spec(folder))
    yield folder
    platform.services().stop(GATEWAY)
    platform.close()


@pytest.fixture
def headrace(root):
    def run(*arguments, code=0):
        command = [sys.executable, "-m", "headrace", *arguments]
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout if code == 0 else done.stderr

    return run


ROW = ("--row", '{"a": 3.0}')
SAID = ("--param", "power=3", "--param", "by=[1]", "--param", "name=ann")


def test_what_is_said_is_explained_and_replayed(headrace):
    assert headrace("serving", "predict", "power", *ROW).splitlines()[0] == "9.75"
    told = json.loads(headrace("serving", "predict", "power", *ROW, *SAID, "--json"))
    assert told["predictions"] == [31.0]
    explained = json.loads(headrace("serving", "explain", told["id"], "--json"))
    assert explained["params"] == {"power": 3, "by": [1.0], "name": "ann"}
    assert "params     power=3, by=[1.0], name=ann" in headrace("serving", "explain", told["id"])
    found = json.loads(headrace("serving", "replay", "power", "--model", "power@2", "--json"))
    assert (found["requests"], found["numbers"]["disagreement"]) == (2, 0)
    refused = headrace("serving", "replay", "power", "--model", "power@1", code=2)
    assert "is not one of this model - power@1 - it takes power: int64 = 3" in refused


def test_versions_are_compared_by_the_same_parameters(headrace):
    found = json.loads(headrace("serving", "predict", "power", *ROW, "--param", "power=1", "--all-versions", "--json"))
    assert {name: told["predictions"] for name, told in found["versions"].items()} == {
        "power@1": [3.0],
        "power@2": [3.75],
    }


def test_what_does_not_fit_is_refused(headrace):
    assert "param 'power' is refused - a whole number is due, it is 1.5" in headrace(
        "serving", "predict", "power", *ROW, "--param", "power=1.5", code=2
    )
    assert "'pover' is not one of this model" in headrace(
        "serving", "predict", "power", *ROW, "--param", "pover=1", code=2
    )
    assert "--param power=VALUE" in headrace("serving", "predict", "power", *ROW, "--param", "power", code=2)


def test_the_signature_that_is_served_has_a_name(headrace):
    assert headrace("serving", "predict", "power", *ROW, "--signature", "serving_default").splitlines()[0] == "9.75"
    refused = headrace("serving", "predict", "power", *ROW, "--signature", "other", code=2)
    assert 'Serving signature key "other" not found.' in refused


def test_models_show_and_compare_tell_them(headrace):
    assert "param power: int64 = 2" in headrace("models", "show", "power@2")
    assert "param power" in headrace("models", "compare", "power@1", "power@2")
