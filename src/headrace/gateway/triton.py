"""Triton's extensions of the Open Inference Protocol that only read: statistics, model configuration, repository index.

An endpoint is a model there; its versions are those of the model that its schedule prefers.
"""

from typing import Any

from headrace.gateway.answers import versions_of
from headrace.gateway.oip_request import DATATYPES
from headrace.models.signature import Column, Tensor
from headrace.serving.counters import ScorerCounters
from headrace.serving.dataplane import DataPlane
from headrace.serving.rendezvous import Live

EXTENSIONS = ("binary_tensor_data", "model_configuration", "model_repository(index)", "statistics")
_STATES = {"serving": "READY", "loading": "LOADING", "failed": "UNAVAILABLE", "unloaded": "UNAVAILABLE"}
_VERSIONS = {"available": "READY", "loading": "LOADING", "unloading": "UNLOADING", "failed": "UNAVAILABLE"}
_KINDS = {"BYTES": "TYPE_STRING"}


def statistics(live: Live) -> list[dict[str, Any]]:
    """One entry a version: counts, and times in nanoseconds from arrival of a request to the model's score."""
    name = live.deployment.endpoint.name
    return [_statistic(name, version, live) for version in versions_of(live)]


def configuration(live: Live) -> dict[str, Any]:
    """What a model takes and gives, in the words of Triton's ``ModelConfig``; extents include the batch."""
    return {
        "name": live.deployment.endpoint.name,
        "platform": "headrace",
        "backend": "headrace",
        "max_batch_size": 0,
        "input": [_field(field) for field in live.signature.inputs],
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
            known = [
                (version, state, status.refused) for version, state, _ in known or [("", _STATES[status.state], "")]
            ]
        for version, state, why in known:
            if state == "READY" or not ready:
                rows.append({"name": name, "version": version, "state": state, "reason": why})
    return rows


def _statistic(name: str, version: str, live: Live) -> dict[str, Any]:
    reference = next(own for own in live.loaded if own.endswith(f"@{version}"))
    scorer = live.counters.scorers.get(reference, ScorerCounters())
    done = scorer.scored + scorer.late
    taken = {"count": done, "ns": int(scorer.seconds.total_s * 1e9)}
    none, others = {"count": 0, "ns": 0}, {"count": done, "ns": 0}
    return {
        "name": name,
        "version": version,
        "last_inference": live.counters.last_ms,
        "inference_count": scorer.rows,
        "execution_count": done,
        "inference_stats": {
            "success": taken,
            "fail": {"count": scorer.failed, "ns": 0},
            "queue": others,
            "compute_input": others,
            "compute_infer": taken,
            "compute_output": others,
            "cache_hit": none,
            "cache_miss": none,
        },
        "batch_stats": [],
        "memory_usage": [],
    }


def _field(field: Column | Tensor) -> dict[str, Any]:
    datatype = DATATYPES[field.dtype]
    extents = list(field.shape) if isinstance(field, Tensor) else [-1]
    return {"name": field.name, "data_type": _KINDS.get(datatype, f"TYPE_{datatype}"), "dims": extents}
