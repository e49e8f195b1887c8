"""How fast a run starts and a step goes: cold processes, beside the peers that are installed.

``make bench`` prints the rows and writes ``benchmarks/out/pipelines.json``. Times are medians; CPU is user + system of
the process and its children. Compare on an idle machine.
"""

import functools
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks import peers
from benchmarks.environments import installed
from benchmarks.figures import Figure, told

REPEATS = 7
FURTHER = 100
PROJECT = """
import headrace as hr
@hr.step
def a(x: int) -> int:
    return x + 1
@hr.step
def b(x: int) -> int:
    return x + 1
@hr.step
def c(x: int) -> int:
    return x + 1
@hr.step
def d(x: int) -> int:
    return x + 1
@hr.step
def e(x: int) -> int:
    return x + 1
@hr.pipeline
def five(n: int = 1):
    return e(d(c(b(a(n)))))
@hr.pipeline
def more(n: int = 1):
    for _ in range(COUNT):
        n = e(d(c(b(a(n)))))
    return n
""".replace("COUNT", str((FURTHER + 5) // 5))

Cost = tuple[float, float]
"""Wall and CPU seconds."""


def cost(command: Sequence[str | Path], folder: Path) -> Cost:
    """What one process costs; its output is shown when it fails."""
    environment = {**os.environ, "NO_COLOR": "1", "METAFLOW_USER": "bench", "DAGSTER_DISABLE_TELEMETRY": "yes"}
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def medians(measures: Mapping[str, Callable[[], Cost]]) -> dict[str, Cost]:
    """Medians by name, measured in turns, so that other load meets all alike; the first turn warms up."""
    found: dict[str, list[Cost]] = {name: [] for name in measures}
    for turn in range(REPEATS + 1):
        for name, measure in measures.items():
            value = measure()
            if turn:
                found[name].append(value)
    return {n: (statistics.median(c[0] for c in x), statistics.median(c[1] for c in x)) for n, x in found.items()}


def ours(folder: Path) -> dict[str, Callable[[], Cost]]:
    """What is measured of ours."""
    (folder / "pipeline.py").write_text(PROJECT)
    headrace = Path(sys.executable).with_name("headrace")

    def run(pipeline: str, *, cold: bool) -> Cost:
        if cold:
            shutil.rmtree(folder / ".headrace", ignore_errors=True)
        return cost([headrace, "run", pipeline, "-q"], folder)

    return {
        "five": lambda: run("five", cold=True),
        "again": lambda: run("five", cold=False),
        "more": lambda: run("more", cold=True),
        "bare": lambda: cost([sys.executable, "-c", ""], folder),
        "import": lambda: cost([sys.executable, "-c", "import headrace"], folder),
        "help": lambda: cost([headrace, "--help"], folder),
    }


def theirs(folder: Path) -> dict[str, Callable[[], Cost]]:
    """Five steps by peer, of those that are installed."""
    found = {}
    for name, python in installed(list(peers.PACKAGES)).items():
        program = folder / f"{name}_five.py"
        program.write_text(peers.PROGRAMS[name])
        command = [python, program, *peers.ARGUMENTS.get(name, [])]
        found[name] = functools.partial(cost, command, folder)
    return found


def figures(costs: dict[str, Cost], others: dict[str, float]) -> list[Figure]:
    """The rows, with the ids that the bars go by."""
    wall, cpu = {n: c[0] for n, c in costs.items()}, {n: c[1] for n, c in costs.items()}
    rows = [
        Figure("pipelines.cold5_wall_s", wall["five"], "s", others),
        Figure("pipelines.cpu_ms_per_step", (cpu["more"] - cpu["five"]) / FURTHER * 1000, "ms"),
        Figure("pipelines.unchanged_rerun_wall_s", wall["again"], "s"),
        Figure("shape.import_cpu_s", cpu["import"] - cpu["bare"], "s"),
        Figure("shape.help_cpu_s", cpu["help"] - cpu["bare"], "s"),
    ]
    if others:
        rows.insert(1, Figure("pipelines.cold5_vs_best_peer", wall["five"] / min(others.values()), "ratio"))
    return rows


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        mine, others = ours(Path(folder)), theirs(Path(folder))
        costs = medians({**mine, **others})
    told(figures(costs, {name: round(costs[name][0], 3) for name in others}), "pipelines")
    missing = sorted(set(peers.PACKAGES) - set(others))
    if missing:
        print(f"not installed, so not compared: {', '.join(missing)} (make bench-peers)")


if __name__ == "__main__":
    main()
