"""``make bench-rendezvous``: what the rendezvous promises and costs.

Prints a table and the figures with their bars and writes ``benchmarks/out/rendezvous.json``. Differences hold on a busy
machine; times hold on an idle one. ``--quick`` measures briefly.
``--explain`` measures only how long it takes to explain one request.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.figures import Figure, told
from benchmarks.rendezvous import workers
from benchmarks.rendezvous.deadline import Came, asked
from benchmarks.rendezvous.models import DEADLINE_S, ROW, made
from benchmarks.serving.load import check_wrk
from benchmarks.serving.measure import Effort, Measured, measured
from benchmarks.serving.models import Served
from benchmarks.serving.subjects import Subject, headrace

from headrace.assembly import open_platform
from headrace.client import Client
from headrace.journey.explain import explain
from headrace.placement.gateway import GATEWAY, gateway_spec
from headrace.refs import new_id
from headrace.serving.log import Answered, RequestLog, encode, topic
from headrace.settings import load_settings
from headrace.storage.stream import Record

ONE, THREE, FLOOR = "one scorer", "three scorers", "floor, three sessions"
WHOLE, QUICK = Effort(starts=1, connections=(16, 64)), Effort(seconds=1, rounds=3, starts=1, connections=(16, 64))
_RATE = 200
_GRACE_S = 0.010
_BATCH = 2000


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench-rendezvous")
    parser.add_argument("--quick", action="store_true", help="a minute instead of five")
    parser.add_argument("--explain", action="store_true", help="only how long explaining one request takes")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-rendezvous-") as made_here:
        folder = Path(made_here).resolve()
        digits = made(folder)
        figures = [] if given.explain else _served(digits, folder, quick=given.quick)
        count = 50_000 if given.quick else 1_000_000
        print(f"explaining one of {count:,} requests", flush=True)
        figures.append(_explained(folder / "project", count))
    told(figures, "rendezvous.explain" if given.explain else "rendezvous")


def _served(digits: Served, folder: Path, *, quick: bool) -> list[Figure]:
    check_wrk()
    print("measuring one scorer, three, and the floor", flush=True)
    group = _cost(digits, folder, QUICK if quick else WHOLE)
    _print(group)
    print(f"asking {_RATE} times a second, with a model that is 500 ms slow", flush=True)
    figures = [*_figures(group), *_kept(folder / "project", 5.0 if quick else 60.0)]
    print("asking an endpoint whose models are in a worker, over a broker", flush=True)
    return [*figures, *workers.measured(folder / "project", digits.rows[0], 5.0 if quick else 60.0)]


def _cost(digits: Served, folder: Path, effort: Effort) -> Mapping[str, Measured]:
    root, paths = folder / "project", sorted(folder.glob("digits-*.onnx"), reverse=True)
    ours = [headrace(root, "one", ONE), headrace(root, "three", THREE)]
    command = [sys.executable, str(Path(__file__).parent / "floor.py"), ",".join(map(str, paths)), "{port}"]
    floor = Subject(FLOOR, command, "/", ours[0].body, ours[0].read)
    return measured([*ours, floor], digits, folder, effort)


def _figures(group: Mapping[str, Measured]) -> list[Figure]:
    one, three, floor = group[ONE], group[THREE], group[FLOOR]
    pairs = zip(one.runs[16], three.runs[16], strict=True)
    extra = statistics.median((b.cpu_us - a.cpu_us) / 2 for a, b in pairs)
    cpu = {name: round(group[name].median(16, "cpu_us"), 1) for name in (ONE, THREE)}
    beside = {FLOOR: round(floor.median(64, "rps"))}
    return [
        Figure("rendezvous.cpu_us_per_extra_scorer", extra, "us", cpu),
        Figure("rendezvous.throughput_rps", three.median(64, "rps"), "req/s", beside),
        Figure("rendezvous.p99_ms", three.median(64, "p99_ms"), "ms", {FLOOR: round(floor.median(64, "p99_ms"), 1)}),
    ]


def _kept(root: Path, seconds: float) -> list[Figure]:
    """Whether every request was answered, in time, by the best that reported, and every score logged."""
    platform = open_platform(load_settings(root))
    services = platform.services()
    try:
        state = services.start(gateway_spec(root, ["slow"], restart=False))
        client = Client(state.address)
        client.wait_ready()
        client.close()
        came = asked(state.address, "slow", ROW, rate=_RATE, seconds=seconds)
        services.stop(GATEWAY)
        _check_logged(RequestLog(platform.stream(), "slow"), came)
    finally:
        services.stop(GATEWAY)
        platform.close()
    in_time = sum(ms <= (DEADLINE_S + _GRACE_S) * 1000 for ms in came.elapsed_ms)
    winners = dict(came.winners)
    return [
        Figure("rendezvous.answered_share", came.statuses[200] / came.sent, "share", {"asked": came.sent}),
        Figure("rendezvous.by_deadline_share", in_time / came.sent, "share", winners),
    ]


def _check_logged(log: RequestLog, came: Came) -> None:
    """Every scorer's outcome of every request is in the log, the late ones too, and the best that reported won."""
    left, after, late = set(came.ids), -1, 0
    while page := log.predictions(after):
        after = page[-1][0]
        for _, found in page:
            left.discard(found.id)
            if len(found.scores) != 3:
                raise SystemExit(f"request {found.id} has {len(found.scores)} outcomes logged of 3")
            late += sum(score.state == "late" for score in found.scores)
            reported = {score.model for score in found.scores if score.state == "in_time"}
            best = next((name for name in ("slow@1", "fast@1", "plain@1") if name in reported), "default")
            if found.winner != best:
                raise SystemExit(f"request {found.id} was answered by {found.winner}, and {best} had reported")
    if left:
        raise SystemExit(f"{len(left)} answered requests are not in the log")
    print(f"all of {len(came.ids):,} requests logged with the outcome of every scorer; {late:,} scores came late")


