"""Runs: order, cache, gates and effects, failures, branches, logs."""

import os
import random

import pytest

from headrace.errors import UsageError
from headrace.pipelines.cache import FINISHED
from headrace.storage.ledger import Fact

NOTE = """
from pathlib import Path
def note(text):
    with open(Path(__file__).parent / "notes.txt", "a") as notes:
        notes.write(text + "\\n")
"""

CHAIN = (
    NOTE
    + """
@hr.step
def first(n: int) -> int:
    note("first")
    return n
@hr.step
def second(n: int) -> int:
    note("second")
    return n * 10
@hr.pipeline
def main(n: int = 1):
    return second(first(n))
"""
)


def states(report):
    return {step.name: step.state for step in report.steps}


def test_a_run_runs_and_a_second_one_does_not(project):
    project.write(CHAIN)
    report = project.run(n=4)
    assert (report.state, report.exit_code, report.result.tree) == ("succeeded", 0, 40)
    assert states(report) == {"first": "done", "second": "done"}
    again = project.run(n=4)
    assert states(again) == {"first": "cached", "second": "cached"}
    assert again.result == report.result
    assert project.marks() == ["first", "second"]


def test_a_parameter_changes_what_depends_on_it(project):
    project.write(CHAIN)
    project.run(n=1)
    assert states(project.run(n=2)) == {"first": "done", "second": "done"}
    assert states(project.run(n=1)) == {"first": "cached", "second": "cached"}


def test_an_equal_output_stops_the_change(project):
    source = CHAIN.replace("return n\n", "return abs(n)\n")
    project.write(source)
    project.run(n=3)
    assert states(project.run(n=-3)) == {"first": "done", "second": "cached"}


def test_the_ledger_tells_the_run(project):
    project.write(CHAIN)
    report = project.run()
    ledger = project.platform.ledger()
    started, finished = ledger.query("run.started", report.run), ledger.query("run.finished", report.run)
    assert started[0].body["pipeline"] == "main"
    assert started[0].body["process"]["pid"] == os.getpid()
    assert started[0].body["params"] == {"n": 1}
    assert finished[0].body["state"] == "succeeded"
    assert finished[0].body["counts"] == {"done": 2}
    assert [(f.body["name"], f.body["state"]) for f in ledger.query("run.step", report.run)] == [
        ("first", "done"),
        ("second", "done"),
    ]
    (result,) = ledger.query(FINISHED, report.step("second").key)
    assert result.body["result"]["tree"] == 10
    assert result.body["run"] == report.run


def test_listeners_hear_it(project):
    project.write(CHAIN)
    project.run()
    assert [event for event, _ in project.heard.events] == [
        "run.started", "step.started", "step.finished", "step.started", "step.finished", "run.finished",
    ]  # fmt: skip
    assert project.heard.events[2][1]["state"] == "done"


GATED = (
    NOTE
    + """
@hr.step
def measure(value: float) -> float:
    return value
@hr.gate
def good(value: float, bound: float) -> None:
    assert value > bound
@hr.step(effect=True)
def publish(name: str) -> str:
    note(name)
    return name
@hr.step
def describe(value: float) -> str:
    note("described")
    return str(value)
@hr.pipeline
def main(value: float = 1.0, bound: float = 0.5):
    publish("above")
    m = measure(value)
    good(m, bound)
    describe(m)
    publish("below")
    return publish("last")
"""
)


def test_effects_below_a_passed_gate_run_in_order(project):
    project.write(GATED)
    assert project.run().exit_code == 0
    assert [m for m in project.marks() if m != "described"] == ["above", "below", "last"]


def test_a_failed_gate_stops_the_effects_below_and_nothing_else(project):
    project.write(GATED)
    report = project.run(bound=2.0)
    assert (report.state, report.exit_code, report.result) == ("refused", 3, None)
    assert states(report) == {
        "publish": "done", "measure": "done", "good": "refused",
        "describe": "done", "publish-2": "skipped", "publish-3": "skipped",
    }  # fmt: skip
    assert sorted(project.marks()) == ["above", "described"]
    assert report.step("good").error.split("\n") == [
        f"assert value > bound ({project.module}.py:13)", "  1 > 2", "  value = 1", "  bound = 2",
    ]  # fmt: skip
    (fact,) = project.platform.ledger().query("gate.failed", report.run)
    assert fact.body["gate"] == "good"
    assert "1 > 2" in fact.body["why"]


