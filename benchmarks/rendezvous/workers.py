"""An endpoint in several processes, beside what the broker between them takes itself, in the same run."""

import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.figures import Figure
from benchmarks.rendezvous.deadline import asked
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from headrace.client import Client
from headrace.placement.services import free_port

BROKERS = Path(__file__).parents[2] / ".venv-brokers"
_RATE = 200
_BYTES = 700
_WITHIN_S = 30.0


def measured(root: Path, row: object, seconds: float) -> list[Figure]:
    """Front door to answer, three scorers in a worker, durable log on the broker; twice the broker's own trip is less.

    Args:
        root: A project with an endpoint ``three``.
        row: What is asked.
        seconds: How long.
    """
    with _broker(root) as address:
        environment = {"HEADRACE_STREAM": f"kafka://{address}/bench", "HEADRACE_SCORERS": "workers"}
        before = _trips(address, seconds / 4)
        with _process(root, environment, "headrace", "serving", "worker", "three"), _door(root, environment) as url:
            asked(url, "three", row, rate=_RATE // 10, seconds=2)  # until connections are up
            came = asked(url, "three", row, rate=_RATE, seconds=seconds)
        trips = sorted([*before, *_trips(address, seconds / 4)])
    if came.statuses[200] != came.sent:
        raise SystemExit(f"{came.sent - came.statuses[200]} of {came.sent} requests were not answered")
    times = sorted(came.elapsed_ms)
    p50, p99 = statistics.median(times), times[int(len(times) * 0.99)]
    trip50, trip99 = statistics.median(trips), trips[int(len(trips) * 0.99)]
    beside = {"p50": p50, "p99": p99, "broker p50": trip50, "broker p99": trip99}
    told = {name: round(value, 2) for name, value in beside.items()}
    return [Figure("rendezvous.kafka_p50_over_floor_ms", p50 - 2 * trip50, "ms", told)]


@contextmanager
def _broker(root: Path) -> Iterator[str]:
    """Noida, which keeps messages in memory: ``host:port``."""
    program = next(p for p in BROKERS.rglob("noida-db") if p.is_file() and p.stat().st_size > 1_000_000)
    port = free_port()
    command = [program, "start", "--only", "kafka", "--kafka-port", str(port), "--data-dir", root / "noida"]
    with _ended(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)):
        client = AdminClient({"bootstrap.servers": f"127.0.0.1:{port}", "log_level": 0})
        client.list_topics(timeout=_WITHIN_S)
        client.create_topics([NewTopic("trips", 1, -1)])["trips"].result(_WITHIN_S)
        yield f"127.0.0.1:{port}"


def _trips(address: str, seconds: float) -> list[float]:
    """Milliseconds from producing a message to having consumed it, one at a time, at the rate of the requests."""
    producer = Producer({"bootstrap.servers": address, "linger.ms": 0, "acks": 1})
    consumer = Consumer({"bootstrap.servers": address, "group.id": "trips", "enable.auto.commit": False})
    end = consumer.get_watermark_offsets(TopicPartition("trips", 0), timeout=_WITHIN_S)[1]
    consumer.assign([TopicPartition("trips", 0, end)])
    taken = []
    for number in range(int(seconds * _RATE) + 20):
        begun = time.perf_counter()
        producer.produce("trips", os.urandom(_BYTES), partition=0)
        producer.poll(0)
        if consumer.poll(_WITHIN_S) is None:
            raise SystemExit("the broker gave nothing back")
        taken.append((time.perf_counter() - begun) * 1000)
        if number >= 20:
            time.sleep(max(0.0, 1 / _RATE - taken[-1] / 1000))
    producer.flush(_WITHIN_S)
    consumer.close()
    return taken[20:]


@contextmanager
def _door(root: Path, environment: dict[str, str]) -> Iterator[str]:
    port = free_port()
    options = ["headrace.gateway", "--root", str(root), "--endpoint", "three", "--port", str(port)]
    with _process(root, environment, *options):
        client = Client(f"http://127.0.0.1:{port}")
        client.wait_ready(_WITHIN_S)
        until = time.monotonic() + _WITHIN_S
        while [version.runs for version in client.overview().endpoints[0].versions] != ["1 worker"] * 3:
            if time.monotonic() > until:
                raise SystemExit("the worker does not score")
            time.sleep(0.05)
        client.close()
        yield f"http://127.0.0.1:{port}"


@contextmanager
def _process(root: Path, environment: dict[str, str], *module: str) -> Iterator[None]:
    started = subprocess.Popen(
        [sys.executable, "-m", *module], cwd=root, env={**os.environ, **environment, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    with _ended(started):
        yield


@contextmanager
def _ended(process: "subprocess.Popen[bytes]") -> Iterator[None]:
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