def _explained(root: Path, count: int) -> Figure:
    """One request of so many, by the command's own code, from opening the project on; the command beside it."""
    platform = open_platform(load_settings(root))
    wanted = _filled(platform.stream(), count)
    platform.close()
    taken = []
    for identifier in wanted:
        begun = time.perf_counter()
        opened = open_platform(load_settings(root))
        found = explain(opened, identifier)
        taken.append((time.perf_counter() - begun) * 1000)
        opened.close()
        if found["id"] != identifier:
            raise SystemExit("another request was explained")
    beside = {
        "whole command": _commanded(root, "serving", "explain", wanted[0], "--json"),
        "headrace --version": _commanded(root, "--version"),
        "logged": count,
    }
    return Figure("rendezvous.explain_ms", max(taken), "ms", beside)


def _commanded(root: Path, *words: str) -> int:
    """How many milliseconds a command takes once its modules are compiled, as where it is installed."""
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(root.parent / "compiled"), "PYTHONDONTWRITEBYTECODE": ""}
    for _ in range(2):
        begun = time.perf_counter()
        command = [sys.executable, "-m", "headrace", *words]
        subprocess.run(command, cwd=root, env=environment, check=True, capture_output=True)
    return round((time.perf_counter() - begun) * 1000)


def _filled(stream: Any, count: int) -> list[str]:
    """Log so many requests; return the ids of the first, one in the middle and the last."""
    pixels, answer = np.zeros((1, 64), np.float32), np.full((1, 10), 0.1, np.float32)
    scores = [(f"digits@{n}", None if n == 1 else {"probabilities": answer}, 0.001, "") for n in (1, 2, 3)]
    entry = Answered(
        names=("X",),
        cells={"X": pixels},
        event_time=False,
        outputs={"probabilities": answer},
        winner="digits@1",
        reason="",
        elapsed_s=0.001,
        scores=scores,
        waiting=[],
        deployment=1,
    )
    value, ids = encode(entry), []
    for start in range(0, count, _BATCH):
        batch = [Record(new_id(), value, time.time_ns() // 1_000_000) for _ in range(min(_BATCH, count - start))]
        stream.append(topic("three"), batch)
        ids.append(batch[0].key)
    return [ids[0], ids[len(ids) // 2], batch[-1].key]


def _print(group: Mapping[str, Measured]) -> None:
    print(f"\n{'digits, durable log':<28}{'at':>4}{'req/s':>9}{'p50 ms':>9}{'p99 ms':>9}{'CPU us':>9}")
    for name, one in group.items():
        for place, c in enumerate(one.runs):
            numbers = [one.median(c, attribute) for attribute in ("rps", "p50_ms", "p99_ms", "cpu_us")]
            line = f"{name if place == 0 else '':<28}{c:>4}{numbers[0]:>9.0f}"
            print(line + "".join(f"{number:>9.2f}" for number in numbers[1:]))
    print()


if __name__ == "__main__":
    main()
