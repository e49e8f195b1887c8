"""``hr.deploy``: put models behind an endpoint."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from headrace.models.version import ModelVersion
from headrace.sdk import ambient
from headrace.sdk.decorators import step
from headrace.serving.endpoint import Batching, Endpoint, LogMode, Policy, Preference
from headrace.serving.join import Join, read_joins
from headrace.serving.retention import Keep
from headrace.serving.split import Split

if TYPE_CHECKING:
    from headrace.storage.ledger import Ledger


class Options(TypedDict, total=False):
    """What else ``deploy`` may be told.

    Attributes:
        reference: An old stable model that scores everything and answers nothing: it reveals input shift.
        shadows: Models that score everything and answer nothing.
        standby: Versions that are loaded, and score only requests that ask for them by version or label.
        event_time: A column that callers may send besides the model's inputs; monitoring's windows use it.
        log: What a reply promises about the request log.
        max_batch_rows: Rows that a model scores in one call at most; a larger request is scored alone.
        max_wait_ms: How long a batch gathers after its first request arrived; 0 takes what waits.
        max_queue_rows: Rows that may wait for each model.
        policy: Whether newer versions are loaded beside those that serve (the default), or in their place.
        split: Model (of the schedule) to its share of the requests, ``0.05`` or ``"5%"``, for which it is preferred.
        split_key: What keeps a caller with the same model: an input column, or a header.
        mask: Columns whose cells are kept in the log as keyed hashes only.
        keep_days: How long the log is kept; 0 for ever.
        keep_mb: About how much of it is kept; 0 for all.
        join: Features that are added to each row before any model sees it, each a mapping as in ``[endpoint.<name>]``:
            ``{"view": "customers", "on": ["customer"]}``.
        replace_signature: Let it take or give something else than what is deployed there now.
        force: Let it end a canary that is under way, or a split that ``split`` does not repeat.
        why: For people who read the history.
    """

    reference: ModelVersion | str
    shadows: Sequence[ModelVersion | str]
    standby: Sequence[ModelVersion | str]
    event_time: str
    log: LogMode
    max_batch_rows: int
    max_wait_ms: float
    max_queue_rows: int
    policy: Policy
    split: Mapping[str, float | str]
    split_key: str
    mask: Sequence[str]
    keep_days: float
    keep_mb: float
    join: Sequence[Mapping[str, Any]]
    replace_signature: bool
    force: bool
    why: str


@step(effect=True)
def deploy(
    name: str,
    *,
    schedule: Sequence[tuple[ModelVersion | str, float]],
    deadline_ms: float,
    default: Mapping[str, float],
    **options: Unpack[Options],
) -> str:
    """Serve models under ``name``; gateways that run follow within 100 ms.

    Under ``headrace run`` it waits for every gate written above it. Called otherwise it does all its checks and
    deploys nothing.

    Args:
        name: As in ``/v1/models/<name>``.
        schedule: Models with the milliseconds that each is waited for, in order of preference.
        deadline_ms: When the default answers at the latest, from a request's arrival.
        default: Output name to the value that answers when no model can.
        **options: ``reference``, ``shadows``, ``standby``, ``event_time``, ``log``, ``max_batch_rows``,
            ``max_wait_ms``, ``max_queue_rows``, ``policy``, ``split``, ``split_key``, ``mask``, ``keep_days``,
            ``keep_mb``, ``join``, ``replace_signature``, ``force``, ``why``.

    Returns:
        The endpoint's name.
    """
    from headrace.delivery.deploy import Allowed
    from headrace.delivery.deploy import deploy as deployed

    running = ambient.current()
    read_joins(list(options.get("join", ())), f"hr.deploy of {name}")
    endpoint = Endpoint(
        name=name,
        schedule=tuple(Preference(str(model), wait_ms / 1000) for model, wait_ms in schedule),
        deadline_s=deadline_ms / 1000,
        default=dict(default),
        reference=_reference(options.get("reference")),
        shadows=tuple(str(model) for model in options.get("shadows", ())),
        standby=tuple(str(model) for model in options.get("standby", ())),
        event_time=options.get("event_time", ""),
        log=options.get("log", "durable"),
        batching=Batching.from_json(options),
        policy=options.get("policy", "availability-preserving"),
        keep=Keep.from_json(options),
        mask=tuple(options.get("mask", ())),
        split=Split.from_json(options),
        join=tuple(map(Join.from_json, options.get("join", ()))),
    )
    gates = running.gates if running else ()
    allowed = Allowed(options.get("replace_signature", False), options.get("force", False))
    ledger = ambient.writable().ledger()
    _tell_views(ledger, endpoint)
    deployed(ledger, endpoint, why=options.get("why", ""), gates=gates, allowed=allowed)
    return name


def _tell_views(ledger: "Ledger", endpoint: Endpoint) -> None:
    """Outside a run, have the scratch ledger know what the project's knows of the views that are joined."""
    from headrace.features.view import fact_of, find

    own = ambient.platform().ledger()
    if own is not ledger:
        ledger.append([fact_of(find(own, join.view)) for join in endpoint.join])


def _reference(model: Any) -> str:
    return str(model) if model else ""
