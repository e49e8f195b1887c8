"""Serving's plain counters in Prometheus' text format, version 0.0.4."""

from collections.abc import Iterator, Mapping

from headrace.serving.counters import BOUNDS_S, EndpointCounters, Histogram, ScorerCounters
from headrace.serving.dataplane import DataPlane

_ENDPOINT = (
    ("headrace_requests_total", "Requests answered.", "requests"),
    ("headrace_rows_total", "Rows in answered requests.", "rows"),
    ("headrace_defaults_total", "Requests answered by the default.", "defaults"),
    ("headrace_refused_total", "Requests that did not fit the signature.", "refused"),
    ("headrace_overloaded_total", "Requests refused because too many rows waited.", "overloaded"),
    ("headrace_cancelled_total", "Requests whose caller went before there was an answer.", "cancelled"),
    ("headrace_past_deadline_total", "Requests answered more than 10 ms after the deadline.", "past_deadline"),
)
_SCORER = (
    ("headrace_scores_total", "Scores that came before the reply.", "scored"),
    ("headrace_late_scores_total", "Scores that came after the reply.", "late"),
    ("headrace_failed_scores_total", "Scores that failed: error, not finite, dropped.", "failed"),
    ("headrace_wins_total", "Requests that this model version answered.", "won"),
)


def rendered(plane: DataPlane) -> str:
    """All metrics of a data plane."""
    return "\n".join(_lines(plane)) + "\n"


def _lines(plane: DataPlane) -> Iterator[str]:
    endpoints = plane.counters
    for name, text, attribute in _ENDPOINT:
        yield from _head(name, text, "counter")
        for endpoint, counters in endpoints.items():
            yield f"{name}{_labels(endpoint=endpoint)} {getattr(counters, attribute)}"
    for name, text, attribute in _SCORER:
        yield from _head(name, text, "counter")
        for endpoint, model, scorer in _scorers(endpoints):
            yield f"{name}{_labels(endpoint=endpoint, model=model)} {getattr(scorer, attribute)}"
    yield from _head("headrace_dropped_scores_total", "Scores that failed because no model saw the request.", "counter")
    for endpoint, model, scorer in _scorers(endpoints):
        for reason, count in scorer.dropped.items():
            yield f"headrace_dropped_scores_total{_labels(endpoint=endpoint, model=model, reason=reason)} {count}"
    yield from _up(plane)
    yield from _head("headrace_log_lost_total", "Records that the request log could not keep.", "counter")
    for endpoint, lost in plane.log_failures().items():
        yield f"headrace_log_lost_total{_labels(endpoint=endpoint)} {lost}"
    yield from _durations(endpoints)


def _up(plane: DataPlane) -> Iterator[str]:
    yield from _head("headrace_model_up", "Whether a loaded model version scores now: 1, or 0.", "gauge")
    for endpoint in plane.names:
        for model, note in plane.status(endpoint).versions.items():
            if note.state == "available":
                yield f"headrace_model_up{_labels(endpoint=endpoint, model=model)} {int(not note.why)}"


def _durations(endpoints: Mapping[str, EndpointCounters]) -> Iterator[str]:
    name = "headrace_request_duration_seconds"
    yield from _head(name, "From arrival of a request to its reply.", "histogram")
    for endpoint, counters in endpoints.items():
        yield from _histogram(name, {"endpoint": endpoint}, counters.seconds)
    name = "headrace_score_duration_seconds"
    yield from _head(name, "From arrival of a request to a model's score.", "histogram")
    for endpoint, model, scorer in _scorers(endpoints):
        yield from _histogram(name, {"endpoint": endpoint, "model": model}, scorer.seconds)


def _scorers(endpoints: Mapping[str, EndpointCounters]) -> Iterator[tuple[str, str, ScorerCounters]]:
    for endpoint, counters in endpoints.items():
        for model, scorer in counters.scorers.items():
            yield endpoint, model, scorer


def _head(name: str, text: str, kind: str) -> Iterator[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {kind}"


def _histogram(name: str, labels: Mapping[str, str], histogram: Histogram) -> Iterator[str]:
    cumulative = histogram.cumulative()
    for bound, count in zip((*map(repr, BOUNDS_S), "+Inf"), cumulative, strict=True):
        yield f"{name}_bucket{_labels(**labels, le=bound)} {count}"
    yield f"{name}_sum{_labels(**labels)} {histogram.total_s}"
    yield f"{name}_count{_labels(**labels)} {cumulative[-1]}"


def _labels(**labels: str) -> str:
    return "{" + ",".join(f'{key}="{value}"' for key, value in labels.items()) + "}"