EFFECTS = (
    NOTE
    + """
@hr.step
def model(n: int) -> str:
    return f"model-{n}"
@hr.step(effect=True)
def promote(m: str) -> str:
    note(m)
    return m
@hr.step(effect=True)
def deploy(alias: str) -> None:
    note("deployed")
@hr.step(effect=True)
def announce(alias: str) -> None:
    note("announced")
@hr.pipeline
def main(n: int = 1, text: str = "x"):
    promote(model(n))
    deploy("champion")
    announce(text)
"""
)


def test_an_unchanged_run_repeats_no_effect(project):
    project.write(EFFECTS)
    project.run()
    assert set(states(project.run()).values()) == {"cached"}
    assert project.marks() == ["model-1", "deployed", "announced"]


def test_going_back_is_an_effect_again(project):
    """A, then B, then A: the third run promotes A again, and a fourth, unchanged one does nothing."""
    project.write(EFFECTS)
    for n in (1, 2, 1, 1):
        project.run(n=n)
    assert [m for m in project.marks() if m.startswith("model")] == ["model-1", "model-2", "model-1"]


def test_an_effect_is_made_again_below_one_that_was(project):
    """``deploy("champion")`` reads what ``promote`` changed, without being told."""
    project.write(EFFECTS)
    project.run(n=1)
    assert states(project.run(n=2)) == {"model": "done", "promote": "done", "deploy": "done", "announce": "done"}
    assert states(project.run(n=2, text="y")) == {
        "model": "cached", "promote": "cached", "deploy": "cached", "announce": "done",
    }  # fmt: skip


def test_a_resumed_run_repeats_no_effect(project):
    project.write(
        EFFECTS.replace(
            '    note("announced")\n', '    note("tried")\n    assert (Path(__file__).parent / "up").exists()\n'
        )
    )
    assert project.run().exit_code == 1
    (project.root / "up").touch()
    assert states(project.run()) == {"model": "cached", "promote": "cached", "deploy": "cached", "announce": "done"}
    assert project.marks() == ["model-1", "deployed", "tried", "tried"]


def test_effects_of_another_pipeline_do_not_count(project):
    project.write(EFFECTS + "@hr.pipeline\ndef other(n: int = 1):\n    promote(model(n))\n")
    project.run()
    project.run("other", n=2)
    assert set(states(project.run()).values()) == {"cached"}


def test_the_record_has_what_gates_saw(project):
    project.write(
        "@hr.step\ndef measure(x: float) -> float:\n    return x\n"
        "@hr.gate\ndef above(x: float, floor: float) -> dict:\n    assert x > floor\n    return {'x': x, 'floor': floor}\n"
        "@hr.pipeline\ndef main(x: float):\n    above(measure(x), 0.5)\n"
    )
    ledger = project.platform.ledger()
    for _ in range(2):
        report = project.run(x=0.75)
        (fact,) = ledger.query("gate.passed", report.run)
        assert (fact.body["gate"], fact.body["values"]) == ("above", {"x": 0.75, "floor": 0.5})
    report = project.run(x=0.25)
    (fact,) = ledger.query("gate.failed", report.run)
    assert fact.body["values"] == {"x": 0.25, "floor": 0.5}
    assert fact.body["why"].startswith("assert x > floor")


def test_a_failed_gate_is_judged_again_and_a_passed_one_is_not(project):
    project.write(GATED)
    assert states(project.run(bound=2.0))["good"] == "refused"
    assert states(project.run(bound=2.0))["good"] == "refused"
    assert states(project.run())["good"] == "done"
    again = project.run()
    assert states(again)["good"] == "cached"
    assert again.exit_code == 0


def test_a_gate_that_cannot_be_judged_stops_the_effects_too(project):
    project.write(GATED.replace("    return value\n", "    raise ValueError(value)\n", 1))
    report = project.run()
    assert (report.state, report.exit_code) == ("failed", 1)
    assert states(report) == {
        "publish": "done", "measure": "failed", "good": "skipped",
        "describe": "skipped", "publish-2": "skipped", "publish-3": "skipped",
    }  # fmt: skip
    assert project.marks() == ["above"]


