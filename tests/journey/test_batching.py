"""What batches are worth, measured on a real gateway and a worker process; the benchmark's code with fewer clients."""

import os

import pytest
from benchmarks import serving_batching

SOAK = bool(os.environ.get("HEADRACE_SOAK"))


@pytest.mark.slow
def test_many_clients_share_the_calls_of_one_worker(tmp_path, figure):
    clients, seconds, least = (128, 5.0, 12) if SOAK else (32, 1.0, 4)
    found = serving_batching.gain(tmp_path, clients, seconds)
    figure(f"serving.batching_gain at {clients} clients", found["ratio"])
    assert found["single"] <= 1 / serving_batching.CALL_S  # one row a call: the worker's waits are its bound
    assert found["ratio"] >= least
