"""The same numbers under the names of Triton Inference Server's metrics (triton-inference-server/core@05295b7).

Each model version counts under its own name, whichever endpoints it scores for; counters are whole microseconds.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator

from headrace.gateway.metrics.exposition import Family, Labels, Value
from headrace.refs import Ref
from headrace.serving.counters import ScorerCounters
from headrace.serving.dataplane import DataPlane
from headrace.serving.status import waiting

Read = Callable[[ScorerCounters], int]

_COUNTERS: tuple[tuple[str, str, Read], ...] = (
    ("nv_inference_request_success", "Requests that got a score.", lambda one: one.scored + one.late),
    ("nv_inference_count", "Rows scored.", lambda one: one.calls.rows),
    ("nv_inference_exec_count", "Calls of the model, each with a batch.", lambda one: one.calls.whole.calls),
    (
        "nv_inference_request_duration_us",
        "From arrival of a request to its score, in all.",
        lambda one: _us(one.seconds.total_s),
    ),
    ("nv_inference_queue_duration_us", "How long requests waited for a call.", lambda one: _us(one.calls.queued_s)),
    (
        "nv_inference_compute_input_duration_us",
        "How long they waited for batches to be made.",
        lambda one: _us(one.calls.by_requests.input_s),
    ),
    (
        "nv_inference_compute_infer_duration_us",
        "How long they waited for the model.",
        lambda one: _us(one.calls.by_requests.model_s),
    ),
    (
        "nv_inference_compute_output_duration_us",
        "How long they waited for outputs to be checked.",
        lambda one: _us(one.calls.by_requests.output_s),
    ),
)
_FAILURES: tuple[tuple[str, Read], ...] = (
    ("REJECTED", lambda one: one.dropped["queue_full"] + one.dropped["expired"]),
    ("CANCELED", lambda one: one.dropped["cancelled"]),
    ("BACKEND", lambda one: one.failed - sum(one.dropped.values())),
    ("OTHER", lambda one: one.dropped["breaker_open"]),
)


def families(plane: DataPlane) -> Iterator[Family]:
    """Everything that Triton counts by model and version, but for the cache, which there is none of."""
    versions: dict[str, list[ScorerCounters]] = defaultdict(list)
    for counters in plane.counters.values():
        for reference, one in counters.scorers.items():
            versions[reference].append(one)
    for name, text, read in _COUNTERS:
        yield Family(name, text, "counter", [(_labels(r), sum(map(read, ones))) for r, ones in versions.items()])
    failures: list[tuple[Labels, Value]] = [
        ({**_labels(reference), "reason": reason}, sum(map(read, ones)))
        for reference, ones in versions.items()
        for reason, read in _FAILURES
    ]
    yield Family("nv_inference_request_failure", "Requests that got no score.", "counter", failures)
    pending: dict[str, int] = defaultdict(int)
    for (_, reference), count in waiting(plane.lives).items():
        pending[reference] += count
    queued: list[tuple[Labels, Value]] = [(_labels(reference), count) for reference, count in pending.items()]
    yield Family("nv_inference_pending_request_count", "Requests that wait for the model now.", "gauge", queued)


def _labels(reference: str) -> Labels:
    ref = Ref.parse(reference)
    return {"model": ref.name, "version": ref.selector}


def _us(seconds: float) -> int:
    return int(seconds * 1e6)
