"""Triton's extensions of the Open Inference Protocol that only read: statistics, model configuration, repository index.

An endpoint is a model there; its versions are those of the model that its schedule prefers.
"""

from typing import Any

from headrace.gateway.answers import versions_of
from headrace.gateway.oip_request import DATATYPES
from headrace.models.signature import Column, Tensor
from headrace.serving.calls import Spent
from headrace.serving.counters import ScorerCounters
from headrace.serving.dataplane import DataPlane
from headrace.serving.rendezvous import Live

EXTENSIONS = ("binary_tensor_data", "model_configuration", "model_repository(index)", "statistics")
_STATES = {"serving": "READY", "loading": "LOADING", "failed": "UNAVAILABLE", "unloaded": "UNAVAILABLE"}
_VERSIONS = {
    "available": "READY",
    "loading": "LOADING",
    "unloading": "UNLOADING",
    "unloaded": "UNAVAILABLE",
    "failed": "UNAVAILABLE",
}
_KINDS = {"BYTES": "TYPE_STRING"}


def statistics(live: Live) -> list[dict[str, Any]]:
    """One entry a version: counts, and times in nanoseconds.

    ``success`` and ``fail`` are from arrival of a request to the model's score; ``queue`` and ``compute_*`` say where
    that time went, each call counted for every request in its batch. ``batch_stats`` count each call once.
    """
    name = live.deployment.endpoint.name
    return [_statistic(name, version, live) for version in versions_of(live)]


def configuration(live: Live) -> dict[str, Any]:
    """What a model takes and gives, in the words of Triton's ``ModelConfig``; extents include the batch."""
    return {
        "name": live.deployment.endpoint.name,
        "platform": "headrace",
        "backend": "headrace",
        "max_batch_size": 0,
        "input": [_field(field) for field in live.decoder.signature.inputs],
        "output": [_field(field) for field in live.signature.outputs],
        "version_policy": {"specific": {"versions": [int(version) for version in versions_of(live)]}},
    }


def index(plane: DataPlane, *, ready: bool) -> list[dict[str, str]]:
    """Every endpoint with its versions and their state; ``ready`` leaves out what cannot score."""
    rows = []
    for name in plane.names:
        status = plane.status(name)
        known = [(str(number), _VERSIONS[note.state], note.why) for number, note in status.own.items()]
        if not any(why for _, _, why in known):  # what is wrong is no version's fault
            known = [(version, state, status.wrong) for version, state, _ in known or [("", _STATES[status.state], "")]]
        for version, state, why in known:
            if state == "READY" or not ready:
                rows.append({"name": name, "version": version, "state": state, "reason": why})
    return rows


def _statistic(name: str, version: str, live: Live) -> dict[str, Any]:
    reference = next(own for own in live.loaded if own.endswith(f"@{version}"))
    scorer = live.counters.scorers.get(reference, ScorerCounters())
    calls, done = scorer.calls, scorer.scored + scorer.late
    spent, none = calls.by_requests, _duration(0, 0.0)
    return {
        "name": name,
        "version": version,
        "last_inference": live.counters.last_ns // 1_000_000,
        "inference_count": calls.rows,
        "execution_count": calls.whole.calls,
        "inference_stats": {
            "success": _duration(done, scorer.seconds.total_s),
            "fail": _duration(scorer.failed, scorer.failed_s),
            "queue": _duration(spent.calls, calls.queued_s),
            **_computed(spent),
            "cache_hit": none,
            "cache_miss": none,
        },
        "batch_stats": [{"batch_size": rows, **_computed(taken)} for rows, taken in sorted(calls.by_rows.items())],
        "memory_usage": [],
    }


def _computed(spent: Spent) -> dict[str, Any]:
    return {
        "compute_input": _duration(spent.calls, spent.input_s),
        "compute_infer": _duration(spent.calls, spent.model_s),
        "compute_output": _duration(spent.calls, spent.output_s),
    }


def _duration(count: int, seconds: float) -> dict[str, int]:
    return {"count": count, "ns": round(seconds * 1e9)}


def _field(field: Column | Tensor) -> dict[str, Any]:
    datatype = DATATYPES[field.dtype]
    extents = list(field.shape) if isinstance(field, Tensor) else [-1]
    return {"name": field.name, "data_type": _KINDS.get(datatype, f"TYPE_{datatype}"), "dims": extents}
