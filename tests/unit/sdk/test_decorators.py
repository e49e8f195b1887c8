"""Decorated functions are their functions; while planned, their calls are nodes."""

import inspect
import pickle
from dataclasses import dataclass
from pathlib import Path

import pytest

from headrace.errors import HandleError, NameRefused, UsageError
from headrace.pipelines.plan import Plan
from headrace.sdk.decorators import gate, pipeline, step
from headrace.sdk.handles import Handle


@dataclass
class Limits:
    low: int
    high: int = 10


@step
def double(n: int, times: int = 2) -> int:
    """Twice."""
    return n * times


@step(name="halves", effect=True, cache=False, environment=("HOME",))
def halve(n: int) -> tuple[int, int]:
    return n // 2, n - n // 2


@gate
def small(n: int, limits: Limits | None = None) -> None:
    assert n < 100


@step
def call_of(other: object, n: int) -> int:
    return n


@pipeline
def whole(n: int = 3):
    low, high = halve(double(n))
    small(high, Limits(1))
    return double(low, times=5)


def test_called_eagerly_they_are_their_functions():
    assert double(4) == 8
    assert halve(5) == (2, 3)
    assert small(5) is None
    assert whole() == 15
    with pytest.raises(AssertionError):
        small(100)


def test_they_look_like_their_functions():
    assert (double.__name__, double.__doc__, double.__module__) == ("double", "Twice.", __name__)
    assert list(inspect.signature(double).parameters) == ["n", "times"]
    assert repr(double) == "<step 'double'>"
    assert repr(small) == "<gate 'small'>"
    assert repr(whole) == "<pipeline 'whole'>"
    assert (double.name, halve.name) == ("double", "halves")


def test_steps_travel_by_name(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, __name__, __import__("sys").modules.get(__name__) or _this())
    assert pickle.loads(pickle.dumps(double)) is double


def _this():
    return inspect.getmodule(test_steps_travel_by_name)


def test_a_plan_is_a_dag_of_calls():
    plan = whole.plan(n=7)
    assert [node.name for node in plan.nodes] == ["double", "halves", "small", "double-2"]
    assert [node.kind for node in plan.nodes] == ["step", "step", "gate", "step"]
    first, second, third, last = plan.nodes
    assert first.arguments == {"n": 7, "times": 2}
    assert second.arguments == {"n": {"$node": 0}}
    assert (second.effect, second.cache) == (True, False)
    assert third.arguments["n"] == {"$node": 1, "part": 1}
    assert third.arguments["limits"]["fields"] == {"low": 1, "high": 10}
    assert last.arguments == {"n": {"$node": 1, "part": 0}, "times": 5}
    assert plan.result == {"$node": 3}


def test_a_plan_survives_json():
    import json

    plan = whole.plan(n=7)
    again = Plan.from_json(json.loads(json.dumps(plan.to_json())))
    assert [n.to_json() if hasattr(n, "to_json") else n for n in again.nodes] == list(plan.nodes)
    assert again.result == plan.result


def test_planning_runs_nothing():
    ran = []

    @step
    def marked() -> int:
        ran.append(1)
        return 1

    @pipeline
    def main():
        return marked()

    main.plan()
    assert ran == []


def test_a_pipeline_in_a_pipeline_joins_its_plan():
    @pipeline
    def outer():
        return double(whole())

    assert [node.name for node in outer.plan().nodes][-1] == "double-3"


def test_wrong_calls_fail_while_planning():
    @pipeline
    def missing():
        double()

    @pipeline
    def unstorable():
        double(object())

    with pytest.raises(TypeError, match="missing a required argument: 'n'"):
        missing.plan()
    with pytest.raises(UsageError, match=r"a builtins.object cannot be an argument of a step - double\(n\)"):
        unstorable.plan()


def test_misuse_stops_the_planning():
    @pipeline
    def wrong():
        return double(len(double(1)))

    with pytest.raises(HandleError, match="take len"):
        wrong.plan()


def test_arguments_may_be_nested_handles_and_steps():
    @step
    def gather(parts: list, named: dict, path: Path) -> int:
        return 0

    @pipeline
    def main():
        one = double(1)
        gather([one, 2], {"a": (one, None)}, Path("x.csv"))
        call_of(double, one)

    node = main.plan().nodes[1]
    assert node.arguments["parts"] == [{"$node": 0}, 2]
    assert node.arguments["named"] == {"a": {"$tuple": [{"$node": 0}, None]}}
    assert node.arguments["path"] == {"$path": "x.csv"}
    assert node.inputs == [0]
    other = main.plan().nodes[2].arguments["other"]
    assert other["$step"].endswith(":double")
    assert other["parts"]["code"]


def test_a_finished_plans_handle_is_no_value():
    kept = []

    @pipeline
    def main():
        kept.append(double(1))

    main.plan()
    assert isinstance(kept[0], Handle)
    with pytest.raises(HandleError, match="compute with"):
        double(kept[0])


@pytest.mark.parametrize("name", ["a b", "", "../x", ".hidden", "x" * 129])
def test_names_are_checked(name):
    if name:
        with pytest.raises(NameRefused):
            step(name=name)(lambda: 1)
    with pytest.raises(NameRefused):
        step(lambda: 1)


def test_unknown_options_are_refused():
    with pytest.raises(TypeError, match="retries"):
        step(retries=3)(test_unknown_options_are_refused)