@pytest.mark.parametrize(
    ("raised", "state", "code"),
    [
        ("ValueError('no')", "failed", 1),
        ("SystemExit(3)", "failed", 1),
        ("hr_errors.Refused('no')", "refused", 3),
        ("hr_errors.NotFound('no')", "failed", 1),
        ("AssertionError('no')", "failed", 1),
    ],
)
def test_what_a_step_raises_decides_the_exit(project, raised, state, code):
    project.write(
        f"import headrace.errors as hr_errors\n@hr.step\ndef bad() -> int:\n    raise {raised}\n"
        "@hr.step\ndef after(x: int) -> int:\n    return x\n"
        "@hr.step\ndef beside() -> int:\n    return 1\n"
        "@hr.pipeline\ndef main():\n    after(bad())\n    beside()\n"
    )
    report = project.run()
    assert states(report) == {"bad": state, "after": "skipped", "beside": "done"}
    assert (report.exit_code, report.step("after").error) == (code, "'bad' did not pass")


def test_an_error_says_where(project):
    path = project.write(
        "def deep():\n    return 1 / 0\n@hr.step\ndef bad() -> int:\n    return deep()\n"
        "@hr.pipeline\ndef main():\n    bad()\n"
    )
    report = project.run()
    assert report.step("bad").error == f"ZeroDivisionError: division by zero ({path.name}:3)"
    log = project.workspace.log(report.run, "bad").read_text()
    assert log.startswith("Traceback")
    assert "return deep()" in log
    assert "execution.py" not in log


def test_a_failed_step_runs_again_and_a_finished_one_does_not(project):
    project.write(CHAIN.replace('    note("second")\n', '    note("second")\n    assert marker().exists()\n')
                  + "def marker():\n    return Path(__file__).parent / 'marker'\n")  # fmt: skip
    assert states(project.run()) == {"first": "done", "second": "failed"}
    (project.root / "marker").touch()
    assert states(project.run()) == {"first": "cached", "second": "done"}
    assert project.marks() == ["first", "second", "second"]


def test_step_options(project):
    project.write(CHAIN.replace("@hr.step\ndef first", "@hr.step(cache=False, name='one')\ndef first"))
    project.run()
    assert states(project.run()) == {"one": "done", "second": "cached"}


def test_set_replaces_parameters_and_options(project):
    project.write(CHAIN)
    project.run()
    assert states(project.run(overrides={"first": {"cache": "false"}})) == {"first": "done", "second": "cached"}
    assert project.run(overrides={"first": {"n": "7"}}).result.tree == 70
    with pytest.raises(UsageError, match="another step's output"):
        project.run(overrides={"second": {"n": "7"}})
    with pytest.raises(UsageError, match="one of n, cache, main_process"):
        project.run(overrides={"first": {"m": "7"}})
    with pytest.raises(UsageError, match="no step named 'third'"):
        project.run(overrides={"third": {"m": "7"}})


def test_only_runs_what_is_needed(project):
    project.write(GATED)
    assert states(project.run(only=["describe"])) == {"measure": "done", "describe": "done"}
    assert set(states(project.run(only=["publish-2"]))) == {"measure", "good", "publish-2"}
    with pytest.raises(UsageError, match="no step named 'nothing'"):
        project.run(only=["nothing"])


def test_declared_environment_is_in_the_key(project, monkeypatch):
    project.write(CHAIN.replace("@hr.step\ndef first", "@hr.step(environment=('MADE_UP',))\ndef first"))
    monkeypatch.setenv("MADE_UP", "one secret")
    report = project.run()
    assert states(project.run())["first"] == "cached"
    monkeypatch.setenv("MADE_UP", "two secrets")
    assert states(project.run())["first"] == "done"
    facts = project.platform.ledger().query("step.*", report.step("first").key)
    assert "one secret" not in str(facts)


def test_opened_project_files_are_checked_at_lookup(project):
    (project.root / "table.csv").write_text("1")
    source = CHAIN.replace("    return n\n", "    return int((Path(__file__).parent / 'table.csv').read_text())\n")
    project.write(source)
    assert project.run().result.tree == 10
    assert states(project.run()) == {"first": "cached", "second": "cached"}
    (project.root / "table.csv").write_text("2")
    assert project.run().result.tree == 20
    (project.root / "table.csv").write_text("1")
    report = project.run()
    assert (states(report), report.result.tree) == ({"first": "cached", "second": "cached"}, 10)


