"""A day of five million requests is read, replayed and made a dataset of in memory that does not grow with it."""

import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import long_log
import peak
import pytest
from load import Load, predict
from server_process import serving
from wine_project import ROW, WineProject

SOAK = bool(os.environ.get("HEADRACE_SOAK"))
REQUESTS = 5_000_000 if SOAK else 50_000
DIFFERENT = 500
READ_MIB, REPLAY_MIB = 16.0, 128.0
PUT_MIB = 300.0 if SOAK else 230.0
TOMORROW_MS = (int(time.time()) // 86400 + 1) * long_log.DAY_MS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600 if SOAK else 180)]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("busy")
    project = WineProject(root)
    (root / "headrace.toml").write_text("workers = 2\n")
    project.deploy(project.register(0.5), deadline_s=5.0)
    project.register(0.9)
    project.close()
    asked = [json.dumps({"instances": [{**ROW, "alcohol": 8 + n / 100}]}).encode() for n in range(DIFFERENT)]
    with serving(root) as server:
        load = Load(server.port, [predict("wine", body) for body in asked], most=DIFFERENT)
        load.wait_for(DIFFERENT)
        assert dict(load.end()) == {(200, "wine@1"): DIFFERENT}
        assert server.end()[0] == 0
    long_log.lengthen(root / ".headrace" / "stream", "wine", REQUESTS, TOMORROW_MS)
    return root


def run(root, *arguments):
    """What a program printed, how much memory it took at most, in MiB, and its seconds."""
    begun, command = time.monotonic(), [sys.executable, peak.__file__, sys.executable, *arguments]
    said = subprocess.run(command, cwd=root, stdout=subprocess.PIPE, text=True, check=True).stdout
    printed, peak_kib = said.rstrip().rsplit("\n", 1)
    return printed, int(peak_kib) / 1024, time.monotonic() - begun


def test_a_day_is_read_a_page_at_a_time(root, figure):
    span = str(TOMORROW_MS), str(TOMORROW_MS + long_log.DAY_MS)
    said, _, _ = run(root, long_log.__file__, str(root / ".headrace" / "stream"), "wine", *span)
    found = json.loads(said)
    size = sum(file.stat().st_size for file in (root / ".headrace" / "stream").rglob("*.log"))
    figure("rendezvous.day_rows", found["rows"])
    figure("rendezvous.day_size_mib", size / 2**20)
    figure("rendezvous.day_read_rows_s", found["rows"] / found["seconds"])
    figure("rendezvous.day_read_grown_mib", found["grown_mib"])
    assert found["rows"] == REQUESTS
    assert found["grown_mib"] < READ_MIB


def test_a_part_of_a_day_is_all_that_is_read(root):
    hour_ms = long_log.DAY_MS // 24
    begin_ms = TOMORROW_MS + 7 * hour_ms
    said, _, _ = run(
        root, long_log.__file__, str(root / ".headrace" / "stream"), "wine", str(begin_ms), str(begin_ms + hour_ms)
    )
    assert abs(json.loads(said)["rows"] - REQUESTS / 24) <= 1


def test_a_day_is_replayed_in_bounded_memory(root, figure):
    arguments = (
        "-m",
        "headrace",
        "serving",
        "replay",
        "wine",
        "--model",
        "wine@2",
        "--since",
        _iso(TOMORROW_MS),
        "--json",
    )
    said, peak_mib, seconds = run(root, *arguments)
    found = json.loads(said)
    figure("rendezvous.day_replay_rows_s", found["requests"] / seconds)
    figure("rendezvous.day_replay_peak_mib", peak_mib)
    assert (found["requests"], found["numbers"]["disagreement"]) == (REQUESTS, 1.0)
    assert peak_mib < REPLAY_MIB


def test_a_day_becomes_a_dataset_in_bounded_memory(root, figure):
    source = f"request-log://wine?since={_iso(TOMORROW_MS)}"
    arguments = ("-m", "headrace", "data", "put", source, "--name", "asked", "--licence", "CC0-1.0", "--json")
    said, peak_mib, seconds = run(root, *arguments)
    figure("rendezvous.day_put_rows_s", REQUESTS / seconds)
    figure("rendezvous.day_put_peak_mib", peak_mib)
    (stored,) = json.loads(said)
    assert stored["rows"] == REQUESTS
    assert peak_mib < PUT_MIB
    assert list(Path(root / ".headrace").rglob("*.jsonl")) == []  # what it was parsed from is gone


def _iso(moment_ms):
    return datetime.fromtimestamp(moment_ms / 1000, UTC).isoformat().replace("+00:00", "Z")
