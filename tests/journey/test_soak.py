"""The mixed soak of ``make soak MINUTES=20``, for some seconds; and what it calls broken."""

import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
from served import ROW, constant, endpoint, gated, model
from soak.__main__ import answers, logged
from soak.given_up import unexplained
from soak.traffic import Traffic

DOUBLES = Path(__file__).resolve().parents[1] / "doubles"


def test_a_short_soak_breaks_nothing():
    command = [sys.executable, "-m", "soak", "--minutes", "0.1", "--seed", "11"]
    environment = {**os.environ, "PYTHONPATH": str(DOUBLES)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert (lines[0], lines[-1]) == ("soak: 0.1 minutes, seed 11", "soak: nothing was broken")
    assert any(line.startswith("harm done: ") and len(line.split(",")) > 2 for line in lines)


def test_what_should_not_have_come_is_told():
    seen = Counter({(200, "wine@1"): 7, (200, "default"): 2, (503, ""): 1, "dropped": 3})
    lines, broken = answers([Traffic("some", SimpleNamespace(seen=seen), ("wine",), statuses=(503,))])
    assert "200 wine: 7, dropped: 3, 200 default: 2, 503: 1" in lines[1]
    assert broken == ["some: 2 times (200, 'default')", "some: 3 times dropped"]


BEGUN = 1_800_000_000.0


def record(after_s, winner, elapsed_s):
    return SimpleNamespace(at_ms=(BEGUN + after_s) * 1000, winner=winner, elapsed_s=elapsed_s)


@pytest.mark.parametrize(
    ("records", "alone", "odd"),
    [
        ([record(27.0, "gone", 3.0)], 0, 0),  # taken up late, and the caller went
        ([record(28.0, "wine@1", 3.0)], 0, 0),  # answered when the caller had gone
        ([record(0.1, "wine@1", 0.01)], 1, 1),  # answered at once: the reply was lost
        ([record(0.1, "gone", 29.9)], 1, 1),  # nobody answered it by its deadline
        ([record(28.0, "wine@1", 3.0), record(0.1, "wine@1", 0.01)], 0, 1),  # it explains one record and no other
        ([record(-9.0, "gone", 3.0)], 1, 1),  # it was before the call
        ([], 1, 0),  # the server never took it up
    ],
)
def test_a_call_that_was_given_up_is_told_from_a_lost_reply(records, alone, odd):
    assert unexplained([(BEGUN, BEGUN + 30)], records) == (alone, odd)


def test_a_reply_that_never_came_is_told(tmp_path):
    """A real log: of its requests one has its reply, of two nothing came back, and none of the callers had gone."""
    with gated(tmp_path, endpoint(("a@1", 0.4), deadline_s=0.5), {"a@1": model("a@1", constant(1.0))}) as gate:
        ids = [gate.client.predict("wine", rows=[ROW]).id for _ in range(3)]
    opened = SimpleNamespace(platform=SimpleNamespace(stream=lambda: gate.stream))

    def told(ids, **more):
        return logged(opened, [Traffic("some", SimpleNamespace(ids=ids, unlogged=[], **more), logged=True)])

    odd = "requests are in the log whose replies said no, or never came"
    assert told(ids) == []
    assert told(ids[:1]) == [f"2 {odd}"]
    now = time.time()
    assert told(ids[:2], given_up=[(now - 60, now - 30)]) == [
        "1 calls were given up for which the log has no reason",
        f"1 {odd}",
    ]
    assert told(ids[:2], given_up=[(now - 5, now + 25)])[1:] == [f"1 {odd}"]  # answered long before it was given up
    assert told(ids[:2], given_up=[(now - 30, now)]) == []  # answered when it was given up
    assert told([*ids, "another"]) == ["1 answered requests are not in the log"]
