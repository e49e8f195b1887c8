"""The mixed soak of ``make soak MINUTES=20``, for some seconds; and what it calls broken."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

from soak.__main__ import answers
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