def test_a_deleted_artifact_is_made_again(project):
    project.write(
        "import numpy as np\n@hr.step\ndef make() -> np.ndarray:\n    return np.arange(3)\n"
        "@hr.step\ndef total(x: np.ndarray) -> int:\n    return int(x.sum())\n"
        "@hr.pipeline\ndef main():\n    return total(make())\n"
    )
    report = project.run()
    reference = report.step("make").reference
    files = project.platform.files()
    for key in files.list(reference.folder):
        files.delete(key)
    again = project.run()
    assert states(again) == {"make": "done", "total": "cached"}
    assert again.step("make").reference.digest == reference.digest


def test_a_changed_artifact_is_refused_at_load(project):
    project.write(
        "import numpy as np\n@hr.step\ndef make() -> np.ndarray:\n    return np.arange(3)\n"
        "@hr.step\ndef total(x: np.ndarray, n: int) -> int:\n    return int(x.sum()) + n\n"
        "@hr.pipeline\ndef main(n: int = 0):\n    return total(make(), n)\n"
    )
    report = project.run()
    files = project.platform.files()
    path = files.get(next(k for k in files.list(report.step("make").reference.folder) if k.endswith(".npy")))
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    again = project.run(n=1)
    assert states(again) == {"make": "cached", "total": "failed"}
    assert again.step("total").code == "integrity"


BRANCHES = (
    NOTE
    + """
import os, time
@hr.step
def left(folder: str) -> int:
    return meet(folder, "left", "right")
@hr.step
def right(folder: str) -> int:
    return meet(folder, "right", "left")
def meet(folder, mine, other):
    (Path(folder) / mine).touch()
    end = time.monotonic() + 60
    while not (Path(folder) / other).exists():
        assert time.monotonic() < end
        time.sleep(0.01)
    print("met", other)
    return os.getpid()
@hr.step
def both(a: int, b: int) -> list[int]:
    return [a, b]
@hr.pipeline
def main(folder: str):
    return both(left(folder), right(folder))
"""
)


def test_independent_branches_run_at_once(project, tmp_path):
    """Each branch waits for the other to begin: one after the other they would never end."""
    project.write(BRANCHES)
    report = project.run(folder=str(tmp_path))
    assert report.exit_code == 0, report.steps
    assert len(set(report.result.tree)) == 2
    for name, other in (("left", "right"), ("right", "left")):
        assert project.workspace.log(report.run, name).read_text() == f"met {other}\n"


def test_several_short_branches_start_no_process(project, monkeypatch):
    monkeypatch.setattr("headrace.engines.local.executor.GRACE_S", 30.0)
    started = []
    monkeypatch.setattr("headrace.engines.local.executor._start", started.append)
    project.write(
        "import os\n@hr.step\ndef one(n: int) -> int:\n    return os.getpid()\n"
        "@hr.pipeline\ndef main():\n    return [one(n) for n in range(6)]\n"
    )
    report = project.run()
    pids = {step.reference.tree for step in report.steps}
    assert (pids, started) == ({os.getpid()}, [])


def test_a_dead_worker_fails_its_step_only(project):
    project.write(
        "import os, signal\n@hr.step\ndef dies(pid: int) -> int:\n"
        "    if os.getpid() == pid:\n        raise RuntimeError('must not run here')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "@hr.step\ndef lives(n: int) -> int:\n    return n\n"
        "@hr.pipeline\ndef main(pid: int):\n    lives(1)\n    dies(pid)\n    lives(2)\n"
    )
    run = project.prepared(pid=os.getpid())
    run.record.past_seconds = lambda name: 10.0  # long ones, so none is taken back
    report = run.execute()
    assert states(report) == {"lives": "done", "dies": "failed", "lives-2": "done"}
    assert "worker process died" in report.step("dies").error


def test_steps_of_the_started_script_stay_in_it(project):
    project.write(CHAIN)
    plan = project.prepared().plan
    assert [node.main_process for node in plan.nodes] == [False, False]


