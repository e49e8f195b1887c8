"""The pieces of the server's benchmark: what it calls right, how it counts, and that each figure has its bar."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[3]))

from benchmarks.figures import Figure, bars, told
from benchmarks.serving.load import Run
from benchmarks.serving.measure import Measured, alike, ratio
from benchmarks.serving.processes import Process

SPINS = """
import time
end = time.process_time() + 0.2
while time.process_time() < end:
    pass
open("done", "w").close()
time.sleep(60)
"""


def runs(*numbers):
    return Measured(runs={16: [Run(1000, 0, rps, 1.0, 2.0, cpu) for rps, cpu in numbers]})


def test_a_ratio_pairs_the_rounds():
    ours, theirs = runs((100, 20), (50, 40), (100, 30)), runs((100, 10), (50, 20), (200, 10))
    assert ratio(ours, theirs, 16, "cpu_us") == 2.0
    assert ratio(ours, theirs, 16, "rps") == 1.0


@pytest.mark.parametrize(("values", "right"), [([0.1, 0.9], True), ([0.1, 0.9002], False), ([0.1], False), ([], False)])
def test_only_the_models_answer_is_right(values, right):
    assert alike(values, [0.1, 0.9]) is right


def test_a_process_is_weighed_with_the_cpu_it_took_and_is_gone_afterwards(tmp_path):
    process = Process([sys.executable, "-c", SPINS], tmp_path, {})
    try:
        assert process.wait((tmp_path / "done").exists, 30) >= 0.2
        assert 0.19 <= process.cpu_s() < 5
        assert process.pss_mib() > 1
    finally:
        process.stop()
    assert process.cpu_s() == 0


def test_a_server_that_ends_is_told_with_what_it_said(tmp_path):
    process = Process([sys.executable, "-c", "raise SystemExit('no such model')"], tmp_path, {})
    with pytest.raises(RuntimeError, match="no such model"):
        process.wait(lambda: False, 30)
    process.stop()


def test_a_figure_is_printed_beside_its_bar(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("benchmarks.figures.OUT", tmp_path)
    told([Figure("serving.start_s", 9.0, "s"), Figure("serving.pss_mib", 60, "MiB", {"floor": 50})], "tried")
    said = capsys.readouterr().out.splitlines()
    assert "MISSED" in said[0]
    assert "holds" in said[1]
    assert json.loads((tmp_path / "tried.json").read_text())[1]["beside"] == {"floor": 50}
    assert bars()["serving.throughput_ratio_c16"].op == ">="
