"""Metrics under headrace's own names, in base units."""

from collections.abc import Callable, Iterator

from headrace.gateway.metrics.exposition import Family, Labels, Value, seconds
from headrace.serving.counters import ScorerCounters
from headrace.serving.dataplane import DataPlane
from headrace.serving.status import waiting

_ENDPOINT = (
    ("headrace_requests_total", "Requests answered.", "requests"),
    ("headrace_rows_total", "Rows in answered requests.", "rows"),
    ("headrace_defaults_total", "Requests answered by the default.", "defaults"),
    ("headrace_unanswered_total", "Those among them that got an error, for want of a default.", "unanswered"),
    ("headrace_refused_total", "Requests that did not fit the signature.", "refused"),
    ("headrace_overloaded_total", "Requests refused because too many rows waited.", "overloaded"),
    ("headrace_unjoined_total", "Requests whose features could not be joined in time.", "unjoined"),
    ("headrace_cancelled_total", "Requests whose caller went before there was an answer.", "cancelled"),
    ("headrace_past_deadline_total", "Requests answered more than 10 ms after the deadline.", "past_deadline"),
    ("headrace_missed_total", "Requests answered so late, or by the default: against the service level.", "missed"),
)
_SCORER: tuple[tuple[str, str, Callable[[ScorerCounters], int | float]], ...] = (
    ("headrace_scores_total", "Scores that came before the reply.", lambda one: one.scored),
    ("headrace_late_scores_total", "Scores that came after the reply.", lambda one: one.late),
    ("headrace_deadline_misses_total", "Requests without the model's score at the deadline.", lambda one: one.missed),
    ("headrace_failed_scores_total", "Scores that failed: error, not finite, dropped.", lambda one: one.failed),
    ("headrace_scored_here_total", "Requests that workers did not score and the gateway did.", lambda one: one.here),
    ("headrace_wins_total", "Requests that this model version answered.", lambda one: one.won),
    (
        "headrace_compared_scores_total",
        "Scores held against another's answer: a sample.",
        lambda one: one.compared,
    ),
    ("headrace_agreed_scores_total", "Those among them no farther than 0.01 apart.", lambda one: one.agreed),
    ("headrace_model_calls_total", "Calls of the model that gave scores.", lambda one: one.calls.whole.calls),
    ("headrace_model_rows_total", "Rows in these calls.", lambda one: one.calls.rows),
    ("headrace_queue_seconds_total", "How long requests waited for these calls.", lambda one: one.calls.queued_s),
)
_PARTS: tuple[tuple[str, Callable[[ScorerCounters], float]], ...] = (
    ("input", lambda one: one.calls.whole.input_s),
    ("model", lambda one: one.calls.whole.model_s),
    ("output", lambda one: one.calls.whole.output_s),
)


def families(plane: DataPlane) -> Iterator[Family]:
    """Everything that is counted, by endpoint and model version."""
    endpoints = [({"endpoint": name}, counters) for name, counters in plane.counters.items()]
    for name, text, attribute in _ENDPOINT:
        yield Family(name, text, "counter", [(labels, getattr(one, attribute)) for labels, one in endpoints])
    yield from _of_models(plane)
    up: list[tuple[Labels, Value]] = [({"endpoint": name}, int(not log.trouble)) for name, log in plane.logs.items()]
    yield Family("headrace_log_up", "Whether the last records of the request log were written: 1, or 0.", "gauge", up)
    lost: list[tuple[Labels, Value]] = [({"endpoint": name}, log.failed) for name, log in plane.logs.items()]
    yield Family("headrace_log_lost_total", "Records that the request log could not keep.", "counter", lost)
    followed: list[tuple[Labels, Value]] = [({}, int(not plane.unfollowed))]
    yield Family("headrace_ledger_up", "Whether what is deployed is followed: 1, or 0.", "gauge", followed)
    whole = [(labels, seconds(one.seconds)) for labels, one in endpoints]
    yield Family("headrace_request_duration_seconds", "From arrival of a request to its reply.", "histogram", whole)


def _of_models(plane: DataPlane) -> Iterator[Family]:
    models = [
        ({"endpoint": endpoint, "model": model}, one)
        for endpoint, counters in plane.counters.items()
        for model, one in counters.scorers.items()
    ]
    for name, text, value in _SCORER:
        yield Family(name, text, "counter", [(labels, value(one)) for labels, one in models])
    dropped: list[tuple[Labels, Value]] = [
        ({**labels, "reason": reason}, count) for labels, one in models for reason, count in one.dropped.items()
    ]
    text = "Scores that failed because no model saw the request."
    yield Family("headrace_dropped_scores_total", text, "counter", dropped)
    spent = [({**labels, "part": part}, value(one)) for labels, one in models for part, value in _PARTS]
    yield Family("headrace_model_seconds_total", "What calls of the model took, by part.", "counter", spent)
    up: list[tuple[Labels, Value]] = [
        ({"endpoint": endpoint, "model": model}, int(not note.why))
        for endpoint in plane.names
        for model, note in plane.status(endpoint).versions.items()
        if note.state == "available"
    ]
    yield Family("headrace_model_up", "Whether a loaded model version scores now: 1, or 0.", "gauge", up)
    queued: list[tuple[Labels, Value]] = [
        ({"endpoint": endpoint, "model": model}, count) for (endpoint, model), count in waiting(plane.lives).items()
    ]
    yield Family("headrace_waiting_requests", "Requests that wait for the model now.", "gauge", queued)
    text = "How long what workers scored lately had waited for them, at the brokers and there."
    yield Family("headrace_workers_behind_seconds", text, "gauge", [(labels, one.behind_s) for labels, one in models])
    scored = [(labels, seconds(one.seconds)) for labels, one in models]
    text = "From arrival of a request to a model's score."
    yield Family("headrace_score_duration_seconds", text, "histogram", scored)
