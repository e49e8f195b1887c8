"""Servers side by side: each proven right, then loaded in turns, so that other load on the machine meets all alike."""

import http.client
import json
import math
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.serving import load
from benchmarks.serving.load import Run
from benchmarks.serving.models import Served
from benchmarks.serving.processes import Process, free_ports
from benchmarks.serving.subjects import Subject

_TOLERANCE = 1e-5
_PORTS = 4
_WARM_S = 1


@dataclass(frozen=True)
class Effort:
    """How long is measured.

    Attributes:
        seconds: Of each load.
        rounds: How often each load is repeated.
        starts: How often each server is started and weighed alone.
        connections: Loads.
    """

    seconds: int = 2
    rounds: int = 5
    starts: int = 3
    connections: tuple[int, ...] = (1, 16, 64)


@dataclass
class Measured:
    """One server's numbers.

    Attributes:
        starts_s: Process start to first right answer.
        pss_mib: After some thousand requests, alone.
        runs: By connections, in the order of the rounds.
    """

    starts_s: list[float] = field(default_factory=list)
    pss_mib: list[float] = field(default_factory=list)
    runs: dict[int, list[Run]] = field(default_factory=dict)

    def median(self, connections: int, attribute: str) -> float:
        """Over the rounds."""
        return statistics.median(getattr(run, attribute) for run in self.runs[connections])


@dataclass
class Server:
    """A subject that runs."""

    subject: Subject
    process: Process
    port: int
    start_s: float

    def load(self, served: Served, *, connections: int, seconds: int, folder: Path) -> Run:
        """One load, with the CPU that each request took."""
        url = f"http://127.0.0.1:{self.port}{self.subject.path}"
        before = self.process.cpu_s()
        run = load.http(
            url, self.subject.request(served.rows[0]), connections=connections, seconds=seconds, folder=folder
        )
        return replace(run, cpu_us=(self.process.cpu_s() - before) / max(run.requests, 1) * 1e6)


@contextmanager
def running(subject: Subject, served: Served, folder: Path) -> Iterator[Server]:
    """The server, once it has answered every row as ONNX Runtime does; ended afterwards."""
    port = free_ports(_PORTS)
    command, environment = subject.started_with(port)
    process = Process(command, folder / f"{subject.name.replace(' ', '-')}-{port}", environment)
    try:
        start_s = process.wait(lambda: _right(port, subject, served.rows[0], served.answers[0]), subject.start_limit_s)
        for row, due in zip(served.rows, served.answers, strict=True):
            if not _right(port, subject, row, due):
                raise RuntimeError(f"answers {row} otherwise than ONNX Runtime, which says {due}")
        yield Server(subject, process, port, start_s)
    finally:
        process.stop()


def measured(subjects: Sequence[Subject], served: Served, folder: Path, effort: Effort) -> dict[str, Measured]:
    """Every subject that runs: started and weighed alone, then all loaded in turns."""
    found: dict[str, Measured] = {}
    for subject in subjects:
        try:
            found[subject.name] = _weighed(subject, served, folder, effort)
        except (RuntimeError, OSError) as error:
            print(f"{subject.name} is left out: {error}", file=sys.stderr)
    with ExitStack() as running_ones:
        right = [subject for subject in subjects if subject.name in found]
        servers = [running_ones.enter_context(running(subject, served, folder)) for subject in right]

        def run(server: Server, connections: int, seconds: int) -> Run:
            return server.load(served, connections=connections, seconds=seconds, folder=folder)

        interleaved(servers, found, effort, run)
    return found


def interleaved(
    servers: Sequence[Any], found: Mapping[str, Measured], effort: Effort, run: Callable[[Any, int, int], Run]
) -> None:
    """Load the servers in turns, first round to warm up."""
    for connections in effort.connections:
        for number in range(effort.rounds + 1):
            for server in servers if number % 2 else reversed(servers):
                taken = run(server, connections, effort.seconds if number else _WARM_S)
                if taken.failed:
                    raise SystemExit(f"{server.subject.name}: {taken.failed} of {taken.requests} requests failed")
                if number:
                    found[server.subject.name].runs.setdefault(connections, []).append(taken)


def ratio(ours: Measured, theirs: Measured, connections: int, attribute: str) -> float:
    """The median, over the rounds, of ours over theirs."""
    pairs = zip(ours.runs[connections], theirs.runs[connections], strict=True)
    return statistics.median(getattr(a, attribute) / getattr(b, attribute) for a, b in pairs)


def _weighed(subject: Subject, served: Served, folder: Path, effort: Effort) -> Measured:
    one = Measured()
    for _ in range(effort.starts):
        with running(subject, served, folder) as server:
            server.load(served, connections=16, seconds=_WARM_S, folder=folder)
            one.starts_s.append(server.start_s)
            one.pss_mib.append(server.process.pss_mib())
    return one


def _right(port: int, subject: Subject, row: Any, due: Sequence[float]) -> bool:
    """Whether the server answers, and as it should."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("POST", subject.path, subject.request(row), {"Content-Type": "application/json"})
        reply = connection.getresponse()
        values = subject.read(json.loads(reply.read())) if reply.status == 200 else ()
    except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError):
        return False
    finally:
        connection.close()
    return alike(values, due)


def alike(values: Sequence[float], due: Sequence[float]) -> bool:
    """Whether an answer is what ONNX Runtime says, as far as float32 goes."""
    return len(values) == len(due) and all(
        math.isclose(a, b, rel_tol=0, abs_tol=_TOLERANCE) for a, b in zip(values, due, strict=True)
    )
