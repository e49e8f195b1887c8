"""Use case: replay an endpoint's log with a candidate, and record what came of it."""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from headrace.delivery.replay import KIND, Asked, Replayed, replay
from headrace.errors import HeadraceError, NotFound
from headrace.journey.logged import Tell, paged, unheard
from headrace.journey.platform import Platform
from headrace.models.registry import find
from headrace.monitoring.labels import reader
from headrace.serving.deployment import check_logged, current
from headrace.serving.log import RequestLog
from headrace.serving.provenance import watched
from headrace.serving.versions import Model, load_model
from headrace.storage.ledger import Fact


@dataclass(frozen=True)
class Replay:
    """What is to be replayed.

    Attributes:
        endpoint: Whose log.
        model: The candidate, by any reference (``late@challenger``).
        since_s: Unix seconds; 0 for the whole log.
        slices: Input columns to look at category by category.
        tolerance: Answers differ when they are farther apart.
        progress: Told how many requests are done, and about how many there are.
    """

    endpoint: str
    model: str
    since_s: float = 0.0
    slices: Sequence[str] = ()
    tolerance: float = 0.01
    progress: Tell = unheard


def replayed(platform: Platform, asked: Replay) -> Replayed:
    """Score the logged requests with the candidate; production is not touched.

    The candidate is loaded as a server would load it, with every check, in this process or a worker of its own.

    Raises:
        NotFound: No such endpoint or model, or nothing was logged in that time.
        SignatureError: The candidate takes what the log does not have.
        ParityFailed: It does not answer its recorded rows.
    """
    ledger, stream = platform.ledger(), platform.stream()
    deployed = current(ledger, asked.endpoint)
    if deployed is None and asked.endpoint not in watched(ledger):
        raise NotFound(f"no endpoint named {asked.endpoint!r}", fix="headrace serving ls")
    how = Asked(asked.tolerance, asked.slices, labels=reader(stream, asked.endpoint))
    version = find(ledger, asked.model)
    # What a watched folder serves is in no registry to be loaded from: the candidate is timed alone.
    beside = "" if deployed is None else deployed.models[deployed.endpoint.schedule[0].model]
    with ExitStack() as opened:
        candidate = load_model(ledger, platform.files(), platform.runtime, str(version))
        opened.callback(candidate.loaded.close)
        champion = _champion(platform, beside) if beside else None
        if champion is not None:
            opened.callback(champion.loaded.close)
        pages = paged(RequestLog(stream, asked.endpoint), asked.since_s, asked.progress)
        how = replace(how, champion=champion, own_too=beside == str(version))
        try:
            found = replay(asked.endpoint, pages, candidate, how)
        except NotFound:
            check_logged(deployed)
            raise
    about = {
        "since": asked.since_s,
        "at": time.time(),
        "tolerance": asked.tolerance,
        "digest": version.digest,
        "beside": beside,
    }
    ledger.append([Fact(KIND, str(version), {**about, **found.to_json()})])
    return found


def _champion(platform: Platform, reference: str) -> Model | None:
    """What answers now, to be timed beside the candidate; a version that no longer loads is not needed for the rest."""
    try:
        return load_model(platform.ledger(), platform.files(), platform.runtime, reference)
    except HeadraceError:
        return None
