"""Verdicts: judge numbers that were measured; refuse with them, or return them as JSON values for the record."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from headrace.errors import GateFailed, UsageError
from headrace.evaluation.latency import Latency
from headrace.evaluation.metrics import metric as metric_of
from headrace.evaluation.slices import Slice

Judged = dict[str, Any]


def beats(scores: Mapping[str, float], baseline: Mapping[str, float], metric: str, *, by: float = 0.0) -> Judged:
    """Raise ``GateFailed`` unless a metric is better than the baseline's by more than ``by``."""
    new, old = _value(scores, metric), _value(baseline, metric)
    if not metric_of(metric).better(new, old, by=by):
        margin = f" by more than {by:g}" if by else ""
        raise GateFailed(
            f"{metric} {new:.6g} does not beat the baseline's {old:.6g}{margin}",
            fix="look for a leak that went, a broken feature or too little data before trying other settings",
        )
    return {"metric": metric, "value": new, "baseline": old} | ({"by": by} if by else {})


def above(scores: Mapping[str, float], metric: str, floor: float) -> Judged:
    """Raise ``GateFailed`` unless a metric is above ``floor``."""
    value = _value(scores, metric)
    if not value > floor:
        raise GateFailed(f"{metric} {value:.6g} is not above {floor:g}", fix="improve the model, or lower the floor")
    return {"metric": metric, "value": value, "floor": floor}


def no_slice_under(found: Sequence[Slice], floor: float) -> Judged:
    """Raise ``GateFailed`` when a slice's whole AUC interval lies under ``floor``, naming every such slice."""
    bad = [s for s in found if not math.isnan(s.high) and s.high < floor]
    if bad:
        lines = [f"{s.column}={s.value}: AUC {s.auc:.3f} [{s.low:.3f}, {s.high:.3f}] on {s.rows} rows" for s in bad]
        raise GateFailed(
            f"{len(bad)} of {len(found)} slices are surely under AUC {floor:g}",
            why="; ".join(lines),
            fix="add what tells these rows apart as a feature, or train on more of them",
        )
    judged = [s for s in found if not math.isnan(s.high)]
    worst = min(judged, key=lambda s: s.high, default=None)
    return {"slices": len(judged), "floor": floor} | ({"worst": asdict(worst)} if worst else {})


def latency_within(found: Latency, at_most: float, *, where: str = "") -> Judged:
    """Raise ``GateFailed`` when the candidate's median exceeds ``at_most`` times the champion's."""
    if not found.p50_ratio <= at_most:
        raise GateFailed(
            f"the candidate takes {found.p50_ratio:.2f} times as long as the champion, {at_most:g} is allowed",
            where=where,
            why=f"median {found.candidate_p50_s * 1e6:.0f} against {found.champion_p50_s * 1e6:.0f} µs a row, "
            f"p99 ratio {found.p99_ratio:.2f}, {found.calls} calls of each in turns",
            fix="use fewer or smaller trees, or raise at_most",
        )
    return {
        "candidate_p50_ms": found.candidate_p50_s * 1000,
        "champion_p50_ms": found.champion_p50_s * 1000,
        "p50_ratio": found.p50_ratio,
        "p99_ratio": found.p99_ratio,
        "at_most": at_most,
    }


def _value(scores: Mapping[str, float], name: str) -> float:
    if name not in scores:
        raise UsageError(f"the scores have no {name!r}", why=f"they have {', '.join(scores) or 'nothing'}")
    return float(scores[name])
