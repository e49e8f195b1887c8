"""The same numbers under the names of TensorFlow Serving's exporter (tensorflow/serving@9d981c5c); microseconds.

What it tells apart by label and we do not, its API and entry point, is left out rather than invented.
"""

from collections.abc import Iterator

from headrace.gateway.metrics.exposition import Buckets, Family, microseconds
from headrace.serving.counters import EndpointCounters
from headrace.serving.dataplane import DataPlane

PATH = "/monitoring/prometheus/metrics"
"""Where its exporter answers."""

_SERVING, _CORE = ":tensorflow:serving:", ":tensorflow:core:"


def families(plane: DataPlane) -> Iterator[Family]:
    """Requests by endpoint, which is a model there, and all calls of models, which are runs of a graph."""
    endpoints = [({"model_name": name}, counters) for name, counters in plane.counters.items()]
    counts = [
        ({**labels, "status": status}, count) for labels, one in endpoints for status, count in _statuses(one).items()
    ]
    yield Family(f"{_SERVING}request_count", "The total number of requests.", "counter", counts)
    taken = [(labels, microseconds(one.seconds)) for labels, one in endpoints]
    yield Family(f"{_SERVING}request_latency", "Microseconds from arrival to reply.", "histogram", taken)
    spent = {name: _calls(one) for name, one in plane.counters.items()}
    # How long each call took is not kept by bucket: count and sum are, and the bucket that holds all.
    run = [({"model_name": name}, Buckets((), (calls,), model_us)) for name, (calls, model_us) in spent.items()]
    yield Family(f"{_SERVING}runtime_latency", "Microseconds of each call of a model.", "histogram", run)
    calls, model_us = (sum(parts) for parts in zip(*spent.values(), strict=True)) if spent else (0, 0.0)
    yield Family(f"{_CORE}graph_runs", "Calls of all models.", "counter", [({}, calls)])
    yield Family(f"{_CORE}graph_run_time_usecs", "Microseconds of these calls.", "counter", [({}, int(model_us))])


def _statuses(one: EndpointCounters) -> dict[str, int]:
    return {
        "OK": one.requests - one.unanswered,
        "CANCELLED": one.cancelled,
        "INVALID_ARGUMENT": one.refused,
        "RESOURCE_EXHAUSTED": one.overloaded,
        "UNAVAILABLE": one.unanswered,
    }


def _calls(one: EndpointCounters) -> tuple[int, float]:
    whole = [scorer.calls.whole for scorer in one.scorers.values()]
    return sum(spent.calls for spent in whole), sum(spent.model_s for spent in whole) * 1e6