def test_logs_hold_all_that_a_step_says(project, capfd):
    project.write(
        "import logging, os, subprocess, sys\n@hr.step\ndef loud() -> int:\n"
        "    print('printed')\n    print('to stderr', file=sys.stderr)\n    os.write(1, b'from C\\n')\n"
        "    subprocess.run(['echo', 'from a child'], check=True)\n    return 1\n"
        "@hr.pipeline\ndef main():\n    loud()\n"
    )
    report = project.run()
    lines = project.workspace.log(report.run, "loud").read_text().splitlines()
    assert lines == ["printed", "to stderr", "from C", "from a child"]
    os.write(1, b"after\n")
    assert capfd.readouterr().out == "after\n"


def test_a_tuple_is_as_long_as_promised(project):
    project.write(
        "@hr.step\ndef two() -> tuple[int, int]:\n    return 1, 2, 3\n"
        "@hr.pipeline\ndef main():\n    a, b = two()\n    return a\n"
    )
    assert project.run().step("two").error.startswith("step 'two' returned 3 values - its annotation promises")


def test_what_cannot_be_stored_says_so(project):
    project.write("@hr.step\ndef bad() -> object:\n    return object()\n@hr.pipeline\ndef main():\n    bad()\n")
    report = project.run()
    assert report.step("bad").error.startswith("a builtins.object cannot be stored")
    assert project.platform.files().list("") == []


def test_small_json_needs_no_file(project):
    project.write(CHAIN)
    project.run()
    assert not (project.root / ".headrace" / "store").exists()


def test_long_json_lies_in_a_file(project):
    project.write(
        "@hr.step\ndef long() -> list[int]:\n    return list(range(50_000))\n"
        "@hr.step\ndef total(x: list[int]) -> int:\n    return sum(x)\n"
        "@hr.step\ndef pair() -> tuple[list[int], str]:\n    return list(range(50_000)), 'short'\n"
        "@hr.pipeline\ndef main():\n    x, text = pair()\n    return total(long()), total(x), text\n"
    )
    report = project.run()
    assert report.exit_code == 0, report.steps
    totals = [report.step(name).reference.tree for name in ("total", "total-2")]
    assert totals == [1249975000] * 2
    assert "$json" in report.step("long").reference.tree


def test_an_interrupted_run_says_so(project):
    project.write(
        "@hr.step\ndef stops() -> int:\n    raise KeyboardInterrupt\n@hr.pipeline\ndef main():\n    stops()\n"
    )
    with pytest.raises(KeyboardInterrupt):
        project.run()
    (fact,) = project.platform.ledger().query("run.finished")
    assert fact.body["state"] == "stopped"


def test_lineage_reaches_effects(project):
    project.write(
        "from headrace.sdk.ambient import current\n"
        "@hr.step\ndef first() -> int:\n    return 1\n"
        "@hr.step\ndef beside() -> int:\n    return 1\n"
        "@hr.gate\ndef fine(x: int) -> None:\n    assert x\n"
        "@hr.step(effect=True)\ndef publish(x: int) -> dict:\n    c = current()\n"
        "    return {'steps': dict(c.steps), 'gates': list(c.gates), 'run': c.run, 'pipeline': c.pipeline}\n"
        "@hr.pipeline\ndef main():\n    x = first()\n    beside()\n    fine(x)\n    return publish(x)\n"
    )
    report = project.run()
    told = report.result.tree
    assert told["steps"] == {name: report.step(name).key for name in ("first", "publish")}
    assert (told["gates"], told["run"], told["pipeline"]) == (["fine"], report.run, "main")


def test_a_run_goes_on_where_another_was_stopped(project):
    """Whatever prefix of facts survived, the resumed run repeats exactly the steps without one."""
    project.write(
        NOTE + "@hr.step\ndef add(n: int, salt: int) -> int:\n    note(str(salt))\n    return n + salt\n"
        "@hr.pipeline\ndef main():\n    x = 0\n    for salt in range(8):\n        x = add(x, salt)\n    return x\n"
    )
    report = project.run()
    facts = project.platform.ledger().query(FINISHED)
    kept = random.Random(0).randrange(1, len(facts))
    other = type(project)(project.root / "other")
    other.platform.ledger().append([Fact(f.kind, f.subject, f.body) for f in facts[:kept]])
    from headrace.sdk import ambient

    with ambient.use(other.platform):
        other.module = project.module
        resumed = other.run()
    assert [s.state for s in resumed.steps] == ["cached"] * kept + ["done"] * (8 - kept)
    assert resumed.result == report.result
