"""What a gateway tells of itself; the gateway makes these, the client reads them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Memory:
    """What a loaded model takes.

    Attributes:
        size_bytes: Of its worker process, where it has one: its share of what processes share counted (PSS). Of its
            files otherwise: nobody can tell what they take inside of the gateway's process.
        of: Which of the two.
        pid: The worker.
    """

    size_bytes: int
    of: Literal["process", "files"]
    pid: int | None = None


@dataclass(frozen=True)
class Version:
    """A model version.

    Attributes:
        name: ``late@3``.
        role: ``scheduled``, ``shadow``, ``reference`` or ``standby``; empty when it does not serve.
        state: ``loading``, ``available``, ``unloading``, ``unloaded`` or ``failed``.
        why: What is wrong with it.
        runs: ``inline``, in a ``thread``, in a ``worker``, or not (``breaker open``); empty when not loaded.
        memory: None when not loaded.
        scores: Requests that it scored.
        failed: Requests that it did not.
        answered: Requests whose answer was its score.
        late: Scores that came after the reply.
        missed: Requests that it had not scored at the endpoint's deadline: its score came later, or it had not begun.
        dropped: Requests that it has not seen: too many waited, too late, the caller gone, the breaker open.
        agreed: Share of its scores, of a sample, that say what another model answered; None before the first.
        waiting: Requests that wait for it now.
        p50_s: Half of its scores came so long after their request, or earlier: a bound of the metrics' buckets. None
            of no scores, and beyond the highest bound.
        p99_s: The same of 99 %.
    """

    name: str
    role: str
    state: str
    why: str
    runs: str
    memory: Memory | None
    scores: int
    failed: int
    answered: int
    late: int
    missed: int
    dropped: int
    agreed: float | None
    waiting: int
    p50_s: float | None
    p99_s: float | None


@dataclass(frozen=True)
class Traffic:
    """What an endpoint was asked, since the gateway started.

    Attributes:
        requests: Answered.
        errors: Callers that got an error: the three that follow, together.
        refused: Requests that did not fit the signature.
        overloaded: Requests refused because too many waited.
        unanswered: Requests that no model answered, at an endpoint without a default; they count as answered too.
        defaults: Answered by the default.
        past_deadline: Answered more than 10 ms after the deadline.
        missed: Answered so late, or by the default: what counts against the service level.
        cancelled: Requests whose caller went before there was an answer.
        per_second: Answered, over the last minute.
        p50_s: Half of the replies came within so long: a bound of the metrics' buckets. None of no replies, and
            beyond the highest bound.
        p99_s: The same of 99 %.
    """

    requests: int
    errors: int
    refused: int
    overloaded: int
    unanswered: int
    defaults: int
    past_deadline: int
    missed: int
    cancelled: int
    per_second: float
    p50_s: float | None
    p99_s: float | None


@dataclass(frozen=True)
class Preference:
    """A model that an endpoint prefers, and how long it is waited for."""

    model: str
    wait_s: float


@dataclass(frozen=True)
class Shares:
    """How the requests of an endpoint are split.

    Attributes:
        models: Model version to its share; the rest goes by the schedule.
        key: What keeps a caller with the same model; empty where each request is drawn by itself.
    """

    models: Mapping[str, float]
    key: str


@dataclass(frozen=True)
class Asked:
    """A rule of a canary, as it stands.

    Attributes:
        said: The rule with its numbers.
        state: ``does not hold``, ``not known yet``, ``may be luck``, ``seems to hold`` or ``holds``.
    """

    said: str
    state: str


@dataclass(frozen=True)
class Canary:
    """How far a canary is, as this gateway measures it.

    Attributes:
        candidate: Model version.
        step: From 1.
        shares: Of all steps.
        lasted_s: Since this gateway serves the step.
        every_s: How long it lasts at least.
        met: Requests that the candidate has met in it.
        least: How many it has to meet.
        rules: Those that end it.
    """

    candidate: str
    step: int
    shares: Sequence[float]
    lasted_s: float
    every_s: float
    met: int
    least: int
    rules: Sequence[Asked]


@dataclass(frozen=True)
class Served:
    """An endpoint.

    Attributes:
        name: The endpoint.
        state: ``loading``, ``serving``, ``failed`` or ``unloaded``.
        why: Why the newest that is deployed is not in force, and what is wrong with its log.
        deployment: Its number in the ledger; 0 for one of a watched folder, and for none.
        schedule: What is asked, in order of preference; empty unless it serves.
        deadline_s: When the default answers; None unless it serves.
        log: What a reply promises about the request log; empty unless it serves.
        unlogged: Why requests are answered without being logged; empty when they are logged, or are not to be.
        by: Who deployed it.
        traffic: What it was asked.
        versions: Those that serve first.
        split: None for none.
        canary: None for none.
    """

    name: str
    state: str
    why: str
    deployment: int
    schedule: Sequence[Preference]
    deadline_s: float | None
    log: str
    unlogged: str
    by: str
    traffic: Traffic
    versions: Sequence[Version]
    split: Shares | None = None
    canary: Canary | None = None


@dataclass(frozen=True)
class Overview:
    """A gateway.

    Attributes:
        pid: Its process.
        memory_bytes: What that takes (PSS), with all models that have no worker; None where nobody can tell.
        endpoints: In order of being named.
        warnings: What is wrong that is no endpoint's part: tables of ``models.toml`` that are of no model.
        unfollowed: Why it does not follow what is deployed: the ledger is away. Empty while it does.
    """

    pid: int
    memory_bytes: int | None
    endpoints: Sequence[Served]
    warnings: Sequence[str] = ()
    unfollowed: str = ""
